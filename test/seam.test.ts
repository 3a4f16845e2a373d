// SPDX-License-Identifier: Apache-2.0
// The seam under real servers: fewer system calls, nothing in another order, nobody lost for want of descriptors.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { addonPath } from './support/addon';
import {
  type App,
  type AppOptions,
  answering,
  fixture,
  freePort,
  request,
  startApp,
  until,
} from './support/app';
import { compiled } from './support/compiled';
import { noLookInto } from './support/descriptors';
import { noDelayOf } from './support/no-delay';
import { temporaryFolder } from './support/temporary';

const HOST = '127.0.0.1';
const major = Number.parseInt(process.versions.node, 10);
const noStrace = spawnSync('strace', ['-V']).status === 0 ? false : 'there is no strace';

async function start(t: TestContext, options: AppOptions = {}): Promise<App> {
  const port = await freePort(HOST);
  const { env, ...others } = options;
  const app = startApp(fixture('seam-app.js'), {
    port,
    ...others,
    env: { FASTSOCKET_WORKERS: '1', FASTSOCKET_SEAM: 'on', ADDON: addonPath(), ...env },
  });
  t.after(() => app.stop());
  await answering(port, HOST);
  return app;
}

/** The body of an answer. */
async function ask(app: { port: number }, path: string): Promise<string> {
  const text = await request(app.port, path, HOST);
  return text.slice(text.indexOf('\r\n\r\n') + 4).replace(/^[0-9a-f]+\r\n([\s\S]*?)\r\n0\r\n\r\n$/, '$1');
}

const stats = async (app: App): Promise<Record<string, number>> => JSON.parse(await ask(app, '/stats'));

interface Load {
  answered: number;
  reset: number;
  broken: number;
}

async function load(t: TestContext, port: number, clients: number, seconds: number): Promise<Load> {
  const child = spawn(compiled('fin-client'), [String(port), String(clients), String(seconds)]);
  t.after(() => child.kill('SIGKILL'));
  let text = '';
  child.stdout.on('data', (data) => {
    text += data;
  });
  await once(child, 'close');
  return JSON.parse(text) as Load;
}

/** Enough for the clients to be faster: what is accepted has sent its request then, and the first read finds it. */
const WORK_US = '100';

/** System calls of the event loop's thread for each connection it accepts, under load. */
async function callsPerConnection(t: TestContext, app: App): Promise<number> {
  const folder = temporaryFolder('strace');
  const file = join(folder, 'counts');
  const loaded = load(t, app.port, 512, 4);
  await sleep(1_000);
  const strace = spawn('strace', ['-c', '-o', file, '-p', String(app.pid)], { stdio: 'ignore' });
  await sleep(2_000);
  strace.kill('SIGINT');
  await once(strace, 'close');
  await loaded;
  const rows = readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([percent]) => /^\d+\.\d+$/.test(percent ?? ''));
  const calls = (row: string[]) => Number(row[3]);
  const total = rows.filter((row) => row.at(-1) !== 'total').reduce((sum, row) => sum + calls(row), 0);
  const accepts = rows.find((row) => row.at(-1) === 'accept4') ?? [];
  // with errors there is one column more
  const failed = accepts.length === 6 ? Number(accepts[4]) : 0;
  return total / (calls(accepts) - failed);
}

describe('system calls for each short connection', { skip: noStrace }, () => {
  test('are fewer by a third than under plain Node', async (t) => {
    const env = { WORK_US };
    const plain = await callsPerConnection(t, await start(t, { hook: false, env }));
    const app = await start(t, { env });
    const hook = await callsPerConnection(t, app);
    t.diagnostic(`plain Node ${plain.toFixed(2)}, hook ${hook.toFixed(2)}`);
    // how many come in one turn of a traced loop depends on the machine
    assert.ok(hook <= plain * (major === 20 ? 0.7 : 2 / 3), `${hook} system calls, plain Node ${plain}`);
    assert.ok(plain >= 8.5, `${plain} system calls under plain Node`);
  });
});

describe('each piece', () => {
  for (const [piece, counter] of [
    ['batch', 'batch'],
    ['nodelay', 'inherited'],
    ['read', 'neverRegistered'],
  ] as const) {
    test(`${piece} alone does its own work and no other`, async (t) => {
      const app = await start(t, { env: { FASTSOCKET_SEAM: piece, WORK_US } });
      const { reset, broken } = await load(t, app.port, 64, 1);
      assert.deepEqual({ reset, broken }, { reset: 0, broken: 0 });
      const counts = await stats(app);
      for (const other of ['inherited', 'neverRegistered'])
        assert.equal((counts[other] as number) > 100, other === counter, `${other}: ${counts[other]}`);
      assert.ok((counts['accepted'] as number) > 100);
    });
  }

  test('off: nothing is replaced', async (t) => {
    const app = await start(t, { env: { FASTSOCKET_SEAM: 'off' } });
    assert.equal(await ask(app, '/stats'), '-3');
  });
});

test('the backlog: as much as the kernel allows where the app names none', async (t) => {
  const most = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'));
  const backlog = (port: number) => {
    const { stdout } = spawnSync('ss', ['-Hltn', `sport = :${port}`], { encoding: 'utf8' });
    return Math.max(
      ...stdout
        .trim()
        .split('\n')
        .map((line) => Number(line.split(/\s+/)[2])),
    );
  };
  const listening = async (env: Record<string, string>) => {
    const port = await freePort(HOST);
    const app = startApp(fixture('http-app.js'), {
      port,
      env: { FASTSOCKET_WORKERS: '1', FASTSOCKET_SEAM: 'on', HOST, ...env },
    });
    t.after(() => app.stop());
    await answering(port, HOST);
    return backlog(port);
  };
  assert.equal(await listening({}), most);
  assert.equal(await listening({ BACKLOG: '100' }), 100);
  assert.equal(await listening({ BACKLOG: '511' }), 511);
  assert.equal(await listening({ BACKLOG: '511', FASTSOCKET_WORKERS: '2' }), 511);
  assert.equal(await listening({ FASTSOCKET_SEAM: 'batch' }), Math.min(511, most));
  assert.equal(await listening({ FASTSOCKET_WORKERS: '2' }), most);
});

test('a quiet server accepts one by one and asks no empty queue', async (t) => {
  const app = await start(t);
  const before = await stats(app);
  for (let i = 0; i < 100; i++) await request(app.port, '/', HOST);
  const after = await stats(app);
  // where the end of one connection and the next one come in one turn, it may look crowded for once
  const empty = (after['empty'] as number) - (before['empty'] as number);
  assert.ok(empty <= 3, `${empty} of 100`);
  assert.equal(after['batch'], 1);
});

test('a server that has more to do than it can from its first turn on has everything, too', async (t) => {
  const port = await freePort(HOST);
  const app = startApp(fixture('seam-app.js'), {
    port,
    env: { FASTSOCKET_WORKERS: '1', FASTSOCKET_SEAM: 'on', ADDON: addonPath(), BLOCK_MS: '800', WORK_US },
  });
  t.after(() => app.stop());
  await until(() => app.stdout.includes('listening'), 'a listener');
  const loaded = load(t, port, 512, 3);
  await sleep(2_000);
  const { accepted, neverRegistered } = await stats(app);
  const { reset, broken } = await loaded;
  assert.deepEqual({ reset, broken }, { reset: 0, broken: 0 });
  assert.ok((neverRegistered as number) > (accepted as number) / 2, `${neverRegistered} of ${accepted}`);
});

test("'request' comes after the setImmediate of 'connection'", async (t) => {
  for (const hook of [false, true]) {
    const app = await start(t, { hook });
    await load(t, app.port, 64, 1);
    const { connections, overtaken } = JSON.parse(await ask(app, '/order'));
    assert.ok(connections > 500);
    assert.equal(overtaken, 0, hook ? 'the hook' : 'plain Node');
  }
});

test('connections that were queued before the first one was accepted have TCP_NODELAY, too', {
  skip: noLookInto,
}, async (t) => {
  for (const hook of [false, true]) {
    const port = await freePort(HOST);
    const env = { FASTSOCKET_WORKERS: '1', FASTSOCKET_SEAM: 'on', BLOCK_MS: '800' };
    const app = startApp(fixture('seam-app.js'), { port, hook, env });
    t.after(() => app.stop());
    await until(() => app.stdout.includes('listening'), 'a listener');
    const agent = new Agent({ keepAlive: true, maxSockets: 64 });
    t.after(() => agent.destroy());
    const fd = () =>
      new Promise<number>((resolve, reject) => {
        get({ port: app.port, host: HOST, path: '/fd', agent }, (response) => {
          let text = '';
          response.on('data', (data) => {
            text += data;
          });
          response.on('end', () => resolve(Number(text)));
        }).on('error', reject);
      });
    const fds = await Promise.all(Array.from({ length: 40 }, fd));
    const expected = fds.map(() => true);
    assert.deepEqual(noDelayOf(app.pid, fds), expected, hook ? 'the hook' : 'plain Node');
  }
});

test('spawnSync within a request, under load', async (t) => {
  const app = await start(t);
  const loaded = load(t, app.port, 32, 2);
  for (let i = 0; i < 5; i++) assert.equal(await ask(app, '/spawn'), '42');
  const { answered, reset, broken } = await loaded;
  assert.ok(answered > 50);
  assert.deepEqual({ reset, broken }, { reset: 0, broken: 0 });
});

describe('out of descriptors', () => {
  const LIMIT = ['bash', '-c', 'ulimit -n 64; exec "$@"', 'limited'];

  /** Connects `count` clients at once, has each of them ask, and counts the answers. */
  async function storm(
    app: App,
    count: number,
    whileFull: () => Promise<void>,
  ): Promise<Record<string, number>> {
    const sockets: Socket[] = [];
    for (let i = 0; i < count; i++) sockets.push(connect(app.port, HOST));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    await whileFull();
    const ends: Record<string, number> = {};
    await Promise.all(
      sockets.map(async (socket) => {
        let text = '';
        socket.on('data', (data) => {
          text += data;
        });
        socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
        const end = await Promise.race([
          once(socket, 'close').then(
            () => (text.includes('hello') ? 'answered' : 'cut'),
            () => 'reset',
          ),
          sleep(10_000, 'hung', { ref: false }),
        ]);
        ends[end] = (ends[end] ?? 0) + 1;
      }),
    );
    return ends;
  }

  const ticks = (pid: number) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return Number(fields[11]) + Number(fields[12]);
  };

  /** Long enough for a server to accept until it can no more. */
  const untilFull = async () => {
    await sleep(300);
  };

  test('nobody is reset and nothing spins: 300 clients, 64 descriptors', async (t) => {
    const app = await start(t, { prefix: LIMIT });
    for (let round = 0; round < 5; round++) {
      const ends = await storm(app, 300, async () => {
        const before = ticks(app.pid);
        await sleep(300);
        // 10 % of 300 ms are three ticks; one more for the accepting itself
        assert.ok(ticks(app.pid) - before <= 4, `${ticks(app.pid) - before} ticks`);
      });
      assert.deepEqual(ends, { answered: 300 });
    }
    const counts = await stats(app);
    assert.ok((counts['outOfFds'] as number) > 0);
    assert.equal(counts['disarmed'], 0);
  });

  test('the control: plain Node cuts them off', async (t) => {
    const app = await start(t, { prefix: LIMIT, hook: false });
    const { answered = 0 } = await storm(app, 300, untilFull);
    assert.ok(answered < 300);
  });

  test('the piece left out: as plain Node, which sheds load', async (t) => {
    const app = await start(t, { prefix: LIMIT, env: { FASTSOCKET_SEAM: 'batch,nodelay,read' } });
    const { answered = 0 } = await storm(app, 300, untilFull);
    assert.ok(answered < 300);
  });

  test('files that hold the descriptors and give them back', async (t) => {
    const app = await start(t, { prefix: LIMIT, env: { EXTRA_FDS: '30' } });
    const ends = await storm(app, 100, async () => {});
    assert.deepEqual(ends, { answered: 100 });
    await ask(app, '/free');
    assert.deepEqual(await storm(app, 100, async () => {}), { answered: 100 });
  });
});

describe('errors of accept4, one in five', { skip: noStrace }, () => {
  /** How many of 100 clients get their answer. */
  async function answered(t: TestContext, error: string, env: AppOptions['env'] = {}): Promise<number> {
    const strace = ['strace', '-D', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=accept4'];
    const app = await start(t, {
      prefix: [...strace, '-e', `inject=accept4:error=${error}:when=5+5`, '--'],
      env,
    });
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => request(app.port, '/', HOST).catch((e) => e.code)),
    );
    return answers.filter((text) => text.includes('hello')).length;
  }

  for (const error of ['ECONNABORTED', 'EINTR', 'ENOMEM', 'ENOBUFS', 'EPERM', 'EPROTO', 'ENFILE', 'EMFILE']) {
    test(`${error}: nobody is lost`, async (t) => {
      assert.equal(await answered(t, error), 100);
    });
  }

  test('EMFILE, and a loop that never sleeps: nobody is lost', async (t) => {
    assert.equal(await answered(t, 'EMFILE', { BUSY: '1' }), 100);
  });
});

test('worker threads that listen, one of which ends under load', async (t) => {
  const app = await start(t, { env: { THREADS: '2' } });
  await answering(app.port + 1, HOST);
  await answering(app.port + 2, HOST);
  const [first, second] = [load(t, app.port, 16, 3), load(t, app.port + 2, 16, 3)];
  await sleep(1_000);
  const inThread: Record<string, number> = JSON.parse(await ask({ port: app.port + 2 }, '/stats'));
  assert.ok((inThread['inherited'] as number) > 100, 'the thread has the seam');
  process.kill(app.pid, 'SIGUSR2');
  await until(
    async () =>
      request(app.port + 1, '/', HOST).then(
        () => false,
        () => true,
      ),
    'the end of one',
  );
  for (const { answered, reset, broken } of await Promise.all([first, second])) {
    assert.ok(answered > 100);
    assert.deepEqual({ reset, broken }, { reset: 0, broken: 0 });
  }
});

test('a port that the kernel chooses, and a program that a multiplied app starts', async (t) => {
  for (const script of ['seam-app.js', 'seam-child.js']) {
    const port = await freePort(HOST);
    const app = startApp(fixture(script), {
      port: 0,
      env: { FASTSOCKET_SEAM: 'on', ADDON: addonPath(), MAIN: String(port) },
    });
    t.after(() => app.stop());
    const chosen = Number(
      (
        await until(
          () => /listening (\d+)/.exec(app.stdout),
          () => `a port: ${app.stderr}`,
        )
      )[1],
    );
    for (let i = 0; i < 500; i++) await request(chosen, '/', HOST);
    const counts = JSON.parse(await ask({ port: chosen }, '/stats'));
    assert.ok(counts.accepted >= 500, `${script}: ${counts.accepted}`);
    assert.ok(counts.inherited > 0, script);
  }
});
