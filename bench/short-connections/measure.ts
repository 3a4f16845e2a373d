// SPDX-License-Identifier: Apache-2.0
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from '../lib/free-port';
import type { Variant } from './options';

const root = join(__dirname, '..', '..', '..');
const hook = join(root, 'dist', 'register.cjs');
const run = promisify(execFile);
/** The server's and the client's, as far as there are two. */
const SERVER_CPU = '1';
const CLIENT_CPU = '0';

export interface Measure {
  /** CPU time of the server for each connection, in microseconds. */
  cpuUs: number;
  perSecond: number;
  failed: number;
}

/** CPU time of all threads of a process, in nanoseconds (Documentation/scheduler/sched-stats.rst). */
function cpuNs(pid: number): number {
  let sum = 0;
  for (const tid of readdirSync(`/proc/${pid}/task`))
    sum += Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'utf8').split(' ')[0]);
  return sum;
}

async function listening(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const open = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (open) return;
    await sleep(20);
  }
}

interface Outcome {
  answered: number;
  reset: number;
  broken: number;
  seconds: number;
}

async function drive(client: string, port: number, clients: number, seconds: number): Promise<Outcome> {
  const words = ['-c', CLIENT_CPU, client, String(port), String(clients), String(seconds)];
  return JSON.parse((await run('taskset', words)).stdout) as Outcome;
}

/** One fresh server on a CPU of its own, warm, under `clients` clients that wait for its FIN. */
export async function measure(
  node: string,
  variant: Variant,
  client: string,
  clients: number,
  seconds: number,
): Promise<Measure> {
  const port = await freePort();
  const flags = variant.hook ? ['-r', hook] : [];
  const env: NodeJS.ProcessEnv = { ...process.env, PORT: String(port), FASTSOCKET_WORKERS: '1' };
  if (variant.seam !== undefined) env['FASTSOCKET_SEAM'] = variant.seam;
  const words = ['-c', SERVER_CPU, node, ...flags, join(__dirname, 'server.js')];
  const server = spawn('taskset', words, { env, stdio: ['ignore', 'ignore', 'inherit'] });
  try {
    await listening(port);
    await drive(client, port, clients, 1);
    const before = cpuNs(server.pid as number);
    const { answered, reset, broken, seconds: took } = await drive(client, port, clients, seconds);
    const used = cpuNs(server.pid as number) - before;
    return { cpuUs: used / 1_000 / answered, perSecond: answered / took, failed: reset + broken };
  } finally {
    server.kill('SIGKILL');
    await once(server, 'exit');
  }
}
