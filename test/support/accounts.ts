// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';

export interface Outcome {
  id: string;
  port: number;
  end: 'answered' | 'wrong' | 'refused' | 'broken' | 'hung';
}

/** Clients in a closed loop, one request a connection, each with an id; every connection's end is kept. */
export class Customers {
  readonly outcomes: Outcome[] = [];
  private running = 0;
  private stopped = false;
  private lastId = 0;

  constructor(
    private readonly port: number,
    clients: number,
  ) {
    for (let i = 0; i < clients; i++) this.next();
  }

  /** No client begins anew; resolves when all have ended. */
  async stop(): Promise<void> {
    this.stopped = true;
    while (this.running > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  private next(): void {
    if (this.stopped) return;
    this.running++;
    const id = `r${++this.lastId}`;
    let text = '';
    let port = 0;
    let hung = false;
    const socket = connect(this.port, '127.0.0.1', () => {
      port = socket.localPort ?? 0;
      socket.write(`GET /${id} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    });
    socket.setTimeout(5_000, () => {
      hung = true;
      socket.destroy();
    });
    socket.on('data', (data) => {
      text += data;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.running--;
      const end = text.endsWith(`=${id}=`)
        ? 'answered'
        : hung
          ? 'hung'
          : port === 0
            ? 'refused'
            : text === ''
              ? 'broken'
              : 'wrong';
      this.outcomes.push({ id, port, end });
      setImmediate(() => this.next());
    });
  }
}

export interface Accounts {
  answered: number;
  refused: number;
  /** Never answered nor ended within 5 s. */
  hung: number;
  /** Broken, and a process had accepted the connection. */
  accepted: number;
  /** Broken, and no process had. */
  queued: number;
  /** Answered with something else, or asked of two processes. */
  wrong: number;
}

/** Holds the clients' ends against what the processes wrote down before they answered. */
export function settle(outcomes: readonly Outcome[], ledger: string): Accounts {
  const accepted = new Set<number>();
  const requests = new Map<string, number>();
  for (const line of readFileSync(ledger, 'utf8').split('\n')) {
    const [kind, , what = ''] = line.split(' ');
    if (kind === 'accept') accepted.add(Number(what));
    else if (kind === 'request') requests.set(what, (requests.get(what) ?? 0) + 1);
  }
  const accounts: Accounts = { answered: 0, refused: 0, hung: 0, accepted: 0, queued: 0, wrong: 0 };
  for (const { id, port, end } of outcomes) {
    if ((requests.get(id) ?? 0) > 1) accounts.wrong++;
    if (end === 'broken') accounts[accepted.has(port) ? 'accepted' : 'queued']++;
    else accounts[end]++;
  }
  return accounts;
}
