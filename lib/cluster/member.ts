// SPDX-License-Identifier: Apache-2.0

import { initialSettings, setMarker } from '../config/environment';
import { parseSettings, type Settings } from '../config/settings';
import { ArrivalSampler } from '../group/arrivals';
import { idleReason } from '../group/balancer';
import { isLoopbackAddress } from '../group/key';
import { addressOf, nameOf } from '../group/name';
import { type FauxHandle, followFaux, type PipeHandle, sureToDisconnect } from '../hook/cluster';
import { loadTcp, type ServerInside, type TcpBinding, type TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import type { Addon } from '../native/addon';
import { loadAddon } from '../native/load';
import { attachSeam } from '../seam/seam';
import type { State } from '../state';
import { EventLoop } from '../worker/pinning';
import { takeSeat } from '../worker/seat';
import { CLUSTER_COMMAND, isClusterMessage, type ToMember, type ToPrimary } from './messages';
import { OwnListener } from './own-listener';
import { roundRobinReason } from './plan';

type SendFunction = (
  message: unknown,
  handle: unknown,
  options: object | undefined,
  callback: () => void,
) => boolean;

/** A primary with the hook answers at once; one without it says nothing, ever. */
const GIVEN_WITHIN_MS = 1_000;
const NOT_GIVEN =
  'the primary has given no socket of its own (it has no hook, or leaves its workers to its round robin)';

type GivenSocket = Extract<ToMember, { kind: 'socket' }>;

/** A worker that the app has forked: its servers listen by way of the primary, as ever, and on sockets of their own. */
export class ClusterMember {
  private readonly listeners = new Map<string, OwnListener>();
  private readonly sampler: ArrivalSampler;
  /** As it is before the app: some put a function of their own there. */
  private readonly send = process.send as unknown as SendFunction;
  private readonly loop: EventLoop;
  private core: number | undefined;
  private prepared = false;

  constructor(
    private readonly addon: Addon,
    private readonly tcp: TcpBinding,
    private readonly settings: Settings,
    private readonly state: State,
  ) {
    this.sampler = new ArrivalSampler(
      addon,
      () => this.core,
      ({ cpus, local, remote }) => {
        if (this.core !== undefined) addon.balanceArrived(Math.round(local), Math.round(remote));
        this.tell({ kind: 'arrivals', cpus });
      },
    );
    this.loop = new EventLoop(addon, () => this.tell({ kind: 'displaced' }));
    // a connection that is refused is sent to the primary
    sureToDisconnect(process);
    process.on('internalMessage' as never, (message: unknown, handle: unknown) => {
      if (!isClusterMessage<ToMember>(message)) return;
      const { body } = message;
      if (body.kind === 'socket') this.given(body, handle as PipeHandle | undefined);
      else if (body.kind === 'place') this.place(body.core ?? undefined, body.free);
      else this.leave(body.name, body.generation);
    });
    // without the primary there is nothing to serve for: cluster ends the process, or it drains
    process.once('disconnect', () => {
      for (const listener of this.listeners.values()) listener.close();
    });
  }

  private tell(body: ToPrimary, handle?: TcpHandle): void {
    if (!process.connected) return handle?.close();
    this.send.call(process, { cmd: CLUSTER_COMMAND, body }, handle, undefined, () => handle?.close());
  }

  /** A server has come to listen by way of the primary, who may have a socket for it. */
  listens(server: ServerInside, faux: FauxHandle): void {
    const name = nameOf(faux);
    // another one on a duplicate of the same socket is served by the primary
    if (name === undefined || this.listeners.has(name)) return;
    const { addon, tcp } = this;
    const refuse = (client: TcpHandle) => this.tell({ kind: 'refused', name }, client);
    const lost = () => this.letGo(name, listener);
    const listener: OwnListener = new OwnListener({ addon, tcp, server, faux, refuse, lost });
    this.listeners.set(name, listener);
    followFaux(faux, {
      ref: () => listener.ref(),
      unref: () => listener.unref(),
      close: () => this.closes(name, listener),
    });
    this.tell({ kind: 'join', name, version: addon.version });
    setTimeout(() => this.notGiven(name, listener), GIVEN_WITHIN_MS).unref();
  }

  /** It goes on by way of the primary, as without the hook; a socket that comes later is taken all the same. */
  private notGiven(name: string, listener: OwnListener): void {
    if (this.listeners.get(name) !== listener || listener.listening) return;
    debug("%s is left to the primary's round robin: %s", name, NOT_GIVEN);
    if (!this.state.active) this.state.reason ??= NOT_GIVEN;
  }

  private closes(name: string, listener: OwnListener): void {
    if (this.listeners.get(name) !== listener) return;
    this.listeners.delete(name);
    this.letGo(name, listener);
  }

  private letGo(name: string, listener: OwnListener): void {
    const { generation, listening } = listener;
    if (!listening || generation === undefined) return;
    listener.close();
    this.tell({ kind: 'closed', name, generation });
  }

  private leave(name: string, generation: number): void {
    const listener = this.listeners.get(name);
    if (listener?.generation === generation) this.letGo(name, listener);
  }

  /** The primary has a socket for a server here. */
  private given(body: GivenSocket, pipe: PipeHandle | undefined): void {
    const { name, generation } = body;
    const fds = this.receive(pipe);
    if (typeof fds === 'string') return this.tell({ kind: 'failed', name, generation, why: fds });
    const [fd, ...seat] = fds as [number, ...number[]];
    this.prepare(body, seat);
    const listener = this.listeners.get(name);
    if (!listener || listener.serves(generation)) {
      // closed meanwhile; or it was asked for twice
      this.addon.close(fd);
      if (!listener) this.tell({ kind: 'closed', name, generation });
      return;
    }
    // of a group that has closed meanwhile
    this.letGo(name, listener);
    const error = listener.listen(fd, generation, body.backlog);
    if (error < 0)
      return this.tell({ kind: 'failed', name, generation, why: `listen fails (errno ${-error})` });
    this.serves(name, generation, listener);
  }

  private serves(name: string, generation: number, listener: OwnListener): void {
    const { handle } = listener;
    if (!handle) return;
    const sees = !isLoopbackAddress(addressOf(handle)?.address ?? '');
    const { balance, steer } = this.settings;
    this.sampler.attach(handle, { sees, ticks: idleReason(balance, steer) !== undefined });
    this.state.role = 'worker';
    this.state.active = true;
    this.state.reason = undefined;
    debug('%s has a socket of its own here', name);
    // when its accept loop has run
    setImmediate(() => {
      if (listener.listening) this.tell({ kind: 'ready', name, generation });
    });
  }

  /** What waits on the socket that has come over the channel; in words why nothing does. */
  private receive(pipe: PipeHandle | undefined): number[] | string {
    if (!pipe) return 'no descriptor has come';
    const { addon } = this;
    try {
      const [peer, parent] = [addon.peerPid(pipe.fd), process.ppid];
      if (peer < 0) return `who has sent it is not known: getsockopt(SO_PEERCRED) fails (errno ${-peer})`;
      if (parent < 0) return `who has sent it is not known: getppid fails (errno ${-parent})`;
      if (peer !== parent) return 'its socket does not lead to the parent';
      const received = addon.receive(pipe.fd, 0);
      if (received === 0) return 'nothing to read';
      if (typeof received === 'number') return `nothing to read: recvmsg fails (errno ${-received})`;
      return received.fds.length > 0 ? received.fds : 'no socket among what has come';
    } finally {
      pipe.close();
    }
  }

  /** Once: the seam, the seat, the CPU. */
  private prepare({ index, cpu, free, seat: hasSeat }: GivenSocket, seat: number[]): void {
    const { addon, settings } = this;
    if (!this.prepared) attachSeam(addon, settings);
    this.prepared = true;
    if (hasSeat && seat.length === 3) takeSeat(addon, index, seat as [number, number, number]);
    else for (const fd of seat) addon.close(fd);
    if (cpu !== undefined && this.core === undefined && this.loop.move(cpu, free)) this.placed(cpu);
  }

  private place(core: number | undefined, free?: readonly number[]): void {
    if (this.prepared) this.placed(this.loop.move(core, free) ? core : undefined);
  }

  private placed(core: number | undefined): void {
    this.core = this.state.core = core;
    // threads and programs that it starts are not to inherit the pin, nor to multiply
    setMarker(core === undefined ? 'none' : String(core));
  }
}

let member: ClusterMember | undefined | false;

/** A server of a worker that the app has forked has come to listen by way of the primary: it asks for a socket of its own. */
export function askForSocket(state: State, server: ServerInside, faux: FauxHandle): void {
  member ??= make(state) ?? false;
  if (member) member.listens(server, faux);
}

function make(state: State): ClusterMember | undefined {
  const { addon, reason } = loadAddon();
  const { settings, error } = parseSettings(initialSettings());
  const why = reason ?? error ?? (settings?.workersSet ? roundRobinReason(settings) : undefined);
  if (why === undefined && addon && settings) return new ClusterMember(addon, loadTcp(), settings, state);
  debug("servers are left to the primary's round robin: %s", why);
  state.reason ??= why;
  return undefined;
}
