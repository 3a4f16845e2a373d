// SPDX-License-Identifier: Apache-2.0
import type { SteerSetting } from '../config/settings';
import { type BalanceState, balance, type WorkerFigures } from '../steering/balance';
import { type Decision, decide } from '../steering/policy';
import { encode, generate, programs, type SteeringTable } from '../steering/program';
import type { ListenerGroup } from './listener-group';

/** Older samples count half after this many new ones: the policy follows a change of the machine, not noise. */
const HALF_LIFE = 4_000;
/** How many new samples are worth a new decision. */
const STEP = 100;
/** Reports that are made at one moment are in after this time; less than the time to the next ones (REPORT_MS). */
const TOGETHER_MS = 100;
const ENOMEM = -12;

/** The program that selects the origin's own socket, index 0, and no other. */
export function originOnlyProgram(): Uint8Array {
  return encode(generate({ sockets: [{ index: 0, weight: 1 }], own: new Map(), loopbackEven: false }));
}

/** Knows where connections arrive, and puts the policy's table into the kernel. */
export class Steering {
  private readonly arrivals: number[] = [];
  private readonly pending: [cpu: number, count: number][] = [];
  private timer: NodeJS.Timeout | undefined;
  private fresh = 0;
  private balanced: BalanceState | undefined;
  private readonly decisions = new WeakMap<ListenerGroup, Decision>();

  constructor(
    private readonly mode: SteerSetting,
    private readonly cores: readonly (number | undefined)[],
    private readonly explain: (why: string) => void,
  ) {}

  /**
   * Counts arrivals by CPU. `decide` is called when there are enough new ones for a new decision, and never between the
   * reports that the workers make at one moment: where steering is by CPU each of them tells of its own CPU alone.
   */
  arrived(cpus: readonly [cpu: number, count: number][], decide: () => void): void {
    this.pending.push(...cpus);
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      if (this.count(this.pending.splice(0))) decide();
    }, TOGETHER_MS).unref();
  }

  private count(cpus: readonly [cpu: number, count: number][]): boolean {
    let total = 0;
    for (const [cpu, count] of cpus) {
      while (this.arrivals.length <= cpu) this.arrivals.push(0);
      this.arrivals[cpu] = (this.arrivals[cpu] as number) + count;
      this.fresh += count;
    }
    for (const count of this.arrivals) total += count;
    if (total > 2 * HALF_LIFE)
      this.arrivals.forEach((count, cpu) => {
        this.arrivals[cpu] = count / 2;
      });
    if (this.fresh < STEP) return false;
    this.fresh = 0;
    return true;
  }

  /**
   * Looks at what the live workers say of themselves, every 100 ms or so while there is traffic, and gives each its share
   * of the new connections. `decide` is called when a share has changed; `auto` only, the other modes are taken literally.
   */
  balance(figures: readonly WorkerFigures[], elapsedMs: number, decide: () => void): void {
    if (this.mode !== 'auto') return;
    const before = this.balanced?.factors ?? [];
    const { state, note } = balance(this.balanced, figures, elapsedMs);
    this.balanced = state;
    if (note !== undefined) this.explain(note);
    const { factors } = state;
    const length = Math.max(before.length, factors.length);
    for (let index = 0; index < length; index++)
      if ((before[index] ?? 1) !== (factors[index] ?? 1)) return decide();
  }

  /** Points the group at the workers that serve it; at the origin where there is none. */
  apply(group: ListenerGroup, live: readonly number[]): void {
    if (!group.hasProgram) return;
    const workers = group.sockets.slice(1).map((_, i) => {
      const index = i + 1;
      const cpu = this.cores[index];
      return { index, live: live.includes(index), ...(cpu === undefined ? {} : { cpu }) };
    });
    const previous = this.decisions.get(group);
    const decision = decide({
      mode: this.mode,
      workers,
      arrivals: this.arrivals,
      seats: group.sockets.length,
      factors: this.balanced?.factors,
      ...(previous ? { previous } : {}),
    });
    if (previous && !decision.changed) return;
    this.decisions.set(group, decision);
    this.explain(`${group.key}: ${decision.note}`);
    this.attach(group, decision.table);
  }

  /** ENOMEM means net.core.optmem_max is too small for this program (net/core/filter.c): a coarser one, or none. */
  private attach(group: ListenerGroup, table: SteeringTable): void {
    let error = ENOMEM;
    for (const { program, step } of programs(table)) {
      error = group.steer(encode(program));
      if (error === ENOMEM) continue;
      if (error === 0 && step > 0)
        this.explain(`${group.key}: the whole program is too large for the kernel, coarser by ${step}`);
      break;
    }
    if (error === 0) return;
    this.explain(`${group.key}: no steering program (errno ${-error}), sockets leave the group instead`);
    group.giveUpProgram();
  }
}
