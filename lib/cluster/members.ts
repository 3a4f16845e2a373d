// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from 'node:child_process';
import type { Cluster, Worker as ClusterWorker } from 'node:cluster';
import { type PipeHandle, sureToDisconnect, wrapPipe } from '../hook/cluster';
import { isCopy } from '../hook/cluster-workers';
import type { TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import type { Addon } from '../native/addon';
import { CLUSTER_COMMAND, isClusterMessage, type ToMember, type ToPrimary } from './messages';
import { Seats } from './seats';

/** A worker of the app's own. */
export interface Member {
  readonly id: number;
  readonly process: ChildProcess;
  /** Its number in all groups; 0 before it has asked. */
  index: number;
  /** It has been given a place in the balancing. */
  seated: boolean;
  /** It has been sent a handle. */
  handed: boolean;
  /** Names that it has asked for. */
  readonly asked: Set<string>;
  /** What is on its way to it. */
  readonly pipes: Set<PipeHandle>;
}

export interface MemberEvents {
  message(member: Member, body: ToPrimary, handle: TcpHandle | undefined): void;
  /** A server of it listens on this port by way of the primary (Node's own message). */
  listens(member: Member, port: number): void;
  disconnected(member: Member): void;
  ended(member: Member): void;
}

/** What Node's cluster says to itself (lib/internal/cluster/child.js, _getServer). */
interface NodeMessage {
  cmd?: string;
  act?: string;
  port?: number;
}

/** The app's own workers: who asks, who has which number, and how they are spoken to. Knows nothing of groups. */
export class Members {
  private readonly byId = new Map<number, Member>();
  private readonly seats: Seats;

  /** @param first the first number of a worker */
  constructor(
    private readonly addon: Addon,
    first: number,
    private readonly events: MemberEvents,
  ) {
    this.seats = new Seats(first);
    const cluster = require('node:cluster') as Cluster;
    for (const worker of Object.values(cluster.workers ?? {}))
      if (worker && !isCopy(worker)) this.watch(worker);
    cluster.on('fork', (worker) => this.watch(worker));
  }

  get live(): Member[] {
    return [...this.byId.values()];
  }

  /** Those that have been given a socket and can be told of a CPU. */
  get given(): Member[] {
    return this.live.filter(({ index, handed, process: child }) => index > 0 && handed && child.connected);
  }

  private watch({ id, process: child }: ClusterWorker): void {
    if (this.byId.has(id)) return;
    const member: Member = {
      id,
      process: child,
      index: 0,
      seated: false,
      handed: false,
      asked: new Set(),
      pipes: new Set(),
    };
    this.byId.set(id, member);
    child.on('internalMessage' as never, (message: NodeMessage, handle: TcpHandle | undefined) => {
      if (isClusterMessage<ToPrimary>(message)) this.events.message(member, message.body, handle);
      else if (message.cmd === 'NODE_CLUSTER' && message.act === 'listening')
        this.events.listens(member, message.port ?? 0);
    });
    child.once('disconnect', () => {
      closePipes(member);
      this.events.disconnected(member);
    });
    child.once('exit', () => {
      closePipes(member);
      this.byId.delete(id);
      if (member.index > 0) this.seats.free(member.index);
      this.events.ended(member);
    });
  }

  seat(member: Member): number {
    member.index ||= this.seats.take();
    return member.index;
  }

  /** It is to be given another one. */
  leaveSeat(member: Member): void {
    this.seats.free(member.index);
    member.index = 0;
  }

  tell({ process: child }: Member, body: ToMember, pipe?: PipeHandle, sent = () => {}): void {
    if (!child.connected) return sent();
    child.send({ cmd: CLUSTER_COMMAND, body } as never, pipe as never, {}, sent);
  }

  /**
   * Sends descriptors with a message: they wait on a socket that Node's channel passes on.
   * @returns why they could not be sent
   */
  hand(member: Member, body: ToMember, fds: number[]): string | undefined {
    const { addon } = this;
    if (!member.handed) sureToDisconnect(member.process);
    member.handed = true;
    const pair = addon.streamPair();
    if (typeof pair === 'number') return `socketpair fails (errno ${-pair})`;
    const [ours, theirs] = pair;
    const sent = addon.send(ours, body.kind, fds);
    addon.close(ours);
    if (sent < 0) {
      addon.close(theirs);
      return `sendmsg fails (errno ${-sent})`;
    }
    let pipe: PipeHandle;
    try {
      pipe = wrapPipe(theirs);
    } catch (error) {
      addon.close(theirs);
      return (error as Error).message;
    }
    member.pipes.add(pipe);
    this.tell(member, body, pipe, () => {
      if (member.pipes.delete(pipe)) pipe.close();
    });
    return undefined;
  }
}

/** Node forgets what it has not sent when the channel ends. */
function closePipes(member: Member): void {
  for (const pipe of member.pipes) pipe.close();
  if (member.pipes.size > 0) debug('worker %d has not been given its socket', member.id);
  member.pipes.clear();
}
