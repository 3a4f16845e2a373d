// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** A process that has not answered by then is busy or gone: its last answer stands. */
const ANSWER_MS = 2_000;

/** The benchmark's end of the preloads that answer questions (answers.ts): one connection for each server process. */
export class Reports<T extends { pid: number }> {
  private readonly server: Server;
  private readonly processes = new Map<Socket, { report?: T; answered?: () => void }>();

  private constructor(server: Server) {
    this.server = server.on('connection', (socket) => this.accept(socket));
  }

  /** @param path of a Unix socket */
  static async listen<T extends { pid: number }>(path: string): Promise<Reports<T>> {
    const server = createServer().listen(path);
    await once(server, 'listening');
    return new Reports<T>(server);
  }

  private accept(socket: Socket): void {
    const process: { report?: T; answered?: () => void } = {};
    this.processes.set(socket, process);
    createInterface(socket).on('line', (line) => {
      process.report = JSON.parse(line) as T;
      process.answered?.();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.processes.delete(socket);
      process.answered?.();
    });
  }

  /** What each living server process says. */
  async ask(): Promise<T[]> {
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
    return processes.map(([, { report }]) => report).filter((report) => report !== undefined);
  }

  pids(): number[] {
    return [...this.processes.values()].flatMap(({ report }) => (report ? [report.pid] : []));
  }

  close(): void {
    this.server.close();
    for (const socket of this.processes.keys()) socket.destroy();
  }
}
