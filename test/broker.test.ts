// SPDX-License-Identifier: Apache-2.0
// State in memory is each worker's own: a broker's clients meet where they are sent to one worker by their address.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { fixture, freePort, startApp, until } from './support/app';

const HOST = '127.0.0.1';
const HEARERS = 12;

class Client {
  private text = '';

  private constructor(
    t: TestContext,
    private readonly socket: Socket,
  ) {
    socket.on('error', () => {});
    socket.on('data', (data) => {
      this.text += data;
    });
    t.after(() => socket.destroy());
  }

  /** Greeted, which the broker does first. */
  static async connect(t: TestContext, port: number): Promise<Client> {
    const socket = connect(port, HOST);
    await once(socket, 'connect');
    const client = new Client(t, socket);
    await until(() => client.pid > 0, 'the greeting');
    return client;
  }

  get pid(): number {
    return Number(/^pid (\d+)\n/.exec(this.text)?.[1] ?? 0);
  }

  async hear(): Promise<void> {
    this.socket.write('hear\n');
    await until(() => this.text.includes('hears\n'), 'hears');
  }

  say(word: string): void {
    this.socket.write(`${word}\n`);
  }

  heard(word: string): boolean {
    return this.text.includes(`word ${word}\n`);
  }
}

/** Who of all hearers hears a word, and the process of each. */
async function broadcast(t: TestContext, hook: boolean, env: Record<string, string> = {}) {
  const app = startApp(fixture('broker-app.js'), { port: await freePort(HOST), hook, env: { HOST, ...env } });
  t.after(() => app.stop());
  const isCopied = hook && env['FASTSOCKET_WORKERS'] !== '1';
  for (const index of isCopied ? [1, 2] : []) await app.said(new RegExp(`worker ${index} is ready`));
  if (hook && !isCopied) await app.said(/one process: one worker is no gain/);
  if (env['FASTSOCKET_STEER']) await app.said(/by the client's address, 2 of 2 workers live/);
  const speaker = await until(() => Client.connect(t, app.port).catch(() => undefined), 'the broker');
  const hearers: Client[] = [];
  const both = () => new Set([speaker, ...hearers].map(({ pid }) => pid)).size === 2;
  while (hearers.length < HEARERS || (isCopied && !env['FASTSOCKET_STEER'] && !both())) {
    const hearer = await Client.connect(t, app.port);
    await hearer.hear();
    hearers.push(hearer);
  }
  const here = hearers.filter(({ pid }) => pid === speaker.pid);
  speaker.say('news');
  await until(() => here.every((hearer) => hearer.heard('news')), 'those of the same process hear it');
  // what is said later is heard by then, too, if anybody hears it
  for (const hearer of hearers) hearer.say('more');
  await until(() => hearers.every((hearer) => hearer.heard('more')), 'each hears itself');
  return { all: hearers.length, here: here.length, heard: hearers.filter((one) => one.heard('news')).length };
}

test('plain Node: everybody hears', async (t) => {
  const { all, here, heard } = await broadcast(t, false);
  assert.deepEqual([here, heard], [all, all]);
});

test('by the client’s address: as in plain Node', async (t) => {
  const { all, here, heard } = await broadcast(t, true, { FASTSOCKET_STEER: 'ip' });
  assert.deepEqual([here, heard], [all, all]);
});

test('in one process (FASTSOCKET_WORKERS=1): as in plain Node', async (t) => {
  const { all, here, heard } = await broadcast(t, true, { FASTSOCKET_WORKERS: '1' });
  assert.deepEqual([here, heard], [all, all]);
});

test('else whoever is served by the same worker', async (t) => {
  const { all, here, heard } = await broadcast(t, true);
  assert.ok(here < all);
  assert.equal(heard, here);
});
