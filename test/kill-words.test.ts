// SPDX-License-Identifier: Apache-2.0
// lib/worker/kill-words.ts: which programs may end the original, by their command lines.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killingWords } from '../lib/worker/kill-words';

const PID = 4321;
const sh = (line: string): string[] => ['/bin/sh', '-c', line];

const MAY: string[][] = [
  sh("lsof -i tcp:3000 | grep LISTEN | awk '{print $2}' | xargs kill -9"),
  sh('kill -9 $(lsof -t -i:3000)'),
  sh('kill `cat app.pid`'),
  sh('lsof -ti :3000 | xargs -r -n 1 kill'),
  sh('lsof -ti :3000 | xargs -I {} kill -9 {}'),
  sh('if [ -f app.pid ]; then kill "$(cat app.pid)"; fi'),
  sh('test -f app.pid && sudo kill -s TERM $(cat app.pid)'),
  sh(`kill -9 ${PID}`),
  sh(`kill -KILL 17 -- -${PID}`),
  sh('fuser -k 3000/tcp'),
  sh('npx kill-port 3000'),
  ['bash', '-lc', '/bin/kill $PID'],
  ['kill', String(PID)],
  ['/usr/bin/kill', '-9', String(PID)],
  ['pkill', '-f', 'server.js'],
  ['killall', 'node'],
  ['fuser', '-n', 'tcp', '-k', '3000'],
];

const NOT: string[][] = [
  [],
  ['node', 'kill.js'],
  ['echo', 'kill'],
  ['docker', 'kill', 'box'],
  ['tmux', 'kill-server'],
  ['git', 'commit', '-m', 'no fork; kill it'],
  ['kill', '-9', '17'],
  ['fuser', '3000/tcp'],
  sh(`kill -0 ${PID}`),
  sh('kill -s 0 $(cat app.pid)'),
  sh('kill -l'),
  sh('kill 17 -18'),
  sh('lsof -ti :3000'),
  sh('skill --version; echo overkill; ./kill.sh'),
  sh('echo "how to kill it"'),
];

test('a command line that may end a process', () => {
  for (const words of MAY) assert.ok(killingWords(words, PID), words.join(' '));
});

test('a command line that ends no process, or others', () => {
  for (const words of NOT) assert.equal(killingWords(words, PID), undefined, words.join(' '));
});

test('it is told in one line', () => {
  assert.equal(killingWords(sh('\n  kill  $(cat a)\n'), PID), 'kill $(cat a)');
});
