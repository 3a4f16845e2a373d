// SPDX-License-Identifier: Apache-2.0

import type { Settings } from '../config/settings';
import { idleReason } from '../group/balancer';
import { keysOf } from '../group/key';
import { beforeDisconnect } from '../hook/disconnect';
import { onHandleGiven } from '../hook/given-handles';
import { type Datagram, hookGetServer, isServer, type ServerQuery } from '../hook/node';
import { hookTcp, type ServerInside } from '../hook/tcp';
import { debug } from '../log';
import { backlogFor } from '../seam/backlog';
import { attachSeam } from '../seam/seam';
import { deliverSignal, installWorkerSignals } from '../signals/worker-signals';
import { COMMAND, isOurs, type ToOrigin, type ToWorker } from '../workers/messages';
import { ClusterServers } from './cluster-servers';
import { disconnect } from './disconnect';
import { refuseEarlyConnects } from './early-connects';
import { InheritedSockets } from './inherited';
import { LateListens } from './late-listens';
import { Listeners } from './listeners';
import { keepOriginal } from './original-kept';
import { OwnDatagrams } from './own-datagrams';
import { OwnPorts } from './own-ports';
import { Place, type PlaceOptions } from './place';
import { takeSeat } from './seat';
import { SharedBinds } from './shared-binds';
import { TcpBinds } from './tcp-binds';

export interface WorkerOptions extends PlaceOptions {
  /** Descriptor of the control socket. */
  control: number;
  index: number;
  settings: Settings;
}

type SendFunction =
  | ((message: unknown, handle: undefined, options: undefined, callback: () => void) => boolean)
  | undefined;

/** A copy of the app: its fixed ports are sockets that the origin has made. */
export class Worker {
  private readonly inherited: InheritedSockets;
  private readonly listeners: Listeners;
  private readonly binds: TcpBinds;
  private readonly late: LateListens;
  private readonly own: OwnPorts;
  private readonly shared: SharedBinds;
  private readonly datagrams = new OwnDatagrams();
  private readonly servers = new ClusterServers(() => this.listeners.goIfDone());
  /** The backlogs that the app has named. */
  private readonly named = new WeakMap<ServerInside, unknown>();
  /** As it is before the app: log4js and others put a function of their own there. */
  private readonly send = process.send;
  private readonly place: Place;
  /** worker.disconnect() has been called here, or the channel has gone. */
  private parted = false;
  /** It has come to listen on all addresses that it was given sockets for. */
  private listensEverywhere = false;

  constructor(private readonly options: WorkerOptions) {
    const { addon, control, settings } = options;
    this.place = new Place(options, () => this.tell({ kind: 'displaced' }));
    this.inherited = new InheritedSockets(addon, control);
    this.late = new LateListens(this.inherited, (keys) => this.tell({ kind: 'ask', keys }));
    this.own = new OwnPorts(addon, (key) => this.tell({ kind: 'released', key }));
    const { inherited, own } = this;
    const tell = (message: ToOrigin) => this.tell(message);
    this.shared = new SharedBinds({ addon, inherited, tell, ended: () => this.listeners.goIfDone() });
    const others = () => this.shared.ending + this.servers.ending;
    this.listeners = new Listeners({
      addon,
      inherited,
      own,
      tell: (message) => this.tellOfListener(message),
      others,
    });
    const { listeners, place } = this;
    const unbalanced = idleReason(settings.balance, settings.steer) !== undefined;
    this.binds = new TcpBinds({ addon, control, inherited, listeners, own, place, unbalanced, tell });
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
    keepOriginal({
      origin: process.ppid,
      listens: () => this.listensEverywhere,
      unable: (reason) => this.tell({ kind: 'unable', reason }),
    });
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
      bound: (socket, handle) => this.datagrams.add(socket, handle),
      listens: (server) => {
        this.servers.add(server);
        this.listeners.reopened(server);
        this.shared.reopened(server);
      },
    });
    hookTcp(tcp, {
      bindsAnyPort: settings.testGroups === 'worker',
      bind: (handle, bind, native) => this.binds.bind(handle, bind, native),
      listen: (handle, backlog, native) =>
        this.binds.listen(
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
    onHandleGiven((fd) => this.listeners.give(fd));
    beforeDisconnect((done) => this.part(done));
    // the app has let go of the channel in a way of its own
    process.once('disconnect', () => {
      this.parted = true;
      this.listeners.closeAll();
      this.shared.disconnected();
      this.datagrams.closeAll();
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
    this.datagrams.closeAll();
  }

  private tell(body: ToOrigin): void {
    if (process.connected)
      (this.send as SendFunction)?.call(process, { cmd: COMMAND, body }, undefined, undefined, () => {});
  }

  private tellOfListener(message: ToOrigin): void {
    const { inherited, listeners } = this;
    if (message.kind === 'ready')
      this.listensEverywhere ||= [...inherited.keys].every((key) => listeners.has(key));
    this.tell(message);
  }

  /** Without its sockets it could only wait for them. */
  private giveUp(): never {
    const reason = `could not be started: its sockets cannot be received: recvmsg fails (errno ${-this.inherited.unreadable})`;
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

  private look(): void {
    this.late.look();
    this.shared.look();
    this.binds.look();
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
