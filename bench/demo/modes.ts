// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { ModeName } from './types';

/** How an app is started in a mode: everything that differs between the modes is here. */
export interface Mode {
  name: ModeName;
  /** Arguments of node before the port. */
  argv: string[];
  /** Server processes that are expected to accept. */
  workers: number;
  /** The started process itself is expected to accept. */
  rootServes: boolean;
  /** Added to the environment: NODE_OPTIONS may load the hook everywhere, and only one mode is to have it. */
  env: Record<string, string>;
}

const ROOT = join(__dirname, '../../..');
export const HOOK = join(ROOT, 'dist/register.cjs');
const APP = join(__dirname, 'app.js');
const CLUSTER = join(__dirname, 'cluster.js');
const COUNT = join(__dirname, 'count.js');

export function mode(name: ModeName): Mode {
  const workers = availableParallelism();
  switch (name) {
    case 'plain':
      return { name, argv: ['-r', COUNT, APP], workers: 1, rootServes: true, env: { FASTSOCKET: 'off' } };
    case 'cluster':
      return { name, argv: ['-r', COUNT, CLUSTER], workers, rootServes: false, env: { FASTSOCKET: 'off' } };
    case 'fastsocket':
      return { name, argv: ['-r', HOOK, '-r', COUNT, APP], workers, rootServes: workers === 1, env: {} };
  }
}

/** Why a mode cannot be measured here; undefined where it can. */
export function missing(name: ModeName): string | undefined {
  return name === 'fastsocket' && !existsSync(HOOK) ? 'dist/register.cjs has not been built' : undefined;
}
