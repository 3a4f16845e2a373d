// SPDX-License-Identifier: Apache-2.0
// worker.disconnect() closes what Node's cluster would have from its primary, waits for the connections, and gives up the
// channel then; a server that listens with exclusive: true is the worker's own, and stays.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { after, describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type App, fixture, freePort, lives, multiplied, startApp, until } from './support/app';
import { untilPortFree } from './support/ending';
import { Ledger } from './support/ledger';
import { PackageWithoutAddon } from './support/without-addon';

const HOST = '127.0.0.1';
/** Longer than any channel takes to end. */
const WHILE_MS = 300;

const bare = new PackageWithoutAddon();
after(() => bare.remove());

type Name = 'any' | 'exclusive';

interface State {
  pid: number;
  id: number;
  connected: boolean;
  listening: Record<Name | 'main', boolean>;
}

interface Started {
  app: App;
  ledger: Ledger;
  /** Ports of each worker. */
  ports: Map<number, Record<Name, number>>;
}

async function start(
  t: TestContext,
  hook: boolean | string[],
  env: Record<string, string> = {},
): Promise<Started> {
  const ledger = new Ledger();
  const app = startApp(fixture('parting.js'), {
    port: await freePort(HOST),
    hook,
    env: { LEDGER: ledger.path, ...(hook === false ? { CLUSTER: '1' } : {}), ...env },
  });
  const ports: Started['ports'] = new Map();
  t.after(async () => {
    app.child.kill('SIGKILL');
    // one that has disconnected may outlive its primary, and has the test's pipes
    for (const pid of ports.keys()) if (lives(pid)) process.kill(pid, 'SIGKILL');
    await app.stop();
  });
  if (hook !== false) await multiplied(app, 2, HOST);
  await until(
    () => {
      for (const { pid, event } of ledger.entries)
        if (event.startsWith('ports ') && pid !== app.pid) ports.set(pid, JSON.parse(event.slice(6)));
      return ports.size === 2;
    },
    () => `two workers:\n${app.stderr}`,
  );
  return { app, ledger, ports };
}

/** A connection to one worker, which is asked and told over it. */
class Line {
  private readonly lines: Interface;

  private constructor(readonly socket: Socket) {
    this.lines = createInterface({ input: socket });
  }

  static async to(t: TestContext, port: number): Promise<Line> {
    const socket = connect(port, HOST).on('error', () => {});
    t.after(() => socket.destroy());
    await once(socket, 'connect');
    return new Line(socket);
  }

  async say(word: 'state' | 'disconnect'): Promise<State> {
    this.socket.write(`${word}\n`);
    const [line] = (await once(this.lines, 'line', { signal: AbortSignal.timeout(5_000) })) as [string];
    return JSON.parse(line) as State;
  }
}

const ways: [string, () => [string, boolean | string[]][]][] = [
  ['in a plain cluster', () => [['', false]]],
  ['with the hook', () => [['', true]]],
  ['without the addon', () => Object.entries(bare.means)],
];

for (const [way, flags] of ways)
  for (const [means, hook] of flags())
    describe(`${way}${means && `, ${means}`}`, () => {
      test('servers close, and the channel goes with the last connection', async (t) => {
        const { app, ledger, ports } = await start(t, hook, { ALONE: '1' });
        const [[, { any }]] = [...ports] as [[number, Record<Name, number>]];
        const line = await Line.to(t, any);
        const { pid, connected, listening } = await line.say('disconnect');
        assert.deepEqual([connected, listening], [true, { any: false, exclusive: true, main: false }]);
        await sleep(WHILE_MS);
        assert.equal((await line.say('state')).connected, true);
        line.socket.end();
        await until(
          () => ledger.count('exit 0', pid) === 1,
          () => `the worker's end: ${JSON.stringify(ledger.of(pid))}\n${app.stderr}`,
        );
        const story = ledger.of(pid).filter((event) => !event.startsWith('ports') && event !== 'main closed');
        assert.deepEqual(story.slice(0, 2).sort(), ['any closed', 'any connection ended']);
        assert.deepEqual(story.slice(2), ['disconnect', 'exit 0']);
      });

      test('what is exclusive stays, and so does the worker', async (t) => {
        const { app, ledger, ports } = await start(t, hook, { ON_USR1: 'close' });
        const [[, { exclusive }]] = [...ports] as [[number, Record<Name, number>]];
        const line = await Line.to(t, exclusive);
        const { pid } = await line.say('disconnect');
        await until(
          () => ledger.count('disconnect', pid) === 1,
          () => `its channel's end: ${JSON.stringify(ledger.of(pid))}`,
        );
        const { connected, listening } = await line.say('state');
        assert.deepEqual([connected, listening], [false, { any: false, exclusive: true, main: false }]);
        if (hook === false) return;
        // nobody waits for it
        process.kill(app.pid, 'SIGUSR1');
        await until(
          () => ledger.count('closed', app.pid) === 1,
          () => `close() of the origin:\n${app.stderr}`,
          5_000,
        );
        await untilPortFree(app.port);
        assert.ok(lives(pid));
      });

      // in a plain cluster the primary answers until it has heard that the worker disconnects
      for (const again of hook === false ? ['disconnected'] : ['closed', 'disconnected'])
        test(`what it listens on from then on stays without an answer, and it ends (${again})`, async (t) => {
          const { app, ledger, ports } = await start(t, hook, { ALONE: '1', AGAIN: again });
          const [[, { any }]] = [...ports] as [[number, Record<Name, number>]];
          const line = await Line.to(t, any);
          const { pid } = await line.say('disconnect');
          await until(() => ledger.count('main closed', pid) === 1, "the server's end");
          line.socket.end();
          await until(
            () => ledger.count('exit 0', pid) === 1,
            () => `the worker's end: ${JSON.stringify(ledger.of(pid))}\n${app.stderr}`,
          );
          assert.deepEqual(
            ledger.of(pid).filter((event) => event.startsWith('main')),
            ['main closed'],
          );
        });

      test('nobody waits for its handlers when the app ends', { skip: hook === false }, async (t) => {
        const env = { ON_TERM: '1', FASTSOCKET_EXIT_WAIT_MS: '600000' };
        const { app, ledger, ports } = await start(t, hook, env);
        const [[, { exclusive }]] = [...ports] as [[number, Record<Name, number>]];
        const { pid } = await (await Line.to(t, exclusive)).say('disconnect');
        await until(
          () => ledger.count('disconnect', pid) === 1,
          () => `its channel's end: ${JSON.stringify(ledger.of(pid))}`,
        );
        app.child.kill('SIGTERM');
        const { child } = app;
        await until(
          () => child.exitCode !== null || child.signalCode !== null,
          () => `the app's end:\n${app.stderr}`,
        );
        assert.equal(child.exitCode, 0);
      });

      test('when the app ends it waits for its last connection, and for nobody to answer', {
        skip: hook === false,
      }, async (t) => {
        const env = { ALONE: '1', ON_TERM: 'disconnect', FASTSOCKET_EXIT_WAIT_MS: '600000' };
        const { app, ledger, ports } = await start(t, hook, env);
        const [[pid, { any }]] = [...ports] as [[number, Record<Name, number>]];
        const line = await Line.to(t, any);
        app.child.kill('SIGTERM');
        await until(async () => !(await line.say('state')).listening.any, 'servers that have closed');
        await sleep(WHILE_MS);
        const { child } = app;
        assert.deepEqual([child.exitCode, child.signalCode], [null, null]);
        line.socket.end();
        await until(
          () => child.exitCode !== null || child.signalCode !== null,
          () => `the app's end: ${JSON.stringify(ledger.of(pid))}\n${app.stderr}`,
        );
        assert.equal(child.exitCode, 0);
        assert.deepEqual(ledger.of(pid).slice(-2), ['disconnect', 'exit 0']);
      });

      test('told to by the primary, it waits for the connections of all', async (t) => {
        const { app, ledger, ports } = await start(t, hook, { ON_USR1: 'leave', ALONE: '1' });
        // round robin: until it is the first one's turn
        const found = await until(async () => {
          for (const { any } of ports.values()) {
            const line = await Line.to(t, any);
            const state = await line.say('state');
            if (state.id === 1) return { line, pid: state.pid };
            line.socket.destroy();
          }
          return undefined;
        }, 'the first worker');
        const { line, pid } = found;
        process.kill(app.pid, 'SIGUSR1');
        await until(async () => !(await line.say('state')).listening.any, 'servers that have closed');
        await sleep(WHILE_MS);
        assert.equal((await line.say('state')).pid, pid);
        line.socket.end();
        await until(() => ledger.count('exit 0', pid) === 1, 'the end of the worker');
        assert.equal(ledger.count('any closed', pid), 1);
      });
    });
