// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import type { Taken } from '../lib/compare';
import { type Outcome, parseOutcome } from '../lib/load/clients';
import type { Measure } from '../lib/load/run';
import { clientWords, type Place } from '../lib/place';
import { parseMachineCpu } from '../lib/proc';
import { runProgram } from '../lib/processes';
import { hook } from '../lib/root';
import type { Server } from '../lib/server';
import { environment, FASTSOCKET, PLAIN } from '../lib/variants';
import { type Choices, choicesOf, choicesRemark } from './choices';
import type { Plan } from './plan';

const CLIENT = join(__dirname, 'client.js');
/** The kernel takes a millisecond for a connect() when few of many ports are left. */
const HOLD_MS = 2;
const GRACE_MS = 20_000;
/** Some ports never come to rest (port-holder.c), and they do not for ever. */
const LEAST_RESTING = 0.95;

export interface Variant {
  name: string;
  words: readonly string[];
  /** undefined: without the hook. */
  env: Readonly<Record<string, string>> | undefined;
  /** The seam is to choose the ports. */
  chooses: boolean;
}

export interface ConnectMeasure extends Measure {
  /** Wall time over connections, with so many at a time. */
  roundTripUs: number;
  /** In the connect() method of a socket's handle. */
  callUs: number;
  calls: number;
  /** How long the client took for what it holds itself. */
  holdMs: number;
  choices?: Choices;
}

/** What client.js says. */
interface Printed {
  cpuUs: number;
  callUs: number;
  calls: number;
  holdMs: number;
  /** /proc/stat before and after each slice of the time that counts. */
  machine: [before: string, after: string][];
}

export function variantsOf(node: string, off: boolean): Variant[] {
  const hooked = [node, '-r', hook];
  const env = { FASTSOCKET_WORKERS: '1', NODE_DEBUG: 'fastsocket' };
  const kernels = { ...env, FASTSOCKET_CONNECT: 'off' };
  return [
    { name: PLAIN, words: [node], env: undefined, chooses: false },
    { name: FASTSOCKET, words: hooked, env, chooses: true },
    ...(off ? [{ name: 'FASTSOCKET_CONNECT=off', words: hooked, env: kernels, chooses: false }] : []),
  ];
}

interface Job {
  plan: Plan;
  clients: number;
  seconds: number;
}

/** Runs the client to its end against a server towards which all else is held. */
export async function measure(
  place: Place,
  server: Server,
  variant: Variant,
  { plan, clients, seconds }: Job,
): Promise<Taken<ConnectMeasure>> {
  const numbers = [server.port, plan.own, clients, seconds].map(String);
  const words = clientWords(place, server.pid, [...variant.words, CLIENT, ...numbers]);
  const env = environment(server.port, variant.env ?? {});
  const mostMs = 3 * seconds * 1000 + plan.own * HOLD_MS + GRACE_MS;
  const { stdout, stderr } = await runProgram('the client', words, env, mostMs);
  const { machine, ...outcome } = parseOutcome<Printed>(stdout);
  if (outcome.answered === 0)
    throw new Error(`no connection was answered: ${outcome.failure ?? 'no reason'}`);
  const choices = variant.chooses ? choicesOf(stderr, server.port) : undefined;
  const { closedFirst } = server.sockets();
  const remarks = [
    variant.chooses ? choicesRemark(stderr, choices) : undefined,
    closedFirst.client < plan.timeWait * LEAST_RESTING
      ? `only ${closedFirst.client} ports were still in TIME_WAIT at the end`
      : undefined,
  ].filter((remark) => remark !== undefined);
  const figures = figuresOf(outcome, machine, place.clientCpu as number);
  return {
    measure: { ...figures, closedFirst, ...(choices ? { choices } : {}) },
    remark: remarks.length > 0 ? remarks.join('; ') : undefined,
  };
}

function figuresOf(
  { answered, failed, failure, seconds, cpuUs, calls, callUs, holdMs }: Outcome & Omit<Printed, 'machine'>,
  machine: Printed['machine'],
  cpu: number,
): Omit<ConnectMeasure, 'closedFirst'> {
  const machineMs = machine.reduce(
    (sum, [before, after]) => sum + parseMachineCpu(after, cpu) - parseMachineCpu(before, cpu),
    0,
  );
  return {
    roundTripUs: (seconds * 1e6) / answered,
    callUs,
    calls,
    holdMs,
    cpuUs: cpuUs / answered,
    perSecond: answered / seconds,
    answered,
    failed,
    ...(failure === undefined ? {} : { failure }),
    busy: cpuUs / 1e6 / seconds,
    foreign: Math.max(0, (machineMs - cpuUs / 1e3) / 1e3 / seconds),
  };
}
