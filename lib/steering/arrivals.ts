// SPDX-License-Identifier: Apache-2.0
// Where connections arrive, put together from what processes have seen of theirs.

/** Every connection of a process is looked at up to here, then one in SPARSE. */
const DENSE = 2_000;
const SPARSE = 16;
/** What is older counts half after so many more have been looked at: the policy follows a change of the machine, not noise. */
const HALF_LIFE = 4_000;
/** Below this number of arrivals nothing is known ... */
const MIN_SAMPLES = 200;
/** ... and with many workers below this number for each. */
const MIN_SAMPLES_EACH = 16;
/**
 * So many that are looked at tell at least as much as one where each stands for itself, however those that stand for one and
 * those that stand for SPARSE are mixed: with weights from 1 to M, n (sum w^2) / (sum w)^2 <= (M + 1)^2 / (4 M) (G. Polya, G. Szego,
 * Problems and Theorems in Analysis I, part II, problem 92). Worst where half of the connections are looked at one by one:
 * those of the workers that were restarted.
 */
const MIXED = (SPARSE + 1) ** 2 / (4 * SPARSE);
/** CONFIG_NR_CPUS is 8,192 at most (arch/x86/Kconfig, NR_CPUS_RANGE_END). */
const MOST_CPUS = 8_192;

/** Connections on one CPU, and how many of them were looked at. */
export type Arrivals = readonly [cpu: number, connections: number, looked: number];

/**
 * For how many connections the nth one of a process stands, itself included; 0: it is not looked at. Without that the CPUs of
 * processes that have had few connections would seem to receive more than those of the others.
 */
export function standsForConnections(nth: number): number {
  if (nth <= DENSE) return 1;
  return nth % SPARSE === 0 ? SPARSE : 0;
}

/** How many arrivals, looked at one by one, make a picture for so many workers. */
export function samplesNeeded(workers: number): number {
  return Math.max(MIN_SAMPLES, MIN_SAMPLES_EACH * workers);
}

/** Workers run the app's code, and may be of another version. */
function isSound(cpu: number, connections: number, looked: number): boolean {
  const all = [connections, looked].every((count) => Number.isFinite(count) && count > 0);
  return all && Number.isInteger(cpu) && cpu >= 0 && cpu < MOST_CPUS;
}

/** The recent arrivals of all. */
export class ArrivalPicture {
  private readonly byCpu: number[] = [];
  private looked = 0;
  /** Sum of (connections that one stands for) ^ 2. */
  private squares = 0;
  private halfLife = HALF_LIFE;

  /** @param workers that there can be at most */
  constructor(workers: number) {
    this.expect(workers);
  }

  /**
   * So many workers there can be now. What has once been enough for them stays enough: after any forgetting there are
   * `halfLife` left. From 56 workers on that is more than HALF_LIFE, and fewer for each worker than where they are fewer.
   */
  expect(workers: number): void {
    this.halfLife = Math.max(HALF_LIFE, samplesNeeded(workers) * MIXED);
  }

  /** Connections by CPU. */
  get connections(): readonly number[] {
    return this.byCpu;
  }

  /**
   * So many looked at one by one would tell as much (effective sample size of weighted observations, L. Kish, Survey Sampling,
   * 1965: the square of the weights' sum over the sum of their squares).
   */
  get samples(): number {
    const sum = this.byCpu.reduce((all, each) => all + each, 0);
    return this.squares > 0 ? sum ** 2 / this.squares : 0;
  }

  /** Returns how many of them were looked at. */
  add(arrivals: readonly Arrivals[]): number {
    let fresh = 0;
    for (const [cpu, connections, looked] of arrivals) {
      if (!isSound(cpu, connections, looked)) continue;
      while (this.byCpu.length <= cpu) this.byCpu.push(0);
      this.byCpu[cpu] = (this.byCpu[cpu] as number) + connections;
      fresh += looked;
      this.squares += connections ** 2 / looked;
    }
    this.looked += fresh;
    if (this.looked <= 2 * this.halfLife) return fresh;
    this.looked /= 2;
    this.squares /= 2;
    this.byCpu.forEach((connections, cpu) => {
      this.byCpu[cpu] = connections / 2;
    });
    return fresh;
  }
}
