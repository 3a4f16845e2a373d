// SPDX-License-Identifier: Apache-2.0
// All that runs in a program that never listens. The rest of the hook is core.cjs, loaded when the first listen() on a
// fixed port binds, or at once in a worker.
import { type Birth, rememberBirth } from './birth';
import {
  connectAsked,
  groupsUnderTest,
  marker,
  seamAsked,
  settingsNow,
  snapshotEnvironment,
  switchedOff,
  underTestRunner,
  workersAsked,
} from './config/environment';
import type { BindArguments } from './group/key';
import { type FauxHandle, isClusterWorker, isRoundRobin, onFauxListen } from './hook/cluster';
import { onRefusedConnect } from './hook/connects';
import { hookCredentials } from './hook/credentials';
import { Sharables } from './hook/sharables';
import { hookSignalStart, withProcessEmit } from './hook/signal-start';
import {
  beforeFirstConnect,
  builtinLoaded,
  hookTcp,
  isBoundHere,
  type ListenCall,
  loadTcp,
  onListenCall,
  type ServerInside,
  type TcpBinding,
  type TcpHandle,
  type TcpHooks,
} from './hook/tcp';
import { onUdpBind } from './hook/udp';
import { debug, say } from './log';
import { callReason } from './origin/call-reason';
import { ChangedUser } from './origin/changed-user';
import { EarlyConnects } from './origin/early-connects';
import { programReason } from './origin/program-reason';
import { RELAYED, RELAYED_NAMES } from './signals/relayed';
import { claimState, type State } from './state';

/** What the preload has seen, and where the core puts its own hooks. */
export interface Preload {
  readonly state: State;
  readonly birth: Birth;
  readonly tcp: TcpBinding;
  readonly hooks: TcpHooks;
  /** Handles bound to a fixed port that have not listened yet. */
  readonly bound: WeakMap<TcpHandle, BindArguments>;
  /** Options of each server's last listen() call. */
  readonly calls: WeakMap<object, ListenCall['options']>;
  /** The same by fixed port: at bind() time a handle does not know its server yet. */
  readonly asked: Map<number, ListenCall['options']>;
  /** Servers on paths and UDP sockets, in case there will be copies. */
  readonly sharables: Sharables;
  readonly earlyConnects: EarlyConnects;
  /** This process has bound the handle by bind(), to whatever port. */
  isBoundHere(handle: TcpHandle): boolean;
  /** The app had loaded node:cluster before its first listen(); net loads it in that call, for everybody. */
  clusterLoaded: boolean | undefined;
  readonly user: ChangedUser;
  /** A relayed signal has reached this process; its handlers run next. */
  signalled(signal: number): void;
}

/** core.cjs */
export interface Core {
  startOrigin(preload: Preload): void;
  /** Returns false where the marker is not to be believed. */
  startWorker(state: State, mark: string): boolean;
  restoreThread(): void;
  /** Puts the seam under this thread's loop, which is about to connect. */
  startConnects(): void;
  destinations(): readonly object[];
  /** Puts the seam under this thread's loop, which is about to listen. */
  startSeam(fd: number, own: boolean, backlog: { asked: number; named: unknown }): number | undefined;
  /** The primary's round robin is about to listen for workers that the app has forked. */
  listenForCluster(
    preload: Preload,
    handle: TcpHandle,
    backlog: number,
    native: (backlog: number) => number,
  ): number;
  /** In such a worker a server has come to listen by way of the primary. */
  listensInCluster(state: State, server: ServerInside, faux: FauxHandle): void;
}

/** A worker's marker while it starts; afterwards, and in whatever the tree starts: its core, `none` or `origin`. */
const STARTING = /\//;
const PINNED = /^\d+$/;

function core(): Core {
  return require('./core.cjs') as Core;
}

/** The preload. Never throws: an app is started with the hook or, for a named reason, without it. */
export function start(): void {
  const state = claimState();
  if (!state) return;
  try {
    state.reason = begin(state);
    if (state.reason !== undefined) debug('nothing to do here: %s', state.reason);
  } catch (error) {
    fail(state, error);
  }
}

function fail(state: State, error: unknown): void {
  state.reason = `the hook failed to start: ${(error as Error).message}`;
  say(`the app runs as plain Node: ${state.reason}`);
}

function begin(state: State): string | undefined {
  if (process.platform !== 'linux') return `${process.platform} is not Linux`;
  if (switchedOff()) return 'FASTSOCKET=off';
  if (!inThread()) state.settings = settingsNow();
  const mark = marker();
  if (mark !== undefined && STARTING.test(mark) && core().startWorker(state, mark)) return undefined;
  if (mark !== undefined) return startDescendant(state, mark);
  if (inThread()) {
    startSeamAlone(state);
    return 'a worker thread';
  }
  const why = programReason({
    argv: process.argv,
    execArgv: process.execArgv,
    underTestRunner: underTestRunner(),
    workersAsked: workersAsked(),
  });
  return why ?? startOrigin(state);
}

/** A program that the tree has started, or a thread of a worker: it never multiplies. */
function startDescendant(state: State, mark: string): string {
  joinCluster(state);
  if (PINNED.test(mark) && inThread()) core().restoreThread();
  startSeamAlone(state);
  return 'started by a program that fastsocket has multiplied already';
}

/** In a worker that the app has forked servers ask the primary for sockets of their own. */
function joinCluster(state: State): void {
  if (inThread() || !isClusterWorker()) return;
  onFauxListen((server, faux) => {
    try {
      core().listensInCluster(state, server, faux);
    } catch (error) {
      debug('a server is left to the primary: %s', (error as Error).message);
    }
  });
}

/** Where nothing is multiplied a server still gets the seam. */
function startSeamAlone(state: State): void {
  if (!seamAsked()) return;
  try {
    const tcp = loadTcp();
    const hooks: TcpHooks = {
      bind: (_handle, _bind, native) => native(),
      listen: listenOverSeam(new WeakMap()),
    };
    hookTcp(tcp, hooks);
    connectOverSeam(state, tcp, hooks);
  } catch (error) {
    debug('the seam is off: %s', (error as Error).message);
  }
}

/** Before the first connection of this thread, which may be bound to an address first. */
function connectOverSeam(state: State, tcp: TcpBinding, hooks: TcpHooks): void {
  if (!connectAsked()) return;
  const start = () => {
    delete hooks.anyPort;
    try {
      core().startConnects();
      state.destinations = core().destinations;
    } catch (error) {
      debug("source ports are the kernel's: %s", (error as Error).message);
    }
  };
  hooks.anyPort = start;
  beforeFirstConnect(tcp, start);
}

/** @param calls what the app has asked for, where that is known */
function listenOverSeam(calls: Preload['calls']): TcpHooks['listen'] {
  return (handle, backlog, native) => {
    let longer: number | undefined;
    try {
      const named = handle.owner && calls.get(handle.owner)?.backlog;
      if (seamAsked()) longer = core().startSeam(handle.fd, isBoundHere(handle), { asked: backlog, named });
    } catch (error) {
      debug('the seam is off: %s', (error as Error).message);
    }
    return native(longer ?? backlog);
  };
}

/** process.abort is disabled in worker threads (lib/internal/process/worker_thread_only.js); asking worker_threads costs 2 ms. */
function inThread(): boolean {
  return (process.abort as { disabled?: boolean }).disabled === true;
}

function startOrigin(state: State): string | undefined {
  let tcp: TcpBinding;
  try {
    tcp = loadTcp();
  } catch (error) {
    const reason = `Node does not let the hook see listen(): ${(error as Error).message}`;
    say(`the app runs as plain Node: ${reason}`);
    return reason;
  }
  const birth = rememberBirth(snapshotEnvironment());
  const calls: Preload['calls'] = new WeakMap();
  const overSeam = listenOverSeam(calls);
  const preload: Preload = {
    state,
    birth,
    tcp,
    hooks: { bind, listen, bindsAnyPort: groupsUnderTest() },
    bound: new WeakMap(),
    calls,
    asked: new Map(),
    sharables: new Sharables(),
    earlyConnects: new EarlyConnects(),
    isBoundHere,
    clusterLoaded: undefined,
    user: new ChangedUser(),
    signalled: () => {},
  };
  onListenCall(({ server, options }) => {
    preload.clusterLoaded ??= builtinLoaded('cluster');
    preload.calls.set(server, options);
    const port = Number(options?.port);
    if (port > 0) preload.asked.set(port, options);
    else preload.sharables.listenCalled(server, options);
    if (!(port > 0) && preload.hooks.bindsAnyPort) preload.asked.set(0, options);
  });
  hookTcp(tcp, preload.hooks);
  onUdpBind((handle, bind, native) => preload.sharables.bindUdp(handle, bind, native));
  onRefusedConnect(tcp, (address, port) => preload.earlyConnects.add(address, port));
  connectOverSeam(state, tcp, preload.hooks);
  relaySignals(preload);
  hookCredentials({ changed: (call) => preload.user.changed(call) });
  joinCluster(state);
  state.role = 'origin';
  return undefined;

  function listen(handle: TcpHandle, backlog: number, native: (backlog: number) => number): number {
    if (!isBoundHere(handle)) leave(handle);
    else if (isRoundRobin(handle))
      return overSeam(handle, backlog, (length) => core().listenForCluster(preload, handle, length, native));
    return overSeam(handle, backlog, native);
  }

  /** Somebody else has bound it: systemd (socket activation), or who has sent the handle. */
  function leave({ owner }: TcpHandle): void {
    const why = owner && callReason(calls.get(owner));
    if (why === undefined) return;
    state.reason ??= why;
    debug('listen() is left to Node: %s', why);
  }

  /** The first bind() to a fixed port that a listen() asked for: from here on the core decides. */
  function bind(handle: TcpHandle, args: BindArguments, native: () => number): number {
    if (!preload.asked.has(args.port)) return native();
    preload.hooks.bind = (_handle, _args, original) => original();
    try {
      core().startOrigin(preload);
    } catch (error) {
      fail(state, error);
    }
    return preload.hooks.bind(handle, args, native);
  }
}

/** The relay stands before the app's first process.on('SIGTERM'), whose handle keeps what process.emit was then. */
function relaySignals(preload: Preload): void {
  hookSignalStart(RELAYED_NAMES, (signal, node) => {
    withProcessEmit(
      (original, args) => {
        preload.signalled(RELAYED.get(signal) as number);
        return Reflect.apply(original, process, args as never[]);
      },
      () => node(signal),
    );
  });
}
