// SPDX-License-Identifier: Apache-2.0
// What the kernel knows of a port's sockets. Through ss(8), because a filter in the kernel leaves out what the tests of
// the last minute have left in TIME_WAIT: /proc/net/tcp with tens of thousands of those takes seconds to read.
import { execFile, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { promisify } from 'node:util';
import { until } from './app';

interface TcpSocket {
  listens: boolean;
  /** Of a listening socket: finished handshakes that nobody has accepted. */
  queued: number;
  remotePort: number;
  /** '' where no process has it: not accepted yet, or closed. */
  inode: string;
}

/** Why sockets cannot be looked at here; undefined where they can. */
export function whyNoSockets(): string | undefined {
  return spawnSync('ss', ['-V']).status === 0 ? undefined : 'needs ss (iproute2)';
}

/** @param prefix words before a command that is to run in another network namespace */
async function socketsAt(
  port: number,
  prefix: readonly string[],
  which: 'sport' | 'dport' = 'sport',
): Promise<TcpSocket[]> {
  const filter = ['state', 'all', 'exclude', 'time-wait', which, '=', `:${port}`];
  const [command, ...words] = [...prefix, 'ss', '-Htne', ...filter];
  const { stdout } = await promisify(execFile)(command as string, words, { maxBuffer: 1 << 24 });
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [state, queued, , , remote = ''] = line.split(/\s+/);
      return {
        listens: state === 'LISTEN',
        queued: Number(queued),
        remotePort: Number(remote.slice(remote.lastIndexOf(':') + 1)),
        inode: /\bino:(\d+)/.exec(line)?.[1] ?? '',
      };
    });
}

/** Inodes of the sockets that a process has open. */
function socketsOf(pid: number): Set<string> {
  const inodes = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const match = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`));
      if (match?.[1]) inodes.add(match[1]);
    } catch {
      // closed since the folder was read
    }
  }
  return inodes;
}

/** Connections that wait to be accepted on the listening sockets of `port` that a process has open. */
export async function queueOf(pid: number, port: number, prefix: readonly string[] = []): Promise<number> {
  const own = socketsOf(pid);
  return (await socketsAt(port, prefix))
    .filter(({ listens, inode }) => listens && own.has(inode))
    .reduce((sum, { queued }) => sum + queued, 0);
}

/** How many listening sockets of `port` a process has open, each once, however many descriptors lead to it. */
export async function listenersOf(pid: number, port: number): Promise<number> {
  const own = socketsOf(pid);
  return (await socketsAt(port, [])).filter(({ listens, inode }) => listens && own.has(inode)).length;
}

/** Client ports of the connections that a process has accepted on `port` and has not closed. Exact if it stands still. */
export async function acceptedBy(pid: number, port: number): Promise<Set<number>> {
  const own = socketsOf(pid);
  // the kernel walks its table in steps, and beside a socket that goes meanwhile another can be missed: twice is enough
  const sockets = (await Promise.all([socketsAt(port, []), socketsAt(port, [])])).flat();
  return new Set(
    sockets.filter(({ listens, inode }) => !listens && own.has(inode)).map(({ remotePort }) => remotePort),
  );
}

/** How many sockets a process has towards a port, whatever their state. Exact if it stands still. */
export async function madeBy(pid: number, port: number, prefix: readonly string[] = []): Promise<number> {
  const own = socketsOf(pid);
  return (await socketsAt(port, prefix, 'dport')).filter(({ inode }) => own.has(inode)).length;
}

/** Connections that the kernel has dropped because a listening socket of `port` had no room, since they were opened. */
export async function dropsAt(port: number): Promise<number> {
  // skmem:(r0,...,dN): ss(8)
  const { stdout } = await promisify(execFile)('ss', ['-Hltm', 'sport', '=', `:${port}`]);
  return [...stdout.matchAll(/skmem:\(.*?\bd(\d+)\)/g)].reduce((sum, [, drops]) => sum + Number(drops), 0);
}

/** Stops a process; resolves when it has stopped. */
export async function standStill(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  await until(() => /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')), `${pid} stands still`);
}
