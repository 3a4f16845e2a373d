// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Place, serverWords } from './place';
import { cpuNs } from './proc';
import { killGroup, startProgram } from './processes';
import { type PortSockets, parseSockets } from './sockets';

const START_MS = 15_000;
const LOOK_MS = 10;

export interface ServerSpec {
  words: readonly string[];
  env: NodeJS.ProcessEnv;
  port: number;
  /** What it gets when the benchmark itself is killed; a server with children of its own must end them then. */
  deathSignal?: string;
}

/** A fresh server on a CPU of its own. */
export class Server {
  private said = '';
  private readonly closed: Promise<unknown>;

  private constructor(
    private readonly child: ChildProcess,
    readonly port: number,
  ) {
    this.closed = once(child, 'close');
    this.closed.catch(() => {}); // 'error', when it could not be started: start() sees it
    child.stdout?.resume();
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.said += text;
    });
  }

  /** Resolves when it listens. */
  static async start(place: Place, spec: ServerSpec): Promise<Server> {
    const server = new Server(
      startProgram(serverWords(place, spec.words, spec.deathSignal), spec.env),
      spec.port,
    );
    try {
      await server.listening();
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  private async listening(): Promise<void> {
    const end = performance.now() + START_MS;
    while (!this.sockets().listening) {
      const { exitCode, signalCode } = this.child;
      if (this.child.pid === undefined || exitCode !== null || signalCode !== null)
        throw new Error(
          `the server has ended (${exitCode ?? signalCode ?? 'it could not start'})\n${this.said}`,
        );
      if (performance.now() > end)
        throw new Error(`the server does not listen within ${START_MS} ms\n${this.said}`);
      await sleep(LOOK_MS);
    }
  }

  get pid(): number {
    return this.child.pid as number;
  }

  get stderr(): string {
    return this.said;
  }

  /**
   * User and system time of all its threads and children since it started, in nanoseconds.
   * @param thread of those alone that are called so
   */
  cpuNs(thread?: string): number {
    return cpuNs(this.pid, thread);
  }

  /** As its own network namespace sees them. */
  sockets(): PortSockets {
    try {
      return parseSockets(readFileSync(`/proc/${this.pid}/net/tcp`, 'utf8'), this.port);
    } catch {
      return parseSockets('', this.port); // it has ended
    }
  }

  async stop(): Promise<void> {
    killGroup(this.child);
    await this.closed.catch(() => {});
  }
}
