// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { App } from './app';

/** Starts a program that is no script of node's, with PORT in its environment, two workers and the debug log. */
export function spawnImage(words: readonly string[], port: number, env: Record<string, string>): App {
  const [command, ...rest] = words;
  const child = spawn(command as string, rest, {
    env: {
      PATH: process.env['PATH'],
      PORT: String(port),
      FASTSOCKET_WORKERS: '2',
      NODE_DEBUG: 'fastsocket',
      ...env,
    } as NodeJS.ProcessEnv,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return new App(child, port);
}
