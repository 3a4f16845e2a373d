// SPDX-License-Identifier: Apache-2.0
import { clientWords, type Place } from '../place';
import { machineCpu } from '../proc';
import { runProgram } from '../processes';
import type { Server } from '../server';
import type { ClosedFirst } from '../sockets';
import { type Client, type Outcome, parseOutcome } from './clients';

/** A client that has not ended so long after its time hangs. */
const GRACE_MS = 15_000;
const WARM_S = 1;

export interface Load {
  client: Client;
  connections: number;
  seconds: number;
}

export interface Measure {
  /** CPU time of the server for each answer, in microseconds. */
  cpuUs: number;
  perSecond: number;
  answered: number;
  failed: number;
  failure?: string;
  /** Share of its CPU that the server used, 0 to 1. */
  busy: number;
  /** Share of the server's CPU that others used, 0 to 1: above a few percent the figures are of little use. */
  foreign: number;
  closedFirst: ClosedFirst;
}

/** Runs a client against a server to its end. */
export async function drive<T = unknown>(
  place: Place,
  server: Server,
  { client, connections, seconds }: Load,
): Promise<Outcome & T> {
  const words = clientWords(place, server.pid, client.words(server.port, connections, seconds));
  const { stdout } = await runProgram(client.name, words, process.env, seconds * 1000 + GRACE_MS);
  const outcome = parseOutcome<T>(stdout);
  if (outcome.answered === 0)
    throw new Error(
      `${client.name} had no answer (${outcome.failed} failed: ${outcome.failure ?? 'no reason'})`,
    );
  return outcome;
}

/**
 * What `load` costs a server, and what the client says; `warm` goes first and is not counted.
 * @param others CPU time, in nanoseconds, of whatever else belongs to the measure and shares the server's CPUs
 */
export async function measure<T = unknown>(
  place: Place,
  server: Server,
  load: Load,
  warm: Load = load,
  others: () => number = () => 0,
): Promise<{ measure: Measure; outcome: Outcome & T }> {
  await drive(place, server, { ...warm, seconds: Math.min(WARM_S, warm.seconds) });
  const began = performance.now();
  const [before, othersBefore, machineBefore] = [server.cpuNs(), others(), machineCpu(place.serverCpu)];
  const outcome = await drive<T>(place, server, load);
  const used = server.cpuNs() - before;
  const machine = machineCpu(place.serverCpu) - machineBefore;
  const beside = others() - othersBefore + (place.serverCpu === undefined ? (outcome.cpuUs ?? 0) * 1_000 : 0);
  const tookMs = performance.now() - began;
  const { answered, failed, failure, seconds } = outcome;
  return {
    outcome,
    measure: {
      cpuUs: used / 1_000 / answered,
      perSecond: answered / seconds,
      answered,
      failed,
      ...(failure === undefined ? {} : { failure }),
      busy: used / 1e6 / tookMs,
      foreign: Math.max(0, (machine - (used + beside) / 1e6) / tookMs),
      closedFirst: server.sockets().closedFirst,
    },
  };
}
