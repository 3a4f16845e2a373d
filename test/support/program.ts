// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { root } from './app';

const SANITIZERS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined'];
const FLAGS = ['-std=c++17', '-g', '-O1', '-Wall', '-Wextra', '-Werror', ...SANITIZERS];
/** Wherever a source may include from. */
const HEADERS = ['native', 'native/balance', 'native/seam', 'test/native', 'test/native/model'];

async function run(command: string, words: string[]): Promise<void> {
  const child = spawn(command, words, { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  child.stderr.on('data', (data) => {
    text += data;
  });
  const [status] = await once(child, 'close');
  assert.equal(status, 0, `${command} ${words.join(' ')}\n${text}`);
}

const changed = (file: string): number => (existsSync(file) ? statSync(file).mtimeMs : 0);

/** The C++ program that these sources make, with the sanitizers; compiled where a source or header is newer. */
export async function program(
  name: string,
  sources: readonly string[],
  link: string[] = [],
): Promise<string> {
  const folder = join(root, 'build', 'native', 'objects');
  const binary = join(root, 'build', 'native', name);
  mkdirSync(folder, { recursive: true });
  const headers = HEADERS.flatMap((place) =>
    readdirSync(join(root, place))
      .filter((file) => file.endsWith('.h'))
      .map((file) => changed(join(root, place, file))),
  );
  const newest = Math.max(0, ...headers);
  const objects = sources.map((source) => join(folder, `${source.replaceAll('/', '-')}.o`));
  const old = sources.filter((source, i) => {
    const made = changed(objects[i] as string);
    return made < newest || made < changed(join(root, source));
  });
  const compileNext = async (): Promise<void> => {
    for (let source = old.shift(); source; source = old.shift())
      await run('g++', [...FLAGS, '-c', source, '-o', objects[sources.indexOf(source)] as string]);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, compileNext));
  const made = changed(binary);
  if (objects.some((object) => changed(object) > made))
    await run('g++', [...SANITIZERS, ...objects, ...link, '-o', binary]);
  return binary;
}
