// SPDX-License-Identifier: Apache-2.0
// Ends test files that hang, from within the process of `node --test`. From Node 24 on --test-timeout counts for tests
// only: a file whose tests are over, or which spins, is waited for without end (seen on 24.22 and 26.12; 20 and 22 end it).
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

/** Environment variable: a test file's process that is older is killed, and whatever it has started. Milliseconds. */
export const FILE_LIMIT = 'TEST_FILE_LIMIT_MS';
/** All tests of a file take less, on a slow machine too. */
export const FILE_LIMIT_MS = 400_000;
const LOOKS_MS = 500;

const limitMs = Number(process.env[FILE_LIMIT]);
const firstSeen = new Map();

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // it has ended
    return '';
  }
}

/** Parents first, so that nothing killed is replaced. Children are listed by the thread that has started them: proc_pid_task(5). */
const childrenOf = (pid) => read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number);
const treeOf = (pid) => [pid, ...childrenOf(pid).flatMap(treeOf)];

function kill(file) {
  const tree = treeOf(file).map((pid) => [pid, read(`/proc/${pid}/cmdline`).split('\0').filter(Boolean)]);
  const words = tree.map(
    ([pid, [name = '', ...rest]]) => `  ${pid} ${basename(name)} ${rest.at(-1) ?? ''}\n`,
  );
  process.stderr.write(`\n== not ended after ${limitMs / 1000} s, killed:\n${words.join('')}`);
  for (const [pid] of tree)
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it has ended
    }
}

function look() {
  const now = Date.now();
  for (const pid of childrenOf(process.pid)) {
    if (!firstSeen.has(pid)) firstSeen.set(pid, now);
    if (now - firstSeen.get(pid) > limitMs) kill(pid);
  }
}

/** Begins to look at the files that the runner has started; returns what ends that. */
export function limitFiles() {
  const timer = setInterval(look, LOOKS_MS);
  return () => clearInterval(timer);
}
