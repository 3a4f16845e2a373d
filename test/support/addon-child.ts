// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { addonPath } from './addon';
import { until } from './app';

/** A child that hangs ends as a killed one, and the test sees the wrong status. */
const LONGEST_MS = 60_000;

export interface AddonChild {
  process: ChildProcess;
  output: () => string;
  /** Status and signal, when it has ended and all its output is here. */
  end: Promise<unknown[]>;
}

/**
 * A process with the addon, in which `body` has run.
 * @param prefix words before node
 */
export async function addonChild(t: TestContext, body: string, prefix: string[] = []): Promise<AddonChild> {
  const code = `const addon = require(${JSON.stringify(addonPath())}); ${body}; console.log('ready'); setInterval(() => {}, 1000);`;
  const [command, ...words] = [...prefix, process.execPath, '-e', code];
  const started = spawn(command as string, words, {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: LONGEST_MS,
    killSignal: 'SIGKILL',
  });
  t.after(() => started.kill('SIGKILL'));
  let text = '';
  started.stdout?.on('data', (data) => {
    text += data;
  });
  const end = once(started, 'close');
  await until(() => text.includes('ready') || started.exitCode !== null, 'the child');
  return { process: started, output: () => text, end };
}
