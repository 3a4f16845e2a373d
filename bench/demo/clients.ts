// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { Latency } from '../lib/latency';
import { startFork } from '../lib/processes';
import type { ClientWindow, FromClient, LoadSpec, ToClient } from './load-messages';

/** What all clients together have seen. */
export interface LoadWindow {
  perSecond: number;
  p99Ms: number | undefined;
  failed: number;
  failure: string | undefined;
  /** CPU time as a share of one core for each client. */
  busy: number;
  cpuMs: number;
}

/** Client processes, single-threaded as autocannon and undici are, that share one load evenly. */
export class Clients {
  private readonly children: ChildProcess[];

  /** They are the same processes for all modes, so that they are equally warm. */
  constructor(count: number) {
    this.children = Array.from({ length: count }, () => startFork(join(__dirname, 'client.js')));
  }

  get count(): number {
    return this.children.length;
  }

  async start(spec: LoadSpec): Promise<void> {
    const share = Math.ceil(spec.connections / this.count);
    await this.tell({ kind: 'start', spec: { ...spec, connections: share } });
  }

  /** From now on answers count. */
  async begin(): Promise<void> {
    await this.tell({ kind: 'begin' });
  }

  async end(): Promise<LoadWindow> {
    const answers = await this.tell({ kind: 'end' });
    return together(answers.flatMap((answer) => (answer.kind === 'window' ? [answer.window] : [])));
  }

  async stop(): Promise<void> {
    await this.tell({ kind: 'stop' });
  }

  close(): void {
    for (const child of this.children) child.disconnect();
  }

  private tell(message: ToClient): Promise<FromClient[]> {
    return Promise.all(this.children.map((child) => ask(child, message)));
  }
}

function ask(child: ChildProcess, message: ToClient): Promise<FromClient> {
  return new Promise((resolve, reject) => {
    const ended = () => reject(new Error('a client process has ended before its time'));
    child.once('exit', ended);
    child.once('message', (answer: FromClient) => {
      child.off('exit', ended);
      resolve(answer);
    });
    child.send(message, (error) => {
      if (error) reject(error);
    });
  });
}

export function together(windows: readonly ClientWindow[]): LoadWindow {
  const latency = new Latency();
  for (const window of windows) latency.add(window.latency);
  const p99Us = latency.percentile(0.99);
  const sum = (value: (window: ClientWindow) => number): number =>
    windows.reduce((total, window) => total + value(window), 0);
  return {
    perSecond: sum(({ answered, elapsedMs }) => (answered / elapsedMs) * 1000),
    p99Ms: p99Us === undefined ? undefined : p99Us / 1000,
    failed: sum(({ failed }) => failed),
    failure: windows.find(({ failure }) => failure !== undefined)?.failure,
    busy: sum(({ cpuMs, elapsedMs }) => cpuMs / elapsedMs) / windows.length,
    cpuMs: sum(({ cpuMs }) => cpuMs),
  };
}
