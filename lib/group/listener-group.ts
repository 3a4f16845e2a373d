// SPDX-License-Identifier: Apache-2.0

import { captureContext, type InContext } from '../hook/context';
import type { ServerInside, TcpHandle } from '../hook/tcp';
import type { Addon } from '../native/addon';
import { tellRefusals } from '../native/refusals';
import { Departures } from './departures';
import { drain } from './drain';
import { type BindArguments, groupKey, isLoopbackAddress } from './key';
import { addressOf } from './name';
import { makeSiblings } from './siblings';

export interface GroupOptions {
  key: string;
  /** Counts the groups of this process: a key may come back, its sockets are others then. */
  generation: number;
  bind: BindArguments;
  handle: TcpHandle;
  backlog: number;
  /** Workers there may be: the group has one socket for each, and the origin's. */
  workers: number;
  /** Program that selects the origin's socket alone. */
  originOnly: Uint8Array;
}

/**
 * All listening sockets of one address. The origin owns every one of them for as long as it lives: index 0 its own,
 * index i worker i's. A worker's death closes nothing, so its queue survives it.
 *
 * Where the kernel takes no steering program its hash selects every socket that listens. The origin's and worker 1's are
 * one there: the origin stands by when it polls it no longer, and nothing has to leave for that.
 */
export class ListenerGroup {
  key: string;
  readonly generation: number;
  readonly handle: TcpHandle;
  readonly backlog: number;
  readonly loopback: boolean;
  port: number;
  readonly openedAt = performance.now();
  readonly sockets: number[] = [];
  /** Workers whose accept loop has run. */
  readonly ready = new Set<number>();
  /** Workers that hold a duplicate of their socket. */
  readonly holders = new Set<number>();
  /** Of these, the ones that have closed theirs again. */
  readonly letGo = new Set<number>();
  readonly inContext: InContext = captureContext();
  /** The kernel has a steering program of ours; without one, sockets that nobody serves leave the group instead. */
  hasProgram = false;
  /** The negative errno with which the kernel has refused it; 0: it has not. */
  refused = 0;
  /** Sockets above this index have never been a worker's, and nothing has been steered to them. */
  lastGiven = Number.POSITIVE_INFINITY;
  /** The app has given one of its sockets to a process that is none of ours, and may serve there for longer than we live. */
  given = false;
  closing = false;
  closed = false;
  private departures: Departures;
  /** libuv polls the origin's socket. */
  private polled = true;
  /** The origin stands by (no program). */
  private aside = false;

  constructor(
    private readonly addon: Addon,
    options: GroupOptions,
  ) {
    this.key = options.key;
    this.generation = options.generation;
    this.handle = options.handle;
    this.backlog = options.backlog;
    this.port = options.bind.port;
    this.loopback = isLoopbackAddress(options.bind.address);
    this.departures = this.departuresFrom([]);
  }

  /** The kernel has chosen the port; before listen() there may have been none (ip(7), IP_BIND_ADDRESS_NO_PORT). */
  portChosen(bind: BindArguments): void {
    const { port = 0 } = addressOf(this.handle) ?? {};
    this.key = groupKey({ ...bind, port });
    this.port = port;
  }

  private departuresFrom(left: Iterable<number>): Departures {
    const { addon } = this;
    const socket = (index: number) => this.sockets[index] as number;
    const hooks = {
      dropSyn: (index: number) => addon.dropSyn(socket(index)),
      keepSyn: (index: number) => addon.keepSyn(socket(index)),
      shut: (index: number) => this.shut(index),
      held: (index: number) => this.holders.has(index) && !this.letGo.has(index),
    };
    return new Departures(hooks, left);
  }

  get server(): ServerInside | undefined {
    return this.handle.owner;
  }

  /**
   * Makes the group around a handle that has been bound exclusively and does not listen yet. SO_REUSEPORT is set after
   * bind(), so that bind() has refused a taken port as in plain Node, and before listen(), because a plain listener takes
   * no program: EINVAL (net/core/sock_reuseport.c, reuseport_attach_prog). The program follows after listen(): a socket
   * that has one, or a group, finds its own kind in the way (inet_csk_bind_conflict: sk_reuseport_cb).
   * @returns libuv's result of listen(), which is plain Node's answer to the app; `failed` names what could not be had
   */
  open(options: GroupOptions, listen: (backlog: number) => number): { error: number; failed?: string } {
    const { addon, handle } = this;
    const fd = handle.fd;
    const shared = addon.reusePort(fd);
    if (shared < 0)
      return { error: listen(options.backlog), failed: `SO_REUSEPORT was refused (errno ${-shared})` };
    this.sockets.push(fd);
    const error = listen(options.backlog);
    if (error < 0) return { error };
    this.refused = addon.attachProgram(fd, options.originOnly);
    this.hasProgram = this.refused === 0;
    if (!this.hasProgram) this.sockets.push(fd);
    const made = makeSiblings(addon, this, options.workers + 1 - this.sockets.length);
    if (Array.isArray(made)) {
      this.add(made);
      return { error };
    }
    this.closeSiblings();
    return { error, failed: made.why };
  }

  /** Sockets for more workers (makeSiblings), which nobody serves yet. */
  add(sockets: readonly number[]): void {
    for (const socket of sockets) {
      if (!this.hasProgram) this.departures.absent(this.sockets.length);
      this.sockets.push(socket);
    }
  }

  /** Takes over the sockets of a group of the same address that is closing: close(); listen() in one tick. */
  adopt(
    predecessor: ListenerGroup,
    options: GroupOptions,
    listen: (backlog: number) => number,
  ): { error: number; failed?: string } {
    const { addon } = this;
    this.sockets.push(this.handle.fd);
    if (predecessor.origin === 1) this.sockets.push(this.handle.fd);
    for (const socket of predecessor.sockets.slice(this.sockets.length)) {
      const copy = addon.dup(socket);
      if (copy < 0) {
        this.closeSiblings();
        if (predecessor.hasProgram) this.steer(options.originOnly);
        addon.keepSyn(this.handle.fd);
        return { error: listen(options.backlog), failed: `no duplicate of its sockets (errno ${-copy})` };
      }
      this.sockets.push(copy);
    }
    this.hasProgram = predecessor.hasProgram;
    this.refused = predecessor.refused;
    // the origin's own listens again
    const left = [...predecessor.departures.left].filter((index) => index > this.origin);
    this.departures = this.departuresFrom(left);
    for (const socket of this.sockets) addon.keepSyn(socket);
    return { error: listen(options.backlog) };
  }

  /** Attaches a steering program. Returns 0 or a negative errno (ENOMEM: larger than net.core.optmem_max allows). */
  steer(program: Uint8Array): number {
    return this.addon.attachProgram(this.sockets[0] as number, program);
  }

  /** The kernel keeps our program no longer: from now on sockets leave the group when nobody serves them. */
  giveUpProgram(refused: number): void {
    if (!this.hasProgram) return;
    this.hasProgram = false;
    this.refused = refused;
    this.addon.detachProgram(this.sockets[0] as number);
  }

  /**
   * Without a program: lets go of what nobody serves, and takes the origin's socket back in when nobody else can.
   * @param live workers that serve this group now
   */
  settle(live: readonly number[]): void {
    if (this.hasProgram || this.closing) return;
    // who comes comes before the others go: with nobody in the group a SYN is refused
    this.aside = live.length > 0;
    if (!this.aside) this.comeBack();
    for (let i = 1; i < this.sockets.length; i++) {
      if (live.includes(i)) this.departures.end(i);
      else if (this.aside || i !== this.origin) this.departures.begin(i);
    }
    if (this.aside) this.standBy();
  }

  /** Index of the origin's socket: 1 where it is worker 1's, too. */
  private get origin(): 0 | 1 {
    return this.sockets[1] === this.sockets[0] ? 1 : 0;
  }

  private standBy(): void {
    if (this.origin === 0) return this.departures.begin(0);
    // libuv adds a new socket to its epoll set when it polls next (src/unix/linux.c, uv__io_poll): ENOENT before that
    if (this.polled && this.addon.pollDelete(this.sockets[0] as number) === 0) this.polled = false;
  }

  private comeBack(): void {
    const { addon, origin } = this;
    const socket = this.sockets[0] as number;
    // whether it listens still is not always known; where it does this changes nothing
    if (addon.listen(socket, this.backlog) < 0) return;
    this.departures.end(origin);
    if (!this.polled) this.polled = addon.pollAdd(socket) === 0;
  }

  /** Worker `index` has ended. It may have listened without having come to say so. */
  workerEnded(index: number): void {
    this.holders.delete(index);
    this.letGo.delete(index);
    this.ready.delete(index);
    this.departures.end(index);
  }

  /** Sockets are about to leave the group: `advance` is to be called again and again. */
  get departing(): boolean {
    const { aside, polled, departures } = this;
    return !this.closing && (departures.under || (aside && polled && this.origin === 1));
  }

  /** @param now by performance.now() */
  advance(now?: number): void {
    if (!this.departing) return;
    if (this.aside) this.standBy();
    this.departures.advance(now);
  }

  /**
   * Takes socket `index`, which has no SYN left to answer, out of the group and keeps the port: shutdown(SHUT_RD) ends
   * LISTEN without unbinding (net/ipv4/af_inet.c, inet_shutdown; tcp_disconnect keeps a bound port). A shut listener is a
   * level-triggered EPOLLHUP, so libuv must not watch it any longer.
   */
  private shut(index: number): void {
    const { addon } = this;
    const socket = this.sockets[index] as number;
    this.drainSocket(index);
    addon.shutdownRead(socket);
    if (index === 0 && addon.pollDelete(socket) === 0) this.polled = false;
  }

  /** Serves in the origin what waits in the queue of socket `index`. */
  drainSocket(index: number): number {
    const socket = this.sockets[index];
    if (socket === undefined || this.closed) return 0;
    return drain(this.addon, this.handle, socket, this.inContext);
  }

  /** How many sockets may have a queue beside the origin's. */
  get workerSockets(): number {
    const all = this.sockets.length - 1;
    return this.hasProgram ? Math.min(this.lastGiven, all) : all;
  }

  /** Serves here what waits on sockets that no worker serves. */
  drainUnserved(): number {
    let accepted = 0;
    for (let i = 1; i <= this.workerSockets; i++) {
      if (!this.ready.has(i) && !this.departures.left.has(i)) accepted += this.drainSocket(i);
    }
    return accepted;
  }

  /** No new handshake begins; those under way complete. */
  stopSyns(): void {
    for (const socket of this.sockets) this.addon.dropSyn(socket);
    // the process may end before they are looked for
    tellRefusals(this.addon);
  }

  drainAll(): number {
    let accepted = 0;
    for (let i = 0; i < this.sockets.length; i++) {
      if (!this.departures.left.has(i)) accepted += this.drainSocket(i);
    }
    return accepted;
  }

  /** There will be no workers. One that is about to end holds its duplicate until it has: close() waits for that. */
  becomeSingle(): void {
    this.ready.clear();
    this.settle([]);
    this.drainUnserved();
    this.closeSiblings();
  }

  closeSiblings(): void {
    this.departures = this.departuresFrom([]);
    for (const socket of this.sockets.splice(1)) if (socket !== this.sockets[0]) this.addon.close(socket);
  }
}
