// SPDX-License-Identifier: Apache-2.0
// A system call is refused that the hook makes for an app's own cluster workers: they serve, at worst by Node's round robin,
// and one line names the call for each process that does without it, or for each worker that a primary does without.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { lives, until } from './support/app';
import { ownCluster } from './support/own-cluster';
import { refusing } from './support/refuse';
import { errnosOf, reasonsOf } from './support/sandbox';

interface Row {
  refused: [rule: string, name: string];
  /** How many lines there are, and what they say. */
  lines: number;
  says?: RegExp;
  /** No worker has a socket of its own. */
  shared?: true;
}

const SHARED = (why: RegExp) => new RegExp(`worker \\d has no socket of its own \\(${why.source} \\(errno`);

const ROWS: Row[] = [
  {
    refused: ['setsockopt:1=1,2=15', 'setsockopt(SO_REUSEPORT)'],
    lines: 1,
    says: /left to round robin: SO_REUSEPORT was refused/,
    shared: true,
  },
  {
    refused: ['setsockopt:1=1,2=51', 'setsockopt(SO_ATTACH_REUSEPORT_CBPF)'],
    lines: 1,
    says: /left to round robin: no steering program/,
    shared: true,
  },
  {
    refused: ['getsockopt:1=1,2=17', 'getsockopt(SO_PEERCRED)'],
    lines: 2,
    says: SHARED(/who has sent it is not known: getsockopt\(SO_PEERCRED\) fails/),
    shared: true,
  },
  {
    refused: ['getppid', 'getppid'],
    lines: 2,
    says: SHARED(/who has sent it is not known: getppid fails/),
    shared: true,
  },
  {
    refused: ['sendmsg:2=0x4040', 'sendmsg'],
    lines: 2,
    says: SHARED(/sendmsg fails/),
    shared: true,
  },
  {
    refused: ['recvmsg:2=0x40000040', 'recvmsg'],
    lines: 2,
    says: SHARED(/nothing to read: recvmsg fails/),
    shared: true,
  },
  {
    refused: ['fcntl:1=1030', 'fcntl(F_DUPFD_CLOEXEC)'],
    lines: 1,
    says: /no part in the balancing/,
  },
  {
    refused: ['sched_getaffinity', 'sched_getaffinity'],
    lines: 1,
    says: /not pinned: the CPUs are not known: sched_getaffinity fails/,
  },
  { refused: ['getgroups', 'getgroups'], lines: 3, says: /nothing is known: getgroups fails/ },
  { refused: ['dup3', 'dup3'], lines: 0 },
  { refused: ['shutdown:1=0', 'shutdown'], lines: 0 },
];

describe('refused, one at a time', { concurrency: 2 }, () => {
  ROWS.forEach(({ refused: [rule, name], lines, says, shared }, i) => {
    for (const errno of errnosOf(i))
      test(`${name}: ${errno}`, async (t) => {
        const prefix = refusing(`${rule}:${errno}`);
        const cluster = await ownCluster(t, { prefix, served: shared ? 0 : 2 });
        const { app } = cluster;
        await cluster.answersOf([1, 2], 24);
        const reasons = () => reasonsOf(app);
        await until(
          () => reasons().length >= lines,
          () => `${lines} reasons:\n${app.stderr}`,
        );
        const workers = app.workers();
        await app.stop();
        await until(() => !workers.some(lives), `the end of ${workers}`);
        assert.equal(reasons().length, lines, app.stderr);
        for (const { text } of reasons()) assert.match(text, says as RegExp);
      });
  });
});
