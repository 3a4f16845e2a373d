// SPDX-License-Identifier: Apache-2.0
import { basename } from 'node:path';

/**
 * Test files by the beginning of their names that must have the machine to themselves: they judge where connections are
 * served, count system calls or CPU time, take CPUs or memory from everybody, or compute all the time. The others wait for
 * processes to start and end most of the time.
 */
const ALONE = [
  'addon-',
  'balance',
  'bench-',
  'cgroup-',
  'churn',
  'connect',
  'containers',
  'cpu-',
  'crew-',
  'demo-',
  'growth',
  'kill.',
  'limits-',
  'locality',
  'memory-',
  'out-of-memory',
  'parking',
  'pid1',
  'pids-',
  'pinning',
  'ports-model',
  'room',
  'sandbox-traced',
  'seam',
  'simulation',
  'soak',
  'steering-',
  'sticky',
  'stops',
  'worker-limits',
];

/** How many of the others run at a time. */
const WIDTH = 3;

/** Test files in the order in which they are run, and how many of them at a time. */
export function inTurns(files) {
  const alone = (file) => ALONE.some((beginning) => basename(file).startsWith(beginning));
  return [
    { files: files.filter((file) => !alone(file)), width: WIDTH },
    { files: files.filter(alone), width: 1 },
  ].filter(({ files }) => files.length > 0);
}
