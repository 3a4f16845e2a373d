// SPDX-License-Identifier: Apache-2.0
import { SEAM_PIECES, type SeamPiece, type Settings } from '../config/settings';
import { readText } from '../cpu/read';
import { onStdioGiven } from '../hook/given-stdio';
import { debug, debugging } from '../log';
import type { Addon } from '../native/addon';
import { watchRefusals } from '../native/refusals';

/** native/seam/loop.h, enum Piece. */
const BITS: Readonly<Record<SeamPiece, number>> = { batch: 1, nodelay: 2, read: 4, fds: 8, backlog: 0 };
const DEFER_ACCEPT = 16;
const CONNECT = 32;

/**
 * Connections that one event of a listener may stand for. 2, 4, 8, 16 and 32 cost the same CPU per connection; what is
 * accepted and unread is lost with the process.
 */
const BATCH = 4;
/** A turn of the loop that has lasted this long accepts no more, and the next one has no batch, in microseconds. */
const TURN_US = 2_000;
const LOOK_MS = 100;

type SeamSettings = Pick<Settings, 'seam' | 'deferAccept' | 'connect'>;

/** The bits that native/seam knows for these settings. */
export function seamBits({ seam, deferAccept, connect }: SeamSettings): number {
  if (seam.length === 0) return 0;
  const others = (deferAccept ? DEFER_ACCEPT : 0) | (connect === 'off' ? 0 : CONNECT);
  return seam.reduce((bits, piece) => bits | BITS[piece], others);
}

function explain(addon: Addon): void {
  const stats = addon.seamStats();
  const { pieces = 0, connect = -1 } = typeof stats === 'number' ? {} : stats;
  if (pieces === 0) return debug('the seam is off: the event loop does not come through it');
  const names: string[] = SEAM_PIECES.filter((piece) => (pieces & BITS[piece]) !== 0);
  if (connect === 0) names.push('connect');
  debug('seam: %s', names.join(', '));
}

let explained = false;

/**
 * Says in the debug log whether the loop comes through the seam, once it has turned: an app that blocks turns late. A
 * second timer, for between two the loop polls; an unref'd immediate would wait for the next event.
 */
function explainLater(addon: Addon): void {
  if (!debugging() || explained) return;
  explained = true;
  try {
    setTimeout(() => setTimeout(() => explain(addon), 1).unref(), LOOK_MS).unref();
  } catch {
    // the app's clock, not Node's
  }
}

let sharing = false;

/** What a program inherits is no longer this process's own. */
function shareStdio(addon: Addon): void {
  if (sharing) return;
  sharing = true;
  onStdioGiven((fd) => addon.seamShare(fd));
}

/** Puts the seam under this thread's event loop, before it listens or connects. Returns why there is none. */
export function attachSeam(addon: Addon, settings: SeamSettings): string | undefined {
  watchRefusals(addon);
  const reason =
    settings.seam.length === 0 ? 'FASTSOCKET_SEAM=off' : attach(addon, withoutMigration(seamBits(settings)));
  if (reason === undefined) {
    explainLater(addon);
    shareStdio(addon);
  } else debug('the seam is off: %s', reason);
  return reason;
}

/**
 * With net.ipv4.tcp_migrate_req (5.14, Documentation/networking/ip-sysctl.rst) a connection that another listener has made
 * comes into a queue: what it has inherited is not known.
 */
function withoutMigration(bits: number): number {
  return readText('/proc/sys/net/ipv4/tcp_migrate_req')?.trim() === '1' ? bits & ~BITS.nodelay : bits;
}

function attach(addon: Addon, bits: number): string | undefined {
  if (bits === 0) return 'nothing that it does is asked for';
  for (const name of ['electron', 'nw'])
    if (name in process.versions) return `the event loop is that of ${name}`;
  const result = addon.seamAttach(bits, BATCH, TURN_US);
  if (result === 0) return undefined;
  return typeof result === 'string' ? result : `errno ${-result}`;
}
