// SPDX-License-Identifier: Apache-2.0
// What can be seen of an app's end from outside.
import { connect, createServer } from 'node:net';
import { type App, type Ended, lives, until } from './app';

/** When the exit status can be seen. App.ended comes later: its streams are open while any worker has them. */
export function exited({ child }: App): Promise<Ended> {
  const now = (): Ended => ({ code: child.exitCode, signal: child.signalCode });
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(now());
  return new Promise((resolve) => child.once('exit', () => resolve(now())));
}

function refused(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  });
}

function listens(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** Nobody answers on the port, and the next instance may have it: looked at now. */
export async function portFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  return (await refused(port, host)) && (await listens(port, host));
}

/** How long until the port is free, in ms; throws after `ms`. */
export async function untilPortFree(port: number, ms = 5_000): Promise<number> {
  const start = performance.now();
  await until(() => portFree(port), `port ${port} is free`, ms);
  return performance.now() - start;
}

/** Throws where one of these processes outlives its origin. One that has been killed takes a moment to go. */
export async function noneLeft(pids: number[], ms = 2_000): Promise<void> {
  await until(() => !pids.some(lives), `the end of all of ${pids}`, ms);
}
