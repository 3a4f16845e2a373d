// SPDX-License-Identifier: Apache-2.0
// What a kill -9 costs beside the request that is being answered: connections that a saturated server has accepted and whose request it has not read are lost with
// it, whoever else could serve them. Counted by stopping the server (SIGSTOP) at moments of no pattern and looking at the
// kernel's table, against the bound of the batch.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { DEFAULT_SETTINGS } from '../../lib/config/settings';
import { seamBits } from '../../lib/seam/seam';
import { addonFile } from '../lib/addon';
import { countOf } from '../lib/arguments';
import { columns } from '../lib/columns';
import { freePort } from '../lib/free-port';
import { finClient } from '../lib/load/clients';
import { optionsOr, run, versionOf } from '../lib/main';
import { choosePlace, clientWords, type Place } from '../lib/place';
import { killGroup, startProgram } from '../lib/processes';
import { Progress } from '../lib/progress';
import { Server } from '../lib/server';
import { median } from '../lib/stats';
import { environment } from '../lib/variants';
import { acceptedUnread, socketsOf } from './unread';

const USAGE = `npm run bench:kill-cost -- [--node PATH] [--clients 512] [--samples 200]`;
const SERVER = join(__dirname, 'server.js');
const BATCHES = [1, 2, 4, 8, 16];
const WARM_MS = 500;
/** Longer than all samples take. */
const LOAD_S = 60;

async function stopped(pid: number): Promise<void> {
  while (!/^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) await sleep(0);
}

async function sample(place: Place, server: Server, count: number): Promise<number[]> {
  const found: number[] = [];
  for (let i = 0; i < count; i++) {
    await sleep(5 + Math.random() * 10);
    process.kill(server.pid, 'SIGSTOP');
    await stopped(server.pid);
    const [command, ...words] = clientWords(place, server.pid, socketsOf(server.port));
    found.push(
      acceptedUnread(execFileSync(command as string, words, { encoding: 'utf8', maxBuffer: 1 << 26 })),
    );
    process.kill(server.pid, 'SIGCONT');
  }
  return found;
}

async function measure(
  place: Place,
  node: string,
  env: Record<string, string>,
  clients: number,
  samples: number,
) {
  const port = await freePort();
  const server = await Server.start(place, { words: [node, SERVER], env: environment(port, env), port });
  const client = startProgram(
    clientWords(place, server.pid, finClient().words(port, clients, LOAD_S)),
    process.env,
  );
  try {
    await sleep(WARM_MS);
    const found = await sample(place, server, samples);
    if (client.exitCode !== null) throw new Error('the client ended before the last look: fewer samples');
    return found;
  } finally {
    killGroup(client);
    await server.stop();
  }
}

function row(name: string, counts: readonly number[]): string[] {
  const sorted = [...counts].sort((a, b) => a - b);
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  const p95 = sorted[Math.ceil(sorted.length * 0.95) - 1];
  return [name, mean.toFixed(1), String(median(counts)), String(p95), String(sorted.at(-1))];
}

function readOptions(argv: string[]) {
  const { values } = parseArgs({
    args: argv,
    options: {
      node: { type: 'string', default: process.execPath },
      clients: { type: 'string', default: '512' },
      samples: { type: 'string', default: '200' },
    },
  });
  return {
    node: values.node,
    clients: countOf('clients', values.clients),
    samples: countOf('samples', values.samples),
  };
}

run('bench:kill-cost', USAGE, async (argv) => {
  const { node, clients, samples } = optionsOr(USAGE, () => readOptions(argv));
  const place = choosePlace();
  const rows = [['', 'mean', 'median', '95 %', 'most']];
  const progress = new Progress(process.stderr);
  const seam = { ADDON: addonFile(), PIECES: String(seamBits(DEFAULT_SETTINGS)) };
  const variants: [string, Record<string, string>][] = [
    ['plain Node', {}],
    ...BATCHES.map((batch): [string, Record<string, string>] => [
      `batches of ${batch}${batch === 1 ? '' : ' at most'}`,
      { ...seam, BATCH: String(batch) },
    ]),
  ];
  try {
    for (const [name, env] of variants) {
      progress.now(name);
      rows.push(row(name, await measure(place, node, env, clients, samples)));
    }
  } finally {
    progress.clear();
  }
  console.log(
    `${versionOf(node)}, ${clients} clients: accepted and not read yet, in ${samples} looks\n\n${columns(rows)}\n`,
  );
});
