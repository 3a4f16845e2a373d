// SPDX-License-Identifier: Apache-2.0
import type { Birth } from '../birth';
import type { Settings } from '../config/settings';
import type { TcpBinding } from '../hook/tcp';
import { type Layout, layOut, type Single, singleReason } from '../origin/plan';
import { affinityOf } from './processes';
import { findProgram, lifelineWords, tasksetFailure, tasksetWords } from './programs';

/** `reuseport`: a socket for each worker (Node 22.12, libuv 1.49); `shared`: one for all, as cluster's SCHED_NONE has it. */
export type Means = 'reuseport' | 'shared';

/** How the app is multiplied with what Node alone can do. */
export interface FallbackPlan {
  reason?: undefined;
  means: Means;
  workers: number;
  /** CPU of each worker, by index from 1; undefined where it is not pinned. */
  cores: (number | undefined)[];
  /** Words before node, by index from 1: programs that pin the worker and tie its life to the origin's. */
  prefixes: string[][];
  /** The one line on stderr, when there are workers. */
  notice: string;
  exitWaitMs: number;
  originStartMs: number;
}

/** Whether this Node can bind a TCP handle with SO_REUSEPORT. */
export function meansOf({ constants }: TcpBinding): Means {
  return constants.UV_TCP_REUSEPORT === undefined ? 'shared' : 'reuseport';
}

export interface NoticeFacts {
  /** Why there is no addon, as the loader says it. */
  missing: string;
  means: Means;
  workers: number;
  nodeVersion: string;
  /** Why workers are not pinned; undefined: taskset pins them. */
  unpinned: string | undefined;
  /** Workers cannot outlive the origin. */
  tied: boolean;
  /** Connections were to go by the client's address. */
  byAddress: boolean;
}

/** What the user is told, once: what is missing, what is done instead, and what that costs. */
export function describe(facts: NoticeFacts): string {
  const { missing, means, workers, nodeVersion, unpinned, tied, byAddress } = facts;
  const sockets =
    means === 'reuseport'
      ? 'with a reusePort socket each'
      : `on one shared socket (Node ${nodeVersion} has no reusePort)`;
  const pinned =
    unpinned === undefined
      ? 'pinned by taskset as a whole, their thread pools and started programs too'
      : `not pinned: ${unpinned}`;
  return (
    `${missing.split('\n')[0]}; ${workers} workers ${sockets}, ${pinned}. ` +
    `Lost: steering by ${byAddress ? "the client's address" : 'CPU'}; the origin serves beside its workers${tied ? '' : '; a blocked worker can outlive it'}`
  );
}

/** Why taskset cannot pin these workers; undefined: it can. */
function tasksetReason(layout: Layout, taskset: string | undefined): string | undefined {
  if (layout.unpinned !== undefined) return layout.unpinned;
  const first = layout.cores.find((core) => core !== undefined);
  if (first === undefined) return 'no CPU for any worker';
  return taskset === undefined ? 'there is no taskset in PATH' : tasksetFailure(taskset, first);
}

/** Made once, at the first listen() that could be multiplied. */
export function makeFallbackPlan(
  settings: Settings,
  birth: Birth,
  tcp: TcpBinding,
  missing: string,
): FallbackPlan | Single {
  const originStartMs = process.uptime() * 1000;
  const single = singleReason(settings, birth);
  if (single !== undefined) return { reason: single, quiet: true };
  const layout = layOut(settings, affinityOf('self'));
  const { workers, cores } = layout;
  if (workers < 2) return { reason: `one worker is no gain (${layout.why})`, quiet: true };
  const path = birth.env['PATH'];
  const taskset = findProgram('taskset', path);
  const lifeline = lifelineWords(path);
  const unpinned = tasksetReason(layout, taskset);
  const means = meansOf(tcp);
  const pinnedTo = unpinned === undefined ? cores : cores.map(() => undefined);
  return {
    means,
    workers,
    cores: pinnedTo,
    prefixes: pinnedTo.map((core) => [
      ...lifeline,
      ...(taskset === undefined || core === undefined ? [] : tasksetWords(taskset, core)),
    ]),
    notice: describe({
      missing,
      means,
      workers,
      nodeVersion: process.versions.node,
      unpinned,
      tied: lifeline.length > 0,
      byAddress: settings.steer === 'ip',
    }),
    exitWaitMs: settings.exitWaitMs,
    originStartMs,
  };
}
