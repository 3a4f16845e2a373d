// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';

export interface Outcome {
  id: string;
  /** The client's; 0 where there was no connection. */
  port: number;
  end: 'answered' | 'wrong' | 'refused' | 'broken' | 'hung';
  /** Date.now() at both ends. */
  begun: number;
  ended: number;
}

const PATIENCE_MS = 5_000;

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
    const begun = Date.now();
    let text = '';
    let port = 0;
    let hung = false;
    const socket = connect(this.port, '127.0.0.1', () => {
      port = socket.localPort ?? 0;
      socket.write(`GET /${id} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    });
    const timer = setTimeout(() => {
      hung = true;
      socket.destroy();
    }, PATIENCE_MS);
    socket.on('data', (data) => {
      text += data;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      this.running--;
      let end: Outcome['end'] = 'wrong';
      if (text.endsWith(`=${id}=`)) end = 'answered';
      else if (hung) end = 'hung';
      else if (port === 0) end = 'refused';
      else if (text === '') end = 'broken';
      this.outcomes.push({ id, port, end, begun, ended: Date.now() });
      setImmediate(() => this.next());
    });
  }
}

export interface Kill {
  pid: number;
  /** Date.now() */
  at: number;
  /** Client ports of all that it had accepted and not closed; undefined where nobody could look. */
  accepted?: ReadonlySet<number> | undefined;
}

export interface Accounts {
  answered: number;
  refused: number;
  /** Never answered nor ended within 5 s. */
  hung: number;
  /** Broken, and the process that was killed had accepted the connection: what a kill may cost. */
  accepted: number;
  /** Broken, and no process had accepted it. */
  queued: number;
  /** Answered with something else, or asked of two processes. */
  wrong: number;
}

export const nothing = (): Accounts => ({
  answered: 0,
  refused: 0,
  hung: 0,
  accepted: 0,
  queued: 0,
  wrong: 0,
});

export function add(a: Accounts, b: Accounts): Accounts {
  const sum = { ...a };
  for (const key of Object.keys(b) as (keyof Accounts)[]) sum[key] += b[key];
  return sum;
}

interface Noted {
  pid: number;
  port: number;
  at: number;
}

/**
 * Whether the killed process had accepted a connection that broke. Where it was stopped first, that is known. Otherwise
 * from its notes, which it writes when it has the connection: one a kill may be missing, for between accept4() and the
 * note there is never more than one (libuv >= 1.45 accepts one connection a turn, src/unix/stream.c, uv__server_io).
 */
function hadAccepted(
  { port, begun, ended }: Outcome,
  kill: Kill,
  notes: readonly Noted[],
  unnoted: Set<Kill>,
): boolean {
  if (kill.accepted) return kill.accepted.has(port);
  if (
    notes.some((note) => note.pid === kill.pid && note.port === port && note.at >= begun && note.at <= ended)
  )
    return true;
  if (unnoted.has(kill)) return false;
  unnoted.add(kill);
  return true;
}

/** Holds the clients' ends against the kills and what the processes wrote down before they answered. */
export function settle(outcomes: readonly Outcome[], ledger: string, kills: readonly Kill[]): Accounts {
  const notes: Noted[] = [];
  const requests = new Map<string, number>();
  for (const line of readFileSync(ledger, 'utf8').split('\n')) {
    const [kind, pid, what = '', at] = line.split(' ');
    if (kind === 'accept') notes.push({ pid: Number(pid), port: Number(what), at: Number(at) });
    else if (kind === 'request') requests.set(what, (requests.get(what) ?? 0) + 1);
  }
  const accounts = nothing();
  const unnoted = new Set<Kill>();
  for (const outcome of outcomes) {
    const { id, end, begun, ended } = outcome;
    if ((requests.get(id) ?? 0) > 1) accounts.wrong++;
    if (end !== 'broken') {
      accounts[end]++;
      continue;
    }
    const excused = kills
      .filter(({ at }) => begun <= at && at <= ended)
      .some((kill) => hadAccepted(outcome, kill, notes, unnoted));
    accounts[excused ? 'accepted' : 'queued']++;
  }
  return accounts;
}

/** The longest that anybody who was answered has waited, in ms. */
export function longestWait(outcomes: readonly Outcome[]): number {
  return Math.max(
    0,
    ...outcomes.filter(({ end }) => end === 'answered').map(({ begun, ended }) => ended - begun),
  );
}
