// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { isThere, pathKey, sharedAddress, sharedKey } from '../lib/group/shared-address';

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
    assert.equal(keyOf({ addressType: 'udp4', address: '::1', port: '53', flags: 4 }), 'udp4|::1|53');
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
    assert.equal(isThere(pathKey(__filename)), false);
    assert.equal(isThere(pathKey(join(__filename, 'below'))), false);
    assert.equal(isThere(pathKey('\0abstract')), true);
    assert.equal(isThere('udp4|127.0.0.1|53'), true);
  });
});
