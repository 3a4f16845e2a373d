// SPDX-License-Identifier: Apache-2.0
// Whether a server may accept more than comes to its own queue, without asking it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { takesAll } from '../lib/worker/limits';

class Server {}

let asked = 0;
const getter = {
  get() {
    asked++;
    return undefined;
  },
};
const forbidden = new Proxy(
  {},
  {
    get() {
      return () => {
        asked++;
        return undefined;
      };
    },
  },
);

const cases: [name: string, expected: boolean, server: object][] = [
  ['without one', true, new Server()],
  ['undefined', true, Object.assign(new Server(), { maxConnections: undefined })],
  ['null', true, Object.assign(new Server(), { maxConnections: null })],
  ['a number', false, Object.assign(new Server(), { maxConnections: 100 })],
  // Node 20 to 26 take it for a limit, or for none
  ['0', false, Object.assign(new Server(), { maxConnections: 0 })],
  ['inherited', false, Object.create({ maxConnections: 5 })],
  ['its own above an inherited one', true, Object.create({ maxConnections: 5 }, { maxConnections: {} })],
  ['no prototype', true, Object.create(null)],
  ['a getter', false, Object.defineProperty(new Server(), 'maxConnections', getter)],
  ['a setter', false, Object.defineProperty(new Server(), 'maxConnections', { set() {} })],
  ['an inherited getter', false, Object.create(Object.defineProperty({}, 'maxConnections', getter))],
  ['a Proxy', false, new Proxy(new Server(), forbidden)],
  ['a Proxy above it', false, Object.create(new Proxy({}, forbidden))],
];

for (const [name, expected, server] of cases)
  test(name, () => {
    assert.equal(takesAll(server), expected);
    assert.equal(asked, 0, 'nothing of the app has run');
  });
