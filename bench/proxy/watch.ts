// SPDX-License-Identifier: Apache-2.0
// Preloaded into every process of a proxy, in all variants alike: counts accepted connections and looks at how late the
// event loop is, and tells the benchmark when it asks. The proxy is not touched.
import { subscribe } from 'node:diagnostics_channel';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { answerQuestions } from '../lib/answers';
import type { ProcessReport } from './reports';

/** Of the timer; shorter ones would cost what they measure. */
const EVERY_MS = 5;

const delay = monitorEventLoopDelay({ resolution: EVERY_MS });
delay.enable();
let accepted = 0;
subscribe('net.server.socket', () => {
  accepted++;
});

answerQuestions(process.env['REPORTS'] as string, () => {
  // it records the time between two ticks, of which one interval is none too late
  const p99 = delay.count > 0 ? delay.percentile(99) / 1e6 : undefined;
  const report: ProcessReport = {
    pid: process.pid,
    accepted,
    ...(p99 === undefined ? {} : { delayMs: Math.max(0, p99 - EVERY_MS) }),
  };
  delay.reset();
  return report;
});
