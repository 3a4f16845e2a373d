// SPDX-License-Identifier: Apache-2.0
// The corners of the origin's guard: what it must not touch, and tables that change while signals come.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { addonPath, testAddon } from './support/addon';
import { addonChild } from './support/addon-child';
import { lives, until } from './support/app';
import { portFree } from './support/ending';
import { refusing } from './support/refuse';

const MANY_SOCKETS = 1_200;
const MANY_PIDS = 300;

describe('the guard', () => {
  test('leaves an ignored signal ignored: it ends nothing, so nothing may be shut', async (t) => {
    // Node itself ignores SIGPIPE
    const { process: child, output } = await addonChild(
      t,
      `
      const helper = require('node:child_process').spawn('sleep', ['60']);
      const before = addon.disposition(13);
      addon.guard([13], [], [helper.pid]);
      console.log('dispositions', before, addon.disposition(13), helper.pid);
    `,
    );
    const [, helper] = /dispositions 1 1 (\d+)/.exec(output()) ?? [];
    assert.ok(helper, output());
    child.kill('SIGPIPE');
    child.kill('SIGUSR2');
    await once(child, 'exit');
    assert.ok(lives(Number(helper)), 'killed by a signal that was not guarded');
    process.kill(Number(helper), 'SIGKILL');
  });

  test('comes back after the app has removed its last handler', async (t) => {
    const {
      process: child,
      output,
      end,
    } = await addonChild(
      t,
      `
      const helper = require('node:child_process').spawn('sleep', ['60']);
      const handler = () => {};
      addon.guard([1], [], [helper.pid]);
      process.on('SIGHUP', handler);
      process.off('SIGHUP', handler);
      const lifted = addon.disposition(1);
      addon.guard([1], [], [helper.pid]);
      console.log('dispositions', lifted, addon.disposition(1), helper.pid);
    `,
    );
    // libuv sets SIG_DFL when its last handle for a signal stops
    const [, helper] = /dispositions 0 2 (\d+)/.exec(output()) ?? [];
    assert.ok(helper, output());
    child.kill('SIGHUP');
    assert.deepEqual(await end, [null, 'SIGHUP']);
    await until(() => !lives(Number(helper)), 'the end of the helper', 2000);
  });

  test('can be replaced while the signal comes, thousands of times', async (t) => {
    // with a handler of the app before it the signal does not end the process: it may come again and again
    const {
      process: child,
      output,
      end,
    } = await addonChild(
      t,
      `
      let heard = 0;
      process.on('SIGUSR2', () => heard++);
      const fds = [addon.pair()[0]];
      // in bursts: libuv reads its signals for as long as there are 32 more (src/unix/signal.c, uv__signal_event)
      const FLOOD = 'while true; do for i in 1 2 3 4 5 6 7 8 9 10; do kill -USR2 ' + process.pid + ' || exit; done; sleep 0.001; done';
      const flood = require('node:child_process').spawn('sh', ['-c', FLOOD], { stdio: 'ignore' });
      let rounds = 0;
      const turn = () => {
        for (let i = 0; i < 200; i++, rounds++) {
          const error = addon.guard([12], i % 2 ? fds : [], []);
          if (error) throw new Error('guard: ' + error);
        }
        if (rounds < 10000 || heard < 50) return setImmediate(turn);
        flood.kill('SIGKILL');
        flood.on('exit', () => { console.log('heard', heard, 'in', rounds); process.exit(0); });
      };
      setImmediate(turn);
    `,
    );
    assert.deepEqual(await end, [0, null]);
    assert.match(output(), /heard \d\d+ in \d{5}/);
    assert.equal(child.exitCode, 0);
  });

  test('shuts the sockets, kills and waits, without a signal', async (t) => {
    const { output } = await addonChild(
      t,
      `
      const { createServer, connect } = require('node:net');
      const helper = require('node:child_process').spawn('sleep', ['60']);
      const lives = () => {
        try {
          return process.kill(helper.pid, 0);
        } catch ({ code }) {
          return code;
        }
      };
      const server = createServer().listen(0, '127.0.0.1', () => {
        const { port } = server.address();
        addon.reusePort(server._handle.fd);
        const sibling = addon.sibling(server._handle.fd, 16);
        addon.guard([], [sibling], [helper.pid]);
        server.close(() => {
          const first = connect(port, '127.0.0.1', () => {
            first.destroy();
            addon.shutAll();
            console.log('helper', lives());
            connect(port, '127.0.0.1', () => console.log('second connected')).on('error', ({ code }) => console.log('second', code));
          });
        });
      });
    `,
    );
    await until(() => output().includes('second'), output);
    // waited for, too: it is no zombie
    assert.match(output(), /helper ESRCH/);
    assert.match(output(), /second ECONNREFUSED/);
  });

  test('is as long as it has to be, and replaces what was guarded before', async (t) => {
    const {
      process: child,
      output,
      end,
    } = await addonChild(
      t,
      `
      const { spawn, spawnSync } = require('node:child_process');
      const past = spawn('sleep', ['60']);
      addon.guard([15], [], [past.pid]);
      const pids = String(spawnSync('sh', ['-c', 'for i in $(seq ${MANY_PIDS}); do sleep 60 >/dev/null 2>&1 & echo $!; done']).stdout);
      const fds = Array.from({ length: ${MANY_SOCKETS / 2} }, () => addon.pair()).flat();
      const server = require('node:net').createServer().listen(0, '127.0.0.1', () => {
        const { fd } = server._handle;
        const holder = spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', fd] });
        const error = addon.guard([15], [...fds, fd], pids.trim().split('\\n').map(Number));
        console.log(JSON.stringify({ error, port: server.address().port, past: past.pid, holder: holder.pid }));
        console.log('pids', pids.trim().split('\\n').join(), 'all');
      });
    `,
    );
    await until(
      () => output().includes(' all'),
      () => `the guard:\n${output()}`,
    );
    const [, json, list] = /^(\{.*\})\npids (\S+) all$/m.exec(output()) ?? assert.fail(output());
    const guard = JSON.parse(json as string);
    const pids = (list as string).split(',').map(Number);
    t.after(() => {
      for (const pid of [guard.past, guard.holder, ...pids].filter(lives)) process.kill(pid, 'SIGKILL');
    });
    assert.equal(guard.error, 0);
    assert.equal(pids.filter(lives).length, MANY_PIDS);
    child.kill('SIGTERM');
    assert.deepEqual(await end, [null, 'SIGTERM']);
    await until(() => !pids.some(lives), 'the end of all');
    assert.ok(lives(guard.past), 'what is not guarded any more');
    // its holder has the last socket still, and it does not listen
    assert.ok(lives(guard.holder));
    assert.ok(await portFree(guard.port));
  });

  test('refuses what would be a catastrophe', () => {
    const addon = testAddon();
    for (const pid of [-1, 0, 1]) assert.ok(addon.guard([], [], [pid]) < 0, `process ${pid}`);
    for (const signal of [-1, 0, 9, 19, 65]) assert.ok(addon.guard([signal], [], []) < 0, `signal ${signal}`);
    for (const pid of [-1, 0]) assert.ok(addon.waitGone(1000, [pid]) < 0, `waiting for ${pid}`);
  });
});

describe('the end of a parent', () => {
  test('ends a worker that has armed its signal', async (t) => {
    const code = `const addon = require(${JSON.stringify(addonPath())});
      require('node:fs').writeSync(1, 'armed ' + addon.setParentDeathSignal(9) + ' ' + process.pid);
      for (;;) {}`;
    const { process: parent, output } = await addonChild(
      t,
      `
      const child = require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(code)}]);
      child.stdout.pipe(process.stdout);
    `,
    );
    await until(() => /armed 0 \d+/.test(output()), 'the worker');
    const worker = Number(/armed 0 (\d+)/.exec(output())?.[1]);
    parent.kill('SIGKILL');
    await until(() => !lives(worker), 'the end of a worker that never looks up', 2000);
  });
});

describe('waiting without pidfd_open', () => {
  const script = `
    const { spawn } = require('node:child_process');
    const quick = spawn('sleep', ['0.05']);
    const slow = spawn('sleep', ['60']);
    const start = performance.now();
    const first = addon.waitGone(200, [quick.pid, slow.pid]);
    const took = performance.now() - start;
    slow.kill('SIGKILL');
    const second = addon.waitGone(5000, [quick.pid, slow.pid]);
    let exits = 0;
    for (const child of [quick, slow]) child.on('exit', (code, signal) => { if (++exits === 2) console.log('result', first, took >= 199, second, signal); });
  `;
  for (const error of ['ENOSYS', 'EPERM']) {
    test(`asks every millisecond and leaves the children to libuv (${error})`, async (t) => {
      const { output } = await addonChild(t, script, refusing(`pidfd_open:${error}`));
      await until(() => output().includes('result'), 'both exits');
      assert.match(output(), /result 1 true 0 /);
    });
  }

  test('sees the end of a process that is no child', async (t) => {
    const stranger = spawn('sleep', ['60']);
    t.after(() => stranger.kill('SIGKILL'));
    const { output } = await addonChild(
      t,
      `
      console.log('before', addon.waitGone(20, [${stranger.pid}]));
      setTimeout(() => console.log('after', addon.waitGone(5000, [${stranger.pid}])), 10);
    `,
      refusing('pidfd_open:ENOSYS'),
    );
    await until(() => output().includes('before 1'), 'the first look');
    stranger.kill('SIGKILL');
    await once(stranger, 'exit');
    await until(() => output().includes('after 0'), 'the second look');
  });
});
