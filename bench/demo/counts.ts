// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ProcessCount } from './types';

/** A process that has not answered by then is busy or gone: its last answer stands. */
const ANSWER_MS = 2_000;

/** The demo's end of the counting preload (count.ts): one connection for each server process. */
export class Counts {
  private readonly server: Server;
  private readonly processes = new Map<Socket, { count?: ProcessCount; answered?: () => void }>();

  private constructor(server: Server) {
    this.server = server.on('connection', (socket) => this.accept(socket));
  }

  /** @param folder the servers' working directory */
  static async listen(folder: string): Promise<Counts> {
    const server = createServer().listen(join(folder, 'counts.sock'));
    await once(server, 'listening');
    return new Counts(server);
  }

  private accept(socket: Socket): void {
    const process: { count?: ProcessCount; answered?: () => void } = {};
    this.processes.set(socket, process);
    createInterface(socket).on('line', (line) => {
      process.count = JSON.parse(line) as ProcessCount;
      process.answered?.();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.processes.delete(socket);
      process.answered?.();
    });
  }

  /** What each living server process has counted since it started. */
  async ask(): Promise<ProcessCount[]> {
    const processes = [...this.processes];
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ANSWER_MS);
    });
    const answers = processes.map(([socket, process]) => {
      const answered = new Promise<void>((resolve) => {
        process.answered = resolve;
      });
      socket.write('?');
      return answered;
    });
    await Promise.race([Promise.all(answers), late]);
    clearTimeout(timer);
    return processes.map(([, { count }]) => count).filter((count) => count !== undefined);
  }

  pids(): number[] {
    return [...this.processes.values()].flatMap(({ count }) => (count ? [count.pid] : []));
  }

  close(): void {
    this.server.close();
    for (const socket of this.processes.keys()) socket.destroy();
  }
}

/** What was counted between two questions; processes that accepted nothing in between are left out. */
export function countsSince(before: readonly ProcessCount[], after: readonly ProcessCount[]): ProcessCount[] {
  const earlier = new Map(before.map((count) => [count.pid, count]));
  return after
    .map(({ pid, accepted, cpus }) => {
      const old = earlier.get(pid);
      const oldCpus = new Map(old?.cpus.map(([cpu, connections, local]) => [cpu, { connections, local }]));
      return {
        pid,
        accepted: accepted - (old?.accepted ?? 0),
        cpus: cpus
          .map(([cpu, connections, local]): [number, number, number] => {
            const { connections: c = 0, local: l = 0 } = oldCpus.get(cpu) ?? {};
            return [cpu, connections - c, local - l];
          })
          .filter(([, connections]) => connections > 0),
      };
    })
    .filter(({ accepted }) => accepted > 0);
}
