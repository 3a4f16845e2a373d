// SPDX-License-Identifier: Apache-2.0
import type { OriginSignals } from '../signals/origin-signals';
import { RELAYED } from '../signals/relayed';
import type { Lifecycle } from '../workers/lifecycle';

export interface CanaryEnd {
  code: number | null;
  signal: string | null;
  /** It had been told of a signal. */
  told: boolean;
}

/**
 * The canary has ended: of itself, which ends multiplying, or of a signal that was meant for the whole app. One that
 * reaches the whole process group ends a copy that has no handler yet, and often before the origin knows of it.
 */
export function judgeCanary(lifecycle: Lifecycle, signals: OriginSignals, end: CanaryEnd): void {
  const { code, signal, told } = end;
  const direct = RELAYED.get(signal ?? '');
  const judge = (obeyed: boolean) => {
    if (obeyed) lifecycle.canaryObeyed();
    else lifecycle.canaryExited(code, signal);
  };
  if (told || direct === undefined) judge(told);
  else signals.whetherReceived(direct, judge);
}
