// SPDX-License-Identifier: Apache-2.0
// The usual graceful shutdown, "close, then exit", under load. close() on a listening socket resets what has completed its
// handshake and was not accepted: plain Node loses those connections, a listener group does not.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { request, until } from './support/app';
import { exited, noneLeft, portFree } from './support/ending';
import { Load, type Tally } from './support/load';
import { startTree, type Tree } from './support/signals';

const CLIENTS = 128;
/** Enough for every client to be in its loop. */
const WARM_MS = 200;
/** Rounds of plain Node until one loses a connection. */
const MOST_CONTROLS = 20;
/** Then the clients stop asking on their connections: plain Node ends none that is busy without a pause. */
const STOP_MS = 300;

interface Run {
  tree: Tree;
  tally: Tally;
}

/** One app under load that is told to end by `signal`; what became of the connections. */
async function run(
  t: TestContext,
  options: { hook: boolean; keepAlive?: boolean; env?: Record<string, string>; signal?: NodeJS.Signals },
): Promise<Run> {
  const { hook, keepAlive = false, env = { HANDLER: 'graceful' }, signal = 'SIGTERM' } = options;
  const tree = await startTree(t, env, { hook });
  const load = new Load(tree.app.port, { clients: CLIENTS, keepAlive });
  t.after(() => load.result());
  await until(() => load.answered > CLIENTS, 'answers');
  await sleep(WARM_MS);
  process.kill(tree.origin, signal);
  const stop = setTimeout(() => load.stop(), STOP_MS);
  const ended = await exited(tree.app);
  clearTimeout(stop);
  assert.deepEqual(ended, { code: 0, signal: null });
  assert.ok(await portFree(tree.app.port), 'the port is free when the end can be seen');
  await noneLeft(tree.workers);
  return { tree, tally: await load.result() };
}

describe('short connections', () => {
  test('SIGTERM, close() and exit lose none that was established, ten times; plain Node loses some', async (t) => {
    const plain: number[] = [];
    // where the machine is busy the clients are few at the moment that it takes
    while (!plain.some((lost) => lost > 0) && plain.length < MOST_CONTROLS)
      plain.push((await run(t, { hook: false })).tally.lost);
    t.diagnostic(`plain Node lost ${plain.join(', ')}`);
    assert.ok((plain.at(-1) as number) > 0, 'the control loses connections');
    const lost: number[] = [];
    for (let i = 0; i < 10; i++) lost.push((await run(t, { hook: true })).tally.lost);
    assert.deepEqual(lost, Array(10).fill(0));
  });

  test('close() for another reason than a signal loses none either', async (t) => {
    for (let i = 0; i < 3; i++) {
      const { tally, tree } = await run(t, { hook: true, env: { TRIGGER: 'close' }, signal: 'SIGUSR1' });
      assert.equal(tally.lost, 0);
      assert.equal(tree.ledger.count('closed', tree.origin), 1);
    }
  });
});

test('keep-alive connections fare no worse than under plain Node', async (t) => {
  const unanswered = { plain: 0, hook: 0 };
  for (let i = 0; i < 4; i++) {
    for (const [name, hook] of [
      ['plain', false],
      ['hook', true],
    ] as const) {
      const { tally } = await run(t, { hook, keepAlive: true });
      unanswered[name] += tally.cut + tally.lost;
      if (hook) assert.equal(tally.lost, 0, 'none is established in vain');
    }
  }
  t.diagnostic(`requests without an answer: plain Node ${unanswered.plain}, hook ${unanswered.hook}`);
  // a client in a closed loop has a request under way nearly always: both come close to one for each client and run
  assert.ok(unanswered.hook <= 1.1 * unanswered.plain, `${unanswered.hook} > ${unanswered.plain}`);
});

describe('close() in the origin', () => {
  test('calls back when nobody of the group listens any more', async (t) => {
    const tree = await startTree(t, { TRIGGER: 'close and stay' });
    process.kill(tree.origin, 'SIGUSR1');
    await until(() => tree.ledger.count('closed well') === 1, 'the callback');
    assert.ok(await portFree(tree.app.port));
    await noneLeft(tree.workers);
    assert.equal(tree.app.child.exitCode, null);
  });

  test('waits for the connections of the workers', async (t) => {
    const tree = await startTree(t, { TRIGGER: 'close and stay' });
    const answer = request(tree.app.port, '/slow', '127.0.0.1');
    await until(() => tree.ledger.count('asked') === 1, 'a request');
    process.kill(tree.origin, 'SIGUSR1');
    await until(() => tree.ledger.count('closed well') === 1, 'the callback');
    assert.match(await answer, /hello/);
    const events = tree.ledger.entries.map(({ event }) => event);
    assert.deepEqual(
      events.slice(events.indexOf('asked')).filter((event) => !event.startsWith('exit')),
      ['asked', 'answered', 'closed well'],
    );
  });

  test('does not wait for a server that listens elsewhere by now', async (t) => {
    const tree = await startTree(t, { TRIGGER: 'close and stay', HANDLER: 'workers move' });
    const socket = connect(tree.app.port, '127.0.0.1');
    t.after(() => socket.destroy());
    socket.write('GET / HTTP/1.1\r\nHost: test\r\n\r\n');
    await once(socket, 'data');
    socket.write('GET /slow HTTP/1.1\r\n');
    process.kill(tree.origin, 'SIGTERM');
    for (const pid of tree.workers) await until(() => tree.ledger.count('moves', pid) === 1, 'another port');
    process.kill(tree.origin, 'SIGUSR1');
    await until(() => tree.ledger.count('closed well') === 1, 'the callback');
    assert.deepEqual(tree.app.workers(), tree.workers);
  });

  test('leaves a worker alone that has closed already and still answers', async (t) => {
    const tree = await startTree(t, { HANDLER: 'origin last' });
    const answer = request(tree.app.port, '/slow', '127.0.0.1');
    await until(() => tree.ledger.count('asked') === 1, 'a request');
    process.kill(tree.origin, 'SIGTERM');
    assert.match(await answer, /hello/);
    assert.deepEqual(await exited(tree.app), { code: 0, signal: null });
    for (const pid of tree.all) assert.equal(tree.ledger.of(pid).at(-1), 'exit 0');
  });

  test('a worker whose app closes late does not notice that it was closed already', async (t) => {
    const tree = await startTree(t, { HANDLER: 'delayed' });
    process.kill(tree.origin, 'SIGTERM');
    assert.deepEqual(await exited(tree.app), { code: 0, signal: null });
    for (const pid of tree.all)
      assert.deepEqual(tree.ledger.of(pid).slice(1), ['SIGTERM 15', 'closed well', 'exit 0']);
  });
});

test('getConnections() counts those of the whole group', async (t) => {
  const tree = await startTree(t, { TRIGGER: 'connections' });
  const sockets: Socket[] = [];
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  for (let i = 0; i < 12; i++) {
    const socket = connect(tree.app.port, '127.0.0.1');
    sockets.push(socket);
    await new Promise<void>((resolve) => {
      socket.once('data', () => resolve());
      socket.write('GET / HTTP/1.1\r\nHost: test\r\n\r\n');
    });
  }
  process.kill(tree.origin, 'SIGUSR1');
  await until(
    () => tree.ledger.count('connections 12') === 1,
    `12 connections: ${JSON.stringify(tree.ledger.entries)}`,
  );
});
