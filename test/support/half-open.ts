// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { until } from './app';
import { compiled } from './compiled';

/** Connections to 127.0.0.1 in the middle of their handshake; see test/native/half-open.c. */
export class HalfOpen {
  private text = '';

  private constructor(private readonly child: ReturnType<typeof HalfOpen.spawn>) {
    child.stdout.on('data', (data) => {
      this.text += data;
    });
  }

  private static spawn(port: number, count: number) {
    return spawn(compiled('half-open'), [String(port), String(count)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
  }

  static async begin(t: TestContext, port: number, count: number): Promise<HalfOpen> {
    const child = HalfOpen.spawn(port, count);
    t.after(() => child.kill('SIGKILL'));
    const halfOpen = new HalfOpen(child);
    await until(() => halfOpen.text.includes('half-open'), 'half-open connections');
    return halfOpen;
  }

  /** Lets them go on. How each ended. */
  async finish(): Promise<{ answered: number; reset: number; hung: number }> {
    const closed = once(this.child, 'close');
    this.child.stdin.end('\n');
    await closed;
    return JSON.parse(this.text.split('\n')[1] ?? '');
  }
}
