// SPDX-License-Identifier: Apache-2.0
// An app beside another preload: with the hook before it, behind it, and without the hook.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import {
  type App,
  answeredBy,
  answering,
  type Ended,
  fixture,
  freePort,
  hook,
  hookModule,
  multiplied,
  request,
  root,
  startApp,
  until,
} from './app';
import { exited, noneLeft, portFree } from './ending';
import { Ledger } from './ledger';

const HOST = '127.0.0.1';

/** Where the hook stands among the preloads. */
export type Place = 'none' | 'first' | 'last';

export interface Preload {
  /** -r and --import: Node runs all of the first kind before the second. */
  flag: '-r' | '--import';
  module: string;
  env?: Record<string, string>;
  /** A script in the place of preloads/app.js. */
  script?: string;
}

export interface Running {
  app: App;
  ledger: Ledger;
  workers: number[];
}

export async function startBeside(t: TestContext, preload: Preload, place: Place): Promise<Running> {
  const { flag, module, env = {}, script = fixture('preloads/app.js') } = preload;
  const ours = [flag, flag === '-r' ? hook : hookModule];
  const theirs = [flag, module];
  const ledger = new Ledger();
  const app = startApp(script, {
    port: await freePort(HOST),
    hook: { none: theirs, first: [...ours, ...theirs], last: [...theirs, ...ours] }[place],
    env: { LEDGER: ledger.path, ...env },
    detached: true,
    // where the names of packages are looked up from
    cwd: root,
  });
  t.after(() => app.stop());
  const workers = place === 'none' ? [] : await multiplied(app, 2, HOST);
  if (place === 'none') await answering(app.port, HOST);
  return { app, ledger, workers };
}

/** The raw answer but what differs from process to process and from second to second. */
const lasting = (response: string): string => response.replace(/^(x-pid|date): .*\r\n/gim, '');

/** What the app says, each answer once, until every worker has said something. */
async function conversation({ app, workers }: Running): Promise<string[]> {
  const said = new Set<string>();
  const silent = new Set(workers);
  await until(
    async () => {
      const response = await request(app.port, '/', HOST);
      said.add(lasting(response));
      silent.delete(answeredBy(response) as number);
      return silent.size === 0;
    },
    `answers of ${[...silent]}`,
  );
  return [...said];
}

/** A connection that is kept alive after one answer. */
async function keptAlive(port: number): Promise<Socket> {
  const socket = connect(port, HOST);
  socket.on('error', () => {});
  socket.write('GET / HTTP/1.1\r\nHost: test\r\n\r\n');
  await once(socket, 'data');
  return socket;
}

export interface Outcome {
  said: string[];
  /** The answer that was under way when the signal came. */
  underWay: string;
  ended: Ended;
  /** What each process has noted from the signal on, each history once. */
  histories: string[];
  stdout: string[];
  stderr: string[];
}

/** Lines that the app and its preloads have written, each once: a tree says them once for each process. */
const lines = (text: string): string[] => {
  const own = text.replace(/^FASTSOCKET .*\n/gm, '').replaceAll(/\(node:\d+\)/g, '(node)');
  return [...new Set(own.split('\n').filter(Boolean))].sort();
};

/** Talks to the app, and ends it by a signal while it has something to do. */
export async function outcome(
  t: TestContext,
  running: Running,
  send: (pid: number) => void | Promise<void>,
): Promise<Outcome> {
  const { app, ledger, workers } = running;
  const said = await conversation(running);
  const kept = await Promise.all([keptAlive(app.port), keptAlive(app.port)]);
  t.after(() => kept.forEach((socket) => socket.destroy()));
  const slow = request(app.port, '/slow', HOST).then(lasting, () => '');
  await until(() => ledger.count('asked') === 1, 'a request under way');
  await send(app.pid);
  const ended = await exited(app);
  const free = await portFree(app.port);
  if (!free) throw new Error(`port ${app.port} is not free when the end can be seen`);
  await noneLeft(workers);
  await app.ended;
  const underWay = await slow;
  await until(() => kept.every((socket) => socket.closed), 'the end of all connections');
  const busy = /^(answered|asked)$/;
  const histories = [app.pid, ...workers].map((pid) =>
    ledger
      .of(pid)
      .filter((event) => !busy.test(event))
      .join(', '),
  );
  return {
    said,
    underWay,
    ended,
    histories: [...new Set(histories)],
    stdout: lines(app.stdout),
    stderr: lines(app.stderr),
  };
}
