// SPDX-License-Identifier: Apache-2.0

import { parseCpuList } from './cpulist';
import { markerName } from './environment';
import { nearest, quote } from './text';

export type WorkersSetting =
  | { readonly kind: 'auto' }
  | { readonly kind: 'count'; readonly n: number }
  | { readonly kind: 'percent'; readonly p: number };

export type PinSetting =
  | { readonly kind: 'auto' }
  | { readonly kind: 'off' }
  | { readonly kind: 'list'; readonly cpus: readonly number[] };

/** Which worker a connection goes to: as is found best, by the CPU it arrives on, by chance, by the client's address. */
export const STEER_MODES = ['auto', 'cpu', 'hash', 'ip'] as const;
export type SteerSetting = (typeof STEER_MODES)[number];

/**
 * Source ports of connect(): steered to the worker's CPU by what is found to work, by the port's hash (an XDP program), the
 * card's hash, or experience; or left to the kernel.
 */
export const CONNECT_MODES = ['auto', 'rfd', 'rss', 'learn', 'off'] as const;
export type ConnectSetting = (typeof CONNECT_MODES)[number];

/** Batches; TCP_NODELAY by inheritance; the first read before registration; running out of descriptors; a longer queue. */
export const SEAM_PIECES = ['batch', 'nodelay', 'read', 'fds', 'backlog'] as const;
export type SeamPiece = (typeof SEAM_PIECES)[number];

/** A blocked worker's connections go to idle ones; new ones are steered around it; lasting unevenness is evened out. */
export const BALANCE_PIECES = ['steal', 'swap', 'shares'] as const;
export type BalancePiece = (typeof BALANCE_PIECES)[number];

/**
 * FASTSOCKET_TEST_GROUPS, for the hook's own tests: every listen() on a port, 0 too, opens a listener group of this process
 * and one worker that is never started. `free`: nobody else has a descriptor of it, as before the first copy; `held`: a
 * worker has had one, so that close() ends it as that of a multiplied app. `worker`: this process is the worker
 * (scripts/util/judging-origin.cjs).
 */
export const TEST_GROUPS = ['free', 'held', 'worker'] as const;
export type TestGroups = (typeof TEST_GROUPS)[number];

export interface Settings {
  /** FASTSOCKET=off: the hook does nothing. */
  readonly off: boolean;
  readonly workers: WorkersSetting;
  /** FASTSOCKET_WORKERS itself was given (WEB_CONCURRENCY does not count). */
  readonly workersSet: boolean;
  readonly pin: PinSetting;
  readonly steer: SteerSetting;
  /** What is done about workers that are blocked, or have more to do than others; empty: nothing. */
  readonly balance: readonly BalancePiece[];
  /** How long the origin waits at its exit for workers that it told of a signal, in milliseconds. */
  readonly exitWaitMs: number;
  /** What is done between libuv and libc; empty: nothing. */
  readonly seam: readonly SeamPiece[];
  /** Connections are accepted when the client has said something (TCP_DEFER_ACCEPT). */
  readonly deferAccept: boolean;
  readonly connect: ConnectSetting;
  readonly testGroups: TestGroups | undefined;
}

/** A bad value is one line in `error`; `warnings` are one line each and stop nothing. */
export type ParsedSettings =
  | { readonly settings: Settings; readonly error?: undefined; readonly warnings: readonly string[] }
  | { readonly error: string; readonly settings?: undefined; readonly warnings: readonly string[] };

export type Environment = Readonly<Record<string, string | undefined>>;

export const DEFAULT_SETTINGS: Settings = Object.freeze({
  off: false,
  workers: { kind: 'auto' },
  workersSet: false,
  pin: { kind: 'auto' },
  steer: 'auto',
  balance: BALANCE_PIECES,
  exitWaitMs: 10_000,
  seam: SEAM_PIECES,
  deferAccept: false,
  connect: 'auto',
  testGroups: undefined,
} as const);

export const MAX_WORKERS = 1024;
export const MAX_EXIT_WAIT_MS = 600_000;

const SETTING_NAMES = [
  'FASTSOCKET_WORKERS',
  'FASTSOCKET_PIN',
  'FASTSOCKET_STEER',
  'FASTSOCKET_BALANCE',
  'FASTSOCKET_EXIT_WAIT_MS',
  'FASTSOCKET_SEAM',
  'FASTSOCKET_DEFER_ACCEPT',
  'FASTSOCKET_CONNECT',
] as const;

/** None that a user is told of. */
const TEST_SETTING = 'FASTSOCKET_TEST_GROUPS';

/**
 * What Kubernetes puts into every container of a namespace that has a service named `fastsocket` or
 * `fastsocket-...` (its "service environment variables"): not ours, and no typos.
 */
const SERVICE_LINK =
  /_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$/;

/** Thrown inside this file only: carries the one line. */
class BadValue extends Error {}

function bad(name: string, value: string, allowed: string): BadValue {
  return new BadValue(
    `fastsocket: ${name}=${quote(value)} is not allowed (${allowed}); the app runs as plain Node`,
  );
}

/** Trimmed value; undefined where the variable is unset or blank, which always mean the same. */
function given(env: Environment, name: string): string | undefined {
  const value = env[name]?.trim();
  return value === '' ? undefined : value;
}

function parseSwitch(env: Environment, name: string, byDefault: boolean): boolean {
  const value = given(env, name);
  switch (value?.toLowerCase()) {
    case undefined:
      return byDefault;
    case 'on':
    case '1':
    case 'true':
    case 'yes':
      return true;
    case 'off':
    case '0':
    case 'false':
    case 'no':
      return false;
    default:
      throw bad(name, value as string, 'on, 1, true, yes, off, 0, false or no');
  }
}

/** Everything by default; everything, nothing, or a list of `all`. */
function parsePieces<T extends string>(env: Environment, variable: string, all: readonly T[]): readonly T[] {
  const value = given(env, variable);
  const lower = value?.toLowerCase() ?? 'on';
  if (/^(auto|on|1|true|yes)$/.test(lower)) return all;
  if (/^(off|0|false|no)$/.test(lower)) return [];
  const names = lower.split(',').map((name) => name.trim());
  const pieces = all.filter((piece) => names.includes(piece));
  if (pieces.length === new Set(names).size) return pieces;
  throw bad(variable, value as string, `on, off, or a list of ${all.join(', ')}`);
}

function positiveInteger(text: string, maximum: number): number | undefined {
  if (!/^\d{1,9}$/.test(text)) return undefined;
  const number = Number(text);
  return number >= 1 && number <= maximum ? number : undefined;
}

function parseWorkers(env: Environment): WorkersSetting {
  const value = given(env, 'FASTSOCKET_WORKERS');
  if (value === undefined) {
    // Heroku and many process managers set it for servers of every kind; a value that is not ours
    // to understand must not stop the app.
    const n = positiveInteger(given(env, 'WEB_CONCURRENCY') ?? '', MAX_WORKERS);
    return n === undefined ? { kind: 'auto' } : { kind: 'count', n };
  }
  if (value.toLowerCase() === 'auto') return { kind: 'auto' };
  if (value.endsWith('%')) {
    const p = positiveInteger(value.slice(0, -1).trim(), 100);
    if (p !== undefined) return { kind: 'percent', p };
  }
  const n = positiveInteger(value, MAX_WORKERS);
  if (n !== undefined) return { kind: 'count', n };
  throw bad(
    'FASTSOCKET_WORKERS',
    value,
    `auto, a number from 1 to ${MAX_WORKERS}, or a percentage from 1% to 100%`,
  );
}

function parsePin(env: Environment): PinSetting {
  const value = given(env, 'FASTSOCKET_PIN');
  switch (value?.toLowerCase()) {
    case undefined:
    case 'auto':
    case 'on':
      return { kind: 'auto' };
    case 'off':
      return { kind: 'off' };
  }
  const cpus = parseCpuList(value as string);
  if (cpus) return { kind: 'list', cpus };
  throw bad('FASTSOCKET_PIN', value as string, 'auto, on, off, or a list of CPUs such as 0-3,8');
}

function parseSteer(env: Environment): SteerSetting {
  const value = given(env, 'FASTSOCKET_STEER');
  const lower = value?.toLowerCase() ?? 'auto';
  const mode = STEER_MODES.find((name) => name === lower);
  if (mode !== undefined) return mode;
  throw bad('FASTSOCKET_STEER', value as string, 'auto, cpu, hash or ip');
}

function parseConnect(env: Environment): ConnectSetting {
  const value = given(env, 'FASTSOCKET_CONNECT');
  const lower = value?.toLowerCase() ?? 'auto';
  if (/^(on|1|true|yes)$/.test(lower)) return 'auto';
  if (/^(0|false|no)$/.test(lower)) return 'off';
  const mode = CONNECT_MODES.find((name) => name === lower);
  if (mode !== undefined) return mode;
  throw bad('FASTSOCKET_CONNECT', value as string, 'auto, rfd, rss, learn or off');
}

function parseExitWait(env: Environment): number {
  const value = given(env, 'FASTSOCKET_EXIT_WAIT_MS');
  if (value === undefined) return DEFAULT_SETTINGS.exitWaitMs;
  if (/^\d{1,9}$/.test(value) && Number(value) <= MAX_EXIT_WAIT_MS) return Number(value);
  throw bad('FASTSOCKET_EXIT_WAIT_MS', value, `milliseconds from 0 to ${MAX_EXIT_WAIT_MS}`);
}

function parseTestGroups(env: Environment): TestGroups | undefined {
  const value = given(env, TEST_SETTING);
  const mode = TEST_GROUPS.find((name) => name === value);
  if (mode !== undefined || value === undefined) return mode;
  throw bad(TEST_SETTING, value, TEST_GROUPS.join(', '));
}

function unknownNames(env: Environment): string[] {
  const known: readonly string[] = [...SETTING_NAMES, TEST_SETTING, markerName];
  const warnings: string[] = [];
  for (const name of Object.keys(env)) {
    if (!name.startsWith('FASTSOCKET_') || known.includes(name) || SERVICE_LINK.test(name)) continue;
    const suggestion = nearest(name, SETTING_NAMES);
    const hint = suggestion
      ? `; did you mean ${suggestion}?`
      : ` (there are: FASTSOCKET, ${SETTING_NAMES.join(', ')})`;
    warnings.push(`fastsocket: ${quote(name).replaceAll("'", '')} is not a setting and has no effect${hint}`);
  }
  return warnings;
}

/**
 * The settings in an environment. Pure. A blank value means the default everywhere; keywords are
 * matched without regard to case. With FASTSOCKET=off nothing else is looked at.
 */
export function parseSettings(env: Environment): ParsedSettings {
  try {
    if (!parseSwitch(env, 'FASTSOCKET', true))
      return { settings: { ...DEFAULT_SETTINGS, off: true }, warnings: [] };
    const settings: Settings = {
      off: false,
      workers: parseWorkers(env),
      workersSet: given(env, 'FASTSOCKET_WORKERS') !== undefined,
      pin: parsePin(env),
      steer: parseSteer(env),
      balance: parsePieces(env, 'FASTSOCKET_BALANCE', BALANCE_PIECES),
      exitWaitMs: parseExitWait(env),
      seam: parsePieces(env, 'FASTSOCKET_SEAM', SEAM_PIECES),
      deferAccept: parseSwitch(env, 'FASTSOCKET_DEFER_ACCEPT', false),
      connect: parseConnect(env),
      testGroups: parseTestGroups(env),
    };
    return { settings, warnings: unknownNames(env) };
  } catch (error) {
    if (error instanceof BadValue) return { error: error.message, warnings: [] };
    throw error;
  }
}
