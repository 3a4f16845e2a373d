// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { snapshotEnvironment } from '../../lib/config/environment';
import { freePort } from '../lib/free-port';
import { alive } from '../lib/proc';
import { killGroup, startGroup } from '../lib/processes';
import { Reports } from '../lib/reports';
import { countsSince } from './counts';
import type { Mode } from './modes';
import { settled } from './readiness';
import type { ProcessCount } from './types';

const START_MS = 15_000;
const BETWEEN_BATCHES_MS = 50;
const END_MS = 3_000;
const STDERR_KEPT = 4_096;

/** The application in one mode: a tree of processes of its own, from start to end. */
export class Server {
  private stderr = '';

  private constructor(
    private readonly child: ChildProcess,
    readonly counts: Reports<ProcessCount>,
    readonly port: number,
  ) {
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-STDERR_KEPT);
    });
  }

  /** Processes that accepted connections at the end of start(), and whether the started one was among them. */
  serving: { pids: readonly number[]; root: boolean } = { pids: [], root: false };

  /**
   * Starts it and waits until it is what it will be: all workers serve.
   * @param folder an own folder, its working directory
   * @param path what is asked for meanwhile
   */
  static async start(mode: Mode, folder: string, path: string): Promise<Server> {
    const counts = await Reports.listen<ProcessCount>(join(folder, 'counts.sock'));
    const port = await freePort();
    const env = { ...snapshotEnvironment(), ...mode.env };
    const server = new Server(startGroup([...mode.argv, String(port)], { cwd: folder, env }), counts, port);
    try {
      await server.ready(mode, path);
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  get pid(): number {
    return this.child.pid as number;
  }

  get origin(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Lines that fastsocket has written, with NODE_DEBUG=fastsocket its log. */
  remarks(): string[] {
    return this.stderr.split('\n').filter((line) => /^(fastsocket|FASTSOCKET \d+): /.test(line));
  }

  private async ready(mode: Mode, path: string): Promise<void> {
    const deadline = performance.now() + START_MS;
    let key = '';
    let since = 0;
    for (;;) {
      const before = await this.counts.ask();
      await Promise.all(Array.from({ length: 8 * mode.workers }, () => touch(this.origin + path)));
      const pids = countsSince(before, await this.counts.ask()).map(({ pid }) => pid);
      const now = performance.now();
      if (pids.sort().join() !== key) {
        key = pids.join();
        since = now;
      }
      this.serving = { pids, root: pids.includes(this.pid) };
      if (settled({ ...this.serving, unchangedMs: now - since }, mode)) return;
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw this.failure(mode, 'ended before it served');
      if (now > deadline) throw this.failure(mode, `did not serve within ${START_MS / 1000} s`);
      await sleep(BETWEEN_BATCHES_MS);
    }
  }

  private failure(mode: Mode, what: string): Error {
    return new Error(`the server (${mode.name}) ${what}\n${this.stderr}`);
  }

  /** Ends it as an operator would, by SIGTERM to the started process. Returns false where that was not enough. */
  async stop(): Promise<boolean> {
    const pids = [this.pid, ...this.counts.pids()];
    this.child.kill('SIGTERM');
    const deadline = performance.now() + END_MS;
    while (pids.some(alive) && performance.now() < deadline) await sleep(10);
    const ended = !pids.some(alive);
    killGroup(this.child);
    this.counts.close();
    return ended;
  }
}

/** One request on a connection of its own; whatever comes of it. */
function touch(url: string): Promise<void> {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: 2_000 }, (response) =>
      response.resume().on('close', resolve),
    );
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve());
  });
}
