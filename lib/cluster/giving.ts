// SPDX-License-Identifier: Apache-2.0
import type { Balancer } from '../group/balancer';
import type { ListenerGroup } from '../group/listener-group';
import { debug } from '../log';
import type { Groups } from '../origin/groups';
import type { Member, Members } from './members';
import type { ClusterPlan } from './plan';
import { Surplus } from './surplus';

/**
 * How long a worker has to serve from a socket that it was sent. It may be blocked; or the socket has not reached it
 * (RLIMIT_NOFILE), of which nobody is told (lib/internal/child_process.js: NODE_HANDLE_NACK).
 */
export const SERVES_WITHIN_MS = 5_000;

export interface GivingOptions {
  plan: ClusterPlan;
  groups: Groups;
  members: Members;
  balancer: Balancer;
  /** Where all but workers' event loops may run, where that has changed: see CpuSet. */
  free(): readonly number[] | undefined;
  /** The worker is left to the primary's round robin. */
  failed(member: Member, group: ListenerGroup, why: string): void;
  /** There have been more workers than CPUs for long: nobody is to be pinned. */
  crowded(): void;
}

/** Gives workers their sockets: each the one of its number. */
export class Giving {
  /** Workers for which there was no socket, and the groups. */
  private readonly crowd = new Map<Member, Set<ListenerGroup>>();
  private readonly surplus: Surplus;

  constructor(private readonly options: GivingOptions) {
    const { members, plan, crowded } = options;
    const waits = () => members.given.some(({ index }) => plan.cpus.cores[index] === undefined);
    this.surplus = new Surplus(() => !plan.cpus.none && waits(), crowded);
  }

  give(member: Member, group: ListenerGroup): void {
    const { members, failed, plan } = this.options;
    const index = members.seat(member);
    if (index < group.sockets.length) {
      const why = this.send(member, group);
      this.surplus.look();
      if (why === undefined) return this.expect(member, group);
      group.workerEnded(index);
      return failed(member, group, why);
    }
    this.crowd.set(member, (this.crowd.get(member) ?? new Set()).add(group));
    failed(member, group, `there are ${group.sockets.length - plan.first} sockets for workers`);
  }

  /** @returns why the socket could not be sent */
  private send(member: Member, group: ListenerGroup): string | undefined {
    const { plan, groups, members, balancer } = this.options;
    const { index } = member;
    const { key: name, generation, backlog } = group;
    const cpu = plan.cpus.take(index);
    const seat = member.seated ? [] : balancer.seat(index);
    const { fds } = groups.handover(index, [group]);
    group.lastGiven = Math.max(group.lastGiven, index);
    const body = { kind: 'socket', name, generation, index, backlog, seat: seat.length > 0 } as const;
    const free = this.options.free();
    const place = cpu === undefined ? {} : { cpu, ...(free && { free }) };
    const why = members.hand(member, { ...body, ...place }, [...fds, ...seat]);
    for (const fd of seat) plan.addon.close(fd);
    if (why === undefined) member.seated ||= seat.length > 0;
    return why;
  }

  private expect(member: Member, group: ListenerGroup): void {
    const { index } = member;
    setTimeout(() => {
      const waits = group.holders.has(index) && !group.letGo.has(index) && !group.ready.has(index);
      if (waits && !group.closing && member.index === index)
        this.options.failed(member, group, `not within ${SERVES_WITHIN_MS} ms`);
    }, SERVES_WITHIN_MS).unref();
  }

  /** A worker has ended: its number is free, and its CPU. */
  ended(member: Member): void {
    const { cpus } = this.options.plan;
    cpus.free(member.index);
    this.pinRest();
    this.surplus.look();
    this.crowd.delete(member);
    for (const [waiting, groups] of [...this.crowd]) {
      this.crowd.delete(waiting);
      if (!this.holds(waiting)) this.options.members.leaveSeat(waiting);
      for (const group of groups) if (!group.closing) this.give(waiting, group);
    }
  }

  /** Who has been given a socket without a CPU gets one that is free now, the first first. */
  private pinRest(): void {
    const { members, plan, balancer } = this.options;
    for (const member of members.given) {
      if (plan.cpus.cores[member.index] !== undefined) continue;
      const core = plan.cpus.take(member.index);
      if (core === undefined) return;
      debug('worker %d gets CPU %d, which is free now', member.id, core);
      const free = this.options.free();
      members.tell(member, { kind: 'place', core, ...(free && { free }) });
      balancer.placed(member.index);
    }
  }

  /** It has a socket somewhere, whose number it keeps. */
  private holds({ index }: Member): boolean {
    return [...this.options.groups].some(({ holders, letGo }) => holders.has(index) && !letGo.has(index));
  }
}
