// SPDX-License-Identifier: Apache-2.0
// Clients that programs are made with, where strangers hold most of the ports towards their servers: each has the answers
// and the errors that it has under plain Node, and what the seam knows of its ports is what the kernel knows.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { twins } from './support/client-program';
import { plainServer } from './support/connector';
import { type Namespace, whyNoNamespaces } from './support/netns';
import { temporaryFolder } from './support/temporary';

const HTTP = 9001;
const HTTPS = 9002;
const FOUR = 9004;
const SIX = 9006;
const NONE = 9009;
const HOST = '127.0.0.1';

const options = { skip: whyNoNamespaces() ?? false };
const server = (t: TestContext, namespace: Namespace) => plainServer(t, namespace, 'clients/server.js');

/** Not one answer is an error's name. */
function assertAnswered(answers: readonly string[], count: number): void {
  assert.deepEqual(
    answers.filter((answer) => !answer.startsWith('200 ')),
    [],
  );
  assert.equal(answers.length, count);
}

test('undici: pipelining, keep-alive or not, a server that goes, fetch()', options, async (t) => {
  await twins(t, {
    script: 'undici.js',
    server,
    strangers: [{ host: HOST, port: HTTP }],
    play: async (client) => {
      const pool = await client.ask<string[]>('pool');
      assertAnswered(pool, 800);
      await client.holds(40, HTTP);
      const agent = await client.ask<string[]>('agent');
      assertAnswered(agent, 200);
      await client.holds(60, HTTP);
      const closing = await client.ask<string[]>('closing');
      assertAnswered(closing, 60);
      await client.holds(60, HTTP);
      const broken = await client.ask<string[]>('broken');
      await client.holds(60, HTTP);
      const refused = await client.ask<string[]>('refused');
      await client.holds(0, NONE);
      await client.ask('close');
      await client.holds(0, HTTP);
      const fetched = await client.ask<string[]>('fetch');
      assertAnswered(fetched, 30);
      await client.holds(30, HTTP);
      return { pool, agent, closing, broken, refused, fetched };
    },
  });
});

test('http.Agent and https.Agent: keep-alive or not, TLS sessions', options, async (t) => {
  await twins(t, {
    script: 'http.js',
    server,
    strangers: [
      { host: HOST, port: HTTP },
      { host: HOST, port: HTTPS },
    ],
    play: async (client) => {
      const kept = await client.ask<string[]>('keepAlive');
      assertAnswered(kept, 300);
      await client.holds(30, HTTP);
      const closing = await client.ask<string[]>('closing');
      assertAnswered(closing, 40);
      await client.holds(30, HTTP);
      const broken = await client.ask<string[]>('broken');
      await client.holds(30, HTTP);
      const secure = await client.ask<string[]>('secure');
      assertAnswered(secure, 60);
      await client.holds(15, HTTPS);
      const sessions = await client.ask<string[]>('sessions');
      assertAnswered(sessions, 10);
      assert.deepEqual(
        sessions.map((answer) => answer.endsWith(' reused')),
        [false, ...Array(9).fill(true)],
      );
      const untrusted = await client.ask<string[]>('untrusted');
      await client.holds(15, HTTPS);
      await client.ask('close');
      await client.holds(0, HTTP, HTTPS);
      return { kept, closing, broken, secure, sessions, untrusted };
    },
  });
});

test('http.request with localAddress', options, async (t) => {
  await twins(t, {
    script: 'http.js',
    server,
    strangers: [{ host: HOST, port: HTTP, localAddress: '127.0.0.2' }],
    play: async (client) => {
      // the choice begins with a thread's first connect(), and bind() comes before that
      await client.ask('sessions');
      const answers = await client.ask<string[]>('from');
      assertAnswered(answers, 100);
      assert.ok(answers.every((answer) => answer.endsWith(' from 127.0.0.2')));
      await client.holds(25, HTTP);
      await client.ask('close');
      await client.holds(0, HTTP);
      return answers;
    },
  });
});

test('a name with an A and an AAAA record, of which one is refused, or both', options, async (t) => {
  const folder = temporaryFolder('hosts');
  const hosts = join(folder, 'hosts');
  writeFileSync(hosts, `${HOST} both.test\n::1 both.test\n`);
  const mounted = 'mount --bind "$0" /etc/hosts && exec "$@"';
  await twins(t, {
    script: 'http.js',
    server,
    strangers: [
      { host: HOST, port: FOUR },
      { host: '::1', port: SIX },
    ],
    prefix: ['unshare', '--mount', 'sh', '-c', mounted, hosts],
    play: async (client) => {
      const four = await client.ask<string[]>('four');
      assert.deepEqual(four, Array(10).fill('127.0.0.1 IPv4'));
      const six = await client.ask<string[]>('six');
      assert.deepEqual(six, Array(10).fill('::1 IPv6'));
      const refused = [await client.ask('one'), await client.ask('none')];
      assert.deepEqual(refused, Array(2).fill(Array(10).fill('ECONNREFUSED')));
      await client.holds(10, FOUR);
      await client.holds(10, SIX);
      await client.holds(0, NONE);
      await client.ask('close');
      await client.holds(0, FOUR, SIX);
      return { four, six, refused };
    },
  });
});

test('ws: 40 conversations, each end closes or breaks off', options, async (t) => {
  await twins(t, {
    script: 'ws.js',
    server,
    strangers: [{ host: HOST, port: HTTP }],
    play: async (client) => {
      await client.ask('open');
      const said = await client.ask<unknown[]>('talk');
      assert.equal(said.length, 40);
      await client.holds(40, HTTP);
      const endings: unknown[] = [];
      for (const [i, way] of ['close', 'closed', 'terminate', 'terminated'].entries()) {
        endings.push(await client.ask(way));
        await client.holds(30 - 10 * i, HTTP);
      }
      return { said, endings };
    },
  });
});
