// SPDX-License-Identifier: Apache-2.0
// A server whose workers hold connections to TARGET (address port) and open and end them at random, when CONTROL says so.
const net = require('node:net');
const { Connections, obey, side } = require('./connections');

const { PORT, TARGET, CONTROL, API } = process.env;
const { core, destinations } = require(API);
const [host, port] = TARGET.split(' ');
/** At a time. */
const WIDE = 32;
/** Of `full`: random steps lead up and down between it and this. */
const LEAST = 0.9;

let room = { left: 0, most: 0, perMs: 0, at: 0 };

/** Only so many ports may be in TIME_WAIT: what comes back is what has rested. */
function mayCloseFirst() {
  const now = performance.now();
  room.left = Math.min(room.most, room.left + (now - room.at) * room.perMs);
  room.at = now;
  if (room.left < 1) return false;
  room.left--;
  return true;
}

const connections = new Connections({ host, port: Number(port) }, mayCloseFirst);
let full = 0;
let churning = false;
let churned = Promise.resolve();

function step() {
  if (!churning) return undefined;
  const { count, sockets } = connections;
  const opens = sockets.length === 0 || count < full * LEAST || (count < full && Math.random() < 0.5);
  return opens ? connections.open() : connections.end();
}

/** Full, and nothing on its way. */
async function fill() {
  let left = full - connections.count;
  await side(WIDE, () => (left-- > 0 ? connections.open() : undefined));
}

function report() {
  global.gc?.();
  const state = destinations().find((one) => one.port === Number(port));
  const { heapUsed } = process.memoryUsage();
  return { ...connections.report(), state, heapUsed, core: core() };
}

const commands = {
  report,
  async fill({ count, atRest, restMs }) {
    full = count;
    room = { left: atRest, most: atRest, perMs: atRest / restMs, at: performance.now() };
    await fill();
    return report();
  },
  churn() {
    churning = true;
    churned = side(WIDE, step);
  },
  async still() {
    churning = false;
    await churned;
    await fill();
    return report();
  },
  async empty() {
    await side(WIDE, () => (connections.sockets.length > 0 ? connections.end() : undefined));
    return report();
  },
};

net
  .createServer((socket) => socket.end())
  .listen({ port: Number(PORT), host: '127.0.0.1' }, () => obey(CONTROL, commands));
