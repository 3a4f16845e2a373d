// SPDX-License-Identifier: Apache-2.0
// The only file that reads or writes process.env. Part of the preload: small.
import { currentState } from '../state';

/** Name of the variable that marks the programs of a tree. */
export const markerName = 'FASTSOCKET_CORE';

const OFF = /^\s*(off|0|false|no)\s*$/i;

/**
 * PM2's cluster mode starts a worker with the environment of its daemon. The app's own is in one variable, as JSON, until
 * PM2 spreads it over process.env and removes it, after the preload and before the app (pm2/lib/ProcessContainer.js).
 */
function pm2Environment(json: string | undefined): Record<string, string> {
  if (json === undefined) return {};
  try {
    const pairs = Object.entries(JSON.parse(json) as object);
    return Object.fromEntries(pairs.map(([name, value]) => [name, String(value)]));
  } catch {
    return {};
  }
}

/** A variable as the app will find it. */
function variable(name: string): string | undefined {
  return pm2Environment(process.env['pm2_env'])[name] ?? process.env[name];
}

/** The kill switch works without the settings being read: FASTSOCKET=off, 0, false, no. */
export function switchedOff(): boolean {
  return OFF.test(variable('FASTSOCKET') ?? '');
}

/** FASTSOCKET_SEAM is not off; what exactly it asks for is read when a server listens. */
export function seamAsked(): boolean {
  return !OFF.test(variable('FASTSOCKET_SEAM') ?? '');
}

/** The same of FASTSOCKET_CONNECT. */
export function connectAsked(): boolean {
  return seamAsked() && !OFF.test(variable('FASTSOCKET_CONNECT') ?? '');
}

/** Nothing else of an environment is kept where all of a program can read it: apps delete secrets. */
const isSetting = (name: string): boolean => name.startsWith('FASTSOCKET') || name === 'WEB_CONCURRENCY';

function settingsIn(environment: NodeJS.ProcessEnv): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const env of [environment, pm2Environment(environment['pm2_env'])])
    for (const name of Object.keys(env).filter(isSetting)) settings[name] = env[name] as string;
  return settings;
}

/** What settings are read from, as it is now. */
export const settingsNow = (): Record<string, string> => settingsIn(process.env);

/**
 * The same as this process was started with it, with what PM2 adds to it, --env-file and preloads before us: a worker
 * thread may have been given another one, and an app may have emptied its own. What came from a file stands nowhere but in
 * process.env, of which a thread most often has a copy.
 */
export function initialSettings(): Record<string, string> {
  return currentState()?.settings ?? { ...settingsNow(), ...settingsIn(processEnvironment()) };
}

/** proc(5), /proc/pid/environ; what it is now where that cannot be read. */
function processEnvironment(): Record<string, string> {
  try {
    const { readFileSync } = require('node:fs') as typeof import('node:fs');
    const pairs = readFileSync('/proc/self/environ', 'utf8').split('\0').filter(Boolean);
    return Object.fromEntries(
      pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
    );
  } catch {
    return snapshotEnvironment();
  }
}

/** FASTSOCKET_WORKERS is set, whatever to. */
export function workersAsked(): boolean {
  return (variable('FASTSOCKET_WORKERS') ?? '').trim() !== '';
}

/** For the hook's own tests: this program's listens are judged as listener groups (FASTSOCKET_TEST_GROUPS, CONTRIBUTING.md). */
export function groupsUnderTest(): boolean {
  return process.env['FASTSOCKET_TEST_GROUPS'] !== undefined;
}

/** The marker that descendants of the tree carry (FASTSOCKET_CORE): the core's number in a worker. */
export function marker(): string | undefined {
  return process.env[markerName];
}

/** Sets the marker in this process's environment, which programs started from now on inherit; undefined removes it. */
export function setMarker(value: string | undefined): void {
  if (value === undefined) delete process.env[markerName];
  else process.env[markerName] = value;
}

/** A copy of the environment as it is now: apps delete secrets later, and workers must start with them. */
export function snapshotEnvironment(): Record<string, string> {
  const copy: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined) copy[name] = value;
  }
  return copy;
}

/**
 * Whether a NODE_DEBUG value switches a section on, by Node's own rule (lib/internal/util/debuglog.js,
 * initializeDebugEnv): a comma-separated list, case ignored, `*` standing for anything.
 */
export function debugListed(list: string | undefined, section: string): boolean {
  if (!list) return false;
  const pattern = list
    .replace(/[|\\{}()[\]^$+?.]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll(',', '$|^');
  return new RegExp(`^${pattern}$`, 'i').test(section);
}

/** NODE_DEBUG contains `fastsocket`. */
export function debugEnabled(): boolean {
  return debugListed(variable('NODE_DEBUG'), 'fastsocket');
}

/** `node --watch` has started this program and waits for the names of its files (lib/internal/main/watch_mode.js). */
export function watched(): boolean {
  return process.env['WATCH_REPORT_DEPENDENCIES'] !== undefined;
}

/** This program is a test file that `node --test` has started (lib/internal/test_runner/runner.js). */
export function underTestRunner(): boolean {
  return process.env['NODE_TEST_CONTEXT'] !== undefined;
}

/**
 * This program has come to run test files since it started, whatever its name is (react-scripts test and others): these
 * variables are set by jest, vitest, mocha and playwright themselves, and what a test starts only inherits them.
 */
export function becameTestRunner(birth: Readonly<Record<string, string>>): boolean {
  return ['JEST_WORKER_ID', 'VITEST', 'MOCHA_WORKER_ID', 'TEST_WORKER_INDEX'].some(
    (name) => process.env[name] !== undefined && birth[name] === undefined,
  );
}
