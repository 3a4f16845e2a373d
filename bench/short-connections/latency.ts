// SPDX-License-Identifier: Apache-2.0
// How long a short connection takes on a server that has little to do.
import { fixed } from '../lib/columns';
import { type Comparison, compare, withServer } from '../lib/compare';
import { finClient, openLoopClient } from '../lib/load/clients';
import { drive, type Measure, measure } from '../lib/load/run';
import type { Place } from '../lib/place';
import { median } from '../lib/stats';
import { type Column, cpuColumn, failedColumn, ratioColumn, series, table } from '../lib/table';
import type { Variant } from '../lib/variants';

/** Microseconds, as fin-client says them; null where it has none. */
interface Percentiles {
  p50: number;
  p99: number;
  max: number;
}

interface Latencies {
  /** From connect() to the first byte of the answer. */
  answerUs: Percentiles | null;
  /** From connect() to the server's FIN. */
  finUs: Percentiles | null;
  /** By how much the client was late to begin. */
  lateUs: Percentiles | null;
}

export type LatencyMeasure = Measure & Latencies;

export const answerP50 = ({ answerUs }: LatencyMeasure): number | undefined => answerUs?.p50;
const answerP99 = ({ answerUs }: LatencyMeasure): number | undefined => answerUs?.p99;

const SHARE = 0.1;
const WARM_CLIENTS = 64;
/** More than ever are open at a tenth of the load, unless the server hangs. */
const MOST_OPEN = 512;

function micros(
  name: string,
  value: (measure: LatencyMeasure) => number | undefined,
): Column<LatencyMeasure> {
  return { head: ['latency', name], cell: (measured) => fixed(median(series(measured, value)), 0, ' us') };
}

export interface LatencyComparison {
  comparison: Comparison<LatencyMeasure>;
  /** Connections a second. */
  rate: number;
  text: string;
}

/** @param variants plain Node first: a tenth of its rate is the load of all */
export async function latency(
  place: Place,
  version: string,
  variants: readonly Variant[],
  { pairs, seconds }: { pairs: number; seconds: number },
): Promise<LatencyComparison> {
  const warm = { client: finClient(), connections: WARM_CLIENTS, seconds: Math.min(1, seconds) };
  const most = await withServer(place, variants[0] as Variant, async (server) => {
    await drive(place, server, warm);
    const { answered, seconds: took } = await drive(place, server, warm);
    return answered / took;
  });
  const rate = Math.max(1, Math.round(most * SHARE));
  const title = `Node ${version}, ${rate} connections begun a second, by chance: a tenth of what plain Node can do`;
  const load = { client: openLoopClient(rate), connections: MOST_OPEN, seconds };
  const comparison = await compare(place, title, variants, pairs, async (server) => {
    const { measure: common, outcome } = await measure<Latencies>(place, server, load, warm);
    const { answerUs, finUs, lateUs } = outcome;
    return { ...common, answerUs, finUs, lateUs };
  });
  const text = table(title, comparison, [
    micros('median', answerP50),
    micros('p99', answerP99),
    ratioColumn('median against plain', pairs, answerP50),
    ratioColumn('p99 against plain', pairs, answerP99),
    cpuColumn('connection') as Column<LatencyMeasure>,
    failedColumn as Column<LatencyMeasure>,
  ]);
  return { comparison, rate, text };
}
