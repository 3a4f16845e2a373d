// SPDX-License-Identifier: Apache-2.0
// CPU for each short connection of one server on one core: plain Node and fastsocket in turn, a fresh process for each
// measure, and a client on another core that waits for the server's FIN. With --ablation each piece of the seam is off
// in turn. The figures are for reading: nothing here passes or fails.
import { execFileSync } from 'node:child_process';
import { compiled } from '../../test/support/compiled';
import { median } from '../lib/stats';
import { type Measure, measure } from './measure';
import { readOptions, USAGE, type Variant, variants } from './options';

/** Of the median, by the order statistics that hold it in 95 of 100 cases (binomial, normal approximation). */
export function interval(values: readonly number[]): [number, number] {
  const sorted = [...values].sort((a, b) => a - b);
  const reach = (1.96 * Math.sqrt(values.length)) / 2;
  const at = (rank: number) => sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(rank)))] as number;
  return [at(values.length / 2 - reach - 0.5), at(values.length / 2 + reach - 0.5)];
}

function line(name: string, measures: readonly Measure[], plain: readonly Measure[]): string {
  const cpu = median(measures.map(({ cpuUs }) => cpuUs)) ?? Number.NaN;
  const perSecond = median(measures.map((one) => one.perSecond)) ?? Number.NaN;
  const ratios = measures.map(({ cpuUs }, i) => cpuUs / (plain[i] as Measure).cpuUs);
  const [low, high] = interval(ratios);
  const failed = measures.reduce((sum, one) => sum + one.failed, 0);
  const ratio = `${(median(ratios) ?? Number.NaN).toFixed(2)} (${low.toFixed(2)}-${high.toFixed(2)})`;
  return `  ${name.padEnd(16)} ${cpu.toFixed(1).padStart(6)} us  ${perSecond.toFixed(0).padStart(7)}/s  ${ratio}${failed > 0 ? `  ${failed} failed` : ''}`;
}

async function compare(node: string, clients: number): Promise<void> {
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
  const list = variants(options.ablation);
  const results = new Map<Variant, Measure[]>(list.map((variant) => [variant, []]));
  for (let pair = 0; pair < options.pairs; pair++) {
    process.stderr.write(`\r${version}, ${clients} clients: ${pair + 1} of ${options.pairs} `);
    for (const variant of list)
      results.get(variant)?.push(await measure(node, variant, client, clients, options.seconds));
  }
  const plain = [...results.values()][0] as Measure[];
  console.log(
    `\r${version}, ${clients} clients: CPU per connection, connections per second, CPU against plain`,
  );
  for (const [{ name }, measures] of results) console.log(line(name, measures, plain));
}

const options = (() => {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
})();
const client = compiled('fin-client');
(async () => {
  for (const node of options.nodes) for (const clients of options.clients) await compare(node, clients);
})();
