// SPDX-License-Identifier: Apache-2.0
// The ways of running one and the same server.
import { SEAM_PIECES } from '../../lib/config/settings';
import { nginxServer } from './nginx';
import type { Place } from './place';
import { hook } from './root';
import { Server } from './server';

export interface Variant {
  name: string;
  /** Starts a fresh server. */
  start(place: Place, port: number): Promise<Server>;
  /** What is not as the variant's name says, for instance that the hook is inactive; undefined where all is well. */
  remark(server: Server): string | undefined;
}

/** Variables that change what a server does. */
const DISTURBING = /^(FASTSOCKET|WEB_CONCURRENCY$|NODE_)/;

/** Ours, without what would change the server, and `more`. */
export function environment(port: number, more: Record<string, string>): NodeJS.ProcessEnv {
  const clean = Object.entries(process.env).filter(([name]) => !DISTURBING.test(name));
  return { ...Object.fromEntries(clean), PORT: String(port), ...more };
}

export const PLAIN = 'plain Node';
export const FASTSOCKET = 'fastsocket';
export const NGINX = 'nginx';

function plain(node: string, script: string): Variant {
  return {
    name: PLAIN,
    start: (place, port) => Server.start(place, { words: [node, script], env: environment(port, {}), port }),
    remark: () => undefined,
  };
}

/** What the hook has said: its one line if it is inactive, and in its debug log whether the seam is in place. */
export function hookRemark(stderr: string, seam: string): string | undefined {
  const line = /^fastsocket: .*$/m.exec(stderr)?.[0];
  if (line !== undefined || seam === 'off') return line;
  if (/\bseam: \w/.test(stderr)) return undefined;
  return /the seam is off.*/.exec(stderr)?.[0] ?? 'the seam has not said that it is in place';
}

export function withHook(
  name: string,
  node: string,
  script: string,
  seam: string,
  more: Record<string, string> = {},
): Variant {
  const env = { FASTSOCKET_WORKERS: '1', FASTSOCKET_SEAM: seam, NODE_DEBUG: 'fastsocket', ...more };
  return {
    name,
    start: (place, port) =>
      Server.start(place, { words: [node, '-r', hook, script], env: environment(port, env), port }),
    remark: ({ stderr }) => hookRemark(stderr, seam),
  };
}

/** Pieces that do nothing while there are descriptors and the queue is short. */
const IDLE_HERE: readonly string[] = ['fds', 'backlog'];

/** Plain Node first: the others are compared with it. */
export function nodeVariants(node: string, script: string): Variant[] {
  return [
    plain(node, script),
    withHook(FASTSOCKET, node, script, 'on'),
    withHook('fastsocket, seam off', node, script, 'off'),
  ];
}

/** The seam with each of its pieces off in turn. */
export function ablations(node: string, script: string): Variant[] {
  return SEAM_PIECES.filter((piece) => !IDLE_HERE.includes(piece)).map((piece) => {
    const others = SEAM_PIECES.filter((name) => name !== piece);
    return withHook(`fastsocket without ${piece}`, node, script, others.join(','));
  });
}

export function nginxVariant(): Variant {
  return { name: NGINX, start: nginxServer, remark: () => undefined };
}
