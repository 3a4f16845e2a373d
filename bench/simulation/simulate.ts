// SPDX-License-Identifier: Apache-2.0
// Plays a scenario against the policy itself: `balance`, `decide` and the program of the table, by the interpreter. Only the
// workers and the clients are made up.
import { ArrivalPicture, standsForConnections } from '../../lib/steering/arrivals';
import { type BalanceState, balance } from '../../lib/steering/balance';
import type { Program } from '../../lib/steering/bpf';
import { run } from '../../lib/steering/interpreter';
import { decide, type TableDecision } from '../../lib/steering/policy';
import { generate } from '../../lib/steering/program';
import { dice, fraction, poisson } from './random';
import { arrivalShares, type Scenario } from './scenarios';
import { SimulatedWorker } from './worker';

/** What a moment looks like; a worker's values are over their mean (open, share) or from 0 to 1 (busy). */
export interface Sample {
  readonly at: number;
  readonly open: readonly number[];
  readonly busy: readonly number[];
  /** Of the connections accepted within the last second. */
  readonly share: readonly number[];
  readonly factors: readonly number[];
}

export interface Run {
  readonly scenario: Scenario;
  readonly samples: readonly Sample[];
  /** When a table was attached. */
  readonly changes: readonly number[];
  readonly notes: readonly string[];
  /** Of the arrivals from the sixth second on, by the worker of the CPU that they arrived on. */
  readonly local: number;
  readonly accepted: number;
  readonly refused: number;
}

export interface Rules {
  /** The policy looks at the figures. */
  readonly balance: boolean;
  /** Idle siblings steal from who is blocked, who is left out for as long as it lasts. */
  readonly native: boolean;
}

const POLICY_MS = 100;
const SAMPLE_MS = 100;
const AGE_MS = 10;
const LOOPBACK = 1;
const ETHERNET = 2;
/** Rules of the native thread. */
const STEAL_MS = 2;
const EXCLUDE_MS = 16;
const WARM_MS = 5_000;

const mean = (values: readonly number[]): number =>
  values.reduce((sum, each) => sum + each, 0) / values.length;
const overMean = (values: readonly number[]): number[] => {
  const middle = mean(values);
  return values.map((value) => (middle > 0 ? value / middle : 1));
};

class Simulation {
  private readonly workers: SimulatedWorker[];
  private readonly random: () => number;
  /** Cumulative share of the arrivals by CPU. */
  private readonly upTo: number[];
  /** A report is never late here. */
  private readonly arrivals: ArrivalPicture;
  private state: BalanceState | undefined;
  private decision: TableDecision | undefined;
  private program: Program = [];
  private seen = 0;
  private atHome = 0;
  private readonly samples: Sample[] = [];
  private readonly changes: number[] = [];
  private readonly notes: string[] = [];
  private readonly acceptedThen: number[][] = [];
  private idleThen: number[];

  constructor(
    private readonly scenario: Scenario,
    private readonly rules: Rules,
    seed: number,
  ) {
    const { workers, kinds, skew } = scenario;
    this.workers = Array.from({ length: workers }, () => new SimulatedWorker(kinds));
    this.arrivals = new ArrivalPicture(workers);
    this.random = dice(seed);
    let sum = 0;
    this.upTo = arrivalShares(skew, workers).map((share) => (sum += share));
    this.idleThen = this.workers.map(() => 0);
  }

  run(): Run {
    const { scenario } = this;
    this.decide(0);
    for (let ms = 0; ms < scenario.seconds * 1_000; ms++) {
      if (ms % POLICY_MS === 0 && ms > 0) this.policy(ms);
      this.disturb(ms);
      this.connect(ms);
      this.workers.forEach((worker, i) => worker.tick(this.part(i, ms)));
      if (this.rules.native) this.steal();
      if (ms % AGE_MS === 0) for (const worker of this.workers) worker.age(AGE_MS, this.random);
      if ((ms + 1) % SAMPLE_MS === 0) this.sample((ms + 1) / 1_000);
    }
    const { samples, changes, notes } = this;
    const accepted = this.workers.reduce((sum, worker) => sum + worker.accepted, 0);
    const refused = this.workers.reduce((sum, worker) => sum + worker.refused, 0);
    const local = this.seen > 0 ? this.atHome / this.seen : 1;
    return { scenario, samples, changes, notes, local, accepted, refused };
  }

  /** What the neighbour leaves of worker i's CPU. */
  private part(i: number, ms: number): number {
    const { neighbour } = this.scenario;
    const under = i === 0 && neighbour && ms >= neighbour.from * 1_000 && ms < neighbour.to * 1_000;
    return under ? 1 - neighbour.part : 1;
  }

  private disturb(ms: number): void {
    const { closing, stalls } = this.scenario;
    if (closing && ms === closing.at * 1_000)
      this.workers.forEach((worker, i) => worker.close(i === 0 ? 1 : closing.others));
    if (stalls)
      for (const worker of this.workers)
        if (fraction(this.random) < stalls.perSecond / 1_000) worker.block(stalls.ms);
  }

  private connect(ms: number): void {
    this.scenario.kinds.forEach(({ rate, from, to }, kind) => {
      if (ms < from * 1_000 || ms >= to * 1_000) return;
      for (let n = poisson(this.random, rate / 1_000); n > 0; n--) this.place(kind, ms);
    });
  }

  /** The program's choice; who is left out gives to any other. */
  private place(kind: number, ms: number): void {
    const { random, workers, scenario } = this;
    const at = fraction(random);
    const cpu = this.cpuAt(at);
    const loopback = scenario.skew === 'loopback';
    const facts = { cpu, ifindex: loopback ? LOOPBACK : ETHERNET, random };
    let chosen = run(this.program, facts).result - 1;
    for (let tries = 0; tries < 8 && this.leftOut(chosen); tries++) chosen = random() % workers.length;
    (workers[chosen] as SimulatedWorker).arrive(kind);
    if (loopback) return;
    if (ms >= WARM_MS) {
      this.seen++;
      if (chosen === cpu) this.atHome++;
    }
    const connections = standsForConnections((workers[chosen] as SimulatedWorker).accepted + 1);
    if (connections > 0) this.arrivals.add([[cpu, connections, 1]]);
  }

  /** The first CPU whose share reaches this far. */
  private cpuAt(at: number): number {
    let [low, high] = [0, this.upTo.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (at < (this.upTo[middle] as number)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  private leftOut(chosen: number): boolean {
    return this.rules.native && (this.workers[chosen] as SimulatedWorker).unmovedMs >= EXCLUDE_MS;
  }

  private steal(): void {
    const free = this.workers.filter((worker) => worker.free);
    for (const worker of this.workers) {
      if (worker.unmovedMs < STEAL_MS) continue;
      while (worker.queue.length > 0 && free.length > 0) {
        // always the same one would be the busiest, and no share of new connections could help it
        const [thief] = free.splice(this.random() % free.length, 1);
        thief?.accept(worker.queue.shift() as number);
      }
    }
  }

  private policy(ms: number): void {
    const figures = this.workers.map(({ accepted, open, idle }, i) => ({
      index: i + 1,
      accepted,
      open,
      idle,
    }));
    if (this.rules.balance) {
      const { state, note } = balance(this.state, figures, POLICY_MS);
      this.state = state;
      if (note !== undefined) this.notes.push(`${(ms / 1_000).toFixed(1)} s: ${note}`);
    }
    this.decide(ms);
  }

  private decide(ms: number): void {
    const { workers, arrivals, state, decision } = this;
    const decided = decide({
      mode: 'auto',
      workers: workers.map((_, i) => ({ index: i + 1, cpu: i, live: true })),
      arrivals: arrivals.connections,
      samples: arrivals.samples,
      factors: state?.factors,
      previous: decision,
      seats: workers.length + 1,
    });
    if (decision && !decided.changed) return;
    this.decision = decided;
    this.program = generate(decided.table);
    if (!decision) return;
    this.changes.push(ms / 1_000);
    this.notes.push(`${(ms / 1_000).toFixed(1)} s: ${decided.note}`);
  }

  private sample(at: number): void {
    const { workers, state } = this;
    const accepted = workers.map((worker) => worker.accepted);
    const then = this.acceptedThen.at(-10) ?? workers.map(() => 0);
    this.acceptedThen.push(accepted);
    const busy = workers.map(({ idle }, i) => 1 - (idle - (this.idleThen[i] as number)) / (SAMPLE_MS * 1e6));
    this.idleThen = workers.map(({ idle }) => idle);
    this.samples.push({
      at,
      open: overMean(workers.map(({ open }) => open)),
      busy,
      share: overMean(accepted.map((count, i) => count - (then[i] as number))),
      factors: workers.map((_, i) => state?.factors[i + 1] ?? 1),
    });
  }
}

/** The same run for the same seed. */
export function simulate(scenario: Scenario, rules: Rules, seed: number): Run {
  return new Simulation(scenario, rules, seed).run();
}
