// SPDX-License-Identifier: Apache-2.0
import { Crew, type Member } from '../../lib/workers/crew';

/** A crew that starts nobody and tells nobody: what it concludes from what its members do. */
export class TestCrew extends Crew<Member, never> {
  /** Indexes of those that were asked to exit. */
  readonly asked: number[] = [];

  constructor() {
    const nothing = () => {};
    super({ message: nothing, clusterRequest: nothing, exit: nothing, failed: nothing });
  }

  start(): void {}
  send(): void {}
  protected strike(): void {}
  protected left(): void {}

  protected askToExit({ index }: Member): void {
    this.asked.push(index);
  }

  /** Worker 1, in this process. */
  add(child: unknown): Member {
    const member: Member = { index: 1, process: child as Member['process'] };
    this.supervise(member);
    return member;
  }
}
