// SPDX-License-Identifier: Apache-2.0
// What is played.

/** Where connections arrive. loopback: on the client's CPU, which tells nothing; the program does not look at it. */
export const SKEWS = ['even', 'zipf', 'two', 'one', 'loopback'] as const;
export type Skew = (typeof SKEWS)[number];

/** Connections of one kind. */
export interface Kind {
  /** New ones a second, all workers together, ... */
  readonly rate: number;
  /** ... between these moments. */
  readonly from: number;
  readonly to: number;
  /** CPU time of its request. */
  readonly serviceMs: number;
  /** Mean life after that, exponential; 0: closed at once, Infinity: never. */
  readonly holdS: number;
}

export interface Scenario {
  readonly name: string;
  readonly about: string;
  readonly workers: number;
  readonly seconds: number;
  readonly skew: Skew;
  readonly kinds: readonly Kind[];
  /** Every open connection of worker 1 is closed, and as many of each of the others. */
  readonly closing?: { readonly at: number; readonly others: number } | undefined;
  /** Somebody else takes so much of worker 1's CPU. */
  readonly neighbour?: { readonly from: number; readonly to: number; readonly part: number } | undefined;
  /** Each worker is blocked for so long, so many times a second. */
  readonly stalls?: { readonly perSecond: number; readonly ms: number } | undefined;
  /** What is to come even. */
  readonly goal: 'open' | 'busy' | 'share';
  /** From this moment on. */
  readonly goalFrom: number;
}

const SERVICE_MS = 1;
/** Long-lived ones cost little and stay. */
const LASTS = { serviceMs: 0.2, holdS: Infinity };

const shortAt = (utilisation: number, workers: number, seconds: number): Kind => ({
  rate: (utilisation * workers * 1_000) / SERVICE_MS,
  from: 0,
  to: seconds,
  serviceMs: SERVICE_MS,
  holdS: 0,
});

/** 250 for each worker, as 2,000 are for eight; two workers have all 2,000. */
export const longLived = (workers: number): number => Math.max(2_000, 250 * workers);

type Maker = (workers: number, skew: Skew) => Omit<Scenario, 'name' | 'workers' | 'skew'>;

const MAKERS: Readonly<Record<string, Maker>> = {
  short: (workers) => ({
    about: 'short connections, 60 % busy',
    seconds: 60,
    kinds: [shortAt(0.6, workers, 60)],
    goal: 'share',
    goalFrom: 0,
  }),
  websocket: (workers) => ({
    about: 'long-lived connections: as many as it takes within 4 s, then at 10 s as many again within 1 s',
    seconds: 75,
    kinds: [
      { ...LASTS, rate: longLived(workers) / 4, from: 0, to: 4 },
      { ...LASTS, rate: longLived(workers), from: 10, to: 11 },
    ],
    goal: 'open',
    goalFrom: 4,
  }),
  closing: (workers) => ({
    about:
      'long-lived connections, at 10 s half of them close, all of one worker among them, then new ones in 10 s',
    seconds: 90,
    kinds: [
      { ...LASTS, rate: longLived(workers) / 4, from: 0, to: 4 },
      { ...LASTS, rate: longLived(workers) / 10, from: 11, to: 21 },
    ],
    closing: { at: 10, others: (workers / 2 - 1) / (workers - 1) },
    goal: 'open',
    goalFrom: 11,
  }),
  turnover: (workers) => ({
    about: 'connections that live 20 s on the average, coming and going for ever',
    seconds: 120,
    kinds: [{ serviceMs: 0.2, holdS: 20, rate: longLived(workers) / 20, from: 0, to: 120 }],
    goal: 'open',
    goalFrom: 0,
  }),
  mixed: (workers) => ({
    about: 'connections that live a minute on the average beside short ones, 20 times as many, 50 % busy',
    seconds: 150,
    kinds: [
      { ...shortAt(0.5, workers, 150), serviceMs: 6, rate: (500 / 6) * workers },
      { serviceMs: 0.2, holdS: 60, rate: longLived(workers) / 10, from: 5, to: 15 },
      { serviceMs: 0.2, holdS: 60, rate: longLived(workers) / 60, from: 15, to: 150 },
    ],
    goal: 'open',
    goalFrom: 15,
  }),
  keepalive: (workers) => ({
    about: 'connections that live a second, 50 for each worker',
    seconds: 60,
    kinds: [{ serviceMs: 2, holdS: 1, rate: 50 * workers, from: 0, to: 60 }],
    goal: 'share',
    goalFrom: 0,
  }),
  neighbour: (workers) => ({
    about: 'short connections, 50 % busy; from 10 to 40 s somebody else takes half of one CPU',
    seconds: 90,
    kinds: [shortAt(0.5, workers, 90)],
    neighbour: { from: 10, to: 40, part: 0.5 },
    goal: 'busy',
    goalFrom: 10,
  }),
  saturated: (workers) => ({
    about: 'short connections, 30 % more than all can serve',
    seconds: 60,
    kinds: [shortAt(1.3, workers, 60)],
    goal: 'share',
    goalFrom: 0,
  }),
  stalls: (workers) => ({
    about: 'short connections, 40 % busy; each worker is blocked for 200 ms every 5 s',
    seconds: 60,
    kinds: [shortAt(0.4, workers, 60)],
    stalls: { perSecond: 0.2, ms: 200 },
    goal: 'share',
    goalFrom: 0,
  }),
};

export const SCENARIOS: readonly string[] = Object.keys(MAKERS);

/** @param name one of SCENARIOS */
export function scenarioOf(name: string, workers: number, skew: Skew): Scenario {
  const maker = MAKERS[name];
  if (!maker) throw new RangeError(`no scenario ${name}`);
  return { name, workers, skew, ...maker(workers, skew) };
}

/** Share of the arrivals by CPU, sum 1. */
export function arrivalShares(skew: Skew, cpus: number): number[] {
  const weight = (cpu: number): number => {
    if (skew === 'even') return 1;
    if (skew === 'zipf') return 1 / (cpu + 1);
    if (skew === 'two') return cpu === 0 || cpu === Math.floor(cpus / 2) ? 1 : 0;
    return cpu === 0 ? 1 : 0;
  };
  const weights = Array.from({ length: cpus }, (_, cpu) => weight(cpu));
  const total = weights.reduce((sum, each) => sum + each, 0);
  return weights.map((each) => each / total);
}
