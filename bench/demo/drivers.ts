// SPDX-License-Identifier: Apache-2.0
import type { EventEmitter } from 'node:events';
import { Pool } from 'undici';
import type { LoadSpec } from './load-messages';
import type { Recorder } from './recorder';

/** A load that runs until it is stopped. */
export interface Load {
  stop(): Promise<void>;
}

/** The part of autocannon that is used; it brings no types. */
type Autocannon = (options: {
  url: string;
  connections: number;
  duration: number;
  sampleInt: number;
  timeout: number;
  reconnectRate?: number;
  setupClient(client: EventEmitter): void;
}) => Promise<unknown> & { stop(): void };

/** Longer than any run: the demo stops it. */
const FOREVER_S = 3600;
/** autocannon ends at its next sample. */
const SAMPLE_MS = 50;
const TIMEOUT_S = 5;

/**
 * With reconnectRate 1 autocannon counts nothing: it reconnects before it reports the answer (lib/httpClient.js,
 * kOnMessageComplete). Its clients' earlier events are there in all cases, so both kinds of load are read from those.
 */
export function startAutocannon(spec: LoadSpec, recorder: Recorder): Load {
  const autocannon = require('autocannon') as Autocannon;
  const expected = Buffer.from(spec.expected);
  const run = autocannon({
    url: spec.origin + spec.path,
    connections: spec.connections,
    duration: FOREVER_S,
    sampleInt: SAMPLE_MS,
    timeout: TIMEOUT_S,
    ...(spec.reconnect ? { reconnectRate: 1 } : {}),
    setupClient(client) {
      let since = performance.now();
      let status = 0;
      client.on('request', () => {
        since = performance.now();
      });
      client.on('headers', ({ statusCode }: { statusCode: number }) => {
        status = statusCode;
      });
      client.on('body', (body: Buffer) => {
        if (status === 200 && expected.equals(body)) recorder.answer(since);
        else recorder.fail(`status ${status}, body ${body.toString('latin1', 0, 80)}`);
      });
      client.on('connError', (error: Error) => recorder.fail(error.message));
      client.on('timeout', () => recorder.fail(`no answer within ${TIMEOUT_S} s`));
    },
  });
  return {
    async stop() {
      run.stop();
      await run;
    },
  };
}

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
