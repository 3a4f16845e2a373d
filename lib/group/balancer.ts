// SPDX-License-Identifier: Apache-2.0
import type { BalancePiece, SteerSetting } from '../config/settings';
import { perCpu } from '../cpu/count';
import { debug, debugging, debugOnce } from '../log';
import type { Addon } from '../native/addon';
import type { WorkerFigures } from '../steering/balance';
import type { ListenerGroup } from './listener-group';
import { Pulse } from './pulse';

/** A program in which workers can be named that get nothing; see Guarded in lib/steering/guarded.ts. */
export interface GuardedBytes {
  program: Uint8Array;
  safe: number;
  slots: readonly (readonly number[])[];
}

/** Where the workers are. */
export interface Places {
  /** NUMA node of each worker's CPU, by index. */
  readonly nodes: readonly (number | undefined)[];
  /** CPUs that they have together. */
  readonly cpus: number;
  /** CPUs that they may run on; 0 where that is not known. */
  readonly usable: number;
  /** How many of them share a CPU, 1 at least. */
  readonly perCpu: number;
}

/** A worker whose queue is not empty and who has accepted nothing for so long is blocked. */
const BLOCKED_US = 2_000;
/**
 * The same of one that has not computed meanwhile, for each of the workers that share a CPU: more than two of the
 * longest times that the scheduler gives to one of several (kernel/sched/fair.c, sysctl_sched_base_slice: 3 ms on
 * many CPUs).
 */
const STARVED_US = 8_000;
/** Between two looks of the thread while connections come. */
const LOOK_US = 2_000;
/** Blocked for so long, a worker gets no new connections: its share is taken late, for all may be busy. */
const EXCLUDED_US = 16_000;
/** Between two beats while connections come: where the workers' shares follow from them, and where they do not. */
const SHARES_MS = 100;
const OTHERS_MS = 500;
const STEALS = 1;
const EXCLUDES = 2;
/** Of workers that live nothing is taken. */
const FROM_THE_DEAD = 4;
/** What is done about whom is told. */
const TELLS = 8;
/** The notice that balanceNotify has asked for. */
const ACTIVE = 'active';
/** balanceProgram: the lean program is attached, and the kernel has no room for the guarded one. */
const TOO_LARGE = 1;

/** The thread is one for the process, and so are its notices: of two balancers the later one hears them. */
let listening: { addon: Addon; id: number; pulse: Pulse } | undefined;

function starvedUs({ perCpu }: Places): number {
  return STARVED_US * perCpu;
}

const excludes = (pieces: readonly BalancePiece[], mode: SteerSetting): boolean =>
  pieces.includes('swap') && mode !== 'ip';

const shares = (pieces: readonly BalancePiece[], mode: SteerSetting): boolean =>
  pieces.includes('shares') && mode === 'auto';

/** Why there is nothing that the thread could do. */
export function idleReason(pieces: readonly BalancePiece[], mode: SteerSetting): string | undefined {
  if (pieces.length === 0) return 'FASTSOCKET_BALANCE=off';
  if (pieces.includes('steal') || excludes(pieces, mode) || shares(pieces, mode)) return undefined;
  return `FASTSOCKET_BALANCE=${pieces} has no meaning with FASTSOCKET_STEER=${mode}`;
}

/** The origin's side of the balancing thread (native/balance): which sockets it looks after, and what a worker needs. */
export class Balancer {
  private readonly watched = new Set<number>();
  private started: boolean | undefined;

  constructor(
    private readonly addon: Addon,
    private readonly pieces: readonly BalancePiece[],
    private readonly mode: SteerSetting,
    private places: Places,
    /** The workers' figures, from time to time while connections come. */
    private readonly beat: (figures: WorkerFigures[], elapsedMs: number) => void,
  ) {}

  private start(): boolean {
    this.started ??= this.tryStart();
    return this.started;
  }

  private tryStart(): boolean {
    const why = idleReason(this.pieces, this.mode);
    if (why !== undefined) {
      debug('balancing is off: %s', why);
      return false;
    }
    const notices = this.startThread();
    if (typeof notices === 'string') debug('balancing is off: %s', notices);
    else this.listen(notices);
    return typeof notices === 'number';
  }

  private get excludes(): boolean {
    return excludes(this.pieces, this.mode);
  }

  private get shares(): boolean {
    return shares(this.pieces, this.mode);
  }

  /** Where another balancer has started the thread its rules are these from now on. */
  private startThread(): number | string {
    const { addon, pieces, mode, places } = this;
    const bits =
      (pieces.includes('steal') ? STEALS : 0) |
      (this.excludes ? EXCLUDES : 0) |
      (mode === 'ip' ? FROM_THE_DEAD : 0) |
      (debugging() ? TELLS : 0);
    return addon.balanceStart(BLOCKED_US, starvedUs(places), LOOK_US, EXCLUDED_US, places.cpus, bits);
  }

  /** The workers are on other CPUs now. */
  spread(places: Places): void {
    const { cpus, perCpu } = this.places;
    this.places = places;
    if (this.started && (cpus !== places.cpus || perCpu !== places.perCpu))
      this.addon.balanceSpread(starvedUs(places), places.cpus);
  }

  /** There are so many workers, which may be others than were expected. */
  crowded(workers: number): void {
    this.spread({ ...this.places, perCpu: perCpu(workers, this.places.usable) });
  }

  private listen(notices: number): void {
    if (listening) {
      listening.addon.unwatch(listening.id);
      listening.pulse.stop();
    }
    const pulse = new Pulse(this.addon, this.beat, this.shares ? SHARES_MS : OTHERS_MS);
    const id = this.addon.watch(notices, (text) => {
      if (text === ACTIVE) pulse.start();
      else if (text !== null) debug('balancing: %s', text);
    });
    if (id < 0) debug("the workers' figures are not looked at: watching fails (errno %d)", -id);
    listening = { addon: this.addon, id, pulse };
  }

  /** Idle workers take what waits for one that has ended. */
  steals({ generation }: ListenerGroup): boolean {
    return this.watched.has(generation) && this.pieces.includes('steal');
  }

  /** What worker `index` is given; the caller closes it. */
  seat(index: number): number[] {
    if (!this.start()) return [];
    const fds = this.addon.balanceSeat(index, this.nodeOf(index));
    if (typeof fds !== 'number') return fds;
    // once: what one of them lacks the others do
    debugOnce('worker %d has no part in the balancing (errno %d)', index, -fds);
    return [];
  }

  /** Worker `index` has another CPU, as `places.nodes` says. */
  placed(index: number): void {
    if (this.started) this.addon.balancePlace(index, this.nodeOf(index));
  }

  private nodeOf(index: number): number {
    return this.places.nodes[index] ?? 0;
  }

  vacate(index: number): void {
    if (this.started) this.addon.balanceVacate(index);
  }

  /** The group is new, or has more sockets than before. */
  watch(group: ListenerGroup): void {
    // without a program sockets leave the group when nobody serves them
    if (!group.hasProgram || !this.start()) return;
    const error = this.addon.balanceWatch(group.generation, group.sockets);
    if (error === 0) this.watched.add(group.generation);
    else this.unwatchable(group, error);
  }

  private unwatchable(group: ListenerGroup, error: number): void {
    debug('%s is not balanced (errno %d)', group.key, -error);
    this.forget(group);
  }

  serve({ generation }: ListenerGroup, workers: readonly number[]): void {
    if (this.watched.has(generation)) this.addon.balanceServe(generation, [...workers]);
  }

  /**
   * Attaches a steering program.
   * @param guards what is attached instead while a worker is blocked, the best first
   * @returns 0 or a negative errno
   */
  steer(group: ListenerGroup, lean: Uint8Array, guards: () => Iterable<GuardedBytes>): number {
    const { generation } = group;
    if (!this.watched.has(generation)) return group.steer(lean);
    if (this.pieces.includes('swap'))
      for (const { program, safe, slots } of guards()) {
        const places = [safe, slots[0]?.length ?? 0, ...slots.flat()];
        const error = this.addon.balanceProgram(generation, lean, program, places);
        if (error !== TOO_LARGE) return error;
      }
    return this.addon.balanceProgram(generation, lean, new Uint8Array(0), []);
  }

  /** Before its sockets are closed, or leave the group. */
  forget({ generation }: ListenerGroup): void {
    if (this.watched.delete(generation)) this.addon.balanceForget(generation);
  }
}
