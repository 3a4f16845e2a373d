// SPDX-License-Identifier: Apache-2.0
import type { Settings } from '../config/settings';
import { type BindArguments, groupKey, REUSE_PORT } from '../group/key';
import { hookGetConnections, interceptClose } from '../hook/node';
import type { ServerInside, TcpHandle } from '../hook/tcp';
import { debug } from '../log';
import { Attempts } from '../origin/attempts';
import { callReason } from '../origin/call-reason';
import { appForks, bindReason, processReason } from '../origin/eligible';
import type { Single } from '../origin/plan';
import type { Preload } from '../preload';
import { FallbackGroup } from './group';
import { type FallbackPlan, makeFallbackPlan } from './plan';
import type { FallbackTree } from './tree';

/** The process the user started, where the addon cannot be loaded: the same shape as origin/origin, in Node's own means. */
export class FallbackOrigin {
  private readonly attempts = new Attempts();
  private generation = 0;
  private plan: FallbackPlan | Single | undefined;
  private tree: FallbackTree | undefined;
  /** Handles that we bind ourselves. */
  private readonly own = new WeakSet<TcpHandle>();
  /** Handles of the app that have been bound with SO_REUSEPORT. */
  private readonly partitioned = new WeakSet<TcpHandle>();

  constructor(
    private readonly preload: Preload,
    private readonly settings: Settings,
    /** Why there is no addon. */
    private readonly missing: string,
    private readonly makeTree: (
      plan: FallbackPlan,
      clusterLoaded: boolean,
      attempts: Attempts,
    ) => FallbackTree,
  ) {}

  install(): void {
    const { hooks } = this.preload;
    hooks.bind = (handle, bind, native) => this.bind(handle, bind, native);
    hooks.listen = (handle, backlog, native) => this.listen(handle, backlog, native);
  }

  private bind(handle: TcpHandle, bind: BindArguments, native: () => number): number {
    if (this.own.has(handle)) return native();
    const error = this.bindPartitioned(handle, bind) ? 0 : native();
    if (error === 0) this.preload.bound.set(handle, bind);
    else this.attempts.failed(groupKey(bind), error);
    return error;
  }

  /**
   * Binds the app's handle with SO_REUSEPORT, which must be known before bind() here. A throw-away handle has shown
   * first that nobody else has the address; where somebody has, Node's own bind() is to say so. Two instances that do
   * this within the same microseconds can end up sharing the address.
   */
  private bindPartitioned(handle: TcpHandle, bind: BindArguments): boolean {
    const options = this.preload.asked.get(bind.port);
    if (!options || callReason(options) !== undefined || bindReason(bind) !== undefined || appForks())
      return false;
    const plan = this.thePlan();
    if (plan.reason !== undefined || plan.means !== 'reuseport' || this.tree?.off !== undefined) return false;
    if (!this.tree?.groups.isClosing(groupKey(bind)) && !this.isFree(bind)) return false;
    this.own.add(handle);
    const error = bindTo(handle, bind, bind.flags | REUSE_PORT);
    this.own.delete(handle);
    if (error < 0) return false;
    this.partitioned.add(handle);
    return true;
  }

  private isFree(bind: BindArguments): boolean {
    const probe = this.newHandle();
    const error = bindTo(probe, bind, bind.flags);
    // libuv keeps EADDRINUSE for later (src/unix/tcp.c, delayed_error); getsockname() says it
    const free = error === 0 && probe.getsockname({}) === 0;
    probe.close();
    return free;
  }

  private newHandle(): TcpHandle {
    const { TCP, constants } = this.preload.tcp;
    const handle = new TCP(constants.SERVER);
    this.own.add(handle);
    return handle;
  }

  private bindAnother(bind: BindArguments): TcpHandle | undefined {
    const handle = this.newHandle();
    if (bindTo(handle, bind, bind.flags | REUSE_PORT) === 0 && handle.getsockname({}) === 0) return handle;
    handle.close();
    return undefined;
  }

  private listen(handle: TcpHandle, backlog: number, native: (backlog: number) => number): number {
    const bind = this.preload.bound.get(handle);
    if (!bind) return native(backlog);
    const why = this.reasonAgainst(handle, bind);
    if (why !== undefined) {
      debug('listen on %s left to Node: %s', groupKey(bind), why);
      if (!this.tree) this.preload.state.reason = why;
    }
    const plan = why === undefined ? this.thePlan() : undefined;
    if (!plan || plan.reason !== undefined) return native(backlog);
    const error = native(backlog);
    if (error < 0) {
      this.attempts.failed(groupKey(bind), error);
      return error;
    }
    this.attempts.opened(groupKey(bind));
    this.openGroup(plan, handle, bind, backlog);
    return 0;
  }

  private reasonAgainst(handle: TcpHandle, bind: BindArguments): string | undefined {
    const server = handle.owner;
    if (!server || !this.preload.calls.has(server)) return 'not a net.Server';
    const why = callReason(this.preload.calls.get(server)) ?? bindReason(bind);
    if (why !== undefined) return why;
    return appForks() ? 'the app forks cluster workers of its own' : this.tree?.off;
  }

  /** Once, at the first listen() that could be multiplied. */
  private thePlan(): FallbackPlan | Single {
    if (this.plan) return this.plan;
    const { birth, tcp, state } = this.preload;
    const why = processReason();
    const plan =
      why === undefined
        ? makeFallbackPlan(this.settings, birth, tcp, this.missing)
        : { reason: why, quiet: true };
    state.reason = plan.reason;
    if (plan.reason !== undefined) debug('one process: %s', plan.reason);
    this.plan = plan;
    return plan;
  }

  private openGroup(plan: FallbackPlan, handle: TcpHandle, bind: BindArguments, backlog: number): void {
    const tree = this.theTree(plan);
    const bindAnother = this.partitioned.has(handle) ? () => this.bindAnother(bind) : undefined;
    const options = { key: groupKey(bind), generation: ++this.generation, handle, backlog };
    const group = new FallbackGroup({ ...options, ...(bindAnother && { bindAnother }) }, plan.workers);
    interceptClose(handle, (close) => tree.closeGroup(group, close));
    tree.addGroup(group);
  }

  private theTree(plan: FallbackPlan): FallbackTree {
    if (!this.tree) {
      const tree = this.makeTree(plan, this.preload.clusterLoaded ?? true, this.attempts);
      this.tree = tree;
      this.preload.state.reason = undefined;
      hookGetConnections((server, own, callback) => tree.groups.count(server as ServerInside, own, callback));
    }
    return this.tree;
  }
}

function bindTo(handle: TcpHandle, { family, address, port }: BindArguments, flags: number): number {
  return family === 6 ? handle.bind6(address, port, flags) : handle.bind(address, port, flags);
}
