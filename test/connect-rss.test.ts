// SPDX-License-Identifier: Apache-2.0
// Where a network card puts replies, foretold: against the published vectors, and against the plain formula.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressBytes } from '../lib/connect/interface';
import { type Flow, Forecast, replyTuple, whyNotForetold } from '../lib/connect/rss';
import { portParts, toeplitz } from '../lib/connect/toeplitz';
import type { Rss } from '../lib/native/addon';

/** "Verifying the RSS hash calculation" (Microsoft): key, tuples with TCP's ports, hashes. */
const KEY = Buffer.from(
  '6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa',
  'hex',
);
const VECTORS: [source: string, sourcePort: number, destination: string, port: number, hash: number][] = [
  ['66.9.149.187', 2794, '161.142.100.80', 1766, 0x51ccc178],
  ['199.92.111.2', 14230, '65.69.140.83', 4739, 0xc626b0ea],
  ['24.19.198.95', 12898, '12.22.207.184', 38024, 0x5c2b394a],
  ['38.27.205.30', 48228, '209.142.163.6', 2217, 0xafc7327f],
  ['153.39.163.191', 44251, '202.188.127.2', 1303, 0x10e828a2],
  ['3ffe:2501:200:1fff::7', 2794, '3ffe:2501:200:3::1', 1766, 0x40207d3d],
  ['3ffe:501:8::260:97ff:fe40:efab', 14230, 'ff02::1', 4739, 0xdde51bbf],
  ['3ffe:1900:4545:3:200:f8ff:fe21:67cf', 44251, 'fe80::200:f8ff:fe21:67cf', 38024, 0x02d1feef],
];

const flowOf = (remote: string, remotePort: number, local: string): Flow => ({
  remote: addressBytes(remote),
  local: addressBytes(local),
  remotePort,
});

const rssOf = (change: Partial<Rss> = {}): Rss => ({
  key: [...KEY],
  table: Array.from({ length: 128 }, (_, i) => i % 8),
  hashFunction: 1,
  transform: 0,
  fields4: 0xf0,
  fields6: 0xf0,
  ...change,
});

test('the published vectors, IPv4 and IPv6', () => {
  for (const [source, sourcePort, destination, port, hash] of VECTORS)
    assert.equal(toeplitz(KEY, replyTuple(flowOf(source, sourcePort, destination), port)), hash, source);
});

test('what a port adds is what the whole hash differs by', () => {
  for (const [source, sourcePort, destination, port, hash] of VECTORS) {
    const tuple = replyTuple(flowOf(source, sourcePort, destination), 0);
    const parts = portParts(KEY, tuple.length, 0xffff);
    assert.equal((toeplitz(KEY, tuple) & 0xffff) ^ (parts[port] as number), hash & 0xffff, source);
  }
});

test('a key that is too short is refused', () => {
  assert.throws(() => toeplitz(KEY.subarray(0, 15), new Uint8Array(12)), RangeError);
});

test('the ports of a queue are those whose replies come to it, and every port has one', () => {
  const forecast = new Forecast(rssOf());
  for (const [source, sourcePort, destination] of VECTORS) {
    const flow = flowOf(source, sourcePort, destination);
    const masks = Array.from({ length: 8 }, (_, queue) => forecast.portsTo(flow, new Set([queue])));
    for (let port = 1; port < 65_536; port += 37) {
      const queues = masks.flatMap((mask, queue) =>
        ((mask[port >> 3] as number) >> (port & 7)) & 1 ? [queue] : [],
      );
      assert.deepEqual(queues, [forecast.queueOf(flow, port)], `${source} ${port}`);
    }
  }
});

test('a card whose queues cannot be foretold says why', () => {
  assert.equal(whyNotForetold(rssOf(), 4), undefined);
  const cases: [Partial<Rss>, RegExp][] = [
    [{ table: [0, 0, 0, 0] }, /one queue/],
    [{ hashFunction: 4 }, /number 4, not Toeplitz/],
    [{ transform: 1 }, /transforms/],
    [{ table: [0, 1, 2] }, /3 entries/],
    [{ fields4: 0x30 }, /does not hash .* ports/],
    [{ fields4: -95 }, /-95/],
    [{ key: [...KEY].slice(0, 15) }, /15 bytes/],
  ];
  for (const [change, why] of cases) assert.match(whyNotForetold(rssOf(change), 4) ?? '', why);
  assert.equal(whyNotForetold(rssOf({ fields4: 0x30 }), 6), undefined);
});

test('addresses as the kernel writes them', () => {
  const hex = (address: string) => Buffer.from(addressBytes(address)).toString('hex');
  assert.equal(hex('10.0.255.1'), '0a00ff01');
  assert.equal(hex('::1'), `${'0'.repeat(31)}1`);
  assert.equal(hex('fe80::5054:ff:fe12:3456%3'), 'fe80000000000000505400fffe123456');
  assert.equal(hex('1:2:3:4:5:6:7:8'), '00010002000300040005000600070008');
  assert.equal(hex('2001:db8::'), '20010db8000000000000000000000000');
  assert.equal(hex('::1.2.3.4'), '00000000000000000000000001020304');
});
