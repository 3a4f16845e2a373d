// SPDX-License-Identifier: Apache-2.0
import type { Settings } from '../config/settings';
import type { ClosingGroup } from '../group/closing';
import { type BindArguments, groupKey } from '../group/key';
import { ListenerGroup } from '../group/listener-group';
import { spareUnheard } from '../hook/http-close';
import { hookGetConnections, interceptClose } from '../hook/node';
import type { ServerInside, TcpHandle } from '../hook/tcp';
import { debug, say } from '../log';
import type { Preload } from '../preload';
import { Attempts } from './attempts';
import { appForks, bindReason, callReason, processReason } from './eligible';
import { type Multiplied, makePlan, type Plan } from './plan';
import type { Tree } from './tree';

interface BoundHandle {
  bind: BindArguments;
  key: string;
  /** The handle holds a socket of this closing group of the same address. */
  revives: ClosingGroup | undefined;
}

/**
 * The process the user started. Sees every bind() and listen(), makes the listener groups, and hands what concerns the
 * workers to the tree. Whatever it does not understand goes to Node unchanged.
 */
export class Origin {
  private readonly revived = new WeakMap<TcpHandle, ClosingGroup>();
  private readonly attempts = new Attempts();
  private generation = 0;
  private plan: Plan | undefined;
  private tree: Tree | undefined;

  constructor(
    private readonly preload: Preload,
    private readonly settings: Settings,
    private readonly makeTree: (plan: Multiplied, clusterLoaded: boolean, attempts: Attempts) => Tree,
  ) {}

  /** From now on bind() and listen() come here. */
  install(): void {
    const { hooks } = this.preload;
    hooks.bind = (handle, bind, native) => this.bind(handle, bind, native);
    hooks.listen = (handle, backlog, native) => this.listen(handle, backlog, native);
  }

  private bind(handle: TcpHandle, bind: BindArguments, native: () => number): number {
    const revives = this.tree?.closingGroup(groupKey(bind));
    const adopted = revives !== undefined && this.adoptSocket(handle, revives);
    const error = adopted ? 0 : native();
    if (adopted) this.revived.set(handle, revives);
    if (error === 0) this.preload.bound.set(handle, bind);
    else this.attempts.failed(groupKey(bind), error);
    return error;
  }

  /** close(); listen() in one tick: the address is still held by our own duplicates, so the new server takes them over. */
  private adoptSocket(handle: TcpHandle, closing: ClosingGroup): boolean {
    const addon = this.plan?.addon;
    const socket = closing.group.sockets[0];
    if (!addon || socket === undefined) return false;
    const copy = addon.dup(socket);
    if (copy < 0) return false;
    if (handle.open(copy) === 0) return true;
    addon.close(copy);
    return false;
  }

  private listen(handle: TcpHandle, backlog: number, native: (backlog: number) => number): number {
    const bind = this.preload.bound.get(handle);
    if (!bind) return native(backlog);
    const bound = { bind, key: groupKey(bind), revives: this.revived.get(handle) };
    const why = this.reasonAgainst(handle, bound);
    if (why !== undefined) {
      debug('listen on %s left to Node: %s', bound.key, why);
      if (!this.tree) this.preload.state.reason = why;
      if (bound.revives) this.plan?.addon?.keepSyn(handle.fd);
      return native(backlog);
    }
    return this.openGroup(handle, bound, backlog, native);
  }

  private reasonAgainst(handle: TcpHandle, bound: BoundHandle): string | undefined {
    const server = handle.owner;
    if (!server || !this.preload.calls.has(server)) return 'not a net.Server';
    const why = callReason(this.preload.calls.get(server)) ?? bindReason(bound.bind);
    if (why !== undefined) return why;
    if (appForks()) return 'the app forks cluster workers of its own';
    if (this.tree) return this.tree.off;
    return this.reasonOfProcess();
  }

  /** Once, at the first listen() that could be multiplied: is there anything to gain, and with what means? */
  private reasonOfProcess(): string | undefined {
    if (!this.plan) {
      const why = processReason();
      this.plan =
        why === undefined ? makePlan(this.settings, this.preload.birth) : { reason: why, quiet: true };
      if (this.plan.reason !== undefined) {
        this.preload.state.reason = this.plan.reason;
        debug('one process: %s', this.plan.reason);
        if (!this.plan.quiet) say(`the app runs as plain Node: ${this.plan.reason}`);
      }
    }
    return this.plan.reason;
  }

  private openGroup(
    handle: TcpHandle,
    bound: BoundHandle,
    backlog: number,
    native: (backlog: number) => number,
  ): number {
    const { plan } = this;
    if (!plan || plan.reason !== undefined) return native(backlog);
    const tree = this.theTree(plan);
    const options = {
      key: bound.key,
      generation: ++this.generation,
      bind: bound.bind,
      handle,
      backlog,
      workers: plan.workers,
      originOnly: plan.originOnly,
    };
    const group = new ListenerGroup(plan.addon, options);
    if (bound.revives) {
      bound.revives.inherited = true;
      const error = group.adopt(bound.revives.group, native, backlog);
      if (error < 0) return error;
    } else {
      const { error, failed } = group.open(options, native);
      if (failed !== undefined) debug('%s is served by one process: %s', bound.key, failed);
      if (error < 0) this.attempts.failed(bound.key, error);
      else this.attempts.opened(bound.key);
      if (error < 0 || failed !== undefined) return error;
    }
    interceptClose(handle, (native) => tree.closeGroup(group, native));
    spareUnheard(group.server);
    tree.addGroup(group, bound.revives !== undefined);
    return 0;
  }

  private theTree(plan: Multiplied): Tree {
    if (!this.tree) {
      const tree = this.makeTree(plan, this.preload.clusterLoaded ?? true, this.attempts);
      this.tree = tree;
      this.preload.state.reason = undefined;
      hookGetConnections((server, own, callback) =>
        tree.countConnections(server as ServerInside, own, callback),
      );
    }
    return this.tree;
  }
}
