// SPDX-License-Identifier: Apache-2.0
// Source ports where something is missing or shared: what connect() does beside the choice, in system calls and in reasons.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { addonPath } from './support/addon';
import { fixture, startApp, until } from './support/app';
import { type Connector, type ConnectorOptions, connector, type Opened, peer } from './support/connector';
import { Namespace, whyNoNamespaces } from './support/netns';
import { refusing } from './support/refuse';

const HOST = '127.0.0.1';
const PORT = 9001;
const OTHER = 9002;
const to = { host: HOST, port: PORT };
const skip = whyNoNamespaces() ?? false;
const noStrace = spawnSync('strace', ['-V']).status === 0 ? skip : 'there is no strace';

async function place(t: TestContext, range = '40000 40199'): Promise<Namespace> {
  const namespace = new Namespace(t, 'lim');
  namespace.sysctl('net.ipv4.ip_local_port_range', range);
  namespace.sysctl('net.ipv4.tcp_tw_reuse', 0);
  await peer(t, namespace, [PORT, OTHER]);
  return namespace;
}

/** What 10 connections to PORT, and others if asked for, cost in system calls. */
async function traced(t: TestContext, options: ConnectorOptions, also: object[] = []): Promise<string[]> {
  const namespace = await place(t);
  const file = join(tmpdir(), `fastsocket-trace-${process.pid}-${Math.random()}`);
  t.after(() => rmSync(file, { force: true }));
  const calls = 'trace=connect,setsockopt,bind,getsockname';
  const client = connector(t, namespace, {
    ...options,
    prefix: ['strace', '-f', '-qq', '-e', calls, '-o', file],
  });
  await client.open(1, to);
  const before = readFileSync(file, 'utf8').length;
  for (let i = 0; i < 10; i++) await client.close(await client.open(1, to), 'peer');
  for (const options of also) await client.open(1, options);
  await client.end();
  return readFileSync(file, 'utf8').slice(before).split('\n').filter(Boolean);
}

const count = (lines: readonly string[], pattern: RegExp) =>
  lines.filter((line) => pattern.test(line)).length;
// strace 6.1 does not know the name of IP_LOCAL_PORT_RANGE
const RANGE = /setsockopt\(\d+, SOL_IP, (0x33|IP_LOCAL_PORT_RANGE)/;

test('a connection costs two options more, and no connect() more', { skip: noStrace }, async (t) => {
  const lines = await traced(t, {});
  assert.equal(count(lines, /connect\(.*htons\(9001\)/), 10, lines.join('\n'));
  assert.equal(count(lines, RANGE), 10);
  assert.equal(count(lines, /SO_REUSEADDR/), 10);
  assert.equal(count(lines, / bind\(/), 0);
});

test('FASTSOCKET_CONNECT=off, and FASTSOCKET_SEAM=off: not one option', { skip: noStrace }, async (t) => {
  for (const env of [{ FASTSOCKET_CONNECT: 'off' }, { FASTSOCKET_SEAM: 'off' }] as Record<string, string>[]) {
    const lines = await traced(t, { env });
    assert.equal(count(lines, /connect\(.*htons\(9001\)/), 10);
    assert.equal(count(lines, RANGE), 0);
    assert.equal(count(lines, /SO_REUSEADDR|IP_BIND_ADDRESS_NO_PORT/), 0);
  }
});

test('a named localPort is bound as ever, an address alone without a port', { skip: noStrace }, async (t) => {
  const named = { ...to, localAddress: HOST, localPort: 41_000 };
  const address = { ...to, localAddress: HOST };
  const lines = await traced(t, {}, [named, address]);
  assert.equal(count(lines, / bind\(.*htons\(41000\)/), 1);
  assert.equal(count(lines, / bind\(.*htons\(0\)/), 1);
  assert.equal(count(lines, /IP_BIND_ADDRESS_NO_PORT, \[1\]/), 1);
  assert.equal(count(lines, RANGE), 11);
});

const withoutRange = () => refusing('setsockopt:2=51:ENOPROTOOPT');

test('a kernel without IP_LOCAL_PORT_RANGE: some ports are bound, the others the kernel chooses', {
  skip,
}, async (t) => {
  const namespace = await place(t, '40000 40059');
  const client = connector(t, namespace, { prefix: withoutRange() });
  const plain = connector(t, namespace, { hook: false });
  const opened = await client.open(60, to);
  assert.equal(new Set(opened.map(({ port }) => port)).size, 60);
  const { chosen, byKernel, retries } = await client.destination(PORT);
  assert.deepEqual({ chosen, byKernel, retries }, { chosen: 15, byKernel: 45, retries: 0 });
  const failed = (await client.attempt(1, to)).map(({ error }) => error);
  assert.deepEqual(failed, ['EADDRNOTAVAIL']);
  // a program beside it finds the others, to whatever destination
  await plain.open(45, { host: HOST, port: OTHER });
  // the same ports serve another destination
  await client.open(15, { host: HOST, port: OTHER });
  assert.equal((await client.destination(OTHER)).chosen, 15);
  await client.close(opened, 'peer');
  assert.equal((await client.destination(PORT)).inUse, 0);
  await client.open(30, { ...to, localAddress: '127.0.0.2' });
});

test('there, a port that is taken after all costs a fresh socket, with the same options', {
  skip,
}, async (t) => {
  const namespace = await place(t, '40000 40019');
  const keepAlive = (port: number) =>
    namespace
      .run('ss', '-Htno', 'dport', '=', `:${port}`)
      .split('\n')
      .filter((line) => line.includes('keepalive')).length;
  // both bind to the same ports, and each sees only at connect() what the other one has
  const [one, two] = [0, 1].map(() => connector(t, namespace, { prefix: withoutRange() })) as [
    Connector,
    Connector,
  ];
  await one.open(9, { ...to, localAddress: HOST });
  const opened = await two.open(9, { ...to, localAddress: HOST, keepAlive: true, noDelay: true });
  assert.ok((await two.destination(PORT)).retries > 0, 'no port was tried that the other one has');
  for (const { address } of opened) assert.equal(address, HOST);
  assert.equal(keepAlive(PORT), 9);
});

test('there, without dup3 no port is bound, for it could not be given up: the kernel chooses all', {
  skip,
}, async (t) => {
  const namespace = await place(t, '40000 40019');
  const one = connector(t, namespace, { prefix: withoutRange() });
  const without = refusing('setsockopt:2=51:ENOPROTOOPT', 'dup3:EPERM');
  const two = connector(t, namespace, { prefix: without });
  await one.open(9, { ...to, localAddress: HOST });
  await two.open(9, { ...to, localAddress: HOST });
  assert.equal((await two.destination(PORT)).chosen, 0);
  await two.app.said(/source ports are the kernel's: socket or dup3 fails \(errno 1\)/);
});

test('a port in TIME_WAIT after a connection of ours is bound when no other is left', { skip }, async (t) => {
  const left: (string | undefined)[][] = [];
  for (const hook of [false, true]) {
    const namespace = await place(t, '40000 40049');
    namespace.sysctl('net.ipv4.tcp_rfc1337', 1);
    const client = connector(t, namespace, { hook });
    await client.close(await client.open(50, to), 'end');
    left.push((await client.attempt(30, to)).map(({ error }) => error).filter(Boolean));
    if (hook) {
      const plain = connector(t, namespace, { hook: false });
      await plain.open(38, { host: HOST, port: OTHER });
    }
  }
  assert.equal(left[0]?.length, 30, 'plain Node has no port left');
  // 12 of 50 may be bound
  assert.equal(left[1]?.length, 18);
  assert.deepEqual([...new Set(left.flat())], ['EADDRNOTAVAIL']);
});

test('without netlink strangers are learnt from misses alone', { skip }, async (t) => {
  const namespace = await place(t, '40000 40299');
  const stranger = connector(t, namespace, { hook: false });
  await stranger.open(150, to);
  const client = connector(t, namespace, { prefix: refusing('socket:0=16:EPERM') });
  await client.open(150, to);
  assert.equal((await client.destination(PORT)).inUse, 150);
  await client.app.said(/source ports are learnt by trying: sock_diag fails \(errno 1\)/);
});

test('a socket that goes to another process keeps its port there', { skip }, async (t) => {
  const namespace = await place(t, '40000 40004');
  const client = connector(t, namespace);
  const [given] = (await client.open(1, to)) as [Opened];
  assert.equal(await client.ask('give', { id: given.id }), 'taken');
  const { inUse, resting } = await client.destination(PORT);
  assert.deepEqual({ inUse, resting }, { inUse: 0, resting: 1 });
  // the others are free, that one is not
  const ports = (await client.open(4, to)).map(({ port }) => port);
  assert.ok(!ports.includes(given.port));
  assert.deepEqual(
    (await client.attempt(1, to)).map(({ error }) => error),
    ['EADDRNOTAVAIL'],
  );
});

test('workers keep to their own ports: hash(port) is theirs', { skip }, async (t) => {
  const namespace = await place(t, '32768 60999');
  const app = startApp(fixture('connect-home.js'), {
    port: 9500,
    prefix: namespace.prefix,
    env: {
      TARGET: `${HOST} ${PORT}`,
      TOTAL: '200',
      WIDE: '8',
      HELD: '100',
      LAST: '50',
      ADDON: addonPath(),
      FASTSOCKET_WORKERS: '2',
    },
  });
  t.after(() => app.stop());
  const lines = await until(
    () => {
      const said = app.stdout.split('\n').filter(Boolean);
      return said.length === 2 ? said : undefined;
    },
    () => `two reports:\n${app.stdout}\n${app.stderr}`,
  );
  const parities = lines.map((line) => {
    const { ports, state } = JSON.parse(line);
    assert.equal(state.retries, 0);
    assert.equal(state.why, 'loopback');
    return [...new Set((ports as number[]).map((port) => port & 1))];
  });
  assert.deepEqual(parities.sort(), [[0], [1]]);
});
