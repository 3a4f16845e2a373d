// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { fileOf, isSharedKey, isThere, pathKey, sharedAddress, sharedKey } from '../lib/group/shared-address';
import { temporaryFolder } from './support/temporary';

const PATH = { port: -1, addressType: -1 };
const keyOf = (query: Parameters<typeof sharedAddress>[0]) => {
  const address = sharedAddress(query);
  return address && sharedKey(address);
};

describe('the name of a shared socket', () => {
  test('a path is the same from everywhere, an abstract name as it is', () => {
    assert.equal(keyOf({ ...PATH, address: 'a/../b' }), `unix|${resolve('b')}`);
    assert.equal(keyOf({ ...PATH, address: resolve('b') }), `unix|${resolve('b')}`);
    assert.equal(keyOf({ ...PATH, address: '\0a/../b' }), 'unix|\0a/../b');
  });

  test('a UDP port is one of its address, family and ipv6Only', () => {
    const names = [
      { addressType: 'udp4', address: '0.0.0.0', port: 53 },
      { addressType: 'udp4', address: '127.0.0.1', port: 53 },
      { addressType: 'udp6', address: '::', port: 53 },
      { addressType: 'udp6', address: '::', port: 53, flags: 1 },
      { addressType: 'udp6', address: '::', port: 54 },
    ].map(keyOf);
    assert.equal(new Set(names).size, names.length);
    assert.ok(!names.includes(undefined));
    assert.equal(keyOf({ addressType: 'udp4', address: '::1', port: '53', flags: 2 }), 'udp4|::1|53');
    assert.equal(isSharedKey('udp4|::1|53') && isSharedKey('unix|/a'), true);
    assert.equal(isSharedKey('4|127.0.0.1|53'), false);
  });

  test('a UDP port that several may have is each one’s own', () => {
    for (const flags of [4, 5, 64])
      assert.equal(sharedAddress({ addressType: 'udp4', address: '0.0.0.0', port: 53, flags }), undefined);
  });

  test('ports of the kernel’s choice, descriptors and TCP are nobody else’s affair', () => {
    assert.equal(sharedAddress({ addressType: 'udp4', address: '0.0.0.0', port: 0 }), undefined);
    assert.equal(sharedAddress({ addressType: 'udp4', address: '0.0.0.0', port: undefined }), undefined);
    assert.equal(sharedAddress({ addressType: 'udp4', address: null, port: null, fd: 7 }), undefined);
    assert.equal(sharedAddress({ addressType: 4, address: '127.0.0.1', port: 80 }), undefined);
    assert.equal(sharedAddress({ ...PATH, address: null, fd: 7 }), undefined);
  });

  test('who may use a path goes with it', () => {
    const mode = (all: object) => {
      const address = sharedAddress({ ...PATH, address: '/a', ...all });
      return address?.kind === 'path' ? address.mode : undefined;
    };
    assert.deepEqual([mode({}), mode({ readableAll: true }), mode({ writableAll: true })], [0, 1, 2]);
    assert.equal(mode({ readableAll: true, writableAll: true }), 3);
  });
});

describe('what is at a path', () => {
  test('a file is no socket, and below one there is nothing; what is no path is there', () => {
    for (const file of [undefined, '1:2']) {
      assert.equal(isThere(pathKey(__filename), file), false);
      assert.equal(isThere(pathKey(join(__filename, 'below')), file), false);
      assert.equal(isThere(pathKey('\0abstract'), file), true);
      assert.equal(isThere('udp4|127.0.0.1|53', file), true);
    }
  });

  test('another socket is another file', async (t) => {
    const folder = temporaryFolder('address');
    const [a, b] = [join(folder, 'a'), join(folder, 'b')];
    for (const path of [a, b]) {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(path, resolve));
      t.after(() => server.close());
    }
    const file = fileOf(pathKey(a));
    assert.equal(isThere(pathKey(a), file), true);
    assert.equal(isThere(pathKey(b), file), false);
    assert.equal(isThere(pathKey(b), undefined), true);
    renameSync(b, a);
    assert.equal(isThere(pathKey(a), file), false);
  });
});
