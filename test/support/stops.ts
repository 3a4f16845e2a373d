// SPDX-License-Identifier: Apache-2.0
// Ways and moments in which an app's life ends, by chance, and how plain Node ends then.
import type { Ended } from './app';

/** Moments are spread over so much of the app's life: start, first copy, respawn, all of them. */
const LIFE_MS = 1_500;

/** What the test does from outside, so many ms after the start. */
export interface Act {
  atMs: number;
  /** A signal for the origin, for its process group, for one of the workers; a client that is never answered. */
  to: 'origin' | 'group' | 'worker' | 'client';
  signal?: NodeJS.Signals;
  /** Which of the workers, 0 to below 1. */
  which?: number;
}

export interface Stop {
  env: Record<string, string>;
  acts: Act[];
  /** How it may end. */
  ends: readonly Ended[];
  /** The same where the app has had its handler before the last signal but one, and a client has been heard. */
  sure?: readonly Ended[];
  /** What the app, or the hook, may have to say on stderr; otherwise nothing. */
  says?: RegExp;
}

export interface Chance {
  /** From 0 to below `most`, in whole ms. */
  ms(most?: number): number;
  any<T>(list: readonly T[]): T;
  fraction(): number;
}

const code = (n: number): Ended => ({ code: n, signal: null });
const by = (signal: NodeJS.Signals): Ended => ({ code: null, signal });
const UNHANDLED = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2', 'SIGKILL'] as const;
/** A copy that ends by itself before it has proved itself ends multiplying, with a line. */
const NOT_COPIED = /^(fastsocket: the app runs as plain Node: the copy .*\n)*$/;
const THROWN = /thrown on purpose/;

const at = (chance: Chance, act: Omit<Act, 'atMs'>, most?: number): Act => ({
  atMs: chance.ms(most),
  ...act,
});
const later = (chance: Chance, { atMs }: Act, act: Omit<Act, 'atMs'>, most: number): Act => ({
  ...act,
  atMs: atMs + chance.ms(most),
});

function byItself(end: string, who: string, chance: Chance): Record<string, string> {
  return { END: end, WHO: who, AFTER: String(chance.ms(LIFE_MS)) };
}

/** Workers that die, then the end of all: while they are started again, or after. */
function afterDeaths(chance: Chance, acts: Act[], env: Record<string, string>): Stop {
  const signal = chance.any(UNHANDLED);
  const last = acts.at(-1) ?? { atMs: 0, to: 'origin' };
  const end = later(chance, last, { to: chance.any(['origin', 'group'] as const), signal }, LIFE_MS / 3);
  return { env, acts: [...acts, end], ends: [by(signal)], says: NOT_COPIED };
}

/** Processes end by themselves, with this status, whatever else happens. */
const endsItself =
  (end: string, who: string, status: number, says?: Stop['says']) =>
  (chance: Chance): Stop => ({
    env: byItself(end, who, chance),
    acts: [],
    ends: [code(status)],
    ...(says && { says }),
  });

export const KINDS: Record<string, (chance: Chance) => Stop> = {
  'a signal without a handler': (chance) => {
    const signal = chance.any(UNHANDLED);
    return { env: {}, acts: [at(chance, { to: 'origin', signal })], ends: [by(signal)] };
  },
  'the same for the process group': (chance) => {
    const signal = chance.any(UNHANDLED);
    return { env: {}, acts: [at(chance, { to: 'group', signal })], ends: [by(signal)] };
  },
  'SIGTERM that exits': (chance) => ({
    env: { HANDLER: 'exit' },
    acts: [at(chance, { to: chance.any(['origin', 'group'] as const), signal: 'SIGTERM' })],
    ends: [code(3), by('SIGTERM')],
    sure: [code(3)],
  }),
  'SIGTERM that closes, then exits': (chance) => ({
    env: { HANDLER: 'close' },
    acts: [at(chance, { to: chance.any(['origin', 'group'] as const), signal: 'SIGTERM' })],
    ends: [code(0), by('SIGTERM')],
    sure: [code(0)],
  }),
  'another signal while it closes': (chance) => {
    const client = at(chance, { to: 'client' });
    const term = later(chance, client, { to: 'origin', signal: 'SIGTERM' }, LIFE_MS / 5);
    const signal = chance.any(['SIGKILL', 'SIGINT'] as const);
    const last = later(chance, term, { to: chance.any(['origin', 'group'] as const), signal }, LIFE_MS / 3);
    return {
      env: { HANDLER: 'close' },
      acts: [client, term, last],
      ends: [by(signal), code(0), by('SIGTERM')],
      sure: [by(signal)],
    };
  },
  'exit() in the origin': endsItself('exit', 'origin', 7),
  'exit() in every process': endsItself('exit', 'all', 7, NOT_COPIED),
  'an exception in the origin': endsItself('throw', 'origin', 1, THROWN),
  'close() in the origin': endsItself('close', 'origin', 0),
  'close() in every process': endsItself('close', 'all', 0),
  'a worker is killed, then a signal': (chance) => {
    const kill = at(chance, { to: 'worker', signal: 'SIGKILL', which: chance.fraction() });
    const kills = [kill, later(chance, kill, kill, LIFE_MS / 5)].slice(0, chance.any([1, 2]));
    return afterDeaths(chance, kills, {});
  },
  'a worker is killed, then close()': (chance) => ({
    env: byItself('close', 'origin', chance),
    acts: [at(chance, { to: 'worker', signal: 'SIGKILL', which: chance.fraction() })],
    ends: [code(0)],
    says: NOT_COPIED,
  }),
  'workers that exit, then a signal': (chance) => {
    const env = byItself(chance.any(['exit', 'close']), 'workers', chance);
    return afterDeaths(chance, [at(chance, { to: 'client' })], env);
  },
};
