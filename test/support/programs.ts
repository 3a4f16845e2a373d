// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import {
  type App,
  answeredBy,
  answering,
  childrenOf,
  fixture,
  freePort,
  hook,
  multiplied,
  request,
  startApp,
  until,
} from './app';
import { temporaryFolder } from './temporary';

export const HOST = '127.0.0.1';

/** programs-app.js, which starts programs where it is told to. */
export interface ProgramTree {
  app: App;
  workers: number[];
  /** Lets the origin, or plain Node, do what the path says; resolves to its answer. */
  origin(path: string): Promise<string>;
  /** The same in a worker. */
  worker(path: string): Promise<string>;
}

export interface ProgramTreeOptions {
  /** false: plain Node; 'options': by NODE_OPTIONS, which all programs inherit. */
  hooked?: boolean | 'options';
  prefix?: string[];
}

export async function startPrograms(
  t: TestContext,
  { hooked = true, prefix = [] }: ProgramTreeOptions = {},
): Promise<ProgramTree> {
  const folder = temporaryFolder('programs');
  const [ask, answer] = [join(folder, 'ask'), join(folder, 'answer')];
  const port = await freePort(HOST);
  const env = {
    ASK: ask,
    ANSWER: answer,
    CHILD: fixture('http-app.js'),
    HOOK: hook,
    ...(hooked === 'options' ? { NODE_OPTIONS: `-r ${hook}` } : {}),
  };
  const app = startApp(fixture('programs-app.js'), { port, hook: hooked === true, env, prefix });
  t.after(() => app.stop());
  if (!hooked) await answering(port, HOST);
  const workers = hooked ? await multiplied(app, 2, HOST) : [];
  const origin = prefix.length === 0 ? app.pid : (childrenOf(app.pid)[0] as number);
  return {
    app,
    workers,
    async origin(path) {
      writeFileSync(ask, path);
      process.kill(origin, 'SIGUSR1');
      const text = await until(
        () => existsSync(answer) && readFileSync(answer, 'utf8'),
        `an answer to ${path}`,
      );
      rmSync(answer);
      return text;
    },
    async worker(path) {
      const response = await request(port, path, HOST);
      assert.ok(workers.includes(answeredBy(response) as number));
      return response.slice(response.indexOf('\r\n\r\n') + 4);
    },
  };
}
