// SPDX-License-Identifier: Apache-2.0
// Connections to one destination, opened and ended in all ways, with the books that are compared with the kernel's.
const net = require('node:net');

const WAYS = {
  end: (socket) => socket.end(),
  destroy: (socket) => socket.destroy(),
  reset: (socket) => socket.resetAndDestroy(),
  peer: (socket) => socket.write('q'),
  peerResets: (socket) => socket.write('r'),
};
const ALL = Object.keys(WAYS);
/** These leave the port in TIME_WAIT, on our side; the others do not. */
const FIRST = ['end', 'destroy'];
const OTHERS = ALL.filter((way) => !FIRST.includes(way));

const pick = (list) => list[Math.floor(Math.random() * list.length)];

class Connections {
  /** @param mayCloseFirst asked before each end that would leave a port in TIME_WAIT */
  constructor(to, mayCloseFirst = () => true) {
    this.to = to;
    this.mayCloseFirst = mayCloseFirst;
    this.sockets = [];
    this.opening = 0;
    this.opened = 0;
    this.ended = Object.fromEntries(ALL.map((way) => [way, 0]));
    this.errors = {};
    /** When each port was last connected from, on the clock that all processes share. */
    this.used = new Float64Array(65_536);
  }

  /** Those that are on their way are among them. */
  get count() {
    return this.sockets.length + this.opening;
  }

  fail(what) {
    this.errors[what] = (this.errors[what] ?? 0) + 1;
  }

  /** Resolves when it is connected, or has failed. */
  open() {
    this.opening++;
    return new Promise((resolve) => {
      const socket = net.connect(this.to);
      let isOpen = false;
      const settle = () => {
        if (isOpen) return;
        this.opening--;
        resolve();
      };
      socket.once('connect', () => {
        settle();
        isOpen = true;
        this.opened++;
        this.used[socket.localPort] = performance.timeOrigin + performance.now();
        this.sockets.push(socket);
      });
      socket.on('error', ({ code, syscall }) => {
        if (socket.way !== 'peerResets' || code !== 'ECONNRESET') this.fail(`${syscall} ${code}`);
      });
      socket.once('close', () => {
        settle();
        if (!isOpen || socket.way !== undefined) return;
        this.fail('ended by itself');
        this.sockets.splice(this.sockets.indexOf(socket), 1);
      });
      // so that the peer's end is seen
      socket.resume();
    });
  }

  /** Ends any of them in any way; resolves when it is closed. */
  end() {
    const at = Math.floor(Math.random() * this.sockets.length);
    const socket = this.sockets[at];
    const last = this.sockets.pop();
    if (last !== socket) this.sockets[at] = last;
    let way = pick(ALL);
    if (FIRST.includes(way) && !this.mayCloseFirst()) way = pick(OTHERS);
    socket.way = way;
    this.ended[way]++;
    return new Promise((resolve) => {
      socket.once('close', resolve);
      WAYS[way](socket);
    });
  }

  report() {
    const { opened, ended, errors } = this;
    const used = [];
    for (let port = 0; port < this.used.length; port++)
      if (this.used[port] > 0) used.push([port, this.used[port]]);
    return { opened, ended, errors, used, ports: this.sockets.map(({ localPort }) => localPort) };
  }
}

/** As many of them at a time, as long as there is something to do: `step` is a promise, or undefined at the end. */
async function side(wide, step) {
  const lane = async () => {
    for (let next = step(); next !== undefined; next = step()) await next;
  };
  await Promise.all(Array.from({ length: wide }, lane));
}

/** Obeys the bench: a command a line, an answer a line, over a UNIX socket, which is everybody's in every network. */
function obey(path, commands) {
  const socket = net.connect(path);
  const send = (message) => socket.write(`${JSON.stringify(message)}\n`);
  require('node:readline')
    .createInterface({ input: socket })
    .on('line', async (line) => {
      const { what, ...rest } = JSON.parse(line);
      send({ answer: await commands[what](rest) });
    });
  send({ pid: process.pid, parent: process.ppid });
}

module.exports = { Connections, side, obey };
