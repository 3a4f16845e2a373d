// SPDX-License-Identifier: Apache-2.0
// Tools that start an app again when it changes, with the hook in NODE_OPTIONS: the old processes go, all of the new ones
// serve on the same port, and the tool itself behaves as without the hook.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import {
  type App,
  answeredBy,
  childrenOf,
  fixture,
  freePort,
  hook,
  lives,
  request,
  root,
  startApp,
  until,
} from './support/app';
import { exited, noneLeft, untilPortFree } from './support/ending';
import { Ledger } from './support/ledger';
import { temporaryFolder } from './support/temporary';

const HOST = '127.0.0.1';

interface Tool {
  /** Name of the watched file. */
  file: string;
  execArgv?: string[];
  /** The tool's script; the watched file itself where Node is the tool. */
  script?: string;
  args?: string[];
}

const TOOLS: Record<string, Tool> = {
  'node --watch': { file: 'app.js', execArgv: ['--watch'] },
  nodemon: {
    file: 'app.js',
    script: join(root, 'node_modules/nodemon/bin/nodemon.js'),
    args: ['--no-stdin', '--no-update-notifier'],
  },
  'tsx watch': {
    file: 'app.ts',
    script: join(root, 'node_modules/tsx/dist/cli.mjs'),
    args: ['watch', '--clear-screen=false'],
  },
};

/** What only a request loads. */
const lazySource = (version: number): string => `module.exports = ${version};\n`;

const source = (version: number): string =>
  readFileSync(fixture('watched-app.js'), 'utf8').replace('VERSION = 1', `VERSION = ${version}`);

/** A change of the same length, at once: whoever is told of a file that is emptied first, and filled later, starts it twice. */
const change = (path: string, text: string): void => writeFileSync(path, text, { flag: 'r+' });

/** The tool will hear of changes of this file: it may have started the app before (proc(5), /proc/PID/fdinfo, inotify). */
function watched(tool: number, path: string): Promise<boolean> {
  const inode = statSync(path).ino.toString(16);
  const line = new RegExp(`^inotify wd:\\S+ ino:${inode} `, 'm');
  const has = (file: string) => {
    try {
      return line.test(readFileSync(file, 'utf8'));
    } catch {
      // closed since the folder was read
      return false;
    }
  };
  const watches = (pid: number) =>
    lives(pid) && readdirSync(`/proc/${pid}/fdinfo`).some((fd) => has(`/proc/${pid}/fdinfo/${fd}`));
  return until(() => [tool, ...childrenOf(tool)].some(watches), `a watch on ${path}`);
}

/** How long processes take to end, and whether a tool hears of a terminal's SIGINT, which all have at once, before the app ends. */
const TIMING = [
  /^.*\[nodemon\] (app crashed|still waiting for \d+ sub-process).*\n/gm,
  /^.*(Waiting for graceful termination|Gracefully restarted|Failed running).*\n/gm,
];

/** Lines of the tool and the app, each once, without what differs from run to run. */
const lines = (text: string, folder: string): string[] =>
  [
    ...new Set(
      TIMING.reduce((rest, timing) => rest.replace(timing, ''), text)
        .replaceAll(folder, 'FOLDER')
        .replace(/^FASTSOCKET .*\n/gm, '')
        .replaceAll(/\d+:\d+:\d+ [AP]M/g, 'TIME')
        // biome-ignore lint/suspicious/noControlCharactersInRegex: colours
        .replaceAll(/\x1b\[[0-9;]*m/g, '')
        .replaceAll(/\(node:\d+\)/g, '(node)')
        .split('\n')
        .filter(Boolean),
    ),
  ].sort();

interface How {
  hooked: boolean;
  graceful?: boolean;
}

/** The tool with an app that serves, by all of its processes. */
async function start(t: TestContext, { file, execArgv = [], script, args = [] }: Tool, how: How) {
  const { hooked, graceful = false } = how;
  const folder = temporaryFolder('watched');
  let app: App | undefined;
  t.after(async () => {
    app?.child.kill('SIGKILL');
    for (const { pid } of ledger.entries) if (lives(pid)) process.kill(pid, 'SIGKILL');
    await app?.ended;
  });
  const ledger = new Ledger();
  const path = join(folder, file);
  const lazy = join(folder, 'lazy.js');
  writeFileSync(path, source(1));
  writeFileSync(lazy, lazySource(1));
  const port = await freePort(HOST);
  app = startApp(script ?? path, {
    port,
    hook: false,
    execArgv,
    args: script === undefined ? [] : [...args, path],
    cwd: folder,
    detached: true,
    env: {
      LEDGER: ledger.path,
      GRACEFUL: graceful ? '1' : '',
      NODE_OPTIONS: hooked ? `-r ${hook}` : '',
      FASTSOCKET_WORKERS: '2',
    },
  });
  const started = (version: number) =>
    ledger.entries.filter(({ event }) => event === `version ${version}`).map(({ pid }) => pid);
  const serves = async (version: number) => {
    const pids = new Set<number>();
    await until(
      async () => {
        const response = await request(port, '/', HOST).catch(() => '');
        if (response.endsWith(`version ${version}`)) pids.add(answeredBy(response) as number);
        // the origin stands by when the workers serve
        const [origin] = started(version);
        return [...pids].filter((pid) => !hooked || pid !== origin).length === (hooked ? 2 : 1);
      },
      () => `version ${version} of all processes:\n${app?.stdout}${app?.stderr}`,
      30_000,
    );
  };
  await serves(1);
  await watched(app.pid, path);
  return { app, port, folder, path, lazy, started, serves };
}

/** The app changes, and later a terminal ends it. */
async function changed(t: TestContext, tool: Tool, how: How) {
  const { app, port, folder, path, started, serves } = await start(t, tool, how);
  change(path, source(2));
  await serves(2);
  await noneLeft(started(1));
  const second = started(2);
  assert.equal(second.length, how.hooked ? 3 : 1);
  process.kill(-app.pid, 'SIGINT');
  const ended = await exited(app);
  await noneLeft(second);
  await untilPortFree(port);
  // all that they have said has come
  await app.ended;
  return { ended, stdout: lines(app.stdout, folder), stderr: lines(app.stderr, folder) };
}

describe('a tool that watches', { concurrency: 2 }, () => {
  for (const [name, tool] of Object.entries(TOOLS)) {
    test(name, async (t) => {
      assert.deepEqual(await changed(t, tool, { hooked: true }), await changed(t, tool, { hooked: false }));
    });

    // its processes end as that one does, which has a handler of the tool's own
    if (name === 'tsx watch') continue;
    test(`${name}, an app that ends gracefully`, async (t) => {
      const plain = await changed(t, tool, { hooked: false, graceful: true });
      const hooked = await changed(t, tool, { hooked: true, graceful: true });
      assert.deepEqual(hooked.ended, plain.ended);
    });
  }

  for (const hooked of [false, true]) {
    test(`node --watch, a file that only a request loads${hooked ? '' : ', without the hook'}`, async (t) => {
      const { app, port, lazy, started } = await start(t, TOOLS['node --watch'] as Tool, { hooked });
      const said = () => request(port, '/lazy', HOST).catch(() => '');
      assert.match(await said(), /version 1$/);
      const first = started(1);
      await watched(app.pid, lazy);
      change(lazy, lazySource(7));
      await until(async () => {
        const response = await said();
        return /version 7$/.test(response) && !first.includes(answeredBy(response) as number);
      }, 'another start');
      await noneLeft(first);
    });
  }
});
