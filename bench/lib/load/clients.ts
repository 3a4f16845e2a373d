// SPDX-License-Identifier: Apache-2.0
// The programs that put load on a server, each in a process of its own on the other CPU.
import { join } from 'node:path';
import { compiled } from '../compiled';
import { programPath } from '../programs';

export interface Client {
  name: string;
  /** For whom reads the table. */
  title: string;
  /** The command; it runs for about `seconds`, and the last line it prints is an Outcome. */
  words(port: number, connections: number, seconds: number): string[];
}

/** What a client says. */
export interface Outcome {
  answered: number;
  /** Connections that were reset, ended without an answer, or refused; answers that were wrong. */
  failed: number;
  seconds: number;
  /** CPU time of the client, where it says it. */
  cpuUs?: number;
  /** Of the first failure, where the client says it. */
  failure?: string;
}

/** fin-client counts in two words what others count in one. */
type Printed = Partial<Outcome> & { reset?: number; broken?: number };

export function parseOutcome<T>(stdout: string): Outcome & T {
  const printed = JSON.parse(stdout.trim().split('\n').at(-1) as string) as Printed & T;
  const failed = (printed.failed ?? 0) + (printed.reset ?? 0) + (printed.broken ?? 0);
  return { answered: 0, seconds: 0, ...printed, failed };
}

const url = (port: number): string => `http://127.0.0.1:${port}/`;
const FIN_CLIENT = 'bench/native/fin-client.c';

/** Waits for the server's FIN. */
export function finClient(): Client {
  const program = compiled(FIN_CLIENT);
  return {
    name: 'fin',
    title: 'that wait for the server to close (fin-client)',
    words: (port, connections, seconds) => [program, String(port), String(connections), String(seconds)],
  };
}

/** As finClient, but `rate` connections a second begin, however slow the server is; says latencies too. */
export function openLoopClient(rate: number): Client {
  const client = finClient();
  return {
    ...client,
    words: (...args) => [...client.words(...args), '127.0.0.1', String(rate)],
  };
}

type Kind = 'short' | 'keep-alive';

/** Closes as soon as it has the answer. Whole seconds only. */
function wrk(kind: Kind): Client {
  const script = join(__dirname, 'wrk.lua');
  const headers = kind === 'short' ? ['-H', 'Connection: close'] : [];
  return {
    name: 'wrk',
    title:
      kind === 'short' ? 'that close when they have the answer (wrk)' : 'of HTTP keep-alive requests (wrk)',
    words: (port, connections, seconds) => [
      ...['wrk', '--threads', '1', '--connections', String(connections)],
      ...['--duration', `${Math.ceil(seconds)}s`, '--script', script, ...headers, url(port)],
    ],
  };
}

export function autocannonClient(kind: Kind): Client {
  const script = join(__dirname, 'autocannon-client.js');
  return {
    name: 'autocannon',
    title:
      kind === 'short'
        ? 'that close when they have the answer (autocannon)'
        : 'of HTTP keep-alive requests (autocannon)',
    words: (port, connections, seconds) => [
      ...[process.execPath, script, String(port), String(connections), String(seconds), kind],
    ],
  };
}

/** wrk, or autocannon where it is not installed. */
export function wrkOrAutocannon(kind: Kind): Client {
  return programPath('wrk') ? wrk(kind) : autocannonClient(kind);
}

/** WebSockets that each send a message, wait for its echo, and send the next. */
export function echoClient(): Client {
  const script = join(__dirname, 'echo-client.js');
  return {
    name: 'ws',
    title: 'of WebSocket messages of 64 bytes, echoed (ws)',
    words: (port, connections, seconds) => [
      ...[process.execPath, script, String(port), String(connections), String(seconds)],
    ],
  };
}
