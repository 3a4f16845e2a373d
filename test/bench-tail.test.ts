// SPDX-License-Identifier: Apache-2.0
// The benchmark of one blocked worker: its parts, and as a whole in a run too short for its figures.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { svg } from '../bench/lib/chart';
import { compiled } from '../bench/lib/compiled';
import { freePort } from '../bench/lib/free-port';
import { choosePlace } from '../bench/lib/place';
import { parseIdle } from '../bench/lib/proc';
import { rule, type Tries, untilClean, whyDiscarded } from '../bench/tail/clean';
import type { Quantiles, TailMeasure } from '../bench/tail/measure';
import { readOptions } from '../bench/tail/options';
import { calm, fastsOf, loadText, planOf, slowsOf, wordsFor } from '../bench/tail/plan';
import { type Cell, cellTable, drawing } from '../bench/tail/report';
import { costVariants, noReusePort, tailVariants } from '../bench/tail/variants';
import { ended, endsWithAll, startBench, whyNoBench } from './support/bench';

const LIMITS = { foreign: 0.22, lateMs: 1 };

test('options: loads and limits, and what is refused by name', () => {
  const { shape, workers, blocks, rate, clients, rounds, tries, waitS, seconds, limits } = readOptions([]);
  assert.deepEqual([shape, workers, blocks], ['short', [2, 8], [20, 50, 200, 1000]]);
  assert.deepEqual([rate, clients, rounds, tries, waitS, seconds], [500, 1, 5, 3, 30, 8]);
  assert.deepEqual(limits, LIMITS);
  const cost = readOptions(['--cost']);
  assert.deepEqual([cost.pairs, cost.seconds, cost.clients, cost.limits], [20, 2, 64, { foreign: 0.22 }]);
  assert.equal(readOptions(['--shape', 'upstream']).clients, 8);
  assert.equal(readOptions(['--shape', 'keep-alive', '--clients', '5']).clients, 5);
  const refused = (words: string[], message: RegExp) => assert.throws(() => readOptions(words), message);
  refused(['--shape', 'long'], /--shape long: there are short, keep-alive, upstream, handlers/);
  refused(['--workers', '2,0'], /--workers 0: must be whole, from 1 to 64/);
  refused(['--blocks', '0.5'], /--blocks 0.5: must be whole/);
  refused(['--most-foreign', 'x'], /--most-foreign x: must be from 0/);
});

test('whatever a slow request takes, all of them take two fifths of a worker', () => {
  const options = readOptions([]);
  const slow = options.blocks.map((blockMs) => {
    const plan = planOf(options, blockMs, 2);
    assert.ok(Math.abs((plan.slowRate * blockMs) / 1_000 - 0.4) < 1e-9);
    assert.equal(fastsOf(plan), 4_000);
    return slowsOf(plan);
  });
  assert.deepEqual(slow, [160, 64, 16, 3]);
  const plan = planOf(readOptions(['--shape', 'upstream']), 50, 2);
  assert.equal(slowsOf(calm(plan, 1)), 0);
  assert.deepEqual(wordsFor('client', 80, plan), ['client', '80', 'kept', '500', '8', '8', '8', '50']);
  assert.match(
    loadText(plan),
    /^500 requests\/s, on 8 connections that last \(upstream\); 8 others\/s block/,
  );
  assert.throws(() => planOf(readOptions(['--seconds', '2']), 1_000, 2), /--seconds 2: too short/);
});

test('quantiles are by nearest rank', { skip: whyNoBench() }, () => {
  const program = compiled('bench/native/tail-client.c');
  const of = (values: number[]) =>
    JSON.parse(execFileSync(program, ['quantiles', ...values.map(String)], { encoding: 'utf8' })) as unknown;
  const upTo = (n: number) => Array.from({ length: n }, (_, i) => n - i);
  assert.deepEqual(of(upTo(1_000)), { p50: 500, p90: 900, p99: 990, p999: 999, max: 1_000 });
  assert.deepEqual(of(upTo(1_001)), { p50: 501, p90: 901, p99: 991, p999: 1_000, max: 1_001 });
  assert.deepEqual(of(upTo(10)), { p50: 5, p90: 9, p99: 10, p999: 10, max: 10 });
  assert.deepEqual(of([7]), { p50: 7, p90: 7, p99: 7, p999: 7, max: 7 });
  assert.equal(of([]), null);
});

/** Runs the client against a server of this process, of which `seen` gets each request. */
async function clientAgainst(
  t: TestContext,
  shape: string,
  connections: number,
  seen: (socket: Socket) => void,
): Promise<Record<string, unknown>> {
  const server = createServer((socket) => {
    socket.on('data', () => seen(socket)).on('error', () => {});
  }).listen(0, '127.0.0.1');
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket));
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const words = [port, shape, 100, 1, connections, 0, 1].map(String);
  const { stdout } = await promisify(execFile)(compiled('bench/native/tail-client.c'), words);
  return JSON.parse(stdout) as Record<string, unknown>;
}

const answer = (status: number, body: string, length = body.length): string =>
  `HTTP/1.1 ${status} x\r\nContent-Length: ${length}\r\n\r\n${body}`;

test('what is lost, wrong or without an end is counted', { skip: whyNoBench() }, async (t) => {
  let number = 0;
  const { latencyUs, ...counts } = await clientAgainst(t, 'short', 1, (socket) => {
    const index = number++;
    const right = answer(200, '7 0');
    const wrong = [answer(500, '7 0'), answer(200, '7 0', 4), answer(200, 'hello'), `${right}more`];
    if (index === 9) return; // it waits for ever
    if (index % 10 === 0) socket.resetAndDestroy();
    else if (index % 10 === 1) socket.end();
    else socket.end(wrong[(index % 10) - 2] ?? right);
  });
  const { answered, failed, lost, wrong, hung, workers } = counts;
  assert.deepEqual(
    { answered, failed, lost, wrong, hung, workers },
    { answered: 39, failed: 61, lost: 20, wrong: 40, hung: 1, workers: [39] },
  );
  assert.notEqual(latencyUs, null);
});

test('a lasting connection that is lost costs one request and is made anew', {
  skip: whyNoBench(),
}, async (t) => {
  const asked = new Map<Socket, number>();
  const { answered, failed, lost, wrong, hung } = await clientAgainst(t, 'kept', 4, (socket) => {
    const count = (asked.get(socket) ?? 0) + 1;
    asked.set(socket, count);
    if (count === 3) socket.destroy();
    else socket.write(answer(200, '7 0'));
  });
  // of 25 requests of each connection every third
  assert.deepEqual([answered, failed, lost, wrong, hung], [68, 32, 32, 0, 0]);
  assert.equal(asked.size, 36);
});

for (const shape of ['short', 'kept'])
  test(`nobody listens: every request is lost (${shape})`, { skip: whyNoBench() }, async () => {
    const words = [await freePort(), shape, 100, 0.5, 4, 2, 1].map(String);
    const { stdout } = await promisify(execFile)(compiled('bench/native/tail-client.c'), words);
    const { answered, lost, failed, slowFailed, failure } = JSON.parse(stdout);
    assert.deepEqual([answered, lost, failed, slowFailed], [0, 50, 50, 1]);
    assert.equal(failure, 'Connection refused');
  });

test('what comes due while its connection waits has waited since then', { skip: whyNoBench() }, async (t) => {
  const { answered, latencyUs } = await clientAgainst(t, 'kept', 1, (socket) => {
    setTimeout(() => socket.write(answer(200, '7 0')), 20);
  });
  assert.equal(answered, 100);
  // one every 10 ms, each for 20 ms or more (a timer may be a millisecond early): that of index i is answered 10 i + 20 ms
  // after it has come due; counted from when it is sent all would have taken 20 ms on an idle machine
  const { p50, max } = latencyUs as Quantiles;
  assert.ok(p50 >= 49 * 9e3 && max >= 99 * 9e3, `${p50} ${max}`);
});

test('a measure counts unless others used the CPUs or the load was late', () => {
  assert.equal(whyDiscarded({ foreign: 0.22, lateMs: 1 }, LIMITS), undefined);
  assert.equal(whyDiscarded({ foreign: 0.4, lateMs: 1 }, LIMITS), 'others used 40 % of a core');
  assert.equal(whyDiscarded({ foreign: 0, lateMs: 1.25 }, LIMITS), 'the load was 1.3 ms late');
  assert.equal(
    whyDiscarded({ foreign: 1, lateMs: 9 }, LIMITS),
    'others used 100 % of a core, the load was 9.0 ms late',
  );
  assert.equal(whyDiscarded({ foreign: 0.1, lateMs: 9 }, { foreign: 0.22 }), undefined);
  assert.equal(rule({ foreign: 0.22 }), 'more than 22 % of a core used by others');
});

test('what is discarded is taken again, up to a limit, and kept beside', async () => {
  const takes = (...foreign: number[]) => {
    let next = 0;
    return async () => ({ measure: { foreign: foreign[next++] ?? Number.NaN }, remark: undefined });
  };
  const { measure } = await untilClean({ tries: 3, waitS: 0, limits: LIMITS }, takes(0.5, 0.1, 0));
  assert.deepEqual(measure.kept, { foreign: 0.1 });
  assert.deepEqual(measure.discarded, [{ why: 'others used 50 % of a core', measure: { foreign: 0.5 } }]);
  const never = await untilClean({ tries: 2, waitS: 0, limits: LIMITS }, takes(0.5, 0.4, 0));
  assert.equal(never.measure.kept, undefined);
  assert.equal(never.measure.discarded.length, 2);
});

test('idle time is that of all CPUs, with what waits for disks', () => {
  const text =
    'cpu  10 20 30 400 50 60 70 80 0 0\ncpu0 5 10 15 200 25 30 35 40 0 0\ncpu1 5 10 15 200 25 30 35 40 0 0\nintr 1\n';
  assert.deepEqual(parseIdle(text), { cpus: 2, idleMs: 4_500 });
});

test('reusePort is there since 22.12 and 23.1', () => {
  for (const version of ['v20.20.2', 'v22.11.0', 'v23.0.0'])
    assert.match(noReusePort(version) ?? '', /22\.12/);
  for (const version of ['v22.12.0', 'v23.1.0', 'v24.0.0', 'v26.1.0'])
    assert.equal(noReusePort(version), undefined);
  const names = (version: string, ablation: boolean) =>
    tailVariants('node', version, 2, ablation).map(({ name }) => name);
  assert.deepEqual(names('v20.20.2', false), ['round robin', 'SCHED_NONE', 'fastsocket']);
  assert.deepEqual(names('v24.0.0', true), [
    ...['round robin', 'SCHED_NONE', 'reusePort', 'fastsocket'],
    ...['BALANCE=off', 'BALANCE=steal', 'BALANCE=swap'],
  ]);
  const bases = ['v20.20.2', 'v24.0.0'].map(
    (version) => costVariants('node', version, 2, { ablation: false, pinned: false })[0]?.name,
  );
  assert.deepEqual(bases, ['SCHED_NONE', 'reusePort']);
});

function measureOf(us: number, more: Partial<TailMeasure> = {}): TailMeasure {
  const latencyUs: Quantiles = { p50: us, p90: 2 * us, p99: 3 * us, p999: 4 * us, max: 5 * us };
  const counts = { answered: 500, failed: 0, lost: 0, wrong: 0, hung: 0, slowAnswered: 2, slowFailed: 0 };
  const load = { lateMs: 0.1, lateUs: null, priority: 'real time' };
  return { latencyUs, ...counts, cpuUs: 100, workers: [250, 250], foreign: 0.05, ...load, ...more };
}

const dirty = measureOf(90_000, { failed: 2, wrong: 1, foreign: 0.9, failure: 'a wrong answer' });
const TRIES: Tries<TailMeasure>[] = [
  { kept: measureOf(1_000), discarded: [{ why: 'others', measure: dirty }] },
  { discarded: [{ why: 'others', measure: dirty }] },
  { kept: measureOf(3_000), discarded: [] },
];
const CELL: Cell = {
  workers: 2,
  blockMs: 200,
  comparison: { variants: [{ name: 'one', measures: TRIES }], remarks: [] },
};

test('figures are of what counts, failures of all, and what was discarded is said', () => {
  assert.equal(
    cellTable('title', CELL.comparison, LIMITS, 'connection'),
    `title
  latency in ms                                     CPU per      rounds   measures
                  p50   p90   p99  p99.9    max  connection  that count  discarded  failed
  one            2.00  4.00  6.00   8.00  10.00      100 us      2 of 3          2       4
  2 of 4 measures were discarded: more than 22 % of a core used by others, or load more than 1 ms late at p99.9
  of those that count, medians: others used 5 % of a core, the load was 0.10 ms late at p99.9 (real time)
  2 answers were wrong
  first failure: a wrong answer
`,
  );
});

test('the drawing has a panel for each load, with names below its axis', () => {
  const empty: Cell = {
    ...CELL,
    workers: 8,
    comparison: { variants: [{ name: 'one', measures: [{ discarded: [] }] }], remarks: [] },
  };
  const chart = drawing('Node', [CELL, empty]);
  assert.deepEqual(chart.panels[0]?.lines[0]?.points, [
    [0, 2],
    [1, 4],
    [2, 6],
    [3, 8],
    [4, 10],
  ]);
  assert.deepEqual(chart.panels[1]?.lines[0]?.points, []);
  const text = svg(chart);
  assert.doesNotMatch(text, /NaN|undefined|Infinity/);
  assert.match(text, />p99\.9</);
});

const whyNot =
  whyNoBench() || (choosePlace().network ? false : 'needs network namespaces (root, or user namespaces)');
const options = { skip: whyNot, timeout: 120_000 };
const HERE = ['--workers', '2', '--most-foreign', '100000', '--most-late', '100000', '--wait', '0'];
const SHORTLY = [...HERE, '--blocks', '200', '--rounds', '1', '--seconds', '1', '--rate', '200'];
const NAMES = ['round robin', 'SCHED_NONE', 'reusePort', 'fastsocket'];
const here = NAMES.filter((name) => name !== 'reusePort' || !noReusePort(process.version));

for (const shape of ['short', 'keep-alive'] as const)
  test(`every request of every server is accounted for: ${shape}`, options, async (t) => {
    const { rows, variants } = await ended(startBench(t, 'tail', ...SHORTLY, '--shape', shape));
    assert.equal(variants.length, 1);
    assert.deepEqual(
      variants[0]?.map(({ name }) => name),
      here,
    );
    for (const { name, measures } of variants[0] ?? []) {
      const row = rows.find(([first]) => first === name);
      assert.deepEqual(row?.slice(-3), ['1 of 1', '0', '0'], name);
      assert.equal(measures.length, 1);
      const measure = measures[0] as unknown as TailMeasure;
      assert.deepEqual(
        [measure.answered, measure.failed, measure.slowAnswered, measure.slowFailed],
        [200, 0, 2, 0],
      );
      assert.ok(measure.workers.length <= 2 && measure.workers.length > 0, name);
      const { p50, p90, p99, p999, max } = measure.latencyUs as Quantiles;
      assert.ok(p50 > 0 && p50 <= p90 && p90 <= p99 && p99 <= p999 && p999 <= max, name);
      assert.ok((measure.cpuUs ?? 0) > 0, name);
    }
  });

test('costs are compared within rounds', options, async (t) => {
  const words = [...HERE, '--cost', '--pairs', '1', '--seconds', '0.3', '--clients', '8'];
  const { rows, variants } = await ended(startBench(t, 'tail', ...words));
  const names = [here.includes('reusePort') ? 'reusePort' : 'SCHED_NONE', 'fastsocket without batch'];
  assert.deepEqual(
    variants[0]?.map(({ name }) => name),
    names,
  );
  for (const name of names) assert.equal(rows.find(([first]) => first === name)?.at(-1), '0', name);
});

test('an app that forks its workers itself is compared with itself', options, async (t) => {
  const words = [...HERE, '--cost', '--forks', '--pairs', '1', '--seconds', '0.3', '--clients', '8'];
  const { rows, variants } = await ended(startBench(t, 'tail', ...words));
  const names = ['round robin', 'the same with the hook'];
  assert.deepEqual(
    variants[0]?.map(({ name }) => name),
    names,
  );
  for (const name of names) assert.equal(rows.find(([first]) => first === name)?.at(-1), '0', name);
});

test('SIGINT ends it with all its processes', options, async (t) => {
  const bench = startBench(t, 'tail', ...HERE, '--blocks', '200', '--seconds', '20');
  // this process, a server with two workers, and a client
  await endsWithAll(t, bench, { signal: 'SIGINT', status: 130, processes: 5 });
});
