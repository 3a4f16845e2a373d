// SPDX-License-Identifier: Apache-2.0
// A kernel or a container that refuses one of the system calls that the hook makes: the app serves, and one line of each
// process that does without it names the call. ERRNOS=all: with each of three errors, one after the other.
import assert from 'node:assert/strict';
import { availableParallelism, networkInterfaces } from 'node:os';
import { describe, test } from 'node:test';
import { refusing } from './support/refuse';
import { errnosOf, Sandboxed, Target } from './support/sandbox';

const elsewhere = Object.values(networkInterfaces())
  .flatMap((list = []) => list)
  .find(({ internal, family }) => !internal && family === 'IPv4')?.address;

interface Row {
  /** A rule of test/native/refuse.c, and what it stands for. */
  refused: [rule: string, name: string];
  /** Who says so, and what; absent: nothing is left out. */
  by?: 'origin' | 'workers' | 'each';
  says?: RegExp;
  /** The app stays one process, and that is said aloud. */
  single?: true;
  host?: string | undefined;
  /** Needs an address that is not loopback's. */
  elsewhere?: true;
  env?: Record<string, string>;
  /** Said when the server closes. */
  late?: true;
  /** A worker that has no CPU of its own does not ask. */
  pins?: true;
}

const SEAM_OFF = /the seam is off: /;
const UNBALANCED = (call: string) => new RegExp(`balancing is off: ${call} fails`);

const ROWS: Row[] = [
  { refused: ['mmap:2=3,3=0x4022', 'mmap, of the handle cache'], by: 'each', says: SEAM_OFF },
  { refused: ['prlimit64:1=7', 'getrlimit(RLIMIT_NOFILE)'], by: 'each', says: SEAM_OFF },
  { refused: ['mprotect:1=4096,2=3', "mprotect, of libuv's table"], by: 'each', says: SEAM_OFF },
  {
    refused: ['sched_getaffinity', 'sched_getaffinity'],
    by: 'origin',
    says: /not pinned: the CPUs .* are not known: sched_getaffinity fails/,
  },
  {
    refused: ['sched_setaffinity', 'sched_setaffinity'],
    by: 'workers',
    says: /not pinned to CPU \d+/,
    pins: true,
  },
  {
    refused: ['getdents64', "getdents64, of a process's threads"],
    by: 'workers',
    says: /stay on the event loop's CPU: reading \/proc\/self\/task fails/,
    pins: true,
  },
  { refused: ['getgroups', 'getgroups'], by: 'origin', says: /nothing is known: getgroups fails/ },
  { refused: ['getppid', 'getppid'], by: 'workers', says: /taken at its word: getppid fails/ },
  {
    refused: ['setsockopt:1=1,2=15', 'setsockopt(SO_REUSEPORT)'],
    by: 'origin',
    says: /plain Node: SO_REUSEPORT was refused/,
    single: true,
  },
  {
    refused: ['setsockopt:1=1,2=51', 'setsockopt(SO_ATTACH_REUSEPORT_CBPF)'],
    by: 'origin',
    says: /listener group .* no steering program/,
  },
  {
    refused: ['getsockopt:1=41,2=26', 'getsockopt(IPV6_V6ONLY)'],
    host: '::1',
    by: 'origin',
    says: /plain Node: socket 1 of the listener group could not be made/,
    single: true,
  },
  { refused: ['memfd_create', 'memfd_create'], by: 'origin', says: UNBALANCED('memfd_create') },
  { refused: ['fallocate', 'fallocate'], by: 'origin', says: UNBALANCED('fallocate') },
  {
    refused: ['fcntl:1=1033', 'fcntl(F_ADD_SEALS)'],
    by: 'origin',
    says: UNBALANCED('fcntl\\(F_ADD_SEALS\\)'),
  },
  { refused: ['mmap:2=3,3=1', 'mmap, of shared memory'], by: 'origin', says: UNBALANCED('mmap') },
  { refused: ['epoll_wait', 'epoll_wait'], by: 'origin', says: UNBALANCED('epoll_wait') },
  {
    refused: ['socketpair:1=0x80805', 'socketpair, of the balancing'],
    by: 'origin',
    says: UNBALANCED('socketpair'),
  },
  {
    refused: ['socketpair:1=0x80005', 'socketpair, of a worker'],
    by: 'origin',
    says: /plain Node: the copy could not be started: socketpair fails/,
    single: true,
  },
  {
    refused: ['sendmsg:2=0x4040', 'sendmsg, of descriptors'],
    by: 'origin',
    says: /plain Node: the copy could not be started: .* sendmsg fails/,
    single: true,
  },
  {
    refused: ['recvmsg:2=0x40000040', 'recvmsg, of descriptors'],
    by: 'origin',
    says: /plain Node: the copy could not be started: .* recvmsg fails/,
    single: true,
  },
  {
    refused: ['fcntl:1=1030', 'fcntl(F_DUPFD_CLOEXEC)'],
    by: 'each',
    says: /no part in the balancing|is asked for again when its server has closed: fcntl fails/,
  },
  {
    refused: ['prctl:0=1', 'prctl(PR_SET_PDEATHSIG)'],
    by: 'workers',
    says: /may outlive the origin's: prctl\(PR_SET_PDEATHSIG\) fails/,
  },
  {
    refused: ['getsockopt:1=1,2=17', 'getsockopt(SO_PEERCRED)'],
    by: 'workers',
    says: /taken at its word: getsockopt\(SO_PEERCRED\) fails/,
  },
  {
    refused: ['getsockopt:1=1,2=38', 'getsockopt(SO_PROTOCOL)'],
    by: 'each',
    says: /without the seam: getsockopt\(SO_PROTOCOL\) fails/,
  },
  {
    refused: ['getsockopt:1=6,2=1', 'getsockopt(TCP_NODELAY)'],
    by: 'each',
    says: /not inherited: getsockopt\(TCP_NODELAY\) fails/,
  },
  {
    refused: ['getsockopt:1=6,2=11', 'getsockopt(TCP_INFO)'],
    by: 'each',
    says: /not looked at: getsockopt\(TCP_INFO\) fails/,
  },
  {
    refused: ['getsockopt:1=1,2=49', 'getsockopt(SO_INCOMING_CPU)'],
    host: elsewhere,
    elsewhere: true,
    by: 'workers',
    says: /where packets arrive: getsockopt\(SO_INCOMING_CPU\) fails/,
  },
  {
    refused: ['getsockopt:1=1,2=55', 'getsockopt(SO_MEMINFO)'],
    by: 'origin',
    says: /not counted: getsockopt\(SO_MEMINFO\) fails/,
  },
  {
    refused: ['setsockopt:1=1,2=26', 'setsockopt(SO_ATTACH_FILTER)'],
    by: 'origin',
    says: /up to the last moment: setsockopt\(SO_ATTACH_FILTER\) fails/,
    late: true,
  },
  {
    refused: ['setsockopt:1=0,2=51', 'setsockopt(IP_LOCAL_PORT_RANGE)'],
    by: 'workers',
    says: /source ports are the kernel's: setsockopt\(IP_LOCAL_PORT_RANGE\) fails/,
  },
  {
    refused: ['setsockopt:1=0,2=24', 'setsockopt(IP_BIND_ADDRESS_NO_PORT)'],
    by: 'workers',
    says: /for all of it: setsockopt\(IP_BIND_ADDRESS_NO_PORT\) fails/,
  },
  {
    refused: ['socket:0=16', 'socket, of netlink'],
    env: { TARGET_HOST: elsewhere ?? '' },
    elsewhere: true,
    by: 'workers',
    says: /which interface an address is on is not known: getifaddrs fails/,
    pins: true,
  },
  {
    refused: ['getrandom:1=128,2=1', 'getrandom, of source ports'],
    by: 'workers',
    says: /source ports are the kernel's: getrandom fails/,
  },
  {
    refused: ['setsockopt:1=6,2=9', 'setsockopt(TCP_DEFER_ACCEPT)'],
    env: { FASTSOCKET_DEFER_ACCEPT: 'on' },
    by: 'each',
    says: /accepted at once: setsockopt\(TCP_DEFER_ACCEPT\) fails/,
  },
  { refused: ['poll:1=2,2=0', 'poll, of queues'], by: 'origin', says: /queue stands still: poll fails/ },
  {
    refused: ['clock_gettime:0=3', "clock_gettime, of the thread's CPU time"],
    by: 'origin',
    says: /has no bound: clock_gettime fails/,
  },
  {
    refused: ['clock_gettime:0&0x80000007=0x80000002', "clock_gettime, of the workers' CPU time"],
    by: 'origin',
    says: /who has had no CPU: clock_gettime fails/,
  },
  { refused: ['clock_gettime:0&0x80000007=0x80000006', 'clock_gettime, for figures'] },
  {
    refused: ['sendto:3=0x4040', 'sendto, of notices'],
    by: 'origin',
    says: /figures are not looked at: send fails/,
  },
  { refused: ['clock_nanosleep', 'clock_nanosleep'] },
  {
    refused: ['sched_getattr', 'sched_getattr'],
    by: 'origin',
    says: /runs as late as others do: sched_getattr fails/,
  },
  {
    refused: ['sched_setattr', 'sched_setattr'],
    by: 'origin',
    says: /runs as late as others do: sched_setattr fails/,
  },
  { refused: ['prctl:0=15', 'prctl(PR_SET_NAME)'] },
  { refused: ['pidfd_open', 'pidfd_open'] },
  { refused: ['io_uring_setup', 'io_uring_setup'], env: { UV_USE_IO_URING: '1' } },
];

const target = new Target();
const all = process.env['ERRNOS'] === 'all';

describe('refused, one at a time', { concurrency: 3 }, () => {
  ROWS.forEach(({ refused, by, says, single, host, env = {}, late, pins, elsewhere: needsElsewhere }, i) => {
    const [rule, name] = refused;
    const unpinned = pins && availableParallelism() < 2;
    const skip =
      (unpinned && 'needs two CPUs') ||
      (needsElsewhere && elsewhere === undefined && 'needs an address beside loopback');
    for (const errno of errnosOf(i)) {
      test(`${name}: ${errno}`, { skip }, async (t) => {
        const prefix = refusing(`${rule}:${errno}`);
        const options = { prefix, env, ...(host === undefined ? {} : { host }) };
        const sandboxed = await Sandboxed.start(t, target, options);
        const workers = await sandboxed.settled();
        const { pid } = sandboxed.app;
        assert.equal(workers.length, single ? 0 : 2);
        const saying = { origin: [pid], workers, each: [pid, ...workers] }[by ?? 'origin'];
        const expected = says === undefined ? [] : [...saying].sort();
        const named = () => sandboxed.reasons.map((reason) => reason.pid).sort();
        const served = new Set<number>();
        const end = Date.now() + 10_000;
        do {
          for (const one of await sandboxed.serves()) served.add(one);
        } while (
          Date.now() < end &&
          (workers.some((one) => !served.has(one)) ||
            (!late && expected.some((one) => !named().includes(one))))
        );
        assert.deepEqual([...served].filter((one) => one !== pid).sort(), [...workers].sort());
        await sandboxed.ends();
        assert.deepEqual(named(), expected, sandboxed.app.stderr);
        for (const { text } of sandboxed.reasons) assert.match(text, says as RegExp);
        assert.equal(sandboxed.loud.length, single ? 1 : 0, sandboxed.loud.join('\n'));
      });
    }
    if (!all) return;
    test(`${name}: plain Node serves, too`, async (t) => {
      const plain = await Sandboxed.start(t, target, {
        hook: false,
        prefix: refusing(`${rule}:EPERM`),
        ...(host === undefined ? {} : { host }),
      });
      await plain.answers();
      await plain.serves();
      await plain.ends();
      assert.equal(plain.app.stderr, '');
    });
  });
});
