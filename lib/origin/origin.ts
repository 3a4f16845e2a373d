// SPDX-License-Identifier: Apache-2.0
import { freeClusterPort, hasClusterGroups, listenForWorkers } from '../cluster/start';
import type { Settings } from '../config/settings';
import type { ClosingGroup } from '../group/closing';
import { type BindArguments, groupKey, IPV6_ONLY } from '../group/key';
import { ListenerGroup } from '../group/listener-group';
import { isRoundRobin } from '../hook/cluster';
import { captureContext } from '../hook/context';
import { spareUnheard } from '../hook/http-close';
import { hookGetConnections, interceptClose } from '../hook/node';
import { endPretending, failListen, pretendBound } from '../hook/pretend';
import type { ServerInside, TcpHandle } from '../hook/tcp';
import { debug, say } from '../log';
import type { Preload } from '../preload';
import { backlogFor } from '../seam/backlog';
import { Attempts } from './attempts';
import { callReason } from './call-reason';
import { appForks, bindReason, everForked, onClusterFork, ownWorkers, processReason } from './eligible';
import { makeLatePlan } from './late-plan';
import { type FirstListen, Later } from './later';
import { type Multiplied, makePlan, type Plan } from './plan';
import type { Tree } from './tree';

const FORKS = 'the app forks cluster workers of its own';

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
  /** Handles whose address a worker has: how they are bound when it has given it back. */
  private readonly postponed = new WeakMap<TcpHandle, () => number>();
  private readonly attempts = new Attempts();
  private generation = 0;
  private plan: Plan | undefined;
  private tree: Tree | undefined;
  /** Servers of an app that has room for one worker, for the time being. */
  private later: Later | undefined;

  constructor(
    private readonly preload: Preload,
    private readonly settings: Settings,
    private readonly makeTree: (plan: Multiplied, clusterLoaded: boolean, attempts: Attempts) => Tree,
  ) {}

  /** From now on bind() and listen() come here. */
  install(): void {
    const { hooks } = this.preload;
    hooks.bind = (handle, bind, native) => this.bind(handle, bind, native);
    hooks.listen = (handle, backlog, native) =>
      this.listen(handle, backlogFor(backlog, this.named(handle), this.settings), native);
  }

  private named(handle: TcpHandle): unknown {
    const { owner } = handle;
    return owner && this.preload.calls.get(owner)?.backlog;
  }

  private bind(handle: TcpHandle, bind: BindArguments, native: () => number): number {
    freeClusterPort(bind.port);
    if (this.tree?.isOwnedByWorker(groupKey(bind))) {
      pretendBound(handle, bind);
      this.postponed.set(handle, native);
      this.preload.bound.set(handle, bind);
      return 0;
    }
    const revives = this.tree?.closingGroup(groupKey(bind));
    const adopted = revives !== undefined && this.adoptSocket(handle, revives);
    const error = adopted || this.bindBeside(handle, bind) ? 0 : native();
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

  /**
   * The port is still held by a closing group of another address of ours: 127.0.0.1 before, 0.0.0.0 now. Sockets that
   * have SO_REUSEPORT and one owner do not exclude each other (net/ipv4/inet_connection_sock.c, inet_csk_bind_conflict).
   */
  private bindBeside(handle: TcpHandle, bind: BindArguments): boolean {
    const addon = this.plan?.addon;
    if (!addon || !this.tree?.holdsPort(bind.port)) return false;
    const fd = addon.bindShared(bind.family, bind.address, bind.port, (bind.flags & IPV6_ONLY) !== 0 ? 1 : 0);
    if (fd < 0) return false;
    if (handle.open(fd) === 0) return true;
    addon.close(fd);
    return false;
  }

  private listen(handle: TcpHandle, backlog: number, native: (backlog: number) => number): number {
    if (this.preload.isBoundHere(handle) && isRoundRobin(handle))
      return this.listenForWorkers(handle, backlog, native);
    const bind = this.preload.bound.get(handle);
    if (!bind) return native(backlog);
    const bindNow = this.postponed.get(handle);
    if (bindNow) return this.postpone(handle, bind, bindNow, () => native(backlog), backlog);
    const bound = { bind, key: groupKey(bind), revives: this.revived.get(handle) };
    const why = this.reasonAgainst(handle, bound);
    if (why !== undefined) {
      debug('listen on %s left to Node: %s', bound.key, why);
      if (!this.tree) this.preload.state.reason = why;
      if (bound.revives) this.takeOver(handle, bound.revives);
      const error = native(backlog);
      if (error === 0 && why === this.plan?.reason)
        this.later?.add(handle, { bind, key: bound.key, backlog });
      return error;
    }
    return this.openGroup(handle, bound, backlog, native);
  }

  /** By plain Node: what waits on the socket, and what comes, is not for the server that closes any more. */
  private takeOver(handle: TcpHandle, closing: ClosingGroup): void {
    closing.inherited = true;
    this.plan?.addon?.keepSyn(handle.fd);
  }

  /** The app forks cluster workers of its own, and Node's round robin listens for them. */
  private listenForWorkers(handle: TcpHandle, backlog: number, native: (backlog: number) => number): number {
    const { settings, tree, plan } = this;
    const { state } = this.preload;
    return listenForWorkers(handle, backlog, native, {
      settings,
      state,
      live: ownWorkers(),
      before: tree && plan?.reason === undefined ? plan : undefined,
      nextGeneration: () => ++this.generation,
    });
  }

  /** A worker was here first, with an address that turns out to be the whole app's: it serves until it gives it back. */
  private postpone(
    handle: TcpHandle,
    bind: BindArguments,
    bindNow: () => number,
    listenNow: () => number,
    backlog: number,
  ): number {
    this.postponed.delete(handle);
    let closed = false;
    interceptClose(handle, (close) => {
      closed = true;
      close();
    });
    const inContext = captureContext();
    this.tree?.reclaim(groupKey(bind), () => {
      if (closed) return;
      delete (handle as Partial<TcpHandle>).close;
      endPretending(handle);
      inContext(() => {
        const error = this.bind(handle, bind, bindNow) || this.listen(handle, backlog, listenNow);
        if (error < 0) failListen(handle, error, bind);
      });
    });
    return 0;
  }

  private reasonAgainst(handle: TcpHandle, bound: BoundHandle): string | undefined {
    const server = handle.owner;
    if (!server || !this.preload.calls.has(server)) return 'not a net.Server';
    const why = callReason(this.preload.calls.get(server)) ?? bindReason(bound.bind);
    if (why !== undefined) return why;
    if (appForks() || hasClusterGroups()) return FORKS;
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
        if (this.plan.first) this.waitForRoom(this.plan.first);
      }
    }
    return this.plan.reason;
  }

  /** The app has room for one worker only, and runs as plain Node until there is room for more. */
  private waitForRoom(first: FirstListen): void {
    const { attempts, settings } = this;
    const { birth, user } = this.preload;
    if (everForked()) return debug('one process for good: %s', FORKS);
    const later = new Later(first, {
      closed: (key) => attempts.closed(key),
      multiply: (listening, workers) => {
        if (everForked()) return { why: FORKS, lasts: true };
        const nextGeneration = () => ++this.generation;
        const made = makeLatePlan(workers, listening, { first, settings, birth, user, nextGeneration });
        if ('why' in made) return made;
        this.plan = made.plan;
        const tree = this.theTree(made.plan);
        for (const group of made.groups) {
          attempts.opened(group.key);
          this.enter(tree, group, true);
        }
        return undefined;
      },
    });
    onClusterFork(() => later.end(FORKS));
    this.later = later;
  }

  /** @param revived see Tree.addGroup() */
  private enter(tree: Tree, group: ListenerGroup, revived: boolean): void {
    interceptClose(group.handle, (native) => tree.closeGroup(group, native));
    spareUnheard(group.server);
    tree.addGroup(group, revived);
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
    const { revives } = bound;
    if (revives) revives.inherited = true;
    const { error, failed } = revives
      ? group.adopt(revives.group, options, native)
      : group.open(options, native);
    if (error === 0 && bound.bind.port === 0) group.portChosen(bound.bind);
    if (error < 0) this.attempts.failed(bound.key, error);
    else this.attempts.opened(bound.key);
    if (error === 0 && failed !== undefined) this.serveAlone(tree, handle, bound, failed);
    if (error < 0 || failed !== undefined) return error;
    this.enter(tree, group, bound.revives !== undefined);
    return 0;
  }

  private serveAlone(tree: Tree, handle: TcpHandle, { key }: BoundHandle, reason: string): void {
    interceptClose(handle, (close) => {
      this.attempts.closed(key);
      close();
    });
    tree.groupFailed(key, reason);
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
