// SPDX-License-Identifier: Apache-2.0
// fixtures/growth-app.js, and how it comes to have more workers.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { addonPath } from './addon';
import { type App, answering, fixture, freePort, hook, startApp, until } from './app';
import { askEach } from './ask';
import { HOST } from './balance';
import { Load } from './load';
import { temporaryFolder } from './temporary';

const PATIENCE_MS = 10_000;

interface Who {
  pid: number;
  workers: number;
}

export interface Growing {
  app: App;
  /** It listens there, too. */
  second: number;
  /** CPUs that the app may use from now on, where it sees those of a file. */
  cpus(count: number): void;
}

/** The app, which answers. `cpus`: so many CPUs it sees, of which the machine need not have more than two. */
export async function start(
  t: TestContext,
  { cpus, prefix = [], env = {} }: { cpus?: number; prefix?: string[]; env?: Record<string, string> },
): Promise<Growing> {
  const folder = temporaryFolder('cpus');
  const file = join(folder, 'cpus');
  // in place, at once, and always as long: the app has it open
  const tell = (count: number) =>
    writeFileSync(file, JSON.stringify(Array.from({ length: count }, (_, cpu) => cpu)).padEnd(200), {
      flag: 'r+',
    });
  writeFileSync(file, '');
  tell(cpus ?? 0);
  const second = await freePort(HOST);
  const app = startApp(fixture('growth-app.js'), {
    port: await freePort(HOST),
    hook: cpus === undefined ? true : ['-r', fixture('preloads/more-cpus.cjs'), '-r', hook],
    env: { FASTSOCKET_WORKERS: 'auto', ADDON: addonPath(), CPUS: file, HOST, SECOND: `${second}`, ...env },
    prefix,
  });
  t.after(() => app.stop());
  await answering(app.port, HOST);
  return { app, second, cpus: tell };
}

/** So many workers serve on both ports, and all know it. */
export async function serving({ app, second }: Growing, count: number): Promise<number[]> {
  const workers = await until(
    () => app.workers().length === count && app.workers(),
    () => `${count} workers:\n${app.stderr}`,
    PATIENCE_MS,
  );
  for (const port of [app.port, second])
    await until(
      async () => (await askEach<Who>(port, '/who', workers)).every((who) => who.workers === count),
      () => `each of ${workers} serves, and knows of ${count}:\n${app.stderr}`,
      PATIENCE_MS,
    );
  return workers;
}

/** Clients of both ports, of whom none fails while the app comes to have so many workers. */
export async function underLoad(
  t: TestContext,
  tree: Growing,
  change: () => void,
  count: number,
): Promise<number[]> {
  const loads = [tree.app.port, tree.second].map((port) => new Load(port, { clients: 3, host: HOST }));
  t.after(() => loads.forEach((load) => load.stop()));
  const begun = performance.now();
  change();
  const workers = await serving(tree, count);
  t.diagnostic(`${count} workers in ${Math.round(performance.now() - begun)} ms`);
  for (const load of loads) {
    const { answered, ...failed } = await load.served();
    assert.ok(answered > 0);
    assert.deepEqual(failed, { refused: 0, lost: 0, cut: 0 });
  }
  return workers;
}
