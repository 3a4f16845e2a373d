// SPDX-License-Identifier: Apache-2.0
import type { SteerSetting } from '../config/settings';
import { ArrivalPicture, type Arrivals } from '../steering/arrivals';
import { type BalanceState, balance, type WorkerFigures } from '../steering/balance';
import { addressPrograms } from '../steering/by-address';
import { guardedPrograms } from '../steering/guarded';
import { type Decision, decide } from '../steering/policy';
import { encode, generate, programs } from '../steering/program';
import type { Balancer, GuardedBytes } from './balancer';
import type { ListenerGroup } from './listener-group';

/** How many connections that were looked at are worth a new decision. */
const STEP = 100;
/** Reports that are made at one moment are in after this time; less than the time to the next ones (REPORT_MS). */
const TOGETHER_MS = 100;
const ENOMEM = -12;

/** 32 bits that no client knows. node:crypto takes 3 ms to load, and only steering by address needs it. */
function drawSeed(): number {
  const { randomBytes } = require('node:crypto') as typeof import('node:crypto');
  return randomBytes(4).readUInt32LE();
}

/** The program that selects the origin's own socket, index 0, and no other. */
export function originOnlyProgram(): Uint8Array {
  return encode(generate({ sockets: [{ index: 0, weight: 1 }], own: new Map(), loopbackEven: false }));
}

/** Programs of the same choice that keep connections away from blocked workers, the best first. */
function* guardsOf(decision: Decision, step: number): Generator<GuardedBytes> {
  // a client keeps its worker, blocked or not
  if (decision.kind === 'address') return;
  for (const { guarded } of guardedPrograms(decision.table, step))
    yield { program: encode(guarded.program), safe: guarded.safe, slots: guarded.slots };
}

/** Nobody watches the group. */
const UNBALANCED: Pick<Balancer, 'steer' | 'forget'> = {
  steer: (group, lean) => group.steer(lean),
  forget() {},
};

/** Knows where connections arrive, and puts the policy's table into the kernel. */
export class Steering {
  private readonly arrivals: ArrivalPicture;
  private readonly pending: Arrivals[] = [];
  private timer: NodeJS.Timeout | undefined;
  private fresh = 0;
  private balanced: BalanceState | undefined;
  private readonly decisions = new WeakMap<ListenerGroup, Decision>();
  /** Groups without a program of which that has been said. */
  private readonly unsteered = new WeakSet<ListenerGroup>();
  /** One for all groups of the process: a client has the same worker on every port, and on sockets that were adopted. */
  private seed: number | undefined;

  /** @param cores by worker index, of all workers that there can be, which become more perhaps; 0 is nobody's. */
  constructor(
    private readonly mode: SteerSetting,
    private readonly cores: readonly (number | undefined)[],
    private readonly explain: (why: string) => void,
    private readonly balancer: Pick<Balancer, 'steer' | 'forget'> = UNBALANCED,
  ) {
    this.arrivals = new ArrivalPicture(cores.length - 1);
  }

  /**
   * Counts arrivals by CPU. `decide` is called when there are enough new ones for a new decision, and never between the
   * reports that the workers make at one moment: where steering is by CPU each of them tells of its own CPU alone.
   */
  arrived(cpus: readonly Arrivals[], decide: () => void): void {
    this.pending.push(...cpus);
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      if (this.count(this.pending.splice(0))) decide();
    }, TOGETHER_MS).unref();
  }

  private count(cpus: readonly Arrivals[]): boolean {
    this.fresh += this.arrivals.add(cpus);
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
    if (!group.hasProgram) return this.explainNone(group);
    const workers = group.sockets.slice(1).map((_, i) => {
      const index = i + 1;
      const cpu = this.cores[index];
      return { index, live: live.includes(index), ...(cpu === undefined ? {} : { cpu }) };
    });
    this.arrivals.expect(workers.length);
    const previous = this.decisions.get(group);
    const decision = decide({
      mode: this.mode,
      workers,
      arrivals: this.arrivals.connections,
      samples: this.arrivals.samples,
      seats: group.sockets.length,
      factors: this.balanced?.factors,
      ...(previous ? { previous } : {}),
    });
    if (previous && !decision.changed) return;
    this.decisions.set(group, decision);
    this.attach(group, decision);
  }

  /** Where the kernel's hash chooses nothing is steered, which only one who has asked for stickiness can miss. */
  private explainNone(group: ListenerGroup): void {
    if (this.mode !== 'ip' || this.unsteered.has(group)) return;
    this.unsteered.add(group);
    const why = group.refused < 0 ? ` (errno ${-group.refused})` : '';
    this.explain(`${group.key}: not by the client's address: the kernel takes no steering program${why}`);
  }

  private programs(decision: Decision): ReturnType<typeof programs> {
    if (decision.kind !== 'address') return programs(decision.table);
    this.seed ??= drawSeed();
    return addressPrograms(decision.table, this.seed);
  }

  /** ENOMEM means net.core.optmem_max is too small for this program (net/core/filter.c): a coarser one, or none. */
  private attach(group: ListenerGroup, decision: Decision): void {
    let error = ENOMEM;
    for (const { program, step } of this.programs(decision)) {
      error = this.balancer.steer(group, encode(program), () => guardsOf(decision, step));
      if (error === ENOMEM) continue;
      if (error !== 0) break;
      // said when it is so: who reads it may rely on it
      this.explain(`${group.key}: ${decision.note}`);
      if (step > 0)
        this.explain(`${group.key}: the whole program is too large for the kernel, coarser by ${step}`);
      return;
    }
    this.explain(`${group.key}: no steering program (errno ${-error}), sockets leave the group instead`);
    this.balancer.forget(group);
    group.giveUpProgram(error);
    this.explainNone(group);
  }
}
