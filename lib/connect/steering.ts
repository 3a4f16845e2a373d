// SPDX-License-Identifier: Apache-2.0
// Gives each destination the source ports whose replies come to this worker's CPU, as policy.ts decides.
import type { ConnectSetting } from '../config/settings';
import { readText } from '../cpu/read';
import { debug } from '../log';
import type { Addon, DestinationState } from '../native/addon';
import { addressBytes, type Foretold, foretell, interfaceOf } from './interface';
import type { InterruptFiles } from './interrupts';
import { BUDGET, firstStep, type Method, nextStep, type Step } from './policy';
import { portShare } from './port-share';

/** While something is to be decided, and else. */
const SOON_MS = 100;
const LATER_MS = 300;
/** What was given up is tried anew after this: cards, tables and programs change. */
const ANEW_MS = 600_000;
/** A new interface has an address before it runs, and is not listed until then. */
const MOST_WAITS = 20;
const NONE = new Uint8Array(0);
const WITHOUT_END = -1;

const FILES: InterruptFiles = {
  text: readText,
  names(folder) {
    const { readdirSync } = require('node:fs') as typeof import('node:fs');
    try {
      return readdirSync(folder);
    } catch {
      return [];
    }
  },
};

export interface Mode {
  /** `any`: all ports are alike. */
  mode: Method | 'any';
  why: string;
}

const UNDECIDED = 'not enough connections have ended';

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
  /** What could be done, in the order in which it is tried. */
  methods: readonly Method[];
  /** Why the others cannot. */
  impossible: string;
  foretold: Foretold | undefined;
  /** When the step began, in ms. */
  since: number;
}

/** Of a worker that is pinned to a CPU. */
export class ConnectSteering {
  private known = new Map<number, Known>();
  private busy = false;
  /** By destination: how often its interface was looked for in vain. */
  private readonly waits = new Map<number, number>();

  constructor(
    private readonly addon: Addon,
    private readonly core: number,
    private readonly setting: ConnectSetting,
  ) {}

  /** Looks at the destinations from now on, without keeping the process alive. */
  start(): void {
    const again = () => {
      try {
        this.tick();
      } catch (error) {
        debug('source ports are no longer steered: %s', (error as Error).message);
        return;
      }
      setTimeout(again, this.busy ? SOON_MS : LATER_MS).unref();
    };
    setTimeout(again, LATER_MS).unref();
  }

  tick(): void {
    const left = new Map<number, Known>();
    this.busy = false;
    for (const state of this.addon.destinations()) {
      // it has not been connected to from here, or its packets come to the CPU that sends them
      if (state.loopback === 1 || state.chosen === 0) continue;
      const known = this.current(state) ?? this.begin(state);
      if (known === undefined) continue;
      left.set(state.id, known);
      const next = nextStep(known.step, state, known.methods);
      if (next !== known.step) this.enter(state, known, next);
      if (next.phase === 'measure' || next.phase === 'try') this.busy = true;
    }
    this.known = left;
  }

  modeOf(state: DestinationState): Mode {
    if (state.loopback === 1) return { mode: 'any', why: 'loopback' };
    const step = this.known.get(state.id)?.step;
    return step === undefined ? { mode: 'any', why: UNDECIDED } : modeOfStep(step);
  }

  private current({ id }: DestinationState): Known | undefined {
    const known = this.known.get(id);
    if (known === undefined) return undefined;
    const { step, since } = known;
    return step.phase === 'rest' && !step.home && Date.now() - since > ANEW_MS ? undefined : known;
  }

  /** undefined: its interface is not known yet. */
  private begin(state: DestinationState): Known | undefined {
    const name = interfaceOf(state.source);
    const waits = this.waits.get(state.id) ?? 0;
    if (name === undefined && waits < MOST_WAITS) {
      this.waits.set(state.id, waits + 1);
      this.busy = true;
      return undefined;
    }
    this.waits.delete(state.id);
    const { methods, impossible, foretold } = this.possible(state, name);
    const from = { looked: 0, local: 0, steered: 0, steeredLooked: 0, steeredLocal: 0 };
    const since = Date.now();
    const known: Known = { step: { phase: 'measure', from }, methods, impossible, foretold, since };
    const first = firstStep(this.setting, methods, state, impossible);
    if (first.phase !== 'measure') this.enter(state, known, first);
    return known;
  }

  /** What can be done for a destination on this interface. */
  private possible({ source }: DestinationState, name: string | undefined): Omit<Known, 'step' | 'since'> {
    const methods: Method[] = [];
    const reasons: string[] = [];
    let foretold: Foretold | undefined;
    const asked = (method: Method) => this.setting === 'auto' || this.setting === method;
    if (asked('rfd')) {
      const answer = name === undefined ? 0 : this.addon.xdpAttached(name);
      if (answer === 1) methods.push('rfd');
      else reasons.push(`rfd: no XDP program on ${name ?? source}${answer < 0 ? ` (errno ${-answer})` : ''}`);
    }
    if (asked('rss') && name === undefined) reasons.push(`rss: no interface has ${source}`);
    if (asked('rss') && name !== undefined) {
      const family = source.includes(':') ? 6 : 4;
      const answer = foretell(this.addon, FILES, name, family, this.core);
      if (typeof answer === 'string') reasons.push(`rss: ${answer}`);
      else {
        foretold = answer;
        methods.push('rss');
      }
    }
    if (asked('learn')) methods.push('learn');
    return { methods, impossible: reasons.join('; '), foretold };
  }

  private ports(state: DestinationState, method: Method, foretold: Foretold | undefined): Uint8Array {
    if (method === 'rfd') return portShare(cpuCount(), this.core);
    if (method === 'learn' || foretold === undefined) return NONE;
    const remote = addressBytes(state.address);
    const flow = { remote, local: addressBytes(state.source), remotePort: state.port };
    return foretold.forecast.portsTo(flow, foretold.queues);
  }

  private enter(state: DestinationState, known: Known, next: Step): void {
    const { step, foretold, impossible } = known;
    const before = 'method' in step ? step.method : undefined;
    const method = 'method' in next ? next.method : undefined;
    known.step = next;
    known.since = Date.now();
    if (before !== undefined && before !== method) this.addon.steerDestination(state.id, NONE, 0, 0);
    if (method !== undefined && before !== undefined && before === method && step.phase === next.phase)
      return;
    if (method !== undefined) {
      const budget = next.phase === 'use' ? WITHOUT_END : BUDGET;
      const ports = this.ports(state, method, foretold);
      this.addon.steerDestination(state.id, ports, method === 'learn' ? 1 : 0, budget);
    }
    const { mode, why } = modeOfStep(next);
    debug(
      'connect to %s:%d: %s (%s%s)',
      state.address,
      state.port,
      mode,
      why,
      impossible && `; ${impossible}`,
    );
  }
}
