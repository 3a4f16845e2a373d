// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from 'node:util';
import { countOf, number, pairsOf, secondsOf, wordsOf } from '../lib/arguments';
import type { Limits } from './clean';
import { lasting, SHAPES, type Shape } from './plan';

export interface Options {
  /** Node binaries. */
  nodes: string[];
  shape: Shape;
  /** Processes of each server, in turn. */
  workers: number[];
  /** Milliseconds for which a slow request blocks its worker, or every one computes (handlers), in turn. */
  blocks: number[];
  /** Requests a second that are not slow; not with handlers. */
  rate: number;
  /** Part of what the workers can do; with handlers. */
  load: number;
  /** Lasting connections; with `cost`, how many at a time. */
  clients: number;
  rounds: number;
  /** For each measure of a round, until one is clean. */
  tries: number;
  /** At most, before each of them, until others use as little as they may. */
  waitS: number;
  seconds: number;
  limits: Limits;
  /** Also fastsocket with parts of what shares the load among its workers. */
  ablation: boolean;
  /** Instead: what a connection costs. */
  cost: boolean;
  /** With `cost`: of an app that forks cluster workers itself. */
  forks: boolean;
  pairs: number;
  json: string | undefined;
  svg: string | undefined;
}

export const USAGE = `npm run bench:tail -- [options]
  --node PATH,...           Node binaries; default: the one that runs this
  --shape short             short: a connection for each request; keep-alive: 64 that last; upstream: 8 that last
                            handlers: no slow ones; a connection for each request, which computes
  --workers 2,8             processes of each server; with handlers 2, and no more than CPUs
  --blocks 20,50,200,1000   milliseconds for which a slow request blocks its worker
  --handlers 10             with --shape handlers: milliseconds for which each request computes ...
  --load 80                 ... and how many there are, in percent of what the workers can do
  --rate 500                requests a second that are not slow
  --clients N               lasting connections; with --cost how many at a time, default 64
  --rounds 5                each with all servers, fresh processes for each measure
  --tries 3                 for each measure of a round, until one is not disturbed
  --wait 30                 seconds at most before each of them, until others use as little as they may
  --seconds 8               for each measure, after a warm-up that does not count
  --most-foreign 22         percent of a core that others may use during a measure
  --most-late 1             milliseconds by which the load may be late, 99.9 of 100 times
  --ablation                also fastsocket with FASTSOCKET_BALANCE=off, =steal and =swap
  --cost                    instead: CPU for each connection in a closed loop, fastsocket without batches against reusePort
  --forks                   with --cost: an app that forks cluster workers itself, with the hook against its round robin
  --pairs 20                rounds of --cost, of two seconds unless --seconds is given
  --json FILE               all measures
  --svg FILE                a drawing`;

const COST_SECONDS = '2';
const TAIL_SECONDS = '8';
/** Above it a measure would not be of blocked workers but of a server that is overloaded. */
const MOST_RATE = 20_000;
/** In percent. Above it the last answers come later than the client waits for them. */
const MOST_LOAD = 150;
const MOST_BLOCK_MS = 10_000;
const MOST_WORKERS = 64;
const MOST_CLIENTS = 1_000;
const MOST_WAIT_S = 3_600;

const list = (name: string, text: string, most: number): number[] =>
  text.split(',').map((one) => number(name, one, 1, most, true));

/** @throws Error that names the option */
export function readOptions(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      node: { type: 'string', default: process.execPath },
      shape: { type: 'string', default: 'short' },
      workers: { type: 'string' },
      blocks: { type: 'string', default: '20,50,200,1000' },
      handlers: { type: 'string', default: '10' },
      load: { type: 'string', default: '80' },
      rate: { type: 'string', default: '500' },
      clients: { type: 'string' },
      rounds: { type: 'string', default: '5' },
      tries: { type: 'string', default: '3' },
      wait: { type: 'string', default: '30' },
      seconds: { type: 'string' },
      'most-foreign': { type: 'string', default: '22' },
      'most-late': { type: 'string', default: '1' },
      ablation: { type: 'boolean', default: false },
      cost: { type: 'boolean', default: false },
      forks: { type: 'boolean', default: false },
      pairs: { type: 'string', default: '20' },
      json: { type: 'string' },
      svg: { type: 'string' },
    },
  });
  if (values.forks && !values.cost) throw new Error('--forks: goes with --cost');
  const [shape] = wordsOf('shape', values.shape, SHAPES) as [Shape];
  const handlers = shape === 'handlers' && !values.cost;
  const clients = values.cost ? 64 : lasting(shape);
  return {
    nodes: values.node.split(','),
    shape,
    workers: list('workers', values.workers ?? (handlers ? '2' : '2,8'), MOST_WORKERS),
    blocks: handlers
      ? list('handlers', values.handlers, MOST_BLOCK_MS)
      : list('blocks', values.blocks, MOST_BLOCK_MS),
    load: number('load', values.load, 1, MOST_LOAD, false) / 100,
    rate: number('rate', values.rate, 1, MOST_RATE, true),
    clients:
      values.clients === undefined ? clients : number('clients', values.clients, 1, MOST_CLIENTS, true),
    rounds: countOf('rounds', values.rounds),
    tries: countOf('tries', values.tries),
    waitS: number('wait', values.wait, 0, MOST_WAIT_S, false),
    seconds: secondsOf(values.seconds ?? (values.cost ? COST_SECONDS : TAIL_SECONDS)),
    limits: {
      foreign: number('most-foreign', values['most-foreign'], 0, 100_000, false) / 100,
      ...(values.cost ? {} : { lateMs: number('most-late', values['most-late'], 0, 100_000, false) }),
    },
    ablation: values.ablation,
    cost: values.cost,
    forks: values.forks,
    pairs: pairsOf(values.pairs),
    json: values.json,
    svg: values.svg,
  };
}
