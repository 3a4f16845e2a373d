// SPDX-License-Identifier: Apache-2.0

/** A CPU for one worker. */
export interface CpuPlace {
  readonly cpu: number;
  /** Its NUMA node. */
  readonly node: number | undefined;
}

/**
 * Which of the app's own workers is pinned where. Each has a CPU to itself; who comes when none is free waits for that of
 * one that ends: an app that replaces its workers starts the new ones first.
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
    private readonly places: readonly CpuPlace[],
    seats: number,
  ) {
    this.cores = new Array(seats + 1).fill(undefined);
    this.nodes = new Array(seats + 1).fill(undefined);
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
}
