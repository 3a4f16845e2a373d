// SPDX-License-Identifier: Apache-2.0
// The typed face of native/. A negative result is an errno number; nothing here throws but for wrong argument types.

/** A message of the control socket; close-on-exec is set on its descriptors, and they are the receiver's now. */
export interface ControlMessage {
  text: string;
  fds: number[];
}

/** native/seam/destinations.h, Destination. Counts, since the destination is known. */
export interface DestinationState {
  address: string;
  port: number;
  /** The address that the app has named; 0.0.0.0 or :: where the kernel chooses. */
  localAddress: string;
  /** Ports of connections that are open, and ports that nobody tries now: TIME_WAIT, or somebody else's. */
  taken: number;
  resting: number;
  /** Connections whose port was chosen here, and by the kernel. */
  chosen: number;
  kernels: number;
  /** Ports that were tried and were somebody else's; how often the kernel was asked which those are. */
  misses: number;
  surveys: number;
  /** Connections whose packets were looked at when they ended, and those of them that came to this worker's CPU. */
  looked: number;
  local: number;
  /** Connections whose port was one that steerDestination() names, and looked and local of those since that began. */
  steered: number;
  steeredLooked: number;
  steeredLocal: number;
  /** Of this thread, never given twice. */
  id: number;
  loopback: number;
  /** The address that its first connection came from. */
  source: string;
}

/** Receive-side scaling of an interface (ethtool -x, ethtool -n IF rx-flow-hash tcp4). */
export interface Rss {
  /** Queue of each hash, by its low bits. */
  table: number[];
  key: number[];
  /** One bit each: ETH_RSS_HASH_TOP_BIT, XOR_BIT, CRC32_BIT. */
  hashFunction: number;
  /** RXH_XFRM_*: what is done to the fields before; 0: nothing. */
  transform: number;
  /** RXH_* of TCP over IPv4 and IPv6; negative: an errno. */
  fields4: number;
  fields6: number;
}

export interface Addon {
  /** Raised when a function is added or changes its meaning: the loader refuses another version. */
  version: number;

  /** SO_REUSEPORT on a socket that is bound and does not listen yet. */
  reusePort(fd: number): number;
  /** Takes it off again. Where sockets have shared the port, the same user's still may (sk_reuseport_match: fastreuseport). */
  unsharePort(fd: number): number;
  /** Another socket on fd's address, a listening member of its group unless the backlog is negative: its descriptor. */
  sibling(fd: number, backlog: number): number;
  /** A socket bound with SO_REUSEPORT; v6only: 0 or 1 (IPV6_V6ONLY). Its descriptor; -EINVAL: not an address of that family. */
  bindShared(family: 4 | 6, address: string, port: number, v6only: number): number;
  /** SO_ATTACH_REUSEPORT_CBPF; `program` is packed struct sock_filter. -ENOMEM: larger than net.core.optmem_max allows. */
  attachProgram(fd: number, program: Uint8Array): number;
  detachProgram(fd: number): number;
  /** A socket filter that drops SYNs: no new handshake begins, those under way complete. */
  dropSyn(fd: number): number;
  keepSyn(fd: number): number;
  /** One accepted connection, non-blocking, close-on-exec, without dropSyn's filter: its descriptor, or -EAGAIN. */
  accept(fd: number): number;
  listen(fd: number, backlog: number): number;
  /**
   * shutdown(SHUT_RD): a listening socket leaves LISTEN and its group, and keeps its port, unless the kernel has chosen
   * that one (net/ipv4/tcp.c, tcp_disconnect: no SOCK_BINDPORT_LOCK).
   */
  shutdownRead(fd: number): number;
  close(fd: number): number;
  /** A duplicate, close-on-exec. */
  dup(fd: number): number;
  /** Makes fd a new socket of the same family, neither bound nor connected: what it was is closed. */
  vacate(fd: number): number;
  /** Makes fd a duplicate of `from`, close-on-exec. */
  occupy(fd: number, from: number): number;
  /**
   * Puts the seam under this thread's event loop; see native/seam/loop.h for the bits. Once a thread. Returns 0, a negative
   * errno, or in words why it cannot be.
   */
  seamAttach(pieces: number, batch: number, turnMicros: number): number | string;
  /** No other process accepts from this socket. */
  seamOwn(fd: number): number;
  /** Another process has this descriptor, too. */
  seamShare(fd: number): number;
  /** Counters of this thread's seam, -ESRCH where there is none. */
  seamStats(): Record<string, number> | number;
  /**
   * Ports that this thread's connect() takes first, one bit each (65,536, the first in the lowest bit of the first byte),
   * and the CPU that it is pinned to, or -1. -ESRCH: the seam does not choose ports here; -EINVAL: not that many bits.
   */
  sharePorts(mask: Uint8Array, core: number): number;
  /** Where this thread's connections go to, as far as their ports are chosen by the seam. */
  destinations(): DestinationState[];
  /**
   * Ports of a destination whose packets come to this thread's CPU, as of sharePorts(): tried before all others, `budget`
   * times, without an end where that is negative. `learn`: what each connection turns out to be is noted in them. An empty
   * list keeps what has been learnt; without `learn` it ends the steering. -ESRCH: no such destination any more.
   */
  steerDestination(id: number, ports: Uint8Array, learn: 0 | 1, budget: number): number;
  /** -EOPNOTSUPP, -EINVAL, -ENODEV and others: it has none, or does not tell. */
  readRss(interfaceName: string): Rss | number;
  /** 1 where an XDP program is attached to the interface, 0 where none is. */
  xdpAttached(interfaceName: string): number;

  /**
   * The origin's balancing thread, once for the process: native/balance/balancer.h. Times in microseconds; `cpus`: the
   * workers' together; bits: 1: idle workers are offered blocked ones' queues, 2: blocked workers are steered around, 4: only
   * queues without a worker are offered, 8: notices tell who is excluded and back. Where the thread runs already the times,
   * `cpus` and bit 2 hold from now on, and the other bits stay. Returns a socket whose messages are notices (balanceNotify),
   * or in words why there is none.
   */
  balanceStart(
    blockedUs: number,
    starvedUs: number,
    lookUs: number,
    excludedUs: number,
    cpus: number,
    bits: number,
  ): number | string;
  /**
   * What a new worker needs to take part (balanceJoin): page, offers and wake-up, which the caller closes. Workers of one
   * NUMA node help each other first.
   */
  balanceSeat(index: number, node: number): [page: number, offers: number, wake: number] | number;
  balanceVacate(index: number): number;
  /** It has a CPU of this NUMA node from now on. */
  balancePlace(index: number, node: number): number;
  /**
   * The thread looks after these sockets, by index, until balanceForget; nobody closes them before. A group that is watched may
   * have more now, behind those that it had; where that fails the group is to be forgotten.
   */
  balanceWatch(generation: number, sockets: number[]): number;
  /** Workers that serve the group now. */
  balanceServe(generation: number, indexes: number[]): number;
  /**
   * attachProgram() for a group that is watched: the lean program, or the guarded one while somebody is excluded. `places`:
   * instructions of the guarded one: whose constant is the safe socket; how many there are for each that may be excluded; all
   * of them, one after the other. Empty: nobody can be. 1: the lean one is attached, and for the other there is no room.
   */
  balanceProgram(generation: number, lean: Uint8Array, guarded: Uint8Array, places: number[]): number;
  balanceForget(generation: number): number;
  /** The workers have other CPUs together than at balanceStart, so that `starvedUs` is another, too. -ESRCH: not started. */
  balanceSpread(starvedUs: number, cpus: number): number;
  /** The next time that something comes after nothing has, there is a notice. */
  balanceNotify(): number;
  /**
   * Looks, rests, woken (by what came to a blocked worker), blocked, offers, swaps, CPU time in ns; then for each seat joined, turns, accepted, stolen (taken from a
   * sibling's queue), open, idle in ns, declined offers, taken (from its queues, by siblings), local and remote (see
   * balanceArrived), drops (by the kernel, for want of room in its queues).
   */
  balanceFigures(): number[] | number;
  /** In a worker, after seamAttach: takes its seat. The descriptors are the addon's, whatever is returned. */
  balanceJoin(index: number, page: number, offers: number, wake: number): number;
  /**
   * In a worker: the listener may accept from its siblings' queues, whenever `takesAll` says of its server that it takes
   * whatever comes. That is called in the middle of polling: it must not run anything of the app's. The first one is kept.
   */
  balanceHelp(fd: number, generation: number, server: object, takesAll: (server: object) => boolean): number;
  /**
   * In a worker: so many more connections are estimated to have arrived on the CPU that it is pinned to, and on others.
   * -ESRCH: it has no part in the balancing.
   */
  balanceArrived(local: number, remote: number): number;
  /** In a worker: no socket of this group is kept for that, or on its way, any more. */
  balanceFlush(generation: number): number;

  /** What the hook does without because a system call has failed, in words: each once in this process. */
  refusals(): string[];

  setCloseOnExec(fd: number): number;
  isCloseOnExec(fd: number): number;
  /** CPU on which the last packet of this connection was processed (SO_INCOMING_CPU). */
  incomingCpu(fd: number): number;
  /** Connections that wait to be accepted (tcpi_unacked of a listening socket). */
  queueLength(fd: number): number;
  openFds(): number[] | number;

  /** Puts fd into this loop's epoll set behind libuv's back, and takes it out. */
  pollAdd(fd: number): number;
  pollDelete(fd: number): number;

  /** A SOCK_SEQPACKET pair, both ends close-on-exec. */
  pair(): [number, number] | number;
  /** A SOCK_STREAM pair, likewise, whose ends libuv can pass on. One message at a time: where two meet is not kept. */
  streamPair(): [number, number] | number;
  /** One message of up to 64 KiB with up to 250 descriptors; never blocks. */
  send(sock: number, text: string, fds: number[]): number;
  /**
   * One message, waiting up to waitMs for it; 0 when the peer has gone, -EAGAIN when nothing came, -EMSGSIZE when there
   * was no room for its descriptors (RLIMIT_NOFILE): none of them stays open then.
   */
  receive(sock: number, waitMs: number): ControlMessage | number;
  /** Process at the other end when the pair was made (SO_PEERCRED). */
  peerPid(sock: number): number;
  /**
   * Calls back with every message, and with null once at the end. Keeps nothing alive. A message for whose descriptors
   * there was no room comes without them. Returns an id for unwatch; unwatch first, then close the socket.
   */
  watch(sock: number, callback: (text: string | null, fds: number[]) => void): number;
  unwatch(id: number): number;

  /** CPUs that a thread may run on; 0: the calling thread. */
  getAffinity(thread: number): number[] | number;
  /** CPUs that a thread may run on to which nobody has given a mask: those of the process's cpuset. */
  groupCpus(): number[] | number;
  /** Pins the calling thread; forked children get the mask back that it had before. -EBUSY: another thread is pinned. */
  pinEventLoop(cpu: number): number;
  /**
   * Lets the calling thread, and those that have inherited its pin, run on these CPUs; an empty list: on all that the
   * process's cpuset has, now and later. Where it is not pinned, it alone.
   */
  unpinEventLoop(cpus: number[]): number;
  /** Gives the calling thread the mask that the event loop had before it was pinned. */
  restoreThread(): number;
  /** The same for every other thread that has inherited the pin: how many. */
  sweepThreads(): number;
  currentCpu(): number;
  /** Makes libuv start the threads of its pool now. */
  startThreadPool(callback?: () => void): number;

  /** From now on these signals do nothing here but send `signal <n>` on the control socket. */
  reportSignals(control: number, signals: number[]): number;
  /** The app has a handler of this signal here, 1, or none, 0: then signalAlone ends this process at once. */
  handlesSignal(signal: number, handled: 0 | 1): number;
  /** For that worker alone: it reports nothing. Where the app has a handler the worker is to be told to run it, too. */
  signalAlone(pid: number, signal: number): number;
  /** Ends this process by the signal's default. */
  die(signal: number): number;
  setParentDeathSignal(signal: number): number;
  /**
   * Children that this thread forks from now on get this signal when it ends, from before their exec; 0: none do.
   * -EBUSY: another thread has asked for it and is not through.
   */
  setChildDeathSignal(signal: number): number;
  blockedSignals(): number[] | number;
  /** 0: default, 1: ignored, 2: a handler. */
  disposition(signal: number): number;
  /**
   * When one of the signals ends this process: shut these sockets, kill these processes and wait for those that are its
   * children, 250 ms at most, first. Node then hears nothing of their end. Replaces all before, by nothing where there is no memory. Signals that are ignored stay so, and process 1 of a PID namespace, which the
   * default action does not end, is not guarded.
   */
  guard(signals: number[], fds: number[], pids: number[]): number;
  /** What guard does, now. */
  shutAll(): number;
  /** Waits for processes to end, ms at most, without running the event loop: how many are still there. Zombies have ended. */
  waitGone(ms: number, pids: number[]): number;
}

/** What `version` has to be. */
export const VERSION = 13;
