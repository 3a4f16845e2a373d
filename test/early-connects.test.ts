// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { reaches } from '../lib/group/reach';
import { EarlyConnects as Noted } from '../lib/origin/early-connects';
import { EarlyConnects as Answered } from '../lib/worker/early-connects';

describe('which listener a connection comes to', () => {
  const YES: [key: string, address: string][] = [
    ['4|127.0.0.1|80', '127.0.0.1'],
    ['4|127.0.0.1|80', '0.0.0.0'],
    ['4|127.0.0.1|80', '::ffff:127.0.0.1'],
    ['4|0.0.0.0|80', '10.0.0.1'],
    ['6|::|80', '::1'],
    ['6|::|80', '127.0.0.1'],
    ['6!|::|80', '::1'],
    ['6!|::|80', '::'],
    ['6|::1|80', '::'],
    ['6|::ffff:127.0.0.1|80', '127.0.0.1'],
  ];
  const NO: [key: string, address: string][] = [
    ['4|127.0.0.1|80', '127.0.0.2'],
    ['4|127.0.0.1|81', '127.0.0.1'],
    ['4|127.0.0.2|80', '0.0.0.0'],
    ['udp4|127.0.0.1|80', '127.0.0.1'],
    ['4|0.0.0.0|80', '::1'],
    ['6!|::|80', '127.0.0.1'],
    ['6!|::|80', '::ffff:127.0.0.1'],
    ['6|::1|80', '127.0.0.1'],
    ['6|::1|80', '0.0.0.0'],
  ];
  for (const [key, address] of YES) test(`${address} is ${key}`, () => assert.ok(reaches(key, address, 80)));
  for (const [key, address] of NO)
    test(`${address} is not ${key}`, () => assert.ok(!reaches(key, address, 80)));
});

describe('connections that were refused in the origin', () => {
  test('are counted, those to this machine', () => {
    const noted = new Noted();
    for (const address of ['::1', '127.0.0.1', '10.0.0.1', '10.0.0.2', '127.0.0.1']) noted.add(address, 80);
    noted.add('0.0.0.0', 81);
    assert.deepEqual(
      noted.toItself(() => new Set(['10.0.0.1'])),
      [
        ['::1', 80, 1],
        ['127.0.0.1', 80, 2],
        ['10.0.0.1', 80, 1],
        ['0.0.0.0', 81, 1],
      ],
    );
  });

  test('nobody asks for the addresses of the machine where all are of loopback', () => {
    const noted = new Noted();
    noted.add('127.0.0.1', 80);
    noted.toItself(() => assert.fail('asked'));
  });

  test('are no more than an app may ask about', () => {
    const noted = new Noted();
    for (let port = 1; port <= 1_000; port++) noted.add('127.0.0.1', port);
    assert.equal(noted.toItself(() => new Set()).length, 64);
  });
});

describe('a copy is refused', () => {
  function copy(times: number, listenedOn = ['4|127.0.0.1|80']) {
    const open = new Set<string>();
    const answered = new Answered({
      early: () => [['127.0.0.1', 80, times]],
      listenedOn: () => listenedOn,
      isOpen: (key) => open.has(key),
    });
    return { open, asks: (address = '127.0.0.1', port = 80) => answered.refuses(address, port) };
  }

  test('as often as the origin was', () => {
    const { asks } = copy(2);
    assert.deepEqual([asks(), asks(), asks()], [true, true, false]);
  });

  test('not while it listens itself, which does not count', () => {
    const { asks, open } = copy(1);
    open.add('4|127.0.0.1|80');
    assert.equal(asks(), false);
    open.clear();
    assert.equal(asks(), true);
  });

  test('nowhere else', () => {
    const { asks } = copy(1);
    assert.equal(asks('127.0.0.2'), false);
    assert.equal(asks('127.0.0.1', 81), false);
    assert.equal(copy(1, []).asks(), false, 'the kernel does, where the origin does not listen');
  });
});
