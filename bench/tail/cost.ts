// SPDX-License-Identifier: Apache-2.0
// What a connection costs where nobody is blocked: as many as the servers can take, in a closed loop.
import { fixed } from '../lib/columns';
import { inTurn, type Measured, type Taken, withServer } from '../lib/compare';
import { finClient } from '../lib/load/clients';
import { drive, type Load, type Measure } from '../lib/load/run';
import type { Place } from '../lib/place';
import type { Server } from '../lib/server';
import { median } from '../lib/stats';
import {
  type Column,
  cpuColumn,
  cpuUs,
  failedColumn,
  perSecondColumn,
  ratioColumn,
  series,
  table,
} from '../lib/table';
import { rule, type Tries, untilClean } from './clean';
import { account } from './measure';
import type { Options } from './options';
import { costVariants, forkVariants } from './variants';

interface CostMeasure extends Measure {
  /** Share of one core that the hook's own thread has used, 0 to 1. */
  thread: number;
}

type CostTries = Tries<CostMeasure>;

const WARM_S = 1;

const threadColumn: Column<CostMeasure> = {
  head: ['thread, of', 'one core'],
  cell: (measured) => {
    const share = median(series(measured, ({ thread }) => thread));
    return fixed(share === undefined ? undefined : share * 100, 2, ' %');
  },
};

async function measure(place: Place, server: Server, load: Load): Promise<CostMeasure> {
  await drive(place, server, { ...load, seconds: Math.min(WARM_S, load.seconds) });
  const close = account(server);
  const { answered, failed, failure, seconds, cpuUs } = await drive(place, server, load);
  const { usedUs, threadUs, foreign, tookMs } = close(cpuUs ?? 0);
  return {
    cpuUs: usedUs / answered,
    perSecond: answered / seconds,
    ...{ answered, failed, foreign },
    ...(failure === undefined ? {} : { failure }),
    busy: usedUs / 1_000 / tookMs,
    thread: threadUs / 1_000 / tookMs,
    closedFirst: server.sockets().closedFirst,
  };
}

/** A round in which one of them never came to count is nobody's: ratios are within a round. */
function complete(variants: readonly Measured<CostTries>[]): Measured<CostTries>[] {
  const whole = (round: number): boolean => variants.every(({ measures }) => measures[round]?.kept);
  const why = 'another of its round never counted';
  return variants.map(({ name, measures }) => ({
    name,
    measures: measures.map((tries, round): CostTries => {
      const { kept, discarded } = tries;
      if (kept === undefined || whole(round)) return tries;
      return { discarded: [...discarded, { why, measure: kept }] };
    }),
  }));
}

export interface CostComparison {
  variants: Measured<CostMeasure>[];
  discarded: { name: string; why: string; measure: CostMeasure }[];
  remarks: string[];
  text: string;
}

export async function costOf(
  place: Place,
  node: string,
  version: string,
  { workers, pinned }: { workers: number; pinned: boolean },
  options: Options,
): Promise<CostComparison> {
  const { ablation, forks, clients, seconds, pairs, limits } = options;
  const compared = forks
    ? forkVariants(node, workers, pinned)
    : costVariants(node, version, workers, { ablation, pinned });
  const title = `Node ${version}, ${workers} workers, each ${pinned ? 'pinned to a CPU' : 'on any CPU'}, ${clients} clients in a closed loop`;
  const load = { client: finClient(), connections: clients, seconds };
  const { variants: all, remarks } = await inTurn(
    title,
    compared,
    pairs,
    (variant): Promise<Taken<CostTries>> =>
      untilClean(options, () =>
        withServer(place, variant, async (server) => ({
          measure: await measure(place, server, load),
          remark: variant.remark(server),
        })),
      ),
  );
  const rounds = complete(all);
  const variants = rounds.map(({ name, measures }) => ({
    name,
    measures: measures.flatMap(({ kept }) => kept ?? []),
  }));
  const discarded = rounds.flatMap(({ name, measures }) =>
    measures.flatMap((tried) => tried.discarded.map((one) => ({ name, ...one }))),
  );
  const count = variants[0]?.measures.length ?? 0;
  const notes = [
    ...remarks,
    `${count} of ${pairs} rounds count; ${discarded.length} measures were discarded: ${rule(limits)}, or with another of their round`,
  ];
  const against = `CPU against ${variants[0]?.name}`;
  const text = table(title, { variants, remarks: notes }, [
    cpuColumn('connection'),
    ratioColumn(against, count, cpuUs),
    threadColumn,
    perSecondColumn('connections'),
    failedColumn,
  ] as Column<CostMeasure>[]);
  return { variants, discarded, remarks, text };
}
