// SPDX-License-Identifier: Apache-2.0
// Two workers that hold very many connections to one destination and open and end them at random, a plain program beside
// them, and what all of them and the kernel say while everything stands still.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Destination } from '../../lib/index';
import { whole } from '../lib/columns';
import { compiled } from '../lib/compiled';
import { choosePlace, clientWords, type Place, placeBeside } from '../lib/place';
import { killGroup, startProgram } from '../lib/processes';
import { Progress } from '../lib/progress';
import { hook, root } from '../lib/root';
import { Server } from '../lib/server';
import { environment } from '../lib/variants';
import { Control, type Member } from './control';
import { type KernelSocket, type ProcessState, processState, socketsTo } from './kernel';
import { type Options, portsOf, WORKERS } from './options';

const HOST = '127.0.0.1';
// nobody's: the network is one's own, and its range is above
const PORT = 9001;
const OTHER = 9002;
const APP = 9003;
/** For the last packets, and for a peer that is slow to answer them. */
const SETTLE_MS = 200;
const BESIDE_MS = 20;
/** In MiB: the space for young objects grows and shrinks with the load, and would be most of what RSS does. */
const YOUNG = '--max-semi-space-size=2';
/** A port rests for a minute, and the kernel's timers of that length are up to 2 s late (kernel/time/timer.c). */
const REST_MS = { '0': 62_000, '1': 1_100, '2': 1_100 };

/** What one that holds connections says of them (connections.js). */
export interface Books {
  opened: number;
  ended: Record<string, number>;
  errors: Record<string, number>;
  /** Ports, and when each was last connected from. */
  used: [port: number, at: number][];
  /** Of the sockets that are open. */
  ports: number[];
}

export interface WorkerReport extends Books {
  state: Destination | undefined;
  heapUsed: number;
  core: number | undefined;
}

export interface WorkerState extends ProcessState {
  pid: number;
  report: WorkerReport;
}

export interface BesideReport {
  attempts: number;
  /** To the same destination, and to another. */
  all: [Books, Books];
}

/** Everything stands still. */
export interface Moment {
  name: 'at first' | 'full' | 'first quarter' | 'end' | 'closed';
  /** Since the first connection was ended. */
  seconds: number;
  workers: WorkerState[];
  beside: BesideReport;
  kernel: KernelSocket[];
}

/** @throws Error where there is no network of one's own */
export function churnPlace({ reuse, range }: Options): Place {
  const place = choosePlace({
    'net/ipv4/ip_local_port_range': `${range.low} ${range.high}`,
    'net/ipv4/tcp_tw_reuse': reuse,
    // two ends that close at once now and then send a late RST, which would end a TIME_WAIT
    'net/ipv4/tcp_rfc1337': '1',
  });
  if (!place.network) throw new Error('there is no network namespace of its own (unshare --net fails)');
  const text = `all on all CPUs, in a network namespace of their own; tcp_tw_reuse=${reuse}`;
  return { ...place, serverCpu: undefined, clientCpu: undefined, text };
}

class Scene {
  private since = 0;

  constructor(
    private readonly place: Place,
    private readonly peer: Server,
    private readonly workers: readonly Member[],
    private readonly beside: Member,
  ) {}

  tell(what: string): Promise<unknown> {
    if (this.since === 0) this.since = performance.now();
    return Promise.all([...this.workers, this.beside].map((member) => member.ask(what)));
  }

  /** The workers do it; then all say what they have. */
  async moment(name: Moment['name'], what: string, rest: object = {}): Promise<Moment> {
    const beside = await this.beside.ask<BesideReport>(what === 'still' ? what : 'report');
    await Promise.all(this.workers.map((worker) => worker.ask(what, rest)));
    await sleep(SETTLE_MS);
    const workers = await Promise.all(
      this.workers.map(async (worker) => {
        const report = await worker.ask<WorkerReport>('report');
        return { pid: worker.pid, report, ...processState(worker.pid) };
      }),
    );
    // TIME_WAIT begins with the peer's FIN, and a port rests from our own on: what is let go first has to be gone here, too
    await sleep(SETTLE_MS);
    const kernel = await socketsTo(this.place, this.peer.pid, PORT);
    const seconds = this.since === 0 ? 0 : (performance.now() - this.since) / 1000;
    return { name, seconds, workers, beside, kernel };
  }
}

async function act(scene: Scene, options: Options): Promise<Moment[]> {
  const { connections, seconds, reuse, range } = options;
  const progress = new Progress(process.stderr);
  const count = connections / WORKERS;
  // half of what is left, at most, in any such time: the rest is for the program beside them
  const atRest = (portsOf(range) / WORKERS - count) / 4;
  const moments: Moment[] = [];
  const churn = async (part: number) => {
    await scene.tell('churn');
    progress.now(`${whole(connections)} connections, opened and ended at random for ${seconds * part} s`);
    await sleep(1000 * seconds * part);
  };
  try {
    moments.push(await scene.moment('at first', 'report'));
    progress.now(`opening ${whole(connections)} connections`);
    moments.push(await scene.moment('full', 'fill', { count, atRest, restMs: REST_MS[reuse] }));
    await churn(1 / 4);
    moments.push(await scene.moment('first quarter', 'still'));
    await churn(3 / 4);
    moments.push(await scene.moment('end', 'still'));
    progress.now('closing all');
    moments.push(await scene.moment('closed', 'empty'));
  } finally {
    progress.clear();
  }
  return moments;
}

export async function churn(place: Place, options: Options): Promise<Moment[]> {
  const program = compiled('bench/native/server.c');
  const servers: Server[] = [];
  const control = new Control();
  const serve = async (where: Place, port: number, words: string[], env: Record<string, string> = {}) => {
    const server = await Server.start(where, { words, env: environment(port, env), port });
    servers.push(server);
    return server;
  };
  const env = { CONTROL: control.path, TARGET: `${HOST} ${PORT}`, API: root };
  try {
    const peer = await serve(place, PORT, [program, String(PORT), String(options.servers), 'told']);
    const here = placeBeside(place, peer.pid);
    await serve(here, OTHER, [program, String(OTHER), '1', 'told']);
    const words = [options.node, '--expose-gc', YOUNG, '-r', hook, join(__dirname, 'app.js')];
    const app = await serve(here, APP, words, { ...env, FASTSOCKET_WORKERS: String(WORKERS) });
    const targets = { TARGETS: `${HOST} ${PORT},${HOST} ${OTHER}`, EVERY_MS: String(BESIDE_MS) };
    const beside = startProgram(
      clientWords(place, peer.pid, [options.node, join(__dirname, 'beside.js')]),
      environment(0, { ...env, ...targets }),
    );
    try {
      const workers = await control.called('workers', WORKERS, ({ parent }) => parent === app.pid);
      const [other] = await control.called('the plain program', 1, ({ pid }) => pid === beside.pid);
      return await act(new Scene(place, peer, workers, other as Member), options);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${app.stderr}`, { cause: error });
    } finally {
      killGroup(beside);
    }
  } finally {
    for (const server of servers.reverse()) await server.stop();
    control.close();
  }
}
