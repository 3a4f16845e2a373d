// SPDX-License-Identifier: Apache-2.0
// `npm run demo`: one small Fastify application as plain Node, under cluster and under fastsocket, side by side.
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { endWithEverything } from '../lib/processes';
import { Progress } from '../lib/progress';
import { item } from '../lib/wrap';
import { Clients } from './clients';
import { missing, mode } from './modes';
import { MODE_TITLES, table } from './report';
import { summarize } from './summary';
import { LOADS, type LoadName, MODES, type ModeName, type Summary, type Visit } from './types';
import { verdict } from './verdict';
import { type Plan, visit } from './visit';

const ROUNDS = 3;
const CONNECTIONS = 128;
const MAX_CLIENTS = 32;
const TEXT_WIDTH = 100;
/** After this no further round begins: a slow machine gets fewer rounds, and the whole ends in two minutes with the build. */
const LAST_START_MS = 52_000;

const FULL: Plan = {
  short: { warmMs: 1_000, measureMs: 2_000 },
  keepAlive: { warmMs: 400, measureMs: 1_200 },
  undici: { warmMs: 400, measureMs: 1_200 },
};
/** To see that it works; its figures say nothing. */
const QUICK: Plan = {
  short: { warmMs: 100, measureMs: 300 },
  keepAlive: { warmMs: 100, measureMs: 200 },
  undici: { warmMs: 100, measureMs: 200 },
};

const LOAD_TITLES: Record<LoadName, string> = {
  short: 'short connections',
  keepAlive: 'keep-alive',
  undici: 'undici',
};

function stepLine(done: number, total: number, { mode, loads }: Visit): string {
  const figures = LOADS.map((load) => `${LOAD_TITLES[load]} ${Math.round(loads[load].perSecond)}/s`);
  return `[${done}/${total}] ${MODE_TITLES[mode]}: ${figures.join(', ')}`;
}

const listed = (names: readonly ModeName[]): string => names.map((name) => MODE_TITLES[name]).join(', ');

/** The order turns with the rounds: whatever drifts, drifts for all. */
function order(names: readonly ModeName[], round: number): ModeName[] {
  const first = round % names.length;
  return [...names.slice(first), ...names.slice(0, first)];
}

async function measureAll(clients: Clients, folder: string, quick: boolean): Promise<Visit[]> {
  const plan = quick ? QUICK : FULL;
  const rounds = quick ? 1 : ROUNDS;
  const progress = new Progress(process.stderr);
  const names = MODES.filter((name) => missing(name) === undefined);
  const total = rounds * names.length;
  const visits: Visit[] = [];
  const started = performance.now();
  progress.step(
    `Measuring ${listed(names)}, ${total} fresh servers in turn, ${quick ? 'a few seconds' : 'about 70 s'}`,
  );
  try {
    for (
      let round = 0;
      round < rounds && (round === 0 || performance.now() - started < LAST_START_MS);
      round++
    ) {
      for (const name of order(names, round)) {
        const say = (what: string) =>
          progress.now(`[${visits.length + 1}/${total}] ${MODE_TITLES[name]}: ${what}`);
        say('starting');
        const options = { mode: mode(name), round, plan, connections: CONNECTIONS, clients, folder };
        visits.push(await visit({ ...options, progress: (load) => say(LOAD_TITLES[load]) }));
        progress.step(stepLine(visits.length, total, visits.at(-1) as Visit));
      }
    }
  } finally {
    progress.clear();
  }
  return visits;
}

function explanation(summary: Summary): string {
  const title = `What this means on ${summary.cores === 1 ? 'one core' : `${summary.cores} cores`} (Node ${summary.node}, ${summary.rounds === 1 ? 'one round' : `${summary.rounds} rounds`}):`;
  return [title, ...verdict(summary).map((sentence) => item(sentence, TEXT_WIDTH))].join('\n');
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'fastsocket-demo-'));
  endWithEverything(() => rmSync(folder, { recursive: true, force: true }));
  const cores = availableParallelism();
  // half of the cores can ask as much as the other half can answer
  const clients = new Clients(Math.min(MAX_CLIENTS, Math.max(1, cores >> 1)));
  const visits = await measureAll(clients, folder, process.argv.includes('--quick'));
  clients.close();
  const names = MODES.filter((name) => visits.some(({ mode }) => mode === name));
  const summary: Summary = {
    cores,
    node: process.version,
    clients: clients.count,
    connections: CONNECTIONS,
    rounds: Math.max(...visits.map(({ round }) => round)) + 1,
    modes: names.map((name) =>
      summarize(
        name,
        visits.filter(({ mode }) => mode === name),
      ),
    ),
    missing: MODES.flatMap((name) => {
      const why = missing(name);
      return why === undefined ? [] : [{ mode: name, why }];
    }),
  };
  process.stdout.write(`\n${table(summary)}\n\n${explanation(summary)}\n`);
}

main().catch((error: Error) => {
  process.stderr.write(`demo: ${error.message}\n`);
  process.exitCode = 1;
  // clients and servers may still hold the event loop
  process.exit();
});
