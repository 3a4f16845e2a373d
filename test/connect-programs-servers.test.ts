// SPDX-License-Identifier: Apache-2.0
// Clients of databases, each with a real one, where strangers hold most of the ports towards it: the same answers and errors
// as under plain Node, also when the server ends a connection or is killed and comes back.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { App } from './support/app';
import { twins } from './support/client-program';
import { type Namespace, whyNoNamespaces } from './support/netns';
import { mariadb, noMariadb, noPostgres, noRedis, postgres, redis } from './support/servers';

const PORT = 9001;
const strangers = [{ host: '127.0.0.1', port: PORT }];
const noNamespaces = whyNoNamespaces() ?? false;

const doubled = Array.from({ length: 200 }, (_, i) => 2 * i);

test('ioredis: pipelines, pub/sub, a server that is killed and comes back', {
  skip: noNamespaces || noRedis,
}, async (t) => {
  let server: App | undefined;
  const start = async (t: TestContext, namespace: Namespace) => {
    server = await redis(t, namespace, PORT);
  };
  await twins(t, {
    script: 'ioredis.js',
    server: start,
    strangers,
    play: async (client) => {
      await client.ask('open');
      await client.holds(20, PORT);
      const before = [
        await client.ask('pipelines'),
        await client.ask('subscribe'),
        await client.ask('publish'),
      ];
      await client.holds(25, PORT);
      await server?.stop();
      const lost = await client.ask('lost');
      await client.holds(0, PORT);
      await start(t, client.namespace);
      await client.crowd();
      const back = await client.ask('back');
      await client.holds(25, PORT);
      const after = [await client.ask('pipelines'), await client.ask('publish')];
      assert.deepEqual(after[1], before[2]);
      const quit = await client.ask('quit');
      await client.holds(0, PORT);
      return { before, lost, back, after, quit };
    },
  });
});

test('pg: a pool, wrong queries, connections that the server ends', {
  skip: noNamespaces || noPostgres,
}, async (t) => {
  await twins(t, {
    script: 'pg.js',
    server: (t, namespace) => postgres(t, namespace, PORT),
    strangers,
    play: async (client) => {
      assert.deepEqual(await client.ask('queries'), doubled);
      await client.holds(20, PORT);
      const answers = [await client.ask('table'), await client.ask('wrong'), await client.ask('absent')];
      await client.holds(await client.ask<number>('total'), PORT);
      const terminated = await client.ask('terminate');
      assert.deepEqual(terminated, [[true, true], '57P01', '57P01']);
      await client.holds(await client.ask<number>('total'), PORT);
      assert.deepEqual(await client.ask('queries'), doubled);
      await client.holds(20, PORT);
      await client.ask('end');
      await client.holds(0, PORT);
      return answers;
    },
  });
});

test('mysql2: a pool, wrong queries, a connection that the server ends', {
  skip: noNamespaces || noMariadb,
}, async (t) => {
  await twins(t, {
    script: 'mysql2.js',
    server: (t, namespace) => mariadb(t, namespace, PORT),
    strangers,
    play: async (client) => {
      assert.deepEqual((await client.ask<unknown[]>('queries')).map(Number), doubled);
      await client.holds(20, PORT);
      const answers = [await client.ask('table'), await client.ask('wrong'), await client.ask('absent')];
      await client.holds(20, PORT);
      const killed = await client.ask('kill');
      await client.holds(19, PORT);
      assert.deepEqual((await client.ask<unknown[]>('queries')).map(Number), doubled);
      await client.holds(20, PORT);
      await client.ask('end');
      await client.holds(0, PORT);
      return { answers, killed };
    },
  });
});
