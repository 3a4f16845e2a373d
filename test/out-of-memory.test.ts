// SPDX-License-Identifier: Apache-2.0
// The kernel kills a worker for want of memory: named in the log, replaced, and the others have served meanwhile.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { MemoryKills } from '../lib/cpu/memory-kills';
import { answeredBy, fixture, freePort, lives, multiplied, request, startApp, until } from './support/app';
import { LimitedGroup, needsGroups } from './support/cgroup';
import { Load } from './support/load';

const HOST = '127.0.0.1';
const MIB = 1024 * 1024;
/** What the app may take beyond what it has when it serves. */
const ROOM = 128 * MIB;
const FOR_WANT =
  /worker (\d) ended \(code null, signal SIGKILL, for want of memory: oom_kill \d in \/\S+\/inner\/memory\.\w+\)/g;
/** What a process accepts at a time, and has read nothing of when it is killed; see test/kill.test.ts. */
const MOST_ACCEPTED = 8;
const swap = readFileSync('/proc/swaps', 'utf8').trim().split('\n').length > 1 && 'there is swap here';

test('a worker that takes too much is killed by its control group', {
  skip: needsGroups('memory').skip || swap,
}, async (t) => {
  const group = new LimitedGroup(t, 'memory');
  const app = startApp(fixture('hungry-app.js'), {
    port: await freePort(HOST),
    env: { HOST },
    prefix: group.prefix,
  });
  t.after(() => app.stop());
  const workers = await multiplied(app, 2, HOST);
  group.memory(group.memoryNow + ROOM);
  const load = new Load(app.port, { clients: 4, host: HOST });
  t.after(() => load.stop());
  const victim = answeredBy(await request(app.port, '/eat', HOST)) as number;
  assert.ok(workers.includes(victim));
  await until(
    () => !lives(victim),
    () => `the end of ${victim}:\n${app.stderr}`,
    30_000,
  );
  // the kernel may take a second one before it has the memory of the first back
  const taken = () => [...app.stderr.matchAll(FOR_WANT)].map(([, index]) => index as string);
  const ready = (index: string) => app.stderr.match(new RegExp(`worker ${index} is ready`, 'g'))?.length;
  await until(
    () => taken().length > 0 && taken().every((index) => ready(index) === 2),
    () => `a successor:\n${app.stderr}`,
  );
  const before = load.answered;
  await until(() => load.answered > before + 100, 'more answers');
  const { refused, lost, cut } = await load.served();
  assert.equal(refused, 0);
  assert.ok(lost <= MOST_ACCEPTED * taken().length, `${lost} lost`);
  assert.equal(cut, 0);
  const now = app.workers();
  assert.equal(now.length, 2);
  const others = workers.length - taken().length;
  assert.equal(now.filter((pid) => workers.includes(pid)).length, others, 'the other one was left alone');
  // who is killed by somebody else is not said to have wanted memory
  process.kill(now[0] as number, 'SIGKILL');
  await app.said(/worker \d ended \(code null, signal SIGKILL\)/);
});

interface Seen {
  kills: MemoryKills;
  files: Record<string, string>;
  clock: { ms: number };
}

function seen(files: Record<string, string>): Seen {
  const clock = { ms: 0 };
  const kills = new MemoryKills(
    (path) => files[path],
    () => clock.ms,
  );
  return { kills, files, clock };
}

test('the count of v2 and of v1, wherever the group is', () => {
  const unified = seen({
    '/proc/self/cgroup': '0::/app\n',
    '/proc/self/mountinfo': '31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n',
    '/sys/fs/cgroup/app/memory.events': 'low 0\noom 4\noom_kill 3\noom_group_kill 0\n',
  });
  assert.equal(unified.kills.cause('SIGKILL'), '');
  unified.files['/sys/fs/cgroup/app/memory.events'] = 'oom 5\noom_kill 4\n';
  assert.equal(unified.kills.cause('SIGTERM'), '');
  const said = ', for want of memory: oom_kill 4 in /sys/fs/cgroup/app/memory.events';
  assert.equal(unified.kills.cause('SIGKILL'), said);
  assert.equal(unified.kills.cause('SIGKILL'), '', 'that one was counted');
  unified.files['/sys/fs/cgroup/app/memory.events'] = 'oom 7\noom_kill 7\n';
  for (let i = 0; i < 2; i++) assert.match(unified.kills.cause('SIGKILL'), /oom_kill 7/, 'two at a time');
  unified.clock.ms += 1_001;
  assert.equal(unified.kills.cause('SIGKILL'), '', 'the third was somebody else');
  const old = seen({
    '/proc/self/cgroup': '4:memory:/docker/1\n3:cpuset:/\n0::/\n',
    '/proc/self/mountinfo':
      '34 31 0:33 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n',
    '/sys/fs/cgroup/memory/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 0\n',
  });
  old.files['/sys/fs/cgroup/memory/memory.oom_control'] = 'under_oom 0\noom_kill 1\n';
  assert.match(old.kills.cause('SIGKILL'), /oom_kill 1 in \/sys\/fs\/cgroup\/memory\/memory\.oom_control$/);
  assert.equal(seen({}).kills.cause('SIGTERM'), '');
  assert.match(seen({}).kills.cause('SIGKILL'), /perhaps: no oom_kill can be read/);
});
