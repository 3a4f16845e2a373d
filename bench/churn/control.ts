// SPDX-License-Identifier: Apache-2.0
// How the bench tells its programs what to do, whatever network they are in.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const PATIENCE_MS = 120_000;
const LOOK_MS = 10;

/** A process that has called. */
export class Member {
  private waiting: { resolve(answer: unknown): void; reject(error: Error): void }[] = [];
  private gone = false;

  constructor(
    readonly pid: number,
    readonly parent: number,
    private readonly socket: Socket,
  ) {
    socket.on('close', () => {
      this.gone = true;
      for (const { reject } of this.waiting.splice(0)) reject(new Error(`process ${pid} has gone`));
    });
  }

  answered(answer: unknown): void {
    this.waiting.shift()?.resolve(answer);
  }

  /** @throws Error when it ends, or does not answer */
  async ask<T>(what: string, rest: object = {}): Promise<T> {
    if (this.gone) throw new Error(`process ${this.pid} has gone`);
    const answer = new Promise<unknown>((resolve, reject) => this.waiting.push({ resolve, reject }));
    this.socket.write(`${JSON.stringify({ what, ...rest })}\n`);
    const timer = setTimeout(() => this.socket.destroy(), PATIENCE_MS);
    try {
      return (await answer) as T;
    } finally {
      clearTimeout(timer);
    }
  }
}

export class Control {
  private readonly folder = mkdtempSync(join(tmpdir(), 'bench-churn-'));
  readonly path = join(this.folder, 'control');
  private readonly members: Member[] = [];
  private readonly server = createServer((socket) => this.join(socket)).listen(this.path);
  private readonly remove = () => rmSync(this.folder, { recursive: true, force: true });

  constructor() {
    process.on('exit', this.remove);
  }

  private join(socket: Socket): void {
    let member: Member | undefined;
    socket.on('error', () => {});
    createInterface({ input: socket }).on('line', (line) => {
      const { pid, parent, answer } = JSON.parse(line);
      if (member) return member.answered(answer);
      member = new Member(pid, parent, socket);
      this.members.push(member);
    });
  }

  /** @throws Error when they have not called in time */
  async called(what: string, count: number, are: (member: Member) => boolean): Promise<Member[]> {
    for (const end = performance.now() + PATIENCE_MS; ; await sleep(LOOK_MS)) {
      const found = this.members.filter(are);
      if (found.length >= count) return found;
      if (performance.now() > end) throw new Error(`${what}: ${found.length} of ${count} have called`);
    }
  }

  close(): void {
    this.server.close();
    this.remove();
    process.off('exit', this.remove);
  }
}
