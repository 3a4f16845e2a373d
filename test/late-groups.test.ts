// SPDX-License-Identifier: Apache-2.0
// Servers that listen alone become listener groups, all or none. No kernel.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TcpHandle } from '../lib/hook/tcp';
import type { Addon } from '../lib/native/addon';
import { type Listening, makeLateGroups } from '../lib/origin/late-groups';

const EPERM = -1;
const EMFILE = -24;
const EADDRINUSE = -98;
const WORKERS = 2;
const PROGRAM = new Uint8Array(8);

/** Says what happens; `refuse` is asked about each call that can fail. */
function scene(refuse: (call: string, open: number) => number | undefined) {
  const events: string[] = [];
  const open = new Set<number>();
  let fd = 100;
  const call = (name: string) => {
    events.push(name);
    return refuse(name, open.size) ?? 0;
  };
  const make = (name: string) => {
    const error = call(name);
    if (error < 0) return error;
    open.add(++fd);
    return fd;
  };
  const addon = {
    bindShared: () => make('probe'),
    sibling: (of: number, backlog: number) => make(`sibling of ${of}${backlog < 0 ? '' : ' that listens'}`),
    reusePort: (of: number) => call(`share ${of}`),
    listen: (of: number) => call(`listen ${of}`),
    attachProgram: (of: number) => call(`program ${of}`),
    accept: () => -11,
    close: (of: number) => open.delete(of),
  } as unknown as Addon;
  const listening = new Map<TcpHandle, Listening>(
    [10, 20].map((own) => [
      { fd: own, onconnection: () => {} } as unknown as TcpHandle,
      {
        key: `4|127.0.0.1|${own}`,
        bind: { family: 4, address: '127.0.0.1', port: own, flags: 0 },
        backlog: 511,
        inContext: (f) => f(),
      },
    ]),
  );
  let generation = 0;
  const plan = { addon, workers: WORKERS, originOnly: PROGRAM };
  return { events, open, groups: makeLateGroups(plan, listening, () => ++generation) };
}

test('a program follows the first socket that listens, before any other does', () => {
  const { events, groups } = scene(() => undefined);
  assert.ok(typeof groups !== 'string');
  assert.deepEqual(
    groups.map(({ sockets, hasProgram, generation }) => [sockets, hasProgram, generation]),
    [
      [[10, 102, 103], true, 1],
      [[20, 105, 106], true, 2],
    ],
  );
  const first = events.indexOf('listen 102');
  assert.deepEqual(events.slice(first, first + 3), ['listen 102', 'program 10', 'listen 103']);
  assert.ok(!events.some((event) => event.endsWith('that listens')), 'not before all are there');
});

for (const [what, refuse] of [
  ['no program is taken', (call: string) => (call.startsWith('program') ? EPERM : undefined)],
  ['the second cannot be shared', (call: string) => (call === 'share 20' ? EPERM : undefined)],
  [
    'there are no descriptors for the second',
    (call: string, open: number) => (call === 'sibling of 20' && open === 3 ? EMFILE : undefined),
  ],
  ['the last socket does not listen', (call: string) => (call === 'listen 106' ? EADDRINUSE : undefined)],
] as const)
  test(`${what}: all stay as they are, and nothing is left`, () => {
    const { open, groups } = scene(refuse);
    assert.equal(typeof groups, 'string');
    assert.deepEqual([...open], []);
  });
