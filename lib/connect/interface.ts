// SPDX-License-Identifier: Apache-2.0
// What a network interface says of its queues.
import type { Addon } from '../native/addon';
import { type InterruptFiles, queueCpus } from './interrupts';
import { Forecast, whyNotForetold } from './rss';

/** The 4 or 16 bytes of an address as inet_ntop(3) writes it; a scope is left out. */
export function addressBytes(address: string): Uint8Array {
  const four = (text: string) => text.split('.').map(Number);
  if (!address.includes(':')) return Uint8Array.from(four(address));
  const bytes = (text: string) =>
    text
      .split(':')
      .filter(Boolean)
      .flatMap((group) => {
        if (group.includes('.')) return four(group);
        const value = Number.parseInt(group, 16);
        return [value >> 8, value & 255];
      });
  const [head = '', tail = ''] = address.replace(/%.*$/, '').split('::');
  const result = new Uint8Array(16);
  const last = bytes(tail);
  result.set(bytes(head));
  result.set(last, result.length - last.length);
  return result;
}

export interface Foretold {
  forecast: Forecast;
  /** The queues that interrupt this CPU. */
  queues: ReadonlySet<number>;
}

/** What is needed to foretell where replies arrive, or in words why that cannot be. */
export function foretell(
  addon: Pick<Addon, 'readRss'>,
  files: InterruptFiles,
  name: string,
  family: 4 | 6,
  core: number,
): Foretold | string {
  const rss = addon.readRss(name);
  if (typeof rss === 'number') return `${name} does not tell its RSS (errno ${-rss})`;
  const why = whyNotForetold(rss, family);
  if (why !== undefined) return `${name}: ${why}`;
  const queuesFolder = `/sys/class/net/${name}/queues`;
  const spread = files
    .names(queuesFolder)
    .some((queue) => /[1-9a-f]/.test(files.text(`${queuesFolder}/${queue}/rps_cpus`) ?? ''));
  if (spread) return `${name}: RPS moves packets on`;
  const cpus = queueCpus(files, name);
  const queues = new Set(rss.table.filter((queue) => cpus.get(queue) === core));
  if (queues.size === 0) return `${name}: no queue is known to interrupt CPU ${core}`;
  return { forecast: new Forecast(rss), queues };
}
