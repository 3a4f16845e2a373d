// SPDX-License-Identifier: Apache-2.0
// Figures to sentences: what the table means on this machine, and what it does not. Pure.
import { median, type Ratio, ratio, type Series, verdictOf } from '../lib/stats';
import { MODE_TITLES } from './report';
import { LOADS, type LoadName, type ModeName, type ModeSummary, type Summary } from './types';

/** Share of a core from which on a single-threaded process counts as full. */
const FULL = 0.9;
/** An even spread leaves at most half of the connections of two workers local by chance. */
const STEERED = 0.9;
const REMARKS_SHOWN = 5;
/** Cores in use by other programs that spoil the figures. */
const DISTURBED = 0.2;

const OTHERS = ['plain', 'cluster'] as const;

const LOAD_WORDS: Record<LoadName, { name: string; unit: string }> = {
  short: { name: 'short connections', unit: 'connection' },
  keepAlive: { name: 'keep-alive under autocannon', unit: 'request' },
  undici: { name: 'keep-alive under undici', unit: 'request' },
};

const times = (value: number): string => `${value.toFixed(2)}x`;
const percent = (share: number): string => `${Math.round(share * 100)} %`;

function listed(items: readonly string[]): string {
  const last = items.at(-1) ?? '';
  return items.length < 2 ? last : `${items.slice(0, -1).join(', ')} and ${last}`;
}

function modeOf(summary: Summary, name: ModeName): ModeSummary | undefined {
  return summary.modes.find(({ mode }) => mode === name);
}

const active = (summary: Summary): ModeSummary | undefined => {
  const fastsocket = modeOf(summary, 'fastsocket');
  return fastsocket && !fastsocket.rootServes ? fastsocket : undefined;
};

/** The sentences, most important ones first. */
export function verdict(summary: Summary): string[] {
  return [
    disturbed(summary),
    ground(summary),
    inactive(summary),
    ...LOADS.map((load) => compare(summary, load)),
    oneRound(summary),
    notWon(summary),
    limits(summary),
    spread(summary),
    local(summary),
    'p99 is that of a client that never pauses: with all connections always under way it is mostly time in queues, so it ' +
      'compares the modes and promises no latency.',
    failures(summary),
    'Each figure is the median of fresh servers, one a round. Counting connections is preloaded into all modes alike and costs ' +
      'well below 1 us per connection.',
  ].filter((sentence) => sentence !== undefined);
}

function disturbed(summary: Summary): string | undefined {
  const foreign = median(summary.modes.flatMap(({ loads }) => LOADS.flatMap((load) => loads[load].foreign)));
  if (foreign === undefined || foreign < DISTURBED) return undefined;
  return `Other programs used ${foreign.toFixed(1)} cores of this machine meanwhile: repeat this on a quiet machine before believing any of it.`;
}

function ground({ cores, clients }: Summary): string {
  if (cores === 1) {
    return 'There is one core: nothing can be spread. fastsocket then starts no workers; the table only shows what each mode costs.';
  }
  const client = clients === 1 ? 'The client is one process on' : `The ${clients} client processes run on`;
  const share = cores === 2 ? ' and takes about one of them' : '';
  return (
    `${client} the same ${cores} cores as the servers${share}: connections per second is a lower bound of what each mode can do. ` +
    'CPU per connection is the figure to read: it decides how much a machine serves once its cores are full.'
  );
}

function inactive(summary: Summary): string | undefined {
  const absent = summary.missing.find(({ mode }) => mode === 'fastsocket');
  if (absent) return `fastsocket is missing: ${absent.why}.`;
  const fastsocket = modeOf(summary, 'fastsocket');
  if (!fastsocket?.rootServes || summary.cores === 1) return undefined;
  const why =
    fastsocket.remarks.length > 0
      ? ` It says: ${fastsocket.remarks.slice(0, REMARKS_SHOWN).join(' ')}`
      : ' NODE_DEBUG=fastsocket shows why.';
  return `fastsocket was NOT active: the started process served by itself, as plain Node. Its column is no measure of it.${why}`;
}

/** fastsocket's figure over that of another mode. */
function against(
  summary: Summary,
  load: LoadName,
  base: ModeName,
  pick: 'perSecond' | 'cpuUs',
): Ratio | undefined {
  const fastsocket = active(summary)?.loads[load];
  const other = modeOf(summary, base)?.loads[load];
  return fastsocket && other && ratio(fastsocket[pick], other[pick]);
}

function described(value: Ratio): string {
  const range = value.rounds > 1 ? `${value.low.toFixed(2)}-${value.high.toFixed(2)}` : 'one round';
  return `${times(value.median)} (${range}${verdictOf(value) === 'same' ? ', no clear difference' : ''})`;
}

function compare(summary: Summary, load: LoadName): string | undefined {
  const { name, unit } = LOAD_WORDS[load];
  const parts = OTHERS.flatMap((base) => {
    const rate = against(summary, load, base, 'perSecond');
    const cpu = against(summary, load, base, 'cpuUs');
    if (!rate || !cpu) return [];
    return [
      `against ${MODE_TITLES[base]} ${described(rate)} ${unit}s per second at ${described(cpu)} the CPU per ${unit}`,
    ];
  });
  return parts.length === 0 ? undefined : `fastsocket, ${name}: ${parts.join('; ')}.`;
}

function oneRound({ rounds }: Summary): string | undefined {
  return rounds === 1 ? 'One round is not enough to tell a difference from chance.' : undefined;
}

function notWon(summary: Summary): string | undefined {
  const lost = OTHERS.flatMap((base) =>
    LOADS.flatMap((load) => {
      const rate = against(summary, load, base, 'perSecond');
      const cpu = against(summary, load, base, 'cpuUs');
      const { name, unit } = LOAD_WORDS[load];
      return [
        rate && verdictOf(rate) === 'less'
          ? `fewer ${unit}s per second than ${MODE_TITLES[base]} (${name}, ${times(rate.median)})`
          : [],
        cpu && verdictOf(cpu) === 'more'
          ? `more CPU per ${unit} than ${MODE_TITLES[base]} (${name}, ${times(cpu.median)})`
          : [],
      ].flat();
    }),
  );
  if (lost.length === 0) return undefined;
  const why = lost.some((text) => text.startsWith('more CPU') && text.includes(MODE_TITLES.plain))
    ? ' fastsocket pays where one core is not enough.'
    : '';
  return `Where fastsocket does not win here: ${listed(lost)}.${why}`;
}

const atLeast = (series: Series, bound: number): boolean => (median(series) ?? 0) >= bound;

function limits(summary: Summary): string | undefined {
  const { cores, clients, modes } = summary;
  const clientFull: string[] = [];
  const onlyCoresFull: string[] = [];
  const serverFull: string[] = [];
  for (const { mode, loads } of modes) {
    for (const load of LOADS) {
      const { clientBusy, serverBusy, serversBusy } = loads[load];
      const where = `${MODE_TITLES[mode]} (${LOAD_WORDS[load].name})`;
      const used = (median(serversBusy) ?? 0) + (median(clientBusy) ?? 0) * clients;
      if (atLeast(clientBusy, FULL)) clientFull.push(where);
      else if (atLeast(serverBusy, FULL)) serverFull.push(where);
      else if (used >= FULL * cores) onlyCoresFull.push(where);
    }
  }
  const sentences = [
    clientFull.length > 0 &&
      `The client was the bottleneck for ${listed(clientFull)}: these servers could have done more.`,
    serverFull.length > 0 &&
      `One server process was full, and that was the limit, for ${listed(serverFull)}.`,
    onlyCoresFull.length > 0 &&
      `All cores were full with client and servers together for ${listed(onlyCoresFull)}.`,
  ].filter((sentence) => sentence !== false);
  return sentences.length === 0 ? undefined : sentences.join(' ');
}

function spread(summary: Summary): string | undefined {
  const parts = active(summary)?.loads.short.perProcess;
  if (!parts || parts.length < 2) return undefined;
  const shares = parts.map(({ share }) => share);
  const [low, high] = [percent(Math.min(...shares)), percent(Math.max(...shares))];
  const had = low === high ? low : `${low} to ${high}`;
  return `fastsocket's ${parts.length} workers had ${had} of the short connections each; an even share is ${percent(1 / parts.length)}.`;
}

function local(summary: Summary): string {
  const shares = summary.modes.map(({ loads }) => loads.short.local);
  const meaning = 'A connection is local if its packets arrive on the core that serves it.';
  if (shares.every((share) => share === undefined))
    return `${meaning} Shown as n/a: the native addon is not there.`;
  const chance = `${meaning} On loopback they arrive wherever the client happens to run, so the share is chance and says nothing for or against a mode`;
  const fastsocket = active(summary);
  if (!fastsocket) return `${chance}.`;
  if (fastsocket.serving > 1 && (fastsocket.loads.short.local ?? 0) >= STEERED) {
    return `${chance}, but for fastsocket's: it steers by CPU here, to the worker on the client's core.`;
  }
  return (
    `${chance}. fastsocket steers by CPU where packets come in over several CPUs of a network card; FASTSOCKET_STEER=cpu makes ` +
    'it do so here too, for the share alone: the client then has one core with its worker and the other workers get little.'
  );
}

function failures({ modes }: Summary): string | undefined {
  const failed = modes.map(({ mode, loads }) => ({
    mode,
    failed: LOADS.reduce((sum, load) => sum + loads[load].failed, 0),
  }));
  const bad = failed
    .filter((mode) => mode.failed > 0)
    .map(({ mode, failed }) => `${failed} with ${MODE_TITLES[mode]}`);
  const killed = modes.filter((mode) => mode.killed > 0).map(({ mode }) => MODE_TITLES[mode]);
  const sentences = [
    bad.length > 0 &&
      `Requests failed or were answered wrongly: ${listed(bad)}. No figure of such a mode can be trusted.`,
    killed.length > 0 && `SIGTERM did not end all processes within 3 s: ${listed(killed)}.`,
  ].filter((sentence) => sentence !== false);
  return sentences.length === 0 ? undefined : sentences.join(' ');
}
