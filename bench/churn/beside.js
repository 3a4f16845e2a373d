// SPDX-License-Identifier: Apache-2.0
// A plain program beside the others: opens and ends a connection to each of TARGETS (address port, ...) every EVERY_MS.
const { Connections, obey, side } = require('./connections');

const { TARGETS, CONTROL, EVERY_MS } = process.env;
const all = TARGETS.split(',').map((target) => {
  const [host, port] = target.split(' ');
  return new Connections({ host, port: Number(port) });
});
const timers = [];
const under = new Set();
let attempts = 0;

async function visit(connections) {
  attempts++;
  await connections.open();
  if (connections.sockets.length > 0) await connections.end();
}

function tick() {
  for (const connections of all) {
    const one = visit(connections).finally(() => under.delete(one));
    under.add(one);
  }
}

const report = () => ({ attempts, all: all.map((connections) => connections.report()) });

obey(CONTROL, {
  report,
  churn() {
    timers.push(setInterval(tick, Number(EVERY_MS)));
  },
  async still() {
    for (const timer of timers.splice(0)) clearInterval(timer);
    await Promise.all(under);
    for (const connections of all)
      await side(1, () => (connections.sockets.length > 0 ? connections.end() : undefined));
    return report();
  },
});
