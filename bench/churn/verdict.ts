// SPDX-License-Identifier: Apache-2.0
// Whether the books of the workers, of the seam and of the kernel agree, and nothing has failed or grown. Pure.
import type { Books, Moment, WorkerState } from './churn';
import { type Options, WORKERS } from './options';

const TIME_WAIT_S = 60;
/** A port cannot be taken again while so many seconds of it are left, or more. */
const LEFT_S = { '0': 0.001, '1': 59, '2': 59 };

export const sum = (counts: Record<string, number>): number =>
  Object.values(counts).reduce((all, count) => all + count, 0);

/** Ports in TIME_WAIT that cannot be taken again yet, by who has used each last. */
export function restingPorts({ kernel, workers, beside }: Moment, { reuse }: Options): Map<Books, number> {
  const users: Books[] = [...workers.map(({ report }) => report), beside.all[0]];
  const last = new Map<number, { books: Books; at: number }>();
  for (const books of users)
    for (const [port, at] of books.used) if (at > (last.get(port)?.at ?? 0)) last.set(port, { books, at });
  const counts = new Map(users.map((books) => [books, 0]));
  for (const { state, port, leftS } of kernel) {
    const books = last.get(port)?.books;
    if (state !== 'TIME-WAIT' || leftS < LEFT_S[reuse] || books === undefined) continue;
    counts.set(books, (counts.get(books) as number) + 1);
  }
  return counts;
}

const atLeast = (found: number, least: number) => (found >= least ? found : `at least ${least}`);
const atMost = (found: number, most: number) => (found <= most ? found : `at most ${most}`);

type Say = (what: string, found: unknown, expected: unknown) => void;

function checkWorker(
  moment: Moment,
  { pid, report }: WorkerState,
  held: number,
  options: Options,
  say: Say,
): void {
  const { state, ports, opened, errors } = report;
  const own = new Set(ports);
  say(`worker ${pid}: errors`, JSON.stringify(errors), '{}');
  say(`worker ${pid}: connections`, ports.length, held);
  say(`worker ${pid}: different ports`, own.size, held);
  const known = new Set(
    moment.kernel.filter((socket) => socket.pid === pid && socket.state === 'ESTAB').map(({ port }) => port),
  );
  say(`worker ${pid}: ports by ss`, known.size, held);
  say(
    `worker ${pid}: ports by ss that it does not have`,
    [...known].filter((port) => !own.has(port)).length,
    0,
  );
  if (state === undefined) return say(`worker ${pid}: destination`, 'unknown', 'known');
  say(`worker ${pid}: inUse`, state.inUse, held);
  say(`worker ${pid}: chosen + byKernel`, state.chosen + state.byKernel, opened);
  const resting = restingPorts(moment, options).get(report) as number;
  say(`worker ${pid}: resting`, state.resting, atLeast(state.resting, resting));
  // with fewer misses nobody has been asked for strangers (native/seam/connect.cc, kMissesToAsk), and a miss is a port of theirs
  if (options.reuse === '0' && state.retries < 16 && moment.seconds < TIME_WAIT_S)
    say(`worker ${pid}: resting`, state.resting, atMost(state.resting, resting + state.retries));
}

function checkBeside({ beside }: Moment, say: Say): void {
  const [same, other] = beside.all;
  say('plain program: errors', JSON.stringify([same.errors, other.errors]), '[{},{}]');
  say('plain program: connections', same.opened + other.opened, beside.attempts);
}

/** How much more a worker may have at the end than after the first quarter; see bench/README.md. */
const MOST_RSS = 32 * 2 ** 20;
const MOST_HEAP = 2 * 2 ** 20;

/** What is not as it has to be, in words. */
export function faultsOf(moments: readonly Moment[], options: Options): string[] {
  const faults: string[] = [];
  const at = (name: Moment['name']) => moments.find((moment) => moment.name === name) as Moment;
  const sayAt =
    (name: string): Say =>
    (what, found, expected) => {
      if (found !== expected) faults.push(`${name}: ${what}: ${found} instead of ${expected}`);
    };
  for (const moment of moments) {
    if (moment.name === 'at first') continue;
    const say = sayAt(moment.name);
    const held = moment.name === 'closed' ? 0 : options.connections / WORKERS;
    for (const worker of moment.workers) checkWorker(moment, worker, held, options, say);
    const open = moment.kernel.filter(({ state }) => state !== 'TIME-WAIT');
    say('sockets by ss', open.length, held * WORKERS);
    checkBeside(moment, say);
  }
  const last = sayAt('end');
  const { attempts } = at('end').beside;
  last('plain program: attempts', attempts, atLeast(attempts, 1));
  at('end').workers.forEach(({ pid, rss, fds, report }, i) => {
    const quarter = at('first quarter').workers[i] as WorkerState;
    const ended = sum(report.ended) - sum(quarter.report.ended);
    const more = rss - quarter.rss;
    const moreHeap = report.heapUsed - quarter.report.heapUsed;
    last(`worker ${pid}: connections ended`, ended, atLeast(ended, 1));
    last(`worker ${pid}: descriptors`, fds, quarter.fds);
    last(`worker ${pid}: growth of RSS`, more, atMost(more, MOST_RSS));
    last(`worker ${pid}: growth of the heap`, moreHeap, atMost(moreHeap, MOST_HEAP));
  });
  at('closed').workers.forEach(({ pid, fds }, i) =>
    sayAt('closed')(`worker ${pid}: descriptors`, fds, at('at first').workers[i]?.fds),
  );
  return faults;
}
