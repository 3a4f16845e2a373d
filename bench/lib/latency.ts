// SPDX-License-Identifier: Apache-2.0

/** Buckets per doubling: neighbours lie 2.2 % apart, finer than two runs on one machine ever agree. */
const PER_OCTAVE = 32;
/** 2^32 us is more than an hour. */
const BUCKETS = 32 * PER_OCTAVE;

/** Bucket and count, empty buckets left out: small enough for a message between processes. */
export type Counts = [bucket: number, count: number][];

/** Latencies in logarithmic buckets: constant cost per value, and histograms of several clients add up. */
export class Latency {
  private readonly buckets = new Float64Array(BUCKETS);
  private total = 0;

  static from(counts: Counts): Latency {
    const latency = new Latency();
    latency.add(counts);
    return latency;
  }

  /** @param us microseconds; anything below 1 counts as 1 */
  record(us: number): void {
    const bucket = us > 1 ? Math.floor(Math.log2(us) * PER_OCTAVE) : 0;
    this.count(Math.min(bucket, BUCKETS - 1), 1);
  }

  add(counts: Counts): void {
    for (const [bucket, count] of counts) this.count(bucket, count);
  }

  private count(bucket: number, count: number): void {
    this.buckets[bucket] = (this.buckets[bucket] as number) + count;
    this.total += count;
  }

  clear(): void {
    this.buckets.fill(0);
    this.total = 0;
  }

  counts(): Counts {
    const counts: Counts = [];
    this.buckets.forEach((count, bucket) => {
      if (count > 0) counts.push([bucket, count]);
    });
    return counts;
  }

  /**
   * The value, in microseconds, that a share `p` (0 to 1) of the recorded ones does not exceed (nearest rank), to the
   * middle of its bucket; undefined where nothing was recorded.
   */
  percentile(p: number): number | undefined {
    if (this.total === 0) return undefined;
    const rank = Math.max(1, Math.ceil(p * this.total));
    let seen = 0;
    const bucket = this.buckets.findIndex((count) => {
      seen += count;
      return seen >= rank;
    });
    return 2 ** ((bucket + 0.5) / PER_OCTAVE);
  }
}
