// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuSince, machineCpu, treeCpu } from '../lib/proc';
import type { Clients } from './clients';
import { countsSince } from './counts';
import type { LoadSpec } from './load-messages';
import type { Mode } from './modes';
import { Server } from './server';
import { LOADS, type LoadName, type Measure, type Visit } from './types';

/** How long each load runs unmeasured and measured, in milliseconds. */
export type Plan = Record<LoadName, { warmMs: number; measureMs: number }>;

const SETTLE_MS = 100;

const PATH = '/users/42';
const ANSWER = '{"id":42,"name":"user 42","tags":["a","b","c"]}';

export interface VisitOptions {
  mode: Mode;
  round: number;
  plan: Plan;
  connections: number;
  clients: Clients;
  /** The servers' folders are made in it. */
  folder: string;
  progress(load: LoadName): void;
}

/** One fresh server of one mode, measured under each load; a later load finds it as warm in one mode as in the other. */
export async function visit(options: VisitOptions): Promise<Visit> {
  const { mode, round } = options;
  const folder = mkdtempSync(join(options.folder, `${mode.name}-`));
  try {
    const server = await Server.start(mode, folder, PATH);
    const loads = await measureAll(server, options);
    const { pids, root } = server.serving;
    const killed = !(await server.stop());
    return {
      mode: mode.name,
      round,
      loads,
      serving: pids.length,
      rootServes: root,
      remarks: server.remarks(),
      killed,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measureAll(server: Server, options: VisitOptions): Promise<Record<LoadName, Measure>> {
  const loads = {} as Record<LoadName, Measure>;
  try {
    for (const load of LOADS) {
      options.progress(load);
      loads[load] = await measure(server, load, options);
    }
    return loads;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

async function measure(
  server: Server,
  load: LoadName,
  { plan, connections, clients }: VisitOptions,
): Promise<Measure> {
  const reconnect = load === 'short';
  const spec: LoadSpec = {
    driver: load === 'undici' ? 'undici' : 'autocannon',
    origin: server.origin,
    path: PATH,
    expected: ANSWER,
    connections,
    reconnect,
  };
  const { warmMs, measureMs } = plan[load];
  // what the load before has left in the servers' queues is not this one's
  await sleep(SETTLE_MS);
  let before = await server.counts.ask();
  await clients.start(spec);
  await sleep(warmMs);
  // connections that are kept are made while it warms up
  if (reconnect) before = await server.counts.ask();
  await clients.begin();
  const cpuBefore = treeCpu(server.pid);
  const machineBefore = machineCpu();
  const started = performance.now();
  await sleep(measureMs);
  const cpu = cpuSince(cpuBefore, treeCpu(server.pid));
  const machineMs = machineCpu() - machineBefore;
  const elapsedMs = performance.now() - started;
  const window = await clients.end();
  const counts = countsSince(before, await server.counts.ask());
  await clients.stop();
  if (window.perSecond === 0) throw new Error(`no answer under load: ${window.failure ?? 'no reason known'}`);
  const serversMs = [...cpu.values()].reduce((sum, ms) => sum + ms, 0);
  return {
    perSecond: window.perSecond,
    // a rate over a rate: the windows of servers and clients differ by the milliseconds a message takes
    cpuUs: ((serversMs / elapsedMs) * 1e6) / window.perSecond,
    p99Ms: window.p99Ms,
    counts,
    clientBusy: window.busy,
    serverBusy: Math.max(0, ...cpu.values()) / elapsedMs,
    serversBusy: serversMs / elapsedMs,
    foreign: Math.max(0, (machineMs - serversMs) / elapsedMs - window.busy * clients.count),
    failed: window.failed,
  };
}
