// SPDX-License-Identifier: Apache-2.0
// Servers of Debian's packages, each with its files in a folder of its own: nothing of what the machine runs is used.
import { execFileSync, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { App } from './app';
import type { Namespace } from './netns';

/** Debian's user that owns nothing; PostgreSQL refuses to be run by root. */
const NOBODY = 65_534;
const AS_NOBODY = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];

function find(program: string): string | undefined {
  const versions = '/usr/lib/postgresql';
  const found = existsSync(versions) ? readdirSync(versions).map((name) => join(versions, name, 'bin')) : [];
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', ...found];
  return folders.map((folder) => join(folder, program)).find(existsSync);
}

/** Why there is no such server; false where there is. */
const whyNo = (program: string, debian: string) =>
  find(program) ? false : `there is no ${program} (Debian's package ${debian})`;

export const noRedis = whyNo('redis-server', 'redis-server');
export const noPostgres = whyNo('initdb', 'postgresql');
export const noMariadb = whyNo('mariadbd', 'mariadb-server-core');

/** Its own, gone with the test. */
function ownFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'fastsocket-server-'));
  chownSync(folder, NOBODY, NOBODY);
  t.after(() => remove(folder));
  return folder;
}

const remove = (folder: string) => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });

interface Command {
  program: string;
  args: readonly string[];
  folder?: string;
  /** What it says when it is ready. */
  ready: RegExp;
  /** What ends it. */
  signal?: NodeJS.Signals;
}

/** Runs it in the namespace until it is ready; it ends with the test, or at the latest with this process. */
async function start(t: TestContext, namespace: Namespace, command: Command): Promise<App> {
  const { program, args, folder, ready, signal = 'SIGKILL' } = command;
  const prefix = [...namespace.prefix, ...AS_NOBODY, `--pdeathsig=${signal.slice(3)}`];
  // which of its outputs a server speaks to is its own business
  const words = [...prefix, 'sh', '-c', 'exec "$@" 1>&2', 'sh', find(program) ?? program, ...args];
  const child = spawn(words[0] as string, words.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] });
  const server = new App(child, 0);
  t.after(async () => {
    await server.stop(signal);
    if (folder) remove(folder);
  });
  await server.said(ready);
  return server;
}

/** Keeps nothing on disk, and so can be killed and started again. */
export function redis(t: TestContext, namespace: Namespace, port: number): Promise<App> {
  const options = ['--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', '/'];
  return start(t, namespace, {
    program: 'redis-server',
    args: ['--port', `${port}`, ...options],
    ready: /Ready to accept connections/,
  });
}

export function postgres(t: TestContext, namespace: Namespace, port: number): Promise<App> {
  const folder = ownFolder(t);
  const initdb = [find('initdb') as string, '--no-sync', '--auth=trust', '--username=postgres', '--locale=C'];
  execFileSync('setpriv', [...AS_NOBODY.slice(1), ...initdb, '-D', folder], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const settings = [
    `port=${port}`,
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'fsync=off',
    'max_connections=300',
    // who has not said who they are stays
    'authentication_timeout=600',
  ];
  return start(t, namespace, {
    program: 'postgres',
    args: ['-D', folder, ...settings.flatMap((one) => ['-c', one])],
    folder,
    ready: /ready to accept connections/,
    // an orderly end: killed, it would leave shared memory behind
    signal: 'SIGINT',
  });
}

/** Without tables of privileges: anybody may do anything. */
export function mariadb(t: TestContext, namespace: Namespace, port: number): Promise<App> {
  const folder = ownFolder(t);
  const options = [
    '--no-defaults',
    '--skip-grant-tables',
    `--datadir=${folder}`,
    `--socket=${folder}/socket`,
    `--pid-file=${folder}/pid`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    '--innodb-buffer-pool-size=8M',
    '--innodb-log-file-size=4M',
    '--max-connections=500',
    // who has not said who they are stays
    '--connect-timeout=600',
  ];
  return start(t, namespace, {
    program: 'mariadbd',
    args: options,
    folder,
    ready: /ready for connections/,
  });
}
