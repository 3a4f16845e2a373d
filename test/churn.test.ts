// SPDX-License-Identifier: Apache-2.0
// Many connections to one destination, opened and ended at random: the seam knows of its source ports what the kernel
// knows, and nothing fails, neither here nor in a program beside. The 20,000 of a minute are npm run bench:churn.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { churn, churnPlace, type Moment, type WorkerState } from '../bench/churn/churn';
import { parseSs } from '../bench/churn/kernel';
import { checkRoom, type Options, RANGE, readOptions } from '../bench/churn/options';
import { faultsOf, sum } from '../bench/churn/verdict';
import { choosePlace } from '../bench/lib/place';
import { endWithEverything } from '../bench/lib/processes';
import { programPath } from '../bench/lib/programs';

const missing = ['taskset', 'setpriv', 'nsenter', 'ss', 'cc'].filter((name) => !programPath(name));
const skip =
  missing.length > 0
    ? `${missing.join(', ')} not installed`
    : choosePlace().network === undefined && 'network namespaces cannot be made here';
endWithEverything(() => {});

const SHORT: Options = { ...readOptions([]), connections: 2_000, seconds: 2 };

test('options, and what is refused by name', () => {
  const options = readOptions([]);
  const { connections, seconds, reuse, servers, range } = options;
  assert.deepEqual([connections, seconds, reuse, servers, range], [20_000, 60, '2', 4, RANGE]);
  assert.throws(() => readOptions(['--reuse', '3']), /--reuse 3: there are 0, 1, 2/);
  assert.throws(() => readOptions(['--connections', '0']), /--connections 0/);
  checkRoom(options, 20_000);
  const refused = (change: Partial<Options>, fds: number, message: RegExp) =>
    assert.throws(() => checkRoom({ ...options, ...change }, fds), message);
  refused({ connections: 25_000 }, 20_000, /leaves too few of 28232 ports/);
  refused({ connections: 2_001 }, 20_000, /must be a multiple of 2/);
  refused({}, 10_000, /a worker may have 10000 descriptors/);
  refused({ servers: 1 }, 20_000, /--servers 1: each may have 20000 descriptors/);
});

test('what ss says', () => {
  const line = (state: string, rest: string) => `${state} 0 0 127.0.0.1:40001 127.0.0.1:9001 ${rest}\n`;
  const of = (state: string, rest: string) => parseSs(line(state, rest))[0];
  assert.deepEqual(of('ESTAB    ', 'users:(("node",pid=77,fd=20))'), {
    state: 'ESTAB',
    port: 40_001,
    pid: 77,
    leftS: 0,
  });
  const left = { '1min': 60, '59sec': 59, '9.987ms': 9.987, '3sec': 3, '040ms': 0.04, '': 0 };
  for (const [text, seconds] of Object.entries(left))
    assert.equal(of('TIME-WAIT', `timer:(timewait,${text},0)`)?.leftS, seconds, text);
});

/** The moments with one worker's state changed at one of them. */
function changed(moments: Moment[], name: Moment['name'], change: (worker: WorkerState) => void): Moment[] {
  const copy = structuredClone(moments);
  change(copy.find((moment) => moment.name === name)?.workers[1] as WorkerState);
  return copy;
}

/** Whatever is wrong is found. */
function checkVerdict(moments: Moment[], options: Options): void {
  const finds = (change: (worker: WorkerState) => void, what: RegExp, name: Moment['name'] = 'end') =>
    assert.match(faultsOf(changed(moments, name, change), options).join('\n'), what);
  const state = ({ report }: WorkerState) => report.state as NonNullable<typeof report.state>;
  finds((worker) => state(worker).inUse++, /end: worker \d+: inUse: 1001 instead of 1000/);
  finds((worker) => state(worker).byKernel++, /chosen \+ byKernel/);
  finds((worker) => (state(worker).resting = 0), /resting: 0 instead of at least/, 'closed');
  finds(({ report }) => report.ports.pop(), /by ss that it does not have: 1 instead of 0/);
  finds(({ report }) => (report.ports[0] = report.ports[1] as number), /different ports: 999/);
  finds(({ report }) => (report.errors['connect EADDRNOTAVAIL'] = 1), /errors: .*EADDRNOTAVAIL/);
  finds(({ report }) => (report.heapUsed += 2 ** 26), /growth of the heap: \d+ instead of at most/);
  finds((worker) => (worker.rss += 2 ** 26), /growth of RSS/);
  finds((worker) => worker.fds++, /descriptors: 1\d+ instead of/);
  finds((worker) => worker.fds++, /closed: worker \d+: descriptors/, 'closed');
  finds((worker) => (worker.pid = 1), /ports by ss: 0 instead of 1000/, 'full');
}

for (const change of [{ reuse: '0' }, { reuse: '2', range: { low: 32_768, high: 35_267 } }] as const) {
  const options = { ...SHORT, ...change };
  const { low, high } = options.range;
  test(`tcp_tw_reuse=${options.reuse}, ports ${low}-${high}`, { skip }, async (t) => {
    const moments = await churn(churnPlace(options), options);
    assert.deepEqual(faultsOf(moments, options), []);
    const { workers, beside } = moments.at(-1) as Moment;
    for (const { report } of workers) {
      const { chosen, byKernel, retries, resting } = report.state ?? {};
      t.diagnostic(JSON.stringify({ ...report.ended, chosen, byKernel, retries, resting }));
      assert.ok(Object.values(report.ended).every((count) => count > 0));
      assert.ok(sum(report.ended) > options.connections / 2);
    }
    t.diagnostic(`the plain program: ${beside.attempts} connections`);
    if (options.reuse === '0') checkVerdict(moments, options);
  });
}
