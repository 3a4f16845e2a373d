// SPDX-License-Identifier: Apache-2.0
import type { SendHandle } from 'node:child_process';
import { debug, say } from '../log';

/** Where libraries write what a message is about: log4js, prom-client, PM2, rate-limiter-flexible, ... */
const NAMES = ['topic', 'type', 'event', 'cmd', 'channel'] as const;
/**
 * What is said to one program that may have started the app, also where it has not: wherever there is a channel.
 * By @pm2/io to PM2 (transports/IPCTransport), by Gatsby to its cloud what it has logged anyway (gatsby-cli, reporter/loggers/ipc).
 */
const OF_STARTERS =
  /^(?:axm:|human:event$|process:exception$|application:dependencies$|profilings$|LOG_ACTION$)/;

/**
 * How far the app is, said to whoever has started it, where there is somebody: PM2's wait_ready, and what Ghost says to its CLI
 * (`{ started: true }`, `{ ready: true }`; ghost, core/server/notify.js). The origin says it for all.
 */
function isState(message: unknown): boolean {
  if (typeof message !== 'object' || message === null) return message === 'ready';
  const { started, ready, debug: _, error: __, ...more } = message as Record<string, unknown>;
  return (typeof started === 'boolean' || typeof ready === 'boolean') && Object.keys(more).length === 0;
}

/** What a message is about, without what it says. */
export function nameOfMessage(message: unknown): string {
  if (message === null) return 'null';
  if (typeof message !== 'object') return `a ${typeof message}`;
  for (const name of NAMES) {
    const value = (message as Record<string, unknown>)[name];
    if (typeof value === 'string' && value.length > 0) return value.slice(0, 40);
  }
  return 'an object';
}

/** The origin's own way to the process that has started it. */
export interface Parent {
  readonly connected: boolean;
  /** What comes with the message is the parent's from then on. */
  send(message: unknown, handle: SendHandle | undefined): void;
}

/** As it is before anybody asks: apps put functions of their own there. */
const { send } = process;

export const processParent: Parent = {
  get connected() {
    return send !== undefined && process.connected;
  },
  send(message, handle) {
    const call = send as unknown as (...args: unknown[]) => boolean;
    // Node closes a connection that it has passed on, and nothing else (lib/internal/child_process.js, handleConversion)
    call.call(process, message, handle, undefined, () => discard(handle));
  },
};

/** Nobody takes what has come with a message: whoever is at the other end of a connection is to know. */
function discard(handle: SendHandle | undefined): void {
  const { destroy, close } = (handle ?? {}) as { destroy?: () => void; close?: () => void };
  try {
    (destroy ?? close)?.call(handle);
  } catch {
    // it is closed
  }
}

/**
 * What workers say by process.send() and the app does not listen for in the origin. Where the origin has a parent that it
 * can speak to (PM2, a watcher, fork()), that is whom the app means; else the app, or a library of its, speaks to a
 * cluster primary that does not listen: its words are lost, and somebody should know.
 */
export class Unheard {
  /** What the first of them was about; undefined where there was none, or a parent that may have heard it. */
  first: string | undefined;
  private said = false;

  constructor(
    private readonly parent: Parent = processParent,
    private readonly tell: (line: string) => void = say,
  ) {}

  /** @param serves the worker serves already: what it says while it starts, the origin has said, too */
  hear(message: unknown, handle: SendHandle | undefined, serves: boolean): void {
    const name = nameOfMessage(message);
    debug("a worker's process.send() (%s): the app does not listen for cluster's 'message'", name);
    const state = isState(message);
    const passedOn = serves && !state && this.parent.connected;
    if (passedOn) return this.parent.send(message, handle);
    discard(handle);
    if (state || this.parent.connected || OF_STARTERS.test(name)) return;
    this.first ??= name;
    // a mere word (`online`, `shutdown`) is for whoever may have started the app; libraries send objects
    if (!serves || this.said || typeof message === 'string') return;
    this.said = true;
    this.tell(
      `what workers say by process.send() (${name}) is lost: the app does not listen for cluster's 'message' in the process that was started`,
    );
  }
}
