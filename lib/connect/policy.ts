// SPDX-License-Identifier: Apache-2.0
// Whether the source ports of a destination are steered, and how: measured first, verified always. Pure.
import type { ConnectSetting } from '../config/settings';

/** The hash of the port decides (an XDP program); the card's hash is foretold; what has been seen is repeated. */
export type Method = 'rfd' | 'rss' | 'learn';

/** Counts of a destination that only grow; see DestinationState. */
export interface Counts {
  looked: number;
  local: number;
  steered: number;
  steeredLooked: number;
  steeredLocal: number;
}

export type Step =
  | { readonly phase: 'measure'; readonly from: Counts }
  /** A method that has not shown yet that it is right. */
  | { readonly phase: 'try'; readonly method: Method; readonly from: Counts }
  | { readonly phase: 'use'; readonly method: Method; readonly from: Counts }
  /** `home`: because the packets come home by themselves. */
  | { readonly phase: 'rest'; readonly why: string; readonly home: boolean; readonly from: Counts };

/** Below this share of local connections a method gives way, and at or above it nothing has to be done. */
export const ENOUGH = 0.9;
/** So many connections are looked at before a decision. */
const SAMPLE = 50;
/** So many before it is looked at again whether what was decided still holds. */
const LONG_SAMPLE = 500;
/** Connections that may be made by a method that has not been verified. */
export const BUDGET = 200;

const percent = (share: number) => `${(100 * share).toFixed(0)} %`;

/** @param impossible why what is missing in `methods` cannot be done */
export function firstStep(
  setting: ConnectSetting,
  methods: readonly Method[],
  counts: Counts,
  impossible: string,
): Step {
  if (setting === 'auto') return { phase: 'measure', from: counts };
  return startNext(methods, undefined, `not possible here: ${impossible}`, counts);
}

/** The method after `last`, or rest. */
function startNext(methods: readonly Method[], last: Method | undefined, why: string, from: Counts): Step {
  const method = methods[last === undefined ? 0 : methods.indexOf(last) + 1];
  return method === undefined ? { phase: 'rest', why, home: false, from } : { phase: 'try', method, from };
}

/** What the counts of a destination say of the step that it is in. Returns the same step where nothing changes. */
export function nextStep(step: Step, counts: Counts, methods: readonly Method[]): Step {
  const looked = counts.looked - step.from.looked;
  const share = (counts.local - step.from.local) / looked;
  switch (step.phase) {
    case 'measure': {
      if (looked < SAMPLE) return step;
      if (share >= ENOUGH)
        return { phase: 'rest', why: `${percent(share)} come home by themselves`, home: true, from: counts };
      const why = `${percent(share)} come home, and no method is possible here`;
      return startNext(methods, undefined, why, counts);
    }
    case 'rest':
      if (!step.home || looked < LONG_SAMPLE) return step;
      return share >= ENOUGH ? { ...step, from: counts } : { phase: 'measure', from: counts };
    default: {
      const verified = counts.steeredLooked - step.from.steeredLooked;
      if (verified < (step.phase === 'try' ? SAMPLE : LONG_SAMPLE)) return step;
      const right = (counts.steeredLocal - step.from.steeredLocal) / verified;
      const { method } = step;
      if (right >= ENOUGH) return { phase: 'use', method, from: counts };
      return startNext(methods, method, `${method}: ${percent(right)} of ${verified} came home`, counts);
    }
  }
}
