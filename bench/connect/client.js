// SPDX-License-Identifier: Apache-2.0
// client PORT HOLD CLIENTS SECONDS: holds HOLD connections, then makes short ones, CLIENTS at a time: a byte each way, and
// the server closes. A program like any other: it knows nothing of the hook. Between the slices of time that count it times
// the connect() method of net.Socket's handle, in which connect(2) happens: net.connect() only puts it off to the end of
// the turn.
const { readFileSync } = require('node:fs');
const net = require('node:net');

const [port, hold, clients, seconds] = process.argv.slice(2).map(Number);
const HOST = '127.0.0.1';
const AT_ONCE = 64;
const WARM_S = 0.5;
/** Of the time that counts, and so much of it again for the calls. */
const SLICES = 4;
const CALLS_SHARE = 0.5;

const held = [];
const failures = { failed: 0, failure: undefined };

const opened = () =>
  new Promise((resolve, reject) => {
    const socket = net.connect(port, HOST, () => resolve(socket));
    socket.on('error', reject);
  });

async function holdSome() {
  while (held.length < hold)
    held.push(
      ...(await Promise.all(Array.from({ length: Math.min(AT_ONCE, hold - held.length) }, () => opened()))),
    );
}

function visit() {
  return new Promise((resolve) => {
    const socket = net.connect(port, HOST);
    let bytes = 0;
    socket.on('connect', () => socket.write('x'));
    socket.on('data', (data) => {
      bytes += data.length;
    });
    socket.on('error', (error) => {
      failures.failure ??= error.message;
    });
    socket.on('close', () => resolve(bytes === 1));
  });
}

/** What CLIENTS at a time do in so many seconds, and the CPU's times before and after. */
async function load(forSeconds) {
  const cpuTimes = () => readFileSync('/proc/stat', 'utf8').replace(/^(?!cpu).*\n/gm, '');
  const machine = [cpuTimes()];
  const cpu = process.cpuUsage();
  const began = performance.now();
  let answered = 0;
  async function one() {
    while (performance.now() - began < forSeconds * 1000) {
      if (await visit()) answered++;
      else failures.failed++;
    }
  }
  await Promise.all(Array.from({ length: clients }, one));
  const wallMs = performance.now() - began;
  const { user, system } = process.cpuUsage(cpu);
  machine.push(cpuTimes());
  return { answered, wallMs, cpuUs: user + system, machine };
}

const { prototype } = process.binding('tcp_wrap').TCP;
const timed = { calls: 0, ms: 0 };

/** Has each handle.connect() timed while `part` runs: 0.1 us for two looks at the clock, which count. */
async function timing(part) {
  const { connect } = prototype;
  prototype.connect = function (...args) {
    const began = performance.now();
    const result = Reflect.apply(connect, this, args);
    timed.ms += performance.now() - began;
    timed.calls++;
    return result;
  };
  await part();
  prototype.connect = connect;
}

(async () => {
  const began = performance.now();
  await holdSome();
  const holdMs = performance.now() - began;
  await load(Math.min(WARM_S, seconds));
  const slices = [];
  for (let i = 0; i < SLICES; i++) {
    slices.push(await load(seconds / SLICES));
    await timing(() => load((seconds / SLICES) * CALLS_SHARE));
  }
  const sum = (name) => slices.reduce((total, slice) => total + slice[name], 0);
  const figures = {
    answered: sum('answered'),
    ...failures,
    seconds: sum('wallMs') / 1000,
    cpuUs: sum('cpuUs'),
    holdMs,
    calls: timed.calls,
    callUs: (timed.ms / timed.calls) * 1000,
    machine: slices.map(({ machine }) => machine),
  };
  process.stdout.write(`${JSON.stringify(figures)}\n`, () => process.exit());
})();
