// SPDX-License-Identifier: Apache-2.0

import type { Settings } from '../config/settings';
import { ArrivalSampler } from '../group/arrivals';
import {
  type BindArguments,
  groupKey,
  ipv4Fallback,
  isLoopbackAddress,
  keysOf,
  REUSE_PORT,
} from '../group/key';
import { captureContext } from '../hook/context';
import { beforeDisconnect } from '../hook/disconnect';
import { spareUnheard } from '../hook/http-close';
import { type Datagram, hookGetServer, interceptClose, isServer, type ServerQuery } from '../hook/node';
import { type ServerData, setServerData } from '../hook/server-data';
import { hookTcp, type ServerInside, type TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import { backlogFor } from '../seam/backlog';
import { attachSeam } from '../seam/seam';
import { deliverSignal, installWorkerSignals } from '../signals/worker-signals';
import { COMMAND, isOurs, type ToOrigin, type ToWorker } from '../workers/messages';
import { ClusterServers } from './cluster-servers';
import { disconnect } from './disconnect';
import { refuseEarlyConnects } from './early-connects';
import { InheritedSockets } from './inherited';
import { openAnyPort } from './judged';
import { LateListens } from './late-listens';
import { takesAll } from './limits';
import { Listeners } from './listeners';
import { OwnPorts } from './own-ports';
import { Place, type PlaceOptions } from './place';
import { Pretended } from './pretended';
import { takeSeat } from './seat';
import { SharedBinds } from './shared-binds';

/** EAFNOSUPPORT: what bind6() says where there is no IPv6; net.js then takes 0.0.0.0. */
const NO_IPV6 = -97;
/** EADDRINUSE: two servers of one process on one address, which duplicates of one socket would allow. */
const IN_USE = -98;

export interface WorkerOptions extends PlaceOptions {
  /** Descriptor of the control socket. */
  control: number;
  index: number;
  settings: Settings;
}

type SendFunction =
  | ((message: unknown, handle: undefined, options: undefined, callback: () => void) => boolean)
  | undefined;

interface Bound {
  key: string;
  generation: number;
  loopback: boolean;
  data: ServerData | undefined;
}

/** A copy of the app: its fixed ports are sockets that the origin has made. */
export class Worker {
  private readonly inherited: InheritedSockets;
  private readonly sampler: ArrivalSampler;
  private readonly bound = new WeakMap<TcpHandle, Bound>();
  private readonly refused = new WeakSet<TcpHandle>();
  private readonly sampled = new WeakSet<TcpHandle>();
  private readonly pretended = new Pretended();
  private readonly listeners: Listeners;
  private readonly late: LateListens;
  private readonly own: OwnPorts;
  private readonly shared: SharedBinds;
  private readonly servers = new ClusterServers(() => this.listeners.goIfDone());
  /** The backlogs that the app has named. */
  private readonly named = new WeakMap<ServerInside, unknown>();
  /** Handles of this worker alone: the origin has left it their address, or has not been asked (exclusive: true). */
  private readonly single = new WeakMap<TcpHandle, { key: string; granted: boolean }>();
  /** As it is before the app: log4js and others put a function of their own there. */
  private readonly send = process.send;
  private readonly place: Place;
  /** worker.disconnect() has been called here, or the channel has gone. */
  private parted = false;

  constructor(private readonly options: WorkerOptions) {
    const { addon, control } = options;
    this.place = new Place(options, () => this.tell({ kind: 'displaced' }));
    this.inherited = new InheritedSockets(addon, control);
    this.sampler = new ArrivalSampler(
      addon,
      () => this.place.core,
      (report) => {
        // where it runs anywhere, no arrival is local
        if (this.place.core !== undefined)
          addon.balanceArrived(Math.round(report.local), Math.round(report.remote));
        this.tell({ kind: 'arrivals', ...report });
      },
    );
    this.late = new LateListens(this.inherited, (keys) => this.tell({ kind: 'ask', keys }));
    this.own = new OwnPorts(addon, (key) => this.tell({ kind: 'released', key }));
    const { inherited, own } = this;
    const tell = (message: ToOrigin) => this.tell(message);
    this.shared = new SharedBinds({ addon, inherited, tell, ended: () => this.listeners.goIfDone() });
    const others = () => this.shared.ending + this.servers.ending;
    this.listeners = new Listeners({ addon, inherited, own, tell, others });
  }

  install(): void {
    const { addon, control, index, tcp, settings } = this.options;
    const open = addon.setCloseOnExec(control);
    if (open < 0) debug('programs inherit the control socket: fcntl(F_SETFD) fails (errno %d)', -open);
    // what keeps this process alive is the app, not the channel
    process.channel?.unref();
    this.inherited.read();
    if (this.inherited.unreadable < 0) this.giveUp();
    installWorkerSignals(addon, control, (call) => this.inherited.credentials.has(call));
    attachSeam(addon, settings);
    takeSeat(addon, index, this.inherited.takeSeat());
    this.place.install();
    refuseEarlyConnects(tcp, this.inherited, this.listeners);
    this.shared.install();
    hookGetServer({
      // in Node's cluster the primary does not answer one that disconnects (lib/internal/cluster/primary.js, queryServer)
      take: (server, query, callback, alone) =>
        this.parted ||
        this.shared.take(server, query, callback, alone) ||
        this.takeListen(server, query, alone),
      bound: (socket, handle) => this.shared.boundAlone(socket, handle),
      listens: (server) => this.servers.add(server),
    });
    hookTcp(tcp, {
      bindsAnyPort: settings.testGroups === 'worker',
      bind: (handle, bind, native) => this.bind(handle, bind, native),
      listen: (handle, backlog, native) =>
        this.listen(
          handle,
          backlogFor(backlog, this.named.get(handle.owner as ServerInside), settings),
          native,
        ),
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
    beforeDisconnect((done) => this.part(done));
    // the app has let go of the channel in a way of its own
    process.once('disconnect', () => {
      this.parted = true;
      this.listeners.closeAll();
      this.shared.disconnected();
      this.listeners.letGo();
    });
  }

  /** cluster.worker.disconnect(): what it has open closes, what the origin has lent goes, and then the channel. */
  private part(done: () => void): void {
    this.parted = true;
    this.late.end();
    this.servers.close(() => {
      this.listeners.letGo();
      this.tell({ kind: 'parts' });
      done();
    });
    this.shared.disconnected();
  }

  private tell(body: ToOrigin): void {
    if (process.connected)
      (this.send as SendFunction)?.call(process, { cmd: COMMAND, body }, undefined, undefined, () => {});
  }

  /** Without its sockets it could only wait for them. */
  private giveUp(): never {
    const reason = `its sockets cannot be received: recvmsg fails (errno ${-this.inherited.unreadable})`;
    this.tell({ kind: 'unable', reason });
    process.exit(1);
  }

  private takeListen(server: ServerInside | Datagram, query: ServerQuery, alone: () => void): boolean {
    if (!isServer(server)) return false;
    this.named.set(server, query.backlog);
    // the second server of a process on one address gets EADDRINUSE at once, as in plain Node
    if (keysOf(query).some((key) => this.listeners.has(key) || this.own.has(key))) return false;
    return this.late.take(server, query, alone);
  }

  private bind(handle: TcpHandle, asked: BindArguments, native: () => number): number {
    const bind = asked.port > 0 ? asked : openAnyPort(this.options, this.inherited, asked);
    if (bind.port === 0) return native();
    const key = groupKey(bind);
    this.inherited.read();
    const fallback = ipv4Fallback(bind);
    if (!this.inherited.has(key) && fallback !== undefined && this.inherited.has(fallback)) return NO_IPV6;
    if (this.listeners.has(key)) return this.refuse(handle, IN_USE);
    const found = this.inherited.find(key);
    if (found.kind === 'own') {
      if ((bind.flags & REUSE_PORT) === 0) this.single.set(handle, { key, granted: found.granted });
      return native();
    }
    if (found.kind === 'failed') return this.refuse(handle, found.error);
    if (found.kind === 'past') {
      this.pretended.bind(handle, bind, (closed) => this.tell({ kind: 'probed', key: closed }));
      return 0;
    }
    const copy = this.duplicate(key, found.fd);
    const error = handle.open(copy);
    if (error < 0) {
      this.options.addon.close(copy);
      return error;
    }
    // without a program the origin accepts from worker 1's socket, too, while no worker lives
    if (!found.once) this.options.addon.seamOwn(copy);
    const { generation, data } = found;
    this.bound.set(handle, { key, generation, loopback: isLoopbackAddress(bind.address), data });
    return 0;
  }

  private duplicate(key: string, fd: number): number {
    const copy = this.options.addon.dup(fd);
    if (copy >= 0) return copy;
    debug('%s is asked for again when its server has closed: fcntl fails (errno %d)', key, -copy);
    return this.inherited.surrender(key);
  }

  /** libuv keeps EADDRINUSE back until listen() (src/unix/tcp.c, uv__tcp_bind: delayed_error), all else fails at once. */
  private refuse(handle: TcpHandle, error: number): number {
    if (error !== IN_USE) return error;
    this.refused.add(handle);
    return 0;
  }

  private listen(handle: TcpHandle, backlog: number, native: (backlog: number) => number): number {
    if (this.refused.has(handle)) return IN_USE;
    if (this.pretended.listen(handle, backlog)) return 0;
    const bound = this.bound.get(handle);
    if (!bound) return this.listenAlone(handle, backlog, native);
    this.place.take();
    const { key, generation, loopback, data } = bound;
    setServerData(handle.owner, data);
    const error = native(backlog);
    if (error < 0) return error;
    this.listeners.add({ key, generation, handle, backlog, inContext: captureContext() });
    spareUnheard(handle.owner);
    if (handle.owner) this.options.addon.balanceHelp(handle.fd, generation, handle.owner, takesAll);
    if (!loopback) this.sample(handle);
    return 0;
  }

  /** Once: what a worker gets back after a reload is the same handle. */
  private sample(handle: TcpHandle): void {
    if (this.sampled.has(handle)) return;
    this.sampled.add(handle);
    this.sampler.attach(handle);
  }

  private listenAlone(handle: TcpHandle, backlog: number, native: (backlog: number) => number): number {
    const error = native(backlog);
    const single = this.single.get(handle);
    if (!single) return error;
    const { key, granted } = single;
    this.single.delete(handle);
    if (error < 0) {
      if (granted) this.tell({ kind: 'released', key });
      return error;
    }
    debug('listens on %s alone', key);
    if (!granted) this.tell({ kind: 'owns', key });
    this.own.add(key, handle, backlog);
    interceptClose(handle, (close) => {
      close();
      this.own.closed(key);
    });
    return 0;
  }

  private look(): void {
    this.late.look();
    this.shared.look();
    for (const { handle, bind, backlog } of this.pretended.take((key) => this.inherited.has(key)))
      if (this.bind(handle, bind, () => IN_USE) === 0) handle.listen(backlog);
    for (const [key, { handle, backlog }] of this.own.vacated) {
      if (!this.inherited.has(key)) continue;
      this.own.vacated.delete(key);
      const found = this.inherited.find(key);
      if (found.kind !== 'group' || this.options.addon.occupy(handle.fd, found.fd) < 0) continue;
      if (!found.once) this.options.addon.seamOwn(handle.fd);
      const { generation, data } = found;
      this.bound.set(handle, { key, generation, loopback: false, data });
      if (handle.listen(backlog) === 0) this.options.addon.pollAdd(handle.fd);
    }
  }

  private obey(message: ToWorker): void {
    switch (message.kind) {
      case 'signal':
        return this.deliver(message.signal);
      case 'close':
        return this.listeners.closeGroup(message.key, message.generation);
      case 'unshare':
        return this.shared.unshare(message.key, message.generation);
      case 'count': {
        const count = this.listeners.connections(message.key, message.generation);
        return this.tell({ kind: 'connections', id: message.id, count });
      }
      case 'look':
        return this.look();
      case 'release':
        return this.own.release(message.key);
      case 'leave':
        this.servers.leave();
        this.shared.leave();
        return this.listeners.leave();
      case 'disconnect':
        return disconnect();
      case 'place':
        return this.place.change(message);
      case 'exit':
        return process.exit(message.code) as never;
    }
  }

  /** After a reload (SIGHUP, SIGUSR2) the origin must not take this worker for one that is about to end. */
  private deliver(signal: number): void {
    deliverSignal(this.options.addon, signal);
    setImmediate(() => {
      if (this.listeners.size > 0) this.tell({ kind: 'stays', signal });
    });
  }
}
