// SPDX-License-Identifier: Apache-2.0
import { ArrivalSampler } from '../group/arrivals';
import { type BindArguments, groupKey, ipv4Fallback, isLoopbackAddress, REUSE_PORT } from '../group/key';
import { captureContext } from '../hook/context';
import { spareUnheard } from '../hook/http-close';
import { interceptClose } from '../hook/node';
import { type ServerData, setServerData } from '../hook/server-data';
import type { TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import type { Addon } from '../native/addon';
import type { ToOrigin } from '../workers/messages';
import type { InheritedSockets } from './inherited';
import { openAnyPort } from './judged';
import { takesAll } from './limits';
import type { Listeners } from './listeners';
import type { OwnPorts } from './own-ports';
import type { Place } from './place';
import { Pretended } from './pretended';

/** EAFNOSUPPORT: what bind6() says where there is no IPv6; net.js then takes 0.0.0.0. */
const NO_IPV6 = -97;
/** EADDRINUSE: two servers of one process on one address, which duplicates of one socket would allow. */
const IN_USE = -98;

export interface TcpBindsOptions {
  addon: Addon;
  /** Descriptor of the control socket. */
  control: number;
  inherited: InheritedSockets;
  listeners: Listeners;
  own: OwnPorts;
  place: Place;
  /** There is no balancing. */
  unbalanced: boolean;
  tell(message: ToOrigin): void;
}

interface Bound {
  key: string;
  generation: number;
  loopback: boolean;
  /** There is a steering program. */
  steered: boolean;
  data: ServerData | undefined;
}

/** In a worker: what bind() and listen() make of a TCP handle on a fixed port, most often a duplicate of the origin's socket. */
export class TcpBinds {
  private readonly sampler: ArrivalSampler;
  private readonly bound = new WeakMap<TcpHandle, Bound>();
  private readonly refused = new WeakSet<TcpHandle>();
  private readonly sampled = new WeakSet<TcpHandle>();
  private readonly pretended = new Pretended();
  /** Handles of this worker alone: the origin has left it their address, or has not been asked (exclusive: true). */
  private readonly single = new WeakMap<TcpHandle, { key: string; granted: boolean }>();

  constructor(private readonly options: TcpBindsOptions) {
    const { addon, place, tell } = options;
    this.sampler = new ArrivalSampler(
      addon,
      () => place.core,
      (report) => {
        // where it runs anywhere, no arrival is local
        if (place.core !== undefined)
          addon.balanceArrived(Math.round(report.local), Math.round(report.remote));
        tell({ kind: 'arrivals', ...report });
      },
    );
  }

  /** @returns libuv's result */
  bind(handle: TcpHandle, asked: BindArguments, native: () => number): number {
    const { addon, inherited, listeners, tell } = this.options;
    const bind = asked.port > 0 ? asked : openAnyPort(this.options, inherited, asked);
    if (bind.port === 0) return native();
    const key = groupKey(bind);
    inherited.read();
    const fallback = ipv4Fallback(bind);
    if (!inherited.has(key) && fallback !== undefined && inherited.has(fallback)) return NO_IPV6;
    if (listeners.has(key)) return this.refuse(handle, IN_USE);
    const found = inherited.find(key);
    if (found.kind === 'own') {
      if ((bind.flags & REUSE_PORT) === 0) this.single.set(handle, { key, granted: found.granted });
      return native();
    }
    if (found.kind === 'failed') return this.refuse(handle, found.error);
    if (found.kind === 'past') {
      this.pretended.bind(handle, bind, (closed) => tell({ kind: 'probed', key: closed }));
      return 0;
    }
    const copy = inherited.duplicate(key, found.fd);
    const error = handle.open(copy);
    if (error < 0) {
      addon.close(copy);
      return error;
    }
    // without a program the origin accepts from worker 1's socket, too, while no worker lives
    if (!found.once) addon.seamOwn(copy);
    this.bound.set(handle, { ...boundTo(found), key, loopback: isLoopbackAddress(bind.address) });
    return 0;
  }

  /** libuv keeps EADDRINUSE back until listen() (src/unix/tcp.c, uv__tcp_bind: delayed_error), all else fails at once. */
  private refuse(handle: TcpHandle, error: number): number {
    if (error !== IN_USE) return error;
    this.refused.add(handle);
    return 0;
  }

  /** @returns libuv's result */
  listen(handle: TcpHandle, backlog: number, native: (backlog: number) => number): number {
    if (this.refused.has(handle)) return IN_USE;
    if (this.pretended.listen(handle, backlog)) return 0;
    const bound = this.bound.get(handle);
    if (!bound) return this.listenAlone(handle, backlog, native);
    const { addon, listeners, place } = this.options;
    place.take();
    const { key, generation, data } = bound;
    setServerData(handle.owner, data);
    const error = native(backlog);
    if (error < 0) return error;
    listeners.add({ key, generation, handle, backlog, inContext: captureContext() });
    spareUnheard(handle.owner);
    if (handle.owner) addon.balanceHelp(handle.fd, generation, handle.owner, takesAll);
    this.sample(handle, bound);
    return 0;
  }

  /** Once: what a worker gets back after a reload is the same handle. */
  private sample(handle: TcpHandle, { loopback, steered }: Bound): void {
    if (this.sampled.has(handle)) return;
    this.sampled.add(handle);
    this.sampler.attach(handle, { sees: !loopback, ticks: this.options.unbalanced || !steered });
  }

  private listenAlone(handle: TcpHandle, backlog: number, native: (backlog: number) => number): number {
    const { own, tell } = this.options;
    const error = native(backlog);
    const single = this.single.get(handle);
    if (!single) return error;
    const { key, granted } = single;
    this.single.delete(handle);
    if (error < 0) {
      if (granted) tell({ kind: 'released', key });
      return error;
    }
    debug('listens on %s alone', key);
    if (!granted) tell({ kind: 'owns', key });
    own.add(key, handle, backlog);
    interceptClose(handle, (close) => {
      close();
      own.closed(key);
    });
    return 0;
  }

  /** Something has come from the origin: servers that only believe to listen may have a socket now. */
  look(): void {
    const { addon, inherited, own } = this.options;
    for (const { handle, bind, backlog } of this.pretended.take((key) => inherited.has(key)))
      if (this.bind(handle, bind, () => IN_USE) === 0) handle.listen(backlog);
    for (const [key, { handle, backlog }] of own.vacated) {
      if (!inherited.has(key)) continue;
      own.vacated.delete(key);
      const found = inherited.find(key);
      if (found.kind !== 'group') continue;
      const error = addon.occupy(handle.fd, found.fd);
      if (error < 0) {
        debug('%s is not served here: dup3 fails (errno %d)', key, -error);
        continue;
      }
      if (!found.once) addon.seamOwn(handle.fd);
      this.bound.set(handle, { ...boundTo(found), key, loopback: false });
      if (handle.listen(backlog) === 0) addon.pollAdd(handle.fd);
    }
  }
}

function boundTo({ generation, once, data }: Pick<Bound, 'generation' | 'data'> & { once: boolean }) {
  return { generation, steered: !once, data };
}
