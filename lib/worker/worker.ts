// SPDX-License-Identifier: Apache-2.0
import { ArrivalSampler } from '../group/arrivals';
import { captureContext, drain, type InContext } from '../group/drain';
import { type BindArguments, groupKey, ipv4Fallback, isLoopbackAddress } from '../group/key';
import { spareUnheard } from '../hook/http-close';
import { closeUnnoticed, hookGetServer, interceptClose } from '../hook/node';
import { hookTcp, type TcpBinding, type TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import type { Addon } from '../native/addon';
import { deliverSignal, installWorkerSignals } from '../signals/worker-signals';
import { COMMAND, isOurs, type ToOrigin, type ToWorker } from '../workers/messages';
import { InheritedSockets } from './inherited';
import { pinEventLoop } from './pinning';
import { pretendBound } from './probe';

/** EAFNOSUPPORT: what bind6() says where there is no IPv6; net.js then takes 0.0.0.0. */
const NO_IPV6 = -97;
/** EADDRINUSE: two servers of one process on one address, which duplicates of one socket would allow. */
const IN_USE = -98;

export interface WorkerOptions {
  addon: Addon;
  tcp: TcpBinding;
  /** Descriptor of the control socket. */
  control: number;
  core: number | undefined;
  /** The event loop is pinned now. */
  pinned(core: number): void;
}

type SendFunction =
  | ((message: unknown, handle: undefined, options: undefined, callback: () => void) => boolean)
  | undefined;

interface Listening {
  key: string;
  generation: number;
  handle: TcpHandle;
  inContext: InContext;
}

/** A copy of the app: its fixed ports are sockets that the origin has made. */
export class Worker {
  private readonly inherited: InheritedSockets;
  private readonly sampler: ArrivalSampler;
  private readonly bound = new WeakMap<TcpHandle, { key: string; generation: number; loopback: boolean }>();
  private readonly refused = new WeakSet<TcpHandle>();
  private readonly probes = new WeakSet<TcpHandle>();
  private readonly listening = new Map<string, Listening>();
  /** As it is before the app: log4js and others put a function of their own there. */
  private readonly send = process.send;
  private core: number | undefined;
  private pinTried = false;
  /** The process ends when its servers have closed. */
  private going = false;

  constructor(private readonly options: WorkerOptions) {
    const { addon, control } = options;
    this.inherited = new InheritedSockets(addon, control);
    this.sampler = new ArrivalSampler(
      addon,
      () => this.core,
      (report) => this.tell({ kind: 'arrivals', ...report }),
    );
  }

  install(): void {
    const { addon, control, tcp } = this.options;
    addon.setCloseOnExec(control);
    // what keeps this process alive is the app, not the channel
    process.channel?.unref();
    this.inherited.read();
    installWorkerSignals(addon, control);
    hookGetServer();
    hookTcp(tcp, {
      bind: (handle, bind, native) => this.bind(handle, bind, native),
      listen: (handle, backlog, native) => this.listen(handle, backlog, native),
    });
    process.on('internalMessage' as never, (message: unknown) => {
      if (!isOurs<ToWorker>(message)) return;
      const { body } = message;
      debug('%s by way of the origin', body.kind);
      // After all I/O that is there, as libuv does it with signals (src/unix/linux.c, uv__io_poll: have_signals): what
      // has arrived is read before a handler closes the connections that it takes for idle. The first look at it was
      // before this message was parsed, hence the second.
      setImmediate(() => setImmediate(() => this.obey(body)));
    });
    // cluster.worker.disconnect(): Node's own handles know nothing of these servers
    process.once('disconnect', () => this.closeAll());
  }

  private tell(body: ToOrigin): void {
    if (process.connected)
      (this.send as SendFunction)?.call(process, { cmd: COMMAND, body }, undefined, undefined, () => {});
  }

  private bind(handle: TcpHandle, bind: BindArguments, native: () => number): number {
    const key = groupKey(bind);
    this.inherited.read();
    const fallback = ipv4Fallback(bind);
    if (!this.inherited.has(key) && fallback !== undefined && this.inherited.has(fallback)) return NO_IPV6;
    if (this.listening.has(key)) return this.refuse(handle, IN_USE);
    const found = this.inherited.find(key, () => this.tell({ kind: 'ask', key }));
    if (found.kind === 'own') return native();
    if (found.kind === 'failed') return this.refuse(handle, found.error);
    if (found.kind === 'past') return this.probe(handle, bind);
    const copy = this.options.addon.dup(found.fd);
    if (copy < 0) return copy;
    const error = handle.open(copy);
    if (error < 0) {
      this.options.addon.close(copy);
      return error;
    }
    this.bound.set(handle, { key, generation: found.generation, loopback: isLoopbackAddress(bind.address) });
    return 0;
  }

  /** libuv keeps EADDRINUSE back until listen() (src/unix/tcp.c, uv__tcp_bind: delayed_error), all else fails at once. */
  private refuse(handle: TcpHandle, error: number): number {
    if (error !== IN_USE) return error;
    this.refused.add(handle);
    return 0;
  }

  private probe(handle: TcpHandle, bind: BindArguments): number {
    pretendBound(handle, bind);
    this.probes.add(handle);
    interceptClose(handle, (close) => {
      this.tell({ kind: 'probed', key: groupKey(bind) });
      close();
    });
    return 0;
  }

  private listen(handle: TcpHandle, backlog: number, native: (backlog: number) => number): number {
    if (this.refused.has(handle)) return IN_USE;
    if (this.probes.has(handle)) return 0;
    const bound = this.bound.get(handle);
    if (!bound) return native(backlog);
    this.pin();
    const error = native(backlog);
    if (error < 0) return error;
    const { key, generation, loopback } = bound;
    const listening = { key, generation, handle, inContext: captureContext() };
    this.listening.set(key, listening);
    interceptClose(handle, (close) => this.closing(listening, close));
    spareUnheard(handle.owner);
    if (!loopback) this.sampler.attach(handle);
    // ready is: the accept loop has run, not: listen() has returned
    setImmediate(() => {
      if (this.listening.get(key) === listening) this.tell({ kind: 'ready', key, generation });
    });
    return 0;
  }

  private pin(): void {
    const { addon, core, pinned } = this.options;
    if (this.pinTried || core === undefined) return;
    this.pinTried = true;
    if (!pinEventLoop(addon, core)) return;
    this.core = core;
    pinned(core);
  }

  /** The app closes its server, or the origin the group: steering goes first, then what is queued is served, then the socket. */
  private closing({ key, generation, handle, inContext }: Listening, close: () => void): void {
    this.listening.delete(key);
    this.tell({ kind: 'gone', key, generation });
    const accepted = drain(this.options.addon, handle, handle.fd, inContext);
    debug('%s closes here, %d connections were still queued', key, accepted);
    this.ending.add(generation);
    handle.owner?.once('close', () => {
      this.ending.delete(generation);
      this.goIfDone();
      if (this.leaving.delete(generation)) this.tell({ kind: 'closed', key, generation });
    });
    close();
  }

  /** Groups, by generation, whose server here is closing: connections of it may live on. */
  private readonly ending = new Set<number>();
  /** Of these, the ones that the origin waits for. */
  private readonly leaving = new Set<number>();

  private obey(message: ToWorker): void {
    switch (message.kind) {
      case 'signal':
        return deliverSignal(this.options.addon, message.signal);
      case 'close':
        return this.closeGroup(message.key, message.generation);
      case 'count': {
        const count = this.listening.get(message.key)?.handle.owner?._connections ?? 0;
        return this.tell({ kind: 'connections', id: message.id, count });
      }
      case 'leave':
        return this.leave();
      case 'exit':
        return process.exit(message.code) as never;
    }
  }

  private closeGroup(key: string, generation: number): void {
    this.inherited.read();
    this.inherited.drop(key, generation);
    const listening = this.listening.get(key);
    const open = listening?.generation === generation;
    if (!open && !this.ending.has(generation)) return this.tell({ kind: 'closed', key, generation });
    this.leaving.add(generation);
    if (open) closeUnnoticed(listening.handle.owner);
  }

  private leave(): void {
    this.closeAll();
    this.going = true;
    this.goIfDone();
  }

  private goIfDone(): void {
    if (this.going && this.ending.size === 0) process.exit(0);
  }

  private closeAll(): void {
    for (const { handle } of [...this.listening.values()]) closeUnnoticed(handle.owner);
  }
}
