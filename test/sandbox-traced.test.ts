// SPDX-License-Identifier: Apache-2.0
// System calls that Node makes as well, so that no rule tells them apart: the hook's own is found by its place among those
// of the main thread, in a run that is only watched, and fails in the next one.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { fixture, hook } from './support/app';
import { refusing } from './support/refuse';
import { errnosOf, Sandboxed, type SandboxOptions, Target } from './support/sandbox';
import { temporaryFolder } from './support/temporary';

const folder = temporaryFolder('traced');
const target = new Target();
const skip =
  (process.getuid?.() !== 0 || spawnSync('strace', ['-V']).status !== 0) &&
  'needs strace, and root to attach it';

const TRACED = [
  ['socket', 'bind', 'listen', 'getsockname', 'setsockopt', 'socketpair', 'sendmsg', 'fcntl'],
  ['memfd_create', 'lseek', 'epoll_create1', 'eventfd2', 'epoll_ctl', 'io_uring_setup'],
  ['rt_sigaction', 'rt_sigprocmask', 'clone3', 'gettid', 'sched_setaffinity', 'sched_getaffinity'],
].join();

/** A line that is the hook's own call: the first of that kind behind another one that is nobody else's. */
interface Own {
  call: string;
  line?: RegExp;
  behind?: RegExp;
  /** What its descriptor leads to: V8 makes calls of that name whenever it likes. The first one after that. */
  path?: string;
}

interface Row extends Own {
  name: string;
  says: RegExp;
  single?: true;
  /** A worker that has no CPU of its own does not ask. */
  pins?: true;
  env?: Record<string, string>;
  /** Where libc has another call for ENOSYS. */
  errnos?: readonly string[];
}

const ATTACHED = /SO_ATTACH_REUSEPORT_CBPF|SOL_SOCKET, 0x33/;
const SHARED = /^memfd_create/;
const NOTICES = /^socketpair\(AF_UNIX, SOCK_SEQPACKET\|SOCK_CLOEXEC\|SOCK_NONBLOCK/;
const CONTROL = /^socketpair\(AF_UNIX, SOCK_SEQPACKET\|SOCK_CLOEXEC, /;
const RING = { UV_USE_IO_URING: '1' };
const UNSERVED = /registered before their first read: /;
const NO_THREAD = /balancing is off: a thread fails/;
const UNMADE = /plain Node: socket 1 of the listener group could not be made/;

const IN_ORIGIN: Row[] = [
  {
    name: "getsockname, of the listener's",
    call: 'getsockname',
    behind: ATTACHED,
    says: UNMADE,
    single: true,
  },
  { name: "socket, a worker's", call: 'socket', behind: ATTACHED, says: UNMADE, single: true },
  {
    name: "setsockopt(SO_REUSEADDR), of a worker's socket",
    call: 'setsockopt',
    line: /SO_REUSEADDR/,
    behind: ATTACHED,
    says: UNMADE,
    single: true,
  },
  {
    name: "setsockopt(SO_REUSEPORT), of a worker's socket",
    call: 'setsockopt',
    line: /SO_REUSEPORT/,
    behind: ATTACHED,
    says: UNMADE,
    single: true,
  },
  { name: "bind, of a worker's socket", call: 'bind', behind: ATTACHED, says: UNMADE, single: true },
  { name: "listen, on a worker's socket", call: 'listen', behind: ATTACHED, says: UNMADE, single: true },
  {
    name: 'epoll_create1, of the balancing',
    call: 'epoll_create1',
    behind: SHARED,
    says: /balancing is off: epoll_create1 fails/,
  },
  {
    name: 'eventfd, of the balancing',
    call: 'eventfd2',
    behind: SHARED,
    says: /balancing is off: eventfd fails/,
  },
  {
    name: 'epoll_ctl, of the balancing',
    call: 'epoll_ctl',
    behind: SHARED,
    says: /balancing is off: epoll_ctl fails/,
  },
  { name: 'sigprocmask, of its thread', call: 'rt_sigprocmask', behind: SHARED, says: NO_THREAD },
  { name: 'clone3', call: 'clone3', behind: SHARED, says: NO_THREAD, errnos: ['EPERM', 'EINVAL'] },
  {
    name: 'epoll_ctl, of its notices',
    call: 'epoll_ctl',
    behind: NOTICES,
    says: /figures are not looked at: watching fails/,
  },
  {
    name: 'epoll_ctl, of a queue',
    call: 'epoll_ctl',
    line: /EPOLLONESHOT/,
    says: /is not balanced \(errno/,
  },
  {
    name: 'socketpair, for offers',
    call: 'socketpair',
    line: NOTICES,
    behind: CONTROL,
    says: /worker 1 has no part in the balancing/,
  },
  {
    name: 'epoll_ctl, of a control socket',
    call: 'epoll_ctl',
    behind: /^sendmsg\(.*SCM_RIGHTS/,
    says: /a signal to worker 1 alone is lost: watching fails/,
  },
  {
    name: 'sigaction, for a signal that ends the origin',
    call: 'rt_sigaction',
    line: /\(SIGHUP, \{/,
    behind: SHARED,
    says: /nothing is shut when a signal ends the origin/,
  },
];

const IN_WORKER: Row[] = [
  {
    name: 'fcntl(F_SETFD), of the control socket',
    call: 'fcntl',
    line: /\(4, F_SETFD/,
    says: /inherit the control socket: fcntl\(F_SETFD\) fails/,
  },
  {
    name: 'sigaction, for a signal that reaches a worker',
    call: 'rt_sigaction',
    line: /SIGHUP/,
    says: /ends it alone: sigaction fails/,
  },
  { name: 'lseek, in shared memory', call: 'lseek', line: /SEEK_END/, says: /cannot take its seat/ },
  { name: 'mmap, of shared memory', call: 'mmap', path: '/memfd:fastsocket', says: /cannot take its seat/ },
  {
    name: 'epoll_ctl, for offers',
    call: 'epoll_ctl',
    behind: /^lseek\(\d+, 0, SEEK_END/,
    says: /cannot take its seat/,
  },
  {
    name: 'fcntl(F_DUPFD_CLOEXEC), of a listener',
    call: 'fcntl',
    line: /F_DUPFD_CLOEXEC/,
    says: /asked for again when its server has closed: fcntl fails/,
  },
  {
    name: "setsockopt(SO_REUSEADDR), of a client's socket",
    call: 'setsockopt',
    line: /SO_REUSEADDR/,
    says: /nobody can listen on a connection's port: setsockopt\(SO_REUSEADDR\) fails/,
  },
  {
    name: "io_uring_setup, beside libuv's",
    call: 'io_uring_setup',
    says: UNSERVED,
    env: RING,
  },
  { name: "mmap, of libuv's ring", call: 'mmap', path: 'anon_inode:[io_uring]', says: UNSERVED, env: RING },
  // V8 ends a process whose threads have no numbers, so that no rule may refuse it
  { name: 'gettid', call: 'gettid', says: /not pinned to CPU \d+/, pins: true },
  {
    name: 'sched_getaffinity, of all CPUs',
    call: 'sched_getaffinity',
    behind: /^sched_setaffinity/,
    says: /do not follow when there are more CPUs: sched_setaffinity fails/,
    pins: true,
  },
  {
    name: 'sched_setaffinity, to see all CPUs',
    call: 'sched_setaffinity',
    line: /\[0 1 2 3/,
    says: /do not follow when there are more CPUs: sched_setaffinity fails/,
    pins: true,
  },
  {
    name: 'sched_setaffinity, to one CPU',
    call: 'sched_setaffinity',
    line: /\[\d+( \.\.\.)?\]/,
    says: /not pinned to CPU \d+/,
    pins: true,
  },
];

/** Which of the calls of its name that is, from 1. */
function place(lines: readonly string[], { call, line, behind }: Own): number {
  let isBehind = behind === undefined;
  let count = 0;
  for (const text of lines) {
    if (text.startsWith(`${call}(`)) {
      count++;
      if (isBehind && (line === undefined || line.test(text))) return count;
    }
    isBehind ||= behind?.test(text) === true;
  }
  return assert.fail(`no such call:\n${lines.join('\n')}`);
}

/** -D: the program is our child, not strace's. */
const origin = (...words: string[]): SandboxOptions => ({ prefix: ['strace', '-D', '-qq', ...words] });
const worker = (...words: string[]): SandboxOptions => ({
  hook: ['-r', fixture('traced-as-worker.cjs'), '-r', hook],
  env: { STRACE: ['-qq', ...words].join(' ') },
});
/** With more of the environment. */
const within = (env: Record<string, string> = {}, options: SandboxOptions): SandboxOptions => ({
  ...options,
  env: { ...options.env, ...env },
});

function injecting({ call, path }: Own, errno: string, at: number): string[] {
  const inject = ['-e', `trace=${call}`, '-e', `inject=${call}:error=${errno}:when=${at}`];
  return ['-o', '/dev/null', ...(path === undefined ? [] : ['-P', path]), ...inject];
}

for (const [who, rows, traced] of [
  ['the origin', IN_ORIGIN, origin],
  ['workers', IN_WORKER, worker],
] as const) {
  describe(`refused in ${who}, one at a time`, { skip, concurrency: 2 }, () => {
    const inWorker = traced === worker;
    const seen = new Map<Row['env'], Promise<string[]>>();

    async function watch(t: TestContext, env: Row['env']): Promise<string[]> {
      const prefix = `${inWorker ? 'worker' : 'origin'}${seen.size}.`;
      const file = join(folder, `${prefix}%p`);
      const watched = await Sandboxed.start(
        t,
        target,
        within(env, traced('-o', file, '-e', `trace=${TRACED}`)),
      );
      await watched.servedOneByOne(await watched.settled());
      await watched.app.stop();
      const name = readdirSync(folder).find((one) => one.startsWith(prefix));
      return readFileSync(join(folder, name as string), 'utf8').split('\n');
    }

    function watched(t: TestContext, env: Row['env']): Promise<string[]> {
      const lines = seen.get(env) ?? watch(t, env);
      seen.set(env, lines);
      return lines;
    }

    rows.forEach((row, i) => {
      const few = row.pins === true && availableParallelism() < 2 && 'needs two CPUs';
      for (const errno of errnosOf(i, row.errnos))
        test(`${row.name}: ${errno}`, { skip: few }, async (t) => {
          const at = row.path === undefined ? place(await watched(t, row.env), row) : 1;
          const options = within(row.env, traced(...injecting(row, errno, at)));
          const sandboxed = await Sandboxed.start(t, target, options);
          const workers = await sandboxed.settled();
          assert.equal(workers.length, row.single ? 0 : 2);
          // one after the other: the place of what is made for each of them is the same again
          await sandboxed.servedOneByOne(workers);
          await sandboxed.servedByEach(workers);
          const pids = inWorker ? [...workers].sort() : [sandboxed.app.pid];
          // it looks for them every 100 ms at first
          await sandboxed.named(pids, row.says);
          await sandboxed.ends();
          assert.deepEqual(sandboxed.reasons.map(({ pid }) => pid).sort(), pids, sandboxed.app.stderr);
          for (const { text } of sandboxed.reasons) assert.match(text, row.says);
          assert.equal(sandboxed.loud.length, row.single ? 1 : 0, sandboxed.loud.join('\n'));
        });
    });
  });
}

/** The page of libuv's table, which the hook makes writable and read-only again; undefined where no rule could name it. */
async function pageOfTable(t: TestContext): Promise<string | undefined> {
  const file = join(folder, 'table');
  const watched = await Sandboxed.start(t, target, origin('-o', file, '-e', 'trace=mprotect'));
  await watched.settled();
  await watched.app.stop();
  const pair =
    /^mprotect\((0x\w+), 4096, PROT_READ\|PROT_WRITE\) += 0\nmprotect\(\1, 4096, PROT_READ\) += 0$/m;
  const address = pair.exec(readFileSync(file, 'utf8'))?.[1];
  assert.notEqual(address, undefined, 'it is made read-only again');
  // elsewhere in each process (PIE)
  return Number(address) > 0xffff_ffff ? undefined : address;
}

describe("libuv's table cannot be made read-only again", { skip }, () => {
  for (const errno of errnosOf(0))
    test(errno, async (t) => {
      const page = await pageOfTable(t);
      if (page === undefined) return t.skip('the program is not where it is linked for');
      const prefix = refusing(`mprotect:0=${page},1=4096,2=1:${errno}`);
      const sandboxed = await Sandboxed.start(t, target, { prefix });
      const workers = await sandboxed.settled();
      await sandboxed.servedByEach(workers);
      const pids = [sandboxed.app.pid, ...workers].sort();
      await sandboxed.named(pids, /libuv's table stays writable: mprotect fails/);
      await sandboxed.ends();
      assert.deepEqual(sandboxed.reasons.map(({ pid }) => pid).sort(), pids, sandboxed.app.stderr);
      assert.deepEqual(sandboxed.loud, []);
    });
});

test('a rule and strace refuse the same', { skip }, async (t) => {
  const said = async (options: SandboxOptions) => {
    const sandboxed = await Sandboxed.start(t, target, options);
    const workers = await sandboxed.settled();
    await sandboxed.servedByEach(workers);
    await sandboxed.ends();
    return sandboxed.reasons.map(({ text }) => text.replace(/^FASTSOCKET \d+: /, ''));
  };
  const inject = ['-o', '/dev/null', '-e', 'trace=memfd_create', '-e', 'inject=memfd_create:error=EPERM'];
  const byStrace = await said(origin(...inject));
  assert.equal(byStrace.length, 1);
  assert.deepEqual(byStrace, await said({ prefix: refusing('memfd_create:EPERM') }));
});
