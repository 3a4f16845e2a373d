// SPDX-License-Identifier: Apache-2.0
// One server, warmed up, and what its clients see of its blocked workers.
import { type Taken, withServer } from '../lib/compare';
import { compiled } from '../lib/compiled';
import { finClient, type Outcome, parseOutcome } from '../lib/load/clients';
import { drive } from '../lib/load/run';
import { choosePlace, clientWords, type Place } from '../lib/place';
import { busySince } from '../lib/proc';
import { runProgram } from '../lib/processes';
import type { Server } from '../lib/server';
import type { Variant } from '../lib/variants';
import type { Disturbance } from './clean';
import { calm, type Plan, wordsFor } from './plan';

/** Within so long all processes serve, or never will. */
const START_MS = 10_000;
const TOUCH_S = 0.2;
/** Its name (native/balance/thread.cc). */
const THREAD = 'fastsocket';
/** Enough of them that each of many workers gets some. */
const TOUCH_RATE = 1_000;
/** A second of as much as the server can do, so that its code is compiled, and then of what is to come. */
const WARM_S = 1;
const WARM_CLIENTS = 32;
/** The client waits for answers that come late, then ends by itself. */
const GRACE_MS = 30_000;

export interface Quantiles {
  p50: number;
  p90: number;
  p99: number;
  p999: number;
  max: number;
}

/** What tail-client says. */
interface Printed {
  cpuUs: number;
  lost: number;
  wrong: number;
  hung: number;
  slowAnswered: number;
  slowFailed: number;
  slowCpuUs: number;
  priority: string;
  workers: number[];
  latencyUs: Quantiles | null;
  lateUs: Quantiles | null;
}

export interface TailMeasure extends Disturbance {
  /** Of what was answered and not slow; null where nothing was. */
  latencyUs: Quantiles | null;
  answered: number;
  /** Lost, wrong or without an end; of what was not slow. */
  failed: number;
  lost: number;
  wrong: number;
  hung: number;
  slowAnswered: number;
  slowFailed: number;
  failure?: string;
  /** CPU time of all the server's processes for each answer, without what slow requests and handlers burnt, in microseconds. */
  cpuUs: number | undefined;
  /** How many each worker has answered, the busiest first. */
  workers: number[];
  lateUs: Quantiles | null;
  /** How the load's process was scheduled. */
  priority: string;
}

/** @throws Error where there is no network of one's own */
export function tailPlace(cpus: number): Place {
  const { network } = choosePlace();
  if (!network) throw new Error('there is no network namespace of its own (unshare --net fails)');
  const text = `${cpus} CPUs for servers and load together, a network namespace for each measure`;
  return { network, serverCpu: undefined, clientCpu: undefined, text };
}

async function send(place: Place, server: Server, plan: Plan): Promise<Outcome & Printed> {
  const program = compiled('bench/native/tail-client.c');
  const words = clientWords(place, server.pid, wordsFor(program, server.port, plan));
  const mostMs = plan.seconds * 1_000 + 4 * plan.blockMs + GRACE_MS;
  const { stdout } = await runProgram('tail-client', words, process.env, mostMs);
  return parseOutcome<Printed>(stdout);
}

/** Asks until as many workers answer as there are to be. */
async function settled(place: Place, server: Server, plan: Plan, workers: number): Promise<void> {
  const touch: Plan = { ...calm(plan, TOUCH_S), shape: 'short', rate: TOUCH_RATE };
  for (const end = performance.now() + START_MS; ; ) {
    const { workers: found } = await send(place, server, touch);
    if (found.length >= workers) return;
    if (performance.now() > end)
      throw new Error(`${found.length} of ${workers} workers answer after ${START_MS} ms\n${server.stderr}`);
  }
}

/** CPU time in microseconds of this process: it is no stranger either. */
function ownUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

export interface Account {
  /** CPU time of all the server's processes. */
  usedUs: number;
  /** CPU time of the hook's own thread. */
  threadUs: number;
  /** Cores that have neither been idle nor ours. */
  foreign: number;
  tookMs: number;
}

/** From now until the returned function is told what the load's process has used. */
export function account(server: Server): (clientUs: number) => Account {
  const began = performance.now();
  const busyMs = busySince();
  const [cpuNs, threadNs, own] = [server.cpuNs(), server.cpuNs(THREAD), ownUs()];
  return (clientUs) => {
    const usedUs = (server.cpuNs() - cpuNs) / 1_000;
    const threadUs = (server.cpuNs(THREAD) - threadNs) / 1_000;
    const oursMs = (usedUs + clientUs + ownUs() - own) / 1_000;
    const tookMs = performance.now() - began;
    return { usedUs, threadUs, foreign: Math.max(0, (busyMs() - oursMs) / tookMs), tookMs };
  };
}

async function measure(place: Place, server: Server, plan: Plan): Promise<TailMeasure> {
  const close = account(server);
  const said = await send(place, server, plan);
  const { usedUs, foreign } = close(said.cpuUs);
  const { answered, failed, lost, wrong, hung, failure, slowAnswered, slowFailed } = said;
  const { slowCpuUs, workers, priority, latencyUs, lateUs } = said;
  return {
    latencyUs,
    answered,
    ...{ failed, lost, wrong, hung, slowAnswered, slowFailed },
    ...(failure === undefined ? {} : { failure }),
    cpuUs: answered > 0 ? (usedUs - slowCpuUs) / (answered + slowAnswered) : undefined,
    workers: workers.sort((a, b) => b - a),
    foreign,
    lateMs: lateUs ? lateUs.p999 / 1_000 : undefined,
    lateUs,
    priority,
  };
}

/** Fresh processes, all of which answer and have their code compiled. */
export async function measureTail(
  place: Place,
  variant: Variant,
  plan: Plan,
  workers: number,
): Promise<Taken<TailMeasure>> {
  return withServer(place, variant, async (server) => {
    await settled(place, server, plan, workers);
    const warmS = Math.min(WARM_S, plan.seconds);
    await drive(place, server, { client: finClient(), connections: WARM_CLIENTS, seconds: warmS });
    await send(place, server, calm(plan, warmS));
    return { measure: await measure(place, server, plan), remark: variant.remark(server) };
  });
}
