// SPDX-License-Identifier: Apache-2.0
import { Latency } from '../lib/latency';
import type { ClientWindow } from './load-messages';

/** What a client sees within a window of time; the load itself runs on before and after. */
export class Recorder {
  private readonly latency = new Latency();
  private answered = 0;
  private failed = 0;
  private failure: string | undefined;
  private started = performance.now();
  private cpu = process.cpuUsage();

  begin(): void {
    this.latency.clear();
    this.answered = 0;
    this.started = performance.now();
    this.cpu = process.cpuUsage();
  }

  answer(sinceMs: number): void {
    this.answered++;
    this.latency.record((performance.now() - sinceMs) * 1000);
  }

  /** Failures count from the very start of the load: none is expected at any time. */
  fail(why: string): void {
    this.failed++;
    this.failure ??= why;
  }

  end(): ClientWindow {
    const { user, system } = process.cpuUsage(this.cpu);
    return {
      answered: this.answered,
      failed: this.failed,
      failure: this.failure,
      elapsedMs: performance.now() - this.started,
      cpuMs: (user + system) / 1000,
      latency: this.latency.counts(),
    };
  }
}
