// SPDX-License-Identifier: Apache-2.0

/** A CPU for one worker. */
export interface PinPlace {
  readonly cpu: number;
  /** Its NUMA node. */
  readonly node: number | undefined;
}

/**
 * Which worker is pinned where, by its number. Each has a CPU to itself; who comes when none is free waits for that of one
 * that ends: an app that replaces its own workers starts the new ones first.
 */
export class Cpus {
  /** By the worker's number, for those who look them up. */
  readonly cores: (number | undefined)[];
  readonly nodes: (number | undefined)[];

  /**
   * @param places in the order in which they are given; none: nobody is pinned
   * @param seats numbers that workers may have, from 1
   */
  constructor(
    private places: readonly PinPlace[],
    seats: number,
  ) {
    this.cores = new Array(seats + 1).fill(undefined);
    this.nodes = new Array(seats + 1).fill(undefined);
  }

  /** Nobody is pinned. */
  get none(): boolean {
    return this.places.length === 0;
  }

  /** The CPU of this worker, its own from now on; undefined where none is free. */
  take(index: number): number | undefined {
    if (this.cores[index] !== undefined) return this.cores[index];
    const free = this.places.find(({ cpu }) => !this.cores.includes(cpu));
    this.cores[index] = free?.cpu;
    this.nodes[index] = free?.node;
    return free?.cpu;
  }

  free(index: number): void {
    this.cores[index] = this.nodes[index] = undefined;
  }

  /** There are other CPUs now. Whoever has one of them keeps it; of these workers the others get one while any is free. */
  become(places: readonly PinPlace[], workers: readonly number[]): void {
    this.places = places;
    const usable = new Set(places.map(({ cpu }) => cpu));
    this.cores.forEach((cpu, index) => {
      if (cpu !== undefined && !usable.has(cpu)) this.free(index);
    });
    for (const index of workers) this.take(index);
  }
}
