// SPDX-License-Identifier: Apache-2.0
// Source ports of connect() over the real kernel, in a network namespace with few ports. What was opened is held until the
// test says otherwise; how often the kernel was asked for a port in vain is counted, and no time is.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from './support/app';
import { type Connector, connector, type Opened, peer } from './support/connector';
import { Namespace, whyNoNamespaces } from './support/netns';

const HOST = '127.0.0.1';
const PORT = 9001;
const OTHER = 9002;
const to = { host: HOST, port: PORT };
/** native/seam/connect.cc, kReadEveryMs, and a little. */
const SETTINGS_MS = 1_200;

const options = { skip: whyNoNamespaces() ?? false };

async function place(t: TestContext, range: [number, number]): Promise<Namespace> {
  const namespace = new Namespace(t, 'con');
  namespace.sysctl('net.ipv4.ip_local_port_range', range.join(' '));
  // a port in TIME_WAIT stays there, as between two hosts
  namespace.sysctl('net.ipv4.tcp_tw_reuse', 0);
  // two ends that close at once on two CPUs now and then send a late RST, which would end it
  namespace.sysctl('net.ipv4.tcp_rfc1337', 1);
  await peer(t, namespace, [PORT, OTHER]);
  return namespace;
}

const portsOf = (opened: readonly Opened[]) => opened.map(({ port }) => port);
const different = (ports: readonly number[]) => new Set(ports).size;

/**
 * Ports that the kernel knows towards a destination. It walks its table in steps, and beside a socket that goes meanwhile
 * another can be missed: what one of three walks has seen is there.
 */
function kernelPorts(namespace: Namespace, port: number, state: 'established' | 'time-wait'): Set<number> {
  const ask = () => namespace.run('ss', '-Htn', 'state', state, 'dport', '=', `:${port}`);
  const lines = [ask(), ask(), ask()].flatMap((text) => text.split('\n')).filter(Boolean);
  return new Set(lines.map((line) => Number(/:(\d+)\s+\S+$/.exec(line.trim())?.[1])));
}

test(
  'ports are of the range, not reserved, and in no order; the kernel is never asked in vain',
  options,
  async (t) => {
    const namespace = await place(t, [40_000, 40_199]);
    namespace.sysctl('net.ipv4.ip_local_reserved_ports', '40010-40019,40100');
    const client = connector(t, namespace);
    const ports = portsOf(await client.open(180, to));
    assert.equal(different(ports), 180);
    for (const port of ports) {
      assert.ok(port >= 40_000 && port <= 40_199, `${port}`);
      assert.ok(!(port >= 40_010 && port <= 40_019) && port !== 40_100, `${port} is reserved`);
    }
    const falls = ports.filter((port, i) => i > 0 && port < (ports[i - 1] as number)).length;
    assert.ok(falls > 40, `${falls} of 179 steps go down: the order can be guessed`);
    const { inUse, chosen, byKernel, retries } = await client.destination(PORT);
    assert.deepEqual(
      { inUse, chosen, byKernel, retries },
      { inUse: 180, chosen: 180, byKernel: 0, retries: 0 },
    );
  },
);

test('every port of the range can be had; then it is as under plain Node', options, async (t) => {
  const left: Record<string, string[]> = {};
  for (const hook of [false, true]) {
    const namespace = await place(t, [40_000, 40_059]);
    const client = connector(t, namespace, { hook });
    const opened = await client.open(60, to);
    assert.equal(different(portsOf(opened)), 60);
    left[`${hook}`] = (await client.attempt(2, to)).map(({ error }) => error ?? 'connected');
    // the peer closes first: the ports are free at once
    await client.close(opened.slice(0, 5), 'peer');
    const again = portsOf(await client.open(5, to)).sort();
    assert.deepEqual(again, portsOf(opened.slice(0, 5)).sort());
    // to another destination they are free anyway
    assert.equal(different(portsOf(await client.open(60, { host: HOST, port: OTHER }))), 60);
  }
  assert.deepEqual(left['true'], left['false']);
  assert.deepEqual(left['true'], ['EADDRNOTAVAIL', 'EADDRNOTAVAIL']);
});

test('a port rests when we close first, and only then', options, async (t) => {
  const namespace = await place(t, [40_000, 40_099]);
  const client = connector(t, namespace);
  const ways = ['peer', 'reset', 'peerResets', 'end', 'destroy'] as const;
  const resting = new Set<number>();
  for (const way of ways) {
    const opened = await client.open(20, to);
    for (const { port } of opened) assert.ok(!resting.has(port), `${port} rests and is tried`);
    await client.close(opened, way);
    if (way === 'end' || way === 'destroy') for (const { port } of opened) resting.add(port);
    await sleep(50);
    assert.deepEqual(kernelPorts(namespace, PORT, 'time-wait'), resting, way);
    const state = await client.destination(PORT);
    assert.equal(state.resting, resting.size, way);
    assert.equal(state.inUse, 0, way);
  }
  const opened = await client.open(60, to);
  for (const { port } of opened) assert.ok(!resting.has(port), `${port} rests and is tried`);
  assert.equal((await client.destination(PORT)).retries, 0);
});

test('where connect() may take ports out of TIME_WAIT they rest for a second', options, async (t) => {
  const namespace = await place(t, [40_000, 40_049]);
  namespace.sysctl('net.ipv4.tcp_tw_reuse', 2);
  const client = connector(t, namespace);
  await client.close(await client.open(50, to), 'end');
  assert.equal((await client.destination(PORT)).resting, 50);
  await sleep(1_100);
  assert.equal((await client.destination(PORT)).resting, 0);
  await client.open(50, to);
  assert.equal((await client.destination(PORT)).byKernel, 0);
});

test("strangers' ports are learnt, and are not tried again", options, async (t) => {
  const namespace = await place(t, [40_000, 40_999]);
  const stranger = connector(t, namespace, { hook: false });
  await stranger.open(700, to);
  const client = connector(t, namespace);
  // one at a time: a survey is taken in at the next connect()
  const first: Opened[] = [];
  for (let i = 0; i < 60; i++) first.push(...(await client.open(1, to)));
  const learnt = await client.destination(PORT);
  // the share of ports that are taken is 0.7, so a connection without knowledge needs 2.3 retries
  assert.ok(learnt.retries < 100, `${learnt.retries} retries`);
  assert.ok(learnt.resting >= 700, `${learnt.resting} of the strangers' 700 ports are known`);
  await client.open(200, to);
  const { retries, byKernel } = await client.destination(PORT);
  assert.deepEqual({ retries, byKernel }, { retries: learnt.retries, byKernel: learnt.byKernel });
  // more than the strangers have left free
  const rest = await client.attempt(60, to);
  assert.equal(rest.filter(({ error }) => error === undefined).length, 40);
});

test(
  'localAddress without a port: the range is for each destination, not for the host',
  options,
  async (t) => {
    const namespace = await place(t, [40_000, 40_049]);
    const from = { localAddress: '127.0.0.2' };
    const counts: number[] = [];
    for (const hook of [false, true]) {
      const client = connector(t, namespace, { hook });
      const one = await client.open(30, { ...to, ...from });
      const two = await client.attempt(30, { host: HOST, port: OTHER, ...from });
      counts.push(two.filter(({ error }) => error === undefined).length);
      if (hook) {
        for (const { address } of one) assert.equal(address, from.localAddress);
        assert.equal(different(portsOf(two as Opened[])), 30);
        // the first connection of the process, too
        const { localAddress, inUse } = await client.destination(PORT);
        assert.deepEqual([localAddress, inUse], [from.localAddress, 30]);
        assert.equal((await client.destination(OTHER)).inUse, 30);
      }
      await client.close(one, 'peer');
      await client.close(
        two.filter((attempt): attempt is Opened => attempt.error === undefined),
        'peer',
      );
      await client.app.stop();
    }
    assert.ok((counts[0] as number) <= 20, `plain Node: ${counts[0]}`);
    assert.equal(counts[1], 30);
  },
);

test("a named localPort is the app's own business", options, async (t) => {
  const namespace = await place(t, [40_000, 40_049]);
  const client = connector(t, namespace);
  const [opened] = await client.open(1, { ...to, localPort: 41_234 });
  assert.equal(opened?.port, 41_234);
  assert.deepEqual(await client.destinations(), []);
});

test('the range changes under way', options, async (t) => {
  const namespace = await place(t, [40_000, 40_049]);
  const client = connector(t, namespace);
  await client.open(20, to);
  namespace.sysctl('net.ipv4.ip_local_port_range', '50000 50049');
  await sleep(SETTINGS_MS);
  for (const { port } of await client.open(50, to)) assert.ok(port >= 50_000 && port <= 50_049, `${port}`);
  assert.equal((await client.destination(PORT)).byKernel, 0);
});

test('IPv6, IPv4 in IPv6, a scope', options, async (t) => {
  const namespace = await place(t, [40_000, 40_059]);
  namespace.run('ip', 'link', 'add', 'veth0', 'type', 'veth', 'peer', 'name', 'veth1');
  for (const name of ['veth0', 'veth1']) namespace.run('ip', 'link', 'set', name, 'up');
  namespace.run('ip', 'addr', 'add', 'fe80::77/64', 'dev', 'veth0', 'nodad');
  const client = connector(t, namespace);
  await client.open(30, to);
  // the same destination: what IPv4 holds is not tried
  await client.open(30, { host: '::ffff:127.0.0.1', port: PORT });
  await client.open(60, { host: '::1', port: PORT });
  await client.open(60, { host: 'fe80::77%veth0', port: PORT });
  const index = Number(namespace.run('cat', '/sys/class/net/veth0/ifindex'));
  const states = (await client.destinations()).map(({ address, inUse, byKernel, retries }) => [
    address,
    inUse,
    byKernel,
    retries,
  ]);
  assert.deepEqual(states, [
    ['127.0.0.1', 60, 0, 0],
    ['::1', 60, 0, 0],
    [`fe80::77%${index}`, 60, 0, 0],
  ]);
});

test('a server without a port of its own has one as soon as it is bound', options, async (t) => {
  const namespace = await place(t, [40_000, 40_049]);
  const client = connector(t, namespace);
  await client.open(1, to);
  for (const host of ['127.0.0.1', '::1']) {
    const { port, text } = await client.ask<{ port: number; text: string }>('listen', { host });
    assert.ok(port >= 40_000 && port <= 40_049, `${port}`);
    assert.equal(text, 'served');
  }
  const name = await client.ask<{ error: number; port: number; address: string }>('bound', { host: HOST });
  assert.equal(name.error, 0);
  assert.equal(name.address, HOST);
  assert.ok(name.port >= 40_000 && name.port <= 40_049, `${name.port}`);
});

test('each thread has its own', options, async (t) => {
  const namespace = await place(t, [40_000, 40_199]);
  const client = connector(t, namespace);
  await client.open(50, to);
  const command = [{ what: 'open', count: 20, options: to }, { what: 'state' }];
  const [opened, state] = await client.ask<[Opened[], { inUse: number }[]]>('inThread', { command });
  assert.equal(different(portsOf(opened)), 20);
  assert.equal(state[0]?.inUse, 20);
  assert.equal((await client.destination(PORT)).inUse, 50);
});

test('FASTSOCKET_CONNECT=off leaves it to the kernel', options, async (t) => {
  const namespace = await place(t, [40_000, 40_049]);
  const client = connector(t, namespace, { env: { FASTSOCKET_CONNECT: 'off' } });
  await client.open(5, to);
  assert.deepEqual(await client.destinations(), []);
});

/** Opens and closes at random, then compares with the kernel. */
async function churn(client: Connector, rounds: number): Promise<Opened[]> {
  const ways = ['peer', 'end', 'reset', 'destroy'] as const;
  let open: Opened[] = [];
  for (let i = 0; i < rounds; i++) {
    open.push(...(await client.open(1 + Math.floor(Math.random() * 60), to)));
    const ending = open.filter(() => Math.random() < 0.5);
    open = open.filter((one) => !ending.includes(one));
    const way = ways[Math.floor(Math.random() * ways.length)] as (typeof ways)[number];
    await client.close(ending, way);
  }
  return open;
}

test('after a while of opening and closing we know what the kernel knows', options, async (t) => {
  const namespace = await place(t, [32_768, 60_999]);
  const client = connector(t, namespace);
  const open = await churn(client, 60);
  await sleep(50);
  assert.deepEqual(kernelPorts(namespace, PORT, 'established'), new Set(portsOf(open)));
  const state = await client.destination(PORT);
  assert.equal(state.inUse, open.length);
  // the other end of what was closed last may not have had its turn: FIN_WAIT2 here until then
  const restsAll = () => kernelPorts(namespace, PORT, 'time-wait').size === state.resting;
  await until(
    restsAll,
    () => `${state.resting} rest here, ${kernelPorts(namespace, PORT, 'time-wait').size} there`,
  );
  assert.equal(state.byKernel, 0);
  assert.equal(state.retries, 0);
  await client.close(open, 'peer');
  assert.equal((await client.destination(PORT)).inUse, 0);
});
