// SPDX-License-Identifier: Apache-2.0
import { Pool } from 'undici';
import { type Load, TIMEOUT_S } from '../lib/load/autocannon';
import type { LoadSpec } from './load-messages';
import type { Recorder } from './recorder';

export function startUndici(spec: LoadSpec, recorder: Recorder): Load {
  const pool = new Pool(spec.origin, {
    connections: spec.connections,
    pipelining: 1,
    headersTimeout: TIMEOUT_S * 1000,
  });
  let stopped = false;

  async function one(): Promise<void> {
    const since = performance.now();
    const { statusCode, body } = await pool.request({ path: spec.path, method: 'GET' });
    const text = await body.text();
    if (statusCode === 200 && text === spec.expected) recorder.answer(since);
    else recorder.fail(`status ${statusCode}, body ${text.slice(0, 80)}`);
  }

  async function repeat(): Promise<void> {
    while (!stopped) {
      try {
        await one();
      } catch (error) {
        recorder.fail((error as Error).message);
        // a server that refuses at once must not turn this into a loop without an end to its turn
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }

  const loops = Array.from({ length: spec.connections }, repeat);
  return {
    async stop() {
      stopped = true;
      await Promise.all(loops);
      await pool.close();
    },
  };
}
