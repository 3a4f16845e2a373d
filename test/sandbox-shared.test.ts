// SPDX-License-Identifier: Apache-2.0
// A system call is refused without which a copy has no socket of its own of what several processes share: a server on a path,
// a UDP port. The app never sees an error that it would not have in plain Node.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { answeredBy, until } from './support/app';
import { refusing } from './support/refuse';
import { errnosOf, Sandboxed, Target } from './support/sandbox';
import { temporaryFolder } from './support/temporary';

const folder = temporaryFolder('shared');
const target = new Target();

interface Row {
  refused: [rule: string, name: string];
  says: RegExp;
  /** The app stays one process, and that is said aloud. */
  single?: true;
  /** Copies serve on the path. */
  paths?: true;
}

const ROWS: Row[] = [
  {
    refused: ['dup3', 'dup3, of a UDP socket'],
    says: /plain Node: UDP port .* cannot be shared: bind or dup3 fails/,
    single: true,
  },
  {
    refused: ['fcntl:1=1030', 'fcntl(F_DUPFD_CLOEXEC), of a server on a path'],
    says: /no part in the balancing|is asked for again when its server has closed: fcntl fails/,
    paths: true,
  },
];

/** Who answers on the path. */
async function askPath(path: string): Promise<number | undefined> {
  const socket = connect(path, () =>
    socket.write('GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n'),
  );
  let text = '';
  for await (const data of socket) text += data;
  return answeredBy(text);
}

/** Who answers a datagram, which may be lost. */
async function askDatagram(port: number): Promise<number> {
  const socket = createSocket('udp4');
  let answer: number | undefined;
  socket.on('message', (message) => {
    answer = Number(message);
  });
  await until(() => {
    socket.send('?', port, '127.0.0.1');
    return answer;
  }, 'the answer to a datagram');
  socket.close();
  await once(socket, 'close');
  return answer as number;
}

describe('refused, one at a time', { concurrency: 2 }, () => {
  ROWS.forEach(({ refused: [rule, name], says, single, paths }, i) => {
    for (const errno of errnosOf(i))
      test(`${name}: ${errno}`, async (t) => {
        const path = join(folder, errno + i);
        const env = { SOCKET: path, DATAGRAMS: '1' };
        const sandboxed = await Sandboxed.start(t, target, { prefix: refusing(`${rule}:${errno}`), env });
        const { app } = sandboxed;
        const workers = await sandboxed.settled();
        assert.equal(workers.length, single ? 0 : 2);
        await sandboxed.servedByEach(workers);
        const all = [app.pid, ...workers];
        const wanted = new Set(paths ? workers.slice(0, 1) : []);
        await until(
          async () => {
            const pids = await Promise.all(Array.from({ length: 12 }, () => askPath(path)));
            for (const pid of pids) assert.ok(all.includes(pid as number), app.stderr);
            return [...wanted].every((pid) => pids.includes(pid));
          },
          `answers of ${[...wanted]} on the path`,
        );
        assert.ok(all.includes(await askDatagram(app.port)), app.stderr);
        const saying = single ? [app.pid] : all;
        await sandboxed.named(saying, says);
        await sandboxed.ends();
        assert.deepEqual(sandboxed.reasons.map(({ pid }) => pid).sort(), saying.sort(), app.stderr);
        assert.equal(sandboxed.loud.length, single ? 1 : 0, sandboxed.loud.join('\n'));
      });
  });
});
