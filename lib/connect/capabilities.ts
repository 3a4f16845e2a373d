// SPDX-License-Identifier: Apache-2.0
// What the interfaces of this host can do for a worker on one CPU: asked of each once in a while, for all destinations.
import type { ConnectSetting } from '../config/settings';
import { readText } from '../cpu/read';
import { debugOnce } from '../log';
import type { Addon } from '../native/addon';
import { type Foretold, foretell } from './interface';
import type { InterruptFiles } from './interrupts';
import type { Method } from './policy';

/** Cards, tables and programs change seldom, and whether what they say is right is looked at all the time. */
const KEEP_MS = 60_000;
/** A new interface has an address before it runs, and is not listed until then. */
const KEEP_NAMES_MS = 500;

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

/** None where they cannot be known: without netlink (systemd's RestrictAddressFamilies=, gVisor) Node throws. */
function interfaces(): ReturnType<typeof import('node:os').networkInterfaces> {
  const { networkInterfaces } = require('node:os') as typeof import('node:os');
  try {
    return networkInterfaces();
  } catch (error) {
    const { info, errno } = error as NodeJS.ErrnoException & { info?: { errno?: number } };
    const number = Math.abs(info?.errno ?? errno ?? 0);
    debugOnce('which interface an address is on is not known: getifaddrs fails (errno %d)', number);
    return {};
  }
}

export interface Possible {
  /** In the order in which they are tried. */
  methods: readonly Method[];
  /** Why the others are not possible. */
  impossible: string;
  foretold: Foretold | undefined;
}

/** Keeps answers for a while. */
class Kept<T> {
  private readonly answers = new Map<string, { answer: T; until: number }>();

  constructor(
    private readonly ms: number,
    private readonly now: () => number,
  ) {}

  get(key: string, ask: () => T): T {
    const known = this.answers.get(key);
    if (known !== undefined && this.now() < known.until) return known.answer;
    const answer = ask();
    this.answers.set(key, { answer, until: this.now() + this.ms });
    return answer;
  }
}

export class Capabilities {
  private readonly names: Kept<ReadonlyMap<string, string>>;
  private readonly cards: Kept<Foretold | string>;
  private readonly programs: Kept<number>;

  constructor(
    private readonly addon: Pick<Addon, 'readRss' | 'xdpAttached'>,
    private readonly core: number,
    private readonly setting: ConnectSetting,
    now: () => number = Date.now,
  ) {
    this.names = new Kept(KEEP_NAMES_MS, now);
    this.cards = new Kept(KEEP_MS, now);
    this.programs = new Kept(KEEP_MS, now);
  }

  /** The interface that has this address; undefined where none does. */
  interfaceOf(address: string): string | undefined {
    const names = this.names.get('', () => {
      const entries = Object.entries(interfaces());
      return new Map(entries.flatMap(([name, list = []]) => list.map((one) => [one.address, name] as const)));
    });
    return names.get(address.replace(/%.*$/, ''));
  }

  /** What can be done for connections from this address. */
  of(source: string): Possible {
    const name = this.interfaceOf(source);
    const methods: Method[] = [];
    const reasons: string[] = [];
    let foretold: Foretold | undefined;
    const asked = (method: Method) => this.setting === 'auto' || this.setting === method;
    if (asked('rfd')) {
      const attached = name === undefined ? 0 : this.programs.get(name, () => this.addon.xdpAttached(name));
      const errno = attached < 0 ? ` (errno ${-attached})` : '';
      if (attached === 1) methods.push('rfd');
      else reasons.push(`rfd: no XDP program on ${name ?? source}${errno}`);
    }
    if (asked('rss')) {
      const card =
        name === undefined ? `no interface has ${source}` : this.card(name, source.includes(':') ? 6 : 4);
      if (typeof card === 'string') reasons.push(`rss: ${card}`);
      else {
        foretold = card;
        methods.push('rss');
      }
    }
    if (asked('learn')) methods.push('learn');
    return { methods, impossible: reasons.join('; '), foretold };
  }

  private card(name: string, family: 4 | 6): Foretold | string {
    return this.cards.get(`${name} ${family}`, () => foretell(this.addon, FILES, name, family, this.core));
  }
}
