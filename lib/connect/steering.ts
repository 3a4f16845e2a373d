// SPDX-License-Identifier: Apache-2.0
// Gives each destination the source ports whose replies come to this worker's CPU, as policy.ts decides.
import type { ConnectSetting } from '../config/settings';
import { captureContext, type InContext } from '../hook/context';
import { debug } from '../log';
import type { Addon, DestinationState } from '../native/addon';
import { Capabilities, type Possible } from './capabilities';
import { addressBytes } from './interface';
import { BUDGET, firstStep, type Method, nextStep, type Step } from './policy';
import { portShare } from './port-share';

/** While something is to be decided, and else. */
const SOON_MS = 100;
const LATER_MS = 1_000;
/** So many looks in a row that find nothing new, and the next connect() is waited for. */
const MOST_QUIET = 5;
/** What was given up is tried anew after this. */
const ANEW_MS = 600_000;
/** So often an interface is looked for. */
const MOST_WAITS = 20;
/** New destinations that are looked into at a time. */
const MOST_NEW = 16;
const NONE = new Uint8Array(0);
const WITHOUT_END = -1;
const UNDECIDED = 'not enough connections have ended';
const NOTHING = { looked: 0, local: 0, steered: 0, steeredLooked: 0, steeredLocal: 0 };

/** Node's own, before an app or its tests put another one there. */
const wait = setTimeout;

export interface Mode {
  /** `any`: all ports are alike. */
  mode: Method | 'any';
  why: string;
}

function modeOfStep(step: Step): Mode {
  if ('method' in step) return { mode: step.method, why: step.phase === 'try' ? 'on trial' : 'verified' };
  return { mode: 'any', why: step.phase === 'rest' ? step.why : UNDECIDED };
}

function cpuCount(): number {
  const { cpus } = require('node:os') as typeof import('node:os');
  return cpus().length;
}

interface Known {
  step: Step;
  possible: Possible;
  /** When the step began, in ms. */
  since: number;
}

export interface SteeringOptions {
  addon: Addon;
  core: number;
  setting: ConnectSetting;
  /** Has `called` called at the next connect() of this thread. */
  watch(called: () => void): void;
}

/** Of a worker that is pinned to a CPU. Looks at the destinations while there are connections, and costs nothing else. */
export class ConnectSteering {
  private known = new Map<number, Known>();
  /** By destination: how often its interface was looked for in vain. */
  private waits = new Map<number, number>();
  private capabilities: Capabilities;
  private core: number | undefined;
  /** It has been on another CPU: what its connections turned out to be there says nothing. */
  private hasMoved = false;
  private readonly inContext: InContext = captureContext();
  private undecided = false;
  private seen = 0;
  private quiet = 0;

  constructor(private readonly options: SteeringOptions) {
    const { addon, core, setting } = options;
    this.core = core;
    this.capabilities = new Capabilities(addon, core, setting);
  }

  /** The worker is on another CPU from now on, undefined: on any. */
  moveTo(core: number | undefined): void {
    const { addon, setting } = this.options;
    if (core === this.core) return;
    this.core = core;
    this.hasMoved = true;
    if (core === undefined) return;
    // what comes is steered to the old CPU until then, which is as good as any other
    for (const id of this.known.keys()) addon.steerDestination(id, NONE, 0, 0);
    this.known.clear();
    this.capabilities = new Capabilities(addon, core, setting);
  }

  start(): void {
    this.options.watch(() => {
      this.quiet = 0;
      this.lookIn(SOON_MS);
    });
  }

  private lookIn(ms: number): void {
    // not in the async context of whoever connects
    this.inContext(() => wait(() => this.lookSafely(), ms).unref());
  }

  private lookSafely(): void {
    try {
      this.look();
    } catch (error) {
      debug('no connection is steered any more: %s', (error as Error).message);
    }
  }

  private look(): void {
    const states = this.options.addon.destinations();
    const seen = states.reduce((sum, { chosen, looked }) => sum + chosen + looked, 0);
    this.quiet = seen === this.seen ? this.quiet + 1 : 0;
    this.seen = seen;
    if (this.core !== undefined) this.decide(states);
    if (this.quiet < MOST_QUIET) this.lookIn(this.undecided && this.quiet === 0 ? SOON_MS : LATER_MS);
    else this.start();
  }

  private decide(states: readonly DestinationState[]): void {
    const left = new Map<number, Known>();
    const waits = new Map<number, number>();
    let fresh = 0;
    this.undecided = false;
    for (const state of states) {
      // it has not been connected to from here, or its packets come to the CPU that sends them
      if (state.loopback === 1 || state.chosen === 0) continue;
      const before = this.known.get(state.id);
      const waited = this.waits.get(state.id) ?? 0;
      const unlisted = before === undefined && this.capabilities.interfaceOf(state.source) === undefined;
      if ((before === undefined && ++fresh > MOST_NEW) || (unlisted && waited < MOST_WAITS)) {
        waits.set(state.id, waited + 1);
        this.undecided = true;
        continue;
      }
      const known = before ?? this.begin(state, this.hasMoved ? state : NOTHING);
      left.set(state.id, known);
      this.advance(state, known);
      if (known.step.phase === 'measure' || known.step.phase === 'try') this.undecided = true;
    }
    this.known = left;
    this.waits = waits;
  }

  private advance(state: DestinationState, known: Known): void {
    const { step, since, possible } = known;
    try {
      if (step.phase === 'rest' && !step.home && Date.now() - since > ANEW_MS)
        Object.assign(known, this.begin(state, state));
      else this.enter(state, known, nextStep(step, state, possible.methods));
    } catch (error) {
      this.options.addon.steerDestination(state.id, NONE, 0, 0);
      known.step = { phase: 'rest', why: (error as Error).message, home: false, from: state };
    }
  }

  modeOf(state: DestinationState): Mode {
    if (state.loopback === 1) return { mode: 'any', why: 'loopback' };
    const step = this.known.get(state.id)?.step;
    return step === undefined ? { mode: 'any', why: UNDECIDED } : modeOfStep(step);
  }

  private begin(state: DestinationState, from: typeof NOTHING): Known {
    const possible = this.capabilities.of(state.source);
    const known: Known = { step: { phase: 'measure', from }, possible, since: Date.now() };
    this.enter(state, known, firstStep(this.options.setting, possible.methods, from, possible.impossible));
    return known;
  }

  private enter(state: DestinationState, known: Known, next: Step): void {
    const { step, possible } = known;
    if (next === step) return;
    known.step = next;
    const { addon } = this.options;
    const before = 'method' in step ? step.method : undefined;
    const method = 'method' in next ? next.method : undefined;
    if (before !== undefined && before !== method) addon.steerDestination(state.id, NONE, 0, 0);
    if (step.phase === next.phase && before === method) return;
    known.since = Date.now();
    if (method !== undefined) {
      const budget = next.phase === 'use' ? WITHOUT_END : BUDGET;
      addon.steerDestination(
        state.id,
        this.ports(state, method, possible),
        method === 'learn' ? 1 : 0,
        budget,
      );
    }
    const { mode, why } = modeOfStep(next);
    const others = possible.impossible && `; ${possible.impossible}`;
    debug('connect to %s:%d: %s (%s%s)', state.address, state.port, mode, why, others);
  }

  private ports(state: DestinationState, method: Method, { foretold }: Possible): Uint8Array {
    if (method === 'rfd') return portShare(cpuCount(), this.core ?? 0);
    if (method === 'learn' || foretold === undefined) return NONE;
    const remote = addressBytes(state.address);
    const flow = { remote, local: addressBytes(state.source), remotePort: state.port };
    return foretold.forecast.portsTo(flow, foretold.queues);
  }
}
