// SPDX-License-Identifier: Apache-2.0
import type { EventEmitter } from 'node:events';

/** A load that runs until it is stopped. */
export interface Load {
  stop(): Promise<void>;
}

export interface AutocannonSpec {
  origin: string;
  path: string;
  /** What every answer must be, with status 200. */
  expected: string;
  connections: number;
  /** A connection for each request. */
  reconnect: boolean;
  headers?: Record<string, string>;
}

/** Who is told of each answer; `sinceMs` is when its request began. */
export interface Answers {
  answer(sinceMs: number): void;
  fail(why: string): void;
}

/** The part of autocannon that is used; it brings no types. */
type Autocannon = (options: {
  url: string;
  connections: number;
  duration: number;
  sampleInt: number;
  timeout: number;
  reconnectRate?: number;
  headers?: Record<string, string>;
  setupClient(client: EventEmitter): void;
}) => Promise<unknown> & { stop(): void };

/** Longer than any run: the caller stops it. */
const FOREVER_S = 3600;
/** autocannon ends at its next sample. */
const SAMPLE_MS = 50;
export const TIMEOUT_S = 5;

/**
 * With reconnectRate 1 autocannon counts nothing: it reconnects before it reports the answer (lib/httpClient.js,
 * kOnMessageComplete). Its clients' earlier events are there in all cases, so both kinds of load are read from those.
 */
export function startAutocannon(spec: AutocannonSpec, answers: Answers): Load {
  const autocannon = require('autocannon') as Autocannon;
  const expected = Buffer.from(spec.expected);
  const run = autocannon({
    url: spec.origin + spec.path,
    connections: spec.connections,
    duration: FOREVER_S,
    sampleInt: SAMPLE_MS,
    timeout: TIMEOUT_S,
    ...(spec.reconnect ? { reconnectRate: 1 } : {}),
    ...(spec.headers ? { headers: spec.headers } : {}),
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
        if (status === 200 && expected.equals(body)) answers.answer(since);
        else answers.fail(`status ${status}, body ${body.toString('latin1', 0, 80)}`);
      });
      client.on('connError', (error: Error) => answers.fail(error.message));
      client.on('timeout', () => answers.fail(`no answer within ${TIMEOUT_S} s`));
    },
  });
  return {
    async stop() {
      run.stop();
      await run;
    },
  };
}
