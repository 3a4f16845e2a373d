// SPDX-License-Identifier: Apache-2.0
import { keysOf } from '../group/key';
import { refuseConnects } from '../hook/connects';
import { captureContext, type InContext } from '../hook/context';
import { beforeDisconnect } from '../hook/disconnect';
import {
  closeUnnoticed,
  type Datagram,
  type GetServerCallback,
  hookGetServer,
  interceptClose,
  isServer,
  type ServerQuery,
} from '../hook/node';
import { setServerData } from '../hook/server-data';
import type { ServerInside, TcpBinding, TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import { ClusterServers } from '../worker/cluster-servers';
import { disconnect } from '../worker/disconnect';
import { EarlyConnects } from '../worker/early-connects';
import { keepOriginal } from '../worker/original-kept';
import { OwnDatagrams } from '../worker/own-datagrams';
import { COMMAND, isOurs } from '../workers/messages';
import type { Asked } from './mark';
import type { ToOrigin, ToWorker } from './messages';
import { pretendedHandle } from './pretended';
import { affinityOf } from './processes';
import { keepRoom, type Room } from './room';
import { deliverSignal, installFallbackSignals } from './worker-signals';

type Answer = Extract<ToWorker, { kind: 'answer' }>;

interface Listening {
  key: string;
  generation: number;
  server: ServerInside;
}

interface Waiting {
  server: ServerInside & { _listeningId?: number };
  /** net.js counts listen() and close() of a server, to know late answers (lib/net.js, listenInCluster). */
  listeningId: number | undefined;
  callback: GetServerCallback;
  alone(): void;
  inContext: InContext;
  keys: string[];
  /** For the socket that is to come; undefined: it has been used up. */
  room: Room | undefined;
}

/** A message whose handle has been lost on its way (lib/internal/child_process.js, setupChannel: NODE_HANDLE_NACK). */
interface Bare {
  cmd: string;
  msg?: unknown;
}

type SendFunction =
  | ((message: unknown, handle: undefined, options: undefined, callback: () => void) => boolean)
  | undefined;

/** A copy of the app without the addon: its listening sockets come from the origin over the IPC channel, as cluster's do. */
export class FallbackWorker {
  private readonly listening = new Map<string, Listening>();
  private readonly waiting = new Map<number, Waiting>();
  private lastId = 0;
  /** Servers that are closing, with the generations of their groups: connections of them may live on. */
  private readonly ending = new Map<ServerInside, number>();
  private readonly servers = new ClusterServers(() => this.goIfDone());
  private readonly datagrams = new OwnDatagrams();
  /** The process ends when its servers have closed. */
  private going = false;
  /** As in Worker. */
  private parted = false;
  private served = false;
  /** As it is before the app: log4js and others put a function of their own there. */
  private readonly send = process.send;
  private readonly early = new EarlyConnects({
    early: () => this.asked?.early ?? [],
    listenedOn: () => this.asked?.keys ?? [],
    isOpen: (key) => this.listening.has(key),
  });

  constructor(
    private readonly tcp: TcpBinding,
    private asked: Asked | undefined,
  ) {}

  /** The CPU that taskset has left this process; undefined where there are more. */
  static pinnedTo(core: number | undefined): number | undefined {
    const cpus = affinityOf('self');
    return core !== undefined && cpus.length === 1 && cpus[0] === core ? core : undefined;
  }

  install(): void {
    // what keeps this process alive is the app, not the channel
    process.channel?.unref();
    installFallbackSignals((signal) => this.tell({ kind: 'signal', signal }));
    keepOriginal({
      origin: process.ppid,
      listens: () => this.served,
      unable: (reason) => this.tell({ kind: 'unable', reason }),
    });
    refuseConnects(this.tcp, (address, port) => this.early.refuses(address, port));
    hookGetServer({
      take: (server, query, callback, alone) => this.parted || this.take(server, query, callback, alone),
      bound: (socket, handle) => this.datagrams.add(socket, handle),
      listens: (server) => {
        this.servers.add(server);
        // its 'close' will be that of another socket
        this.ended(server);
      },
    });
    beforeDisconnect((done) => {
      this.part();
      this.servers.close(done);
      this.datagrams.closeAll();
    });
    process.on('internalMessage' as never, (message: unknown, handle: TcpHandle | undefined) => {
      const lost = handle ? undefined : lostAnswer(message);
      if (lost) return this.lost(lost);
      if (!isOurs<ToWorker>(message)) return;
      const { body } = message;
      if (body.kind === 'answer') return this.answered(body, handle);
      // after what has arrived on connections is read, see worker/worker
      setImmediate(() => setImmediate(() => this.obey(body)));
    });
    // The app has let go of the channel in a way of its own. Where the origin has died instead, Node ends this process
    // (lib/internal/cluster/child.js).
    process.once('disconnect', () => {
      this.part();
      this.closeAll();
    });
  }

  /** Nobody waits for an answer any more, and none comes to what is asked from now on: see Worker. */
  private part(): void {
    this.parted = true;
    if (this.waiting.size > 0) process.channel?.unref();
    for (const { room } of this.waiting.values()) room?.();
    this.waiting.clear();
  }

  private tell(body: ToOrigin): boolean {
    if (!process.connected) return false;
    (this.send as SendFunction)?.call(process, { cmd: COMMAND, body }, undefined, undefined, () => {});
    return true;
  }

  /** One listen(): TCP on a fixed port is asked for, everything else is this process's own affair. */
  private take(
    server: ServerInside | Datagram,
    query: ServerQuery,
    callback: GetServerCallback,
    alone: () => void,
  ): boolean {
    const { port, addressType, fd } = query;
    if (!isServer(server)) return false;
    if (!(port > 0) || (addressType !== 4 && addressType !== 6) || (fd ?? -1) >= 0 || !process.connected)
      return false;
    const keys = keysOf(query);
    // the second server of a process on one address: alone it gets EADDRINUSE as in plain Node
    if (keys.some((key) => this.listening.has(key))) return false;
    const room = keepRoom();
    // alone it fails as in plain Node, which needs a descriptor now, too
    if (!room) return false;
    const id = ++this.lastId;
    const { _listeningId: listeningId } = server as Waiting['server'];
    this.waiting.set(id, { server, listeningId, callback, alone, inContext: captureContext(), keys, room });
    process.channel?.ref();
    this.tell({ kind: 'ask', id, keys });
    return true;
  }

  private obey(message: Exclude<ToWorker, Answer>): void {
    switch (message.kind) {
      case 'signal':
        deliverSignal(message.signal);
        setImmediate(() => {
          if (this.listening.size > 0) this.tell({ kind: 'stays', signal: message.signal });
        });
        return;
      case 'close':
        return this.closeGroup(message.key, message.generation);
      case 'count': {
        const count = this.listening.get(message.key)?.server._connections ?? 0;
        this.tell({ kind: 'connections', id: message.id, count });
        return;
      }
      case 'asked':
        this.asked = message.asked;
        return;
      case 'leave':
        this.servers.leave();
        this.going = true;
        return this.goIfDone();
      case 'disconnect':
        return disconnect();
      case 'exit':
        return process.exit(message.code) as never;
    }
  }

  /** The socket has found no room: there is some now, or the app hears of it as in plain Node. */
  private lost({ id, key, generation }: Answer): void {
    const asked = this.waiting.get(id);
    if (!asked) return;
    debug('the socket for %s has found no room here', asked.keys[0]);
    const { room, keys } = asked;
    asked.room = undefined;
    if (room) {
      room();
      this.tell({ kind: 'ask', id, keys });
      return;
    }
    if (key !== undefined && generation !== undefined) this.tell({ kind: 'closed', key, generation });
    this.answered({ kind: 'answer', id }, undefined);
  }

  private answered({ id, key, generation, data, past }: Answer, handle: TcpHandle | undefined): void {
    const asked = this.waiting.get(id);
    this.waiting.delete(id);
    if (this.waiting.size === 0) process.channel?.unref();
    if (!asked) {
      handle?.close();
      if (key !== undefined && generation !== undefined) this.tell({ kind: 'closed', key, generation });
      return;
    }
    const { server, listeningId, callback, alone, inContext, room } = asked;
    room?.();
    if (past !== undefined) {
      inContext(() =>
        callback(
          0,
          pretendedHandle(past, () => this.tell({ kind: 'probed', key: past })),
        ),
      );
      return;
    }
    if (key === undefined || generation === undefined || !handle) {
      if (server._listeningId === listeningId) inContext(alone);
      return;
    }
    setServerData(server, data);
    inContext(() => callback(0, handle));
    if ((server as { _handle?: unknown })._handle !== handle) {
      this.tell({ kind: 'closed', key, generation });
      return;
    }
    const listening = { key, generation, server };
    this.listening.set(key, listening);
    // the handle was made where the message arrived, not where listen() was called
    const { onconnection } = handle;
    handle.onconnection = (status, client) => inContext(() => onconnection.call(handle, status, client));
    interceptClose(handle, (close) => this.closing(listening, close));
    // ready is: the accept loop has run, not: listen() has returned
    setImmediate(() => {
      if (this.listening.get(key) !== listening) return;
      this.served = true;
      this.tell({ kind: 'ready', key, generation });
    });
  }

  /** The app closes its server, or the origin the group. */
  private closing({ key, generation, server }: Listening, close: () => void): void {
    debug('%s closes here', key);
    this.listening.delete(key);
    this.ending.set(server, generation);
    server.once('close', () => {
      if (this.ending.get(server) === generation) this.ended(server);
      this.goIfDone();
    });
    close();
    this.tell({ kind: 'gone', key, generation });
  }

  private ended(server: ServerInside): void {
    const generation = this.ending.get(server);
    if (this.ending.delete(server)) this.tell({ kind: 'ended', generation: generation as number });
  }

  private closeGroup(key: string, generation: number): void {
    const listening = this.listening.get(key);
    if (listening?.generation === generation) closeUnnoticed(listening.server);
    this.tell({ kind: 'closed', key, generation });
  }

  private goIfDone(): void {
    if (this.going && this.ending.size + this.servers.ending === 0) process.exit(0);
  }

  private closeAll(): void {
    for (const { server } of [...this.listening.values()]) closeUnnoticed(server);
  }
}

function lostAnswer(message: unknown): Answer | undefined {
  const { cmd, msg } = message as Bare;
  if (cmd !== 'NODE_HANDLE' || !isOurs<ToWorker>(msg)) return undefined;
  return msg.body.kind === 'answer' ? msg.body : undefined;
}
