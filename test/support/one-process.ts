// SPDX-License-Identifier: Apache-2.0
import type { TestContext } from 'node:test';
import { type App, fixture, freePort, startApp, until } from './app';

export interface OneProcess {
  /** false: plain Node. */
  hook: boolean;
  /** MODE in its environment. */
  mode: string;
  env?: Record<string, string>;
  prefix?: string[];
}

/** Starts a fixture in one process with all of the seam, on 127.0.0.1, and waits until it says that it is listening. */
export async function startOneProcess(
  t: TestContext,
  script: string,
  { hook, mode, env = {}, prefix = [] }: OneProcess,
): Promise<App> {
  const app = startApp(fixture(script), {
    port: await freePort('127.0.0.1'),
    hook,
    prefix,
    env: { MODE: mode, FASTSOCKET_WORKERS: '1', FASTSOCKET_SEAM: 'on', ...env },
  });
  t.after(() => app.stop());
  await until(
    () => app.stdout.includes('listening'),
    () => `a listener:\n${app.stderr}`,
  );
  return app;
}
