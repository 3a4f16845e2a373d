// SPDX-License-Identifier: Apache-2.0
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The package's root folder. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** One line about what goes on; on stderr, so that a command's stdout stays its own. */
export function say(text) {
  process.stderr.write(`fastsocket: ${text}\n`);
}

/** Ends the program with one line. */
export function fail(text) {
  say(text);
  process.exit(1);
}

/** Runs a command with its output passed through (on stderr if quiet); returns its exit status, 1 where `timeout` ends it. */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (result.error && result.error.code !== 'ETIMEDOUT') fail(`${command}: ${result.error.message}`);
  return result.status ?? 1;
}

/** Runs a command whose output matters only when it fails; the text is shown then, and the program ends. */
export function runQuietly(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', ...options });
  if (result.status === 0) return result.stdout;
  process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`);
  return fail(
    `${[command, ...args].join(' ')} failed: ${result.error?.message ?? result.signal ?? `status ${result.status}`}`,
  );
}

/**
 * Runs a command to its end or `timeoutMs`; resolves to {status, signal, timedOut, output}. Its whole process group is
 * killed at the end, so that a test which leaves programs behind cannot disturb the next one.
 */
export function runCollected(command, args, { timeoutMs, ...options } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      ...options,
    });
    const chunks = [];
    let timedOut = false;
    const killGroup = () => {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // Nothing of the group is left.
      }
    };
    const expire = () => {
      timedOut = true;
      killGroup();
    };
    const timer = timeoutMs === undefined ? undefined : setTimeout(expire, timeoutMs);
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => chunks.push(chunk));
    child.once('error', reject);
    child.once('exit', killGroup);
    child.once('close', (status, signal) => {
      clearTimeout(timer);
      resolve({ status, signal, timedOut, output: Buffer.concat(chunks).toString() });
    });
  });
}

/** The path of a program, looked up as a shell would; undefined when it is not there. */
export function which(program) {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // The next folder may have it.
    }
  }
  return undefined;
}

/** `f` over `items`, at most `width` at a time; the results in the items' order. */
export async function mapLimited(items, width, f) {
  const results = new Array(items.length);
  let next = 0;
  const lane = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await f(items[index], index);
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
  return results;
}
