// SPDX-License-Identifier: Apache-2.0
// Short connections to fixtures/locality-app.js, which tells each where its packets have arrived.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { fixture } from './app';
import type { Link } from './netns';

/** Connections at a time: as many as it takes to keep the machine busy. */
const MANY = 16;
/** In a namespace of its own any is free. */
export const PORT = 8080;

export interface Visits {
  local: number;
  /** What the others were told. */
  remote: string[];
  byPid: Map<string, number>;
  /** CPUs on which they have arrived. */
  arrivedOn: Set<string>;
}

export interface Place {
  host: string;
  port: number;
  /** Words before the command of the clients. */
  prefix: string[];
}

export const across = ({ address, client }: Link): Place => ({
  host: address,
  port: PORT,
  prefix: client.prefix,
});

/** What `count` short connections were told. */
export async function visit({ host, port, prefix }: Place, count: number, width = MANY): Promise<Visits> {
  const [command, ...words] = [...prefix, process.execPath, fixture('visitor.js')];
  const { stdout } = await promisify(execFile)(command as string, words, {
    env: { ...process.env, HOST: host, PORT: String(port), COUNT: String(count), WIDTH: String(width) },
    maxBuffer: 1 << 24,
  });
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  assert.equal(
    lines.filter(([pid]) => /^\d+$/.test(pid ?? '')).length,
    count,
    `all are answered: ${lines[0]}`,
  );
  const byPid = new Map<string, number>();
  for (const [pid = ''] of lines) byPid.set(pid, (byPid.get(pid) ?? 0) + 1);
  const remote = lines.filter(([, cpu, core]) => cpu !== core).map((words) => words.join(' '));
  const arrivedOn = new Set(lines.map(([, cpu = '']) => cpu));
  return { local: count - remote.length, remote, byPid, arrivedOn };
}
