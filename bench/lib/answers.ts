// SPDX-License-Identifier: Apache-2.0
import { connect } from 'node:net';

/**
 * For preloads into every server process: says `answer()` to the benchmark at once and whenever it asks (reports.ts).
 * @param path of the benchmark's Unix socket
 */
export function answerQuestions(path: string, answer: () => { pid: number }): void {
  const say = () => benchmark.write(`${JSON.stringify(answer())}\n`);
  const benchmark = connect(path);
  benchmark.unref();
  say();
  benchmark.on('data', say);
  benchmark.on('error', () => {});
  // the benchmark has gone, however it ended: no server may stay behind
  benchmark.on('close', () => process.kill(process.pid, 'SIGKILL'));
}
