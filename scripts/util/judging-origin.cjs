// SPDX-License-Identifier: Apache-2.0
// Runs one of Node's own tests as the one worker of a tree: node judging-origin.cjs -r HOOK FLAG... TEST. This is the
// origin, as far as the worker needs one: it has a listener group for each address that the test listens on, from the
// moment when it does (lib/worker/judged.ts), and all connections go to the worker's socket.
const { markerName } = require('../../build/lib/config/environment');
const { BALANCE_PIECES } = require('../../build/lib/config/settings');
const { Cpus } = require('../../build/lib/cpu/cpus');
const { groupKey, IPV6_ONLY } = require('../../build/lib/group/key');
const { ListenerGroup } = require('../../build/lib/group/listener-group');
const { sharedKey } = require('../../build/lib/group/shared-address');
const { originOnlyProgram } = require('../../build/lib/group/steering');
const { loadTcp } = require('../../build/lib/hook/tcp');
const { debug } = require('../../build/lib/log');
const { loadAddon } = require('../../build/lib/native/load');
const { Groups } = require('../../build/lib/origin/groups');
const { Served } = require('../../build/lib/origin/served');
const { WorkerPool } = require('../../build/lib/workers/pool');

const WORKER = 1;
const BACKLOG = 511;
const CPUS = new Cpus([], WORKER);
const PLACES = { nodes: CPUS.nodes, cpus: 1, usable: 1, perCpu: 1 };

const words = process.argv.slice(2);
const { addon } = loadAddon();
const tcp = loadTcp();
const groups = new Groups();
const plan = {
  addon,
  workers: WORKER,
  cpus: CPUS,
  places: PLACES,
  mask: addon.getAffinity(0),
  quotaCpus: undefined,
  limits: () => ({}),
  layOutAgain: () => ({ cores: CPUS.cores, places: PLACES }),
  steer: 'auto',
  balance: BALANCE_PIECES,
  exitWaitMs: 0,
  originOnly: originOnlyProgram(),
  originStartMs: 0,
};
const served = new Served(plan, groups, () => true, { workers: () => [WORKER], tell: () => {} });
let generation = 0;

/** Opens a group that the worker serves. Returns it, or a negative errno. */
function open(bind) {
  const { family, address, port, flags } = bind;
  const handle = new tcp.TCP(tcp.constants.SERVER);
  const bound = family === 6 ? handle.bind6(address, port, flags) : handle.bind(address, port);
  const options = {
    key: groupKey(bind),
    generation: ++generation,
    bind,
    handle,
    backlog: BACKLOG,
    workers: WORKER,
    originOnly: plan.originOnly,
  };
  const group = new ListenerGroup(addon, options);
  const { error, failed } =
    bound < 0 ? { error: bound } : group.open(options, (backlog) => handle.listen(backlog));
  if (error < 0 || failed) {
    handle.close();
    return error || -1;
  }
  if (port === 0) group.portChosen(bind);
  groups.add(group);
  served.balancer.watch(group);
  group.ready.add(WORKER);
  served.resteer(group);
  debug('%s is open: all comes to the worker', group.key);
  return group;
}

/** The worker's server has closed, and so does the origin's. */
function close(worker, key, ofGeneration) {
  const group = groups.find(key, ofGeneration);
  if (!group) return;
  groups.remove(group);
  served.balancer.forget(group);
  group.closing = true;
  group.closed = true;
  group.closeSiblings();
  group.handle.close();
  pool.send(worker, { kind: 'close', key, generation: ofGeneration });
}

function give(worker, group, more = {}) {
  const { fds, handover } = groups.handover(WORKER, [group]);
  pool.hand(worker, { ...handover, ...more }, fds);
}

/** `4|127.0.0.1|80`: lib/group/key.ts */
function bindOf(key) {
  const [family, address, port] = key.split('|');
  return {
    family: Number(family[0]),
    address,
    port: Number(port),
    flags: family.endsWith('!') ? IPV6_ONLY : 0,
  };
}

/** A listen() that waits for the answer. */
function asked(worker, keys) {
  let error = 0;
  for (const key of keys) {
    const group = groups.get(key) ?? open(bindOf(key));
    if (typeof group !== 'number') {
      give(worker, group);
      error = 0;
      break;
    }
    error = group;
    pool.hand(worker, { sockets: [], own: key, error }, []);
  }
  pool.send(worker, { kind: 'look' });
}

/** There is nobody to share a path or a UDP port with. */
function alone(worker, key) {
  pool.hand(worker, { sockets: [], own: key }, []);
  pool.send(worker, { kind: 'look' });
}

const events = {
  message(worker, { kind, key, keys, address, generation: ofGeneration }) {
    if (kind === 'ask') asked(worker, keys);
    else if (kind === 'share') alone(worker, sharedKey(address));
    else if (kind === 'gone') close(worker, key, ofGeneration);
  },
  signal: (worker, signal) => pool.send(worker, { kind: 'signal', signal }),
  exit(_worker, code, signal) {
    if (signal) process.kill(process.pid, signal);
    else process.exit(code);
  },
  failed(_index, error) {
    throw error;
  },
  sockets(index) {
    const own = served.balancer.seat(index);
    return { fds: [], own, handover: { sockets: [], seat: own.length > 0 } };
  },
  changed() {},
};
const pool = new WorkerPool({
  addon,
  birth: {
    env: { ...process.env },
    cwd: process.cwd(),
    umask: process.umask(),
    script: words.at(-1),
    args: [],
    execArgv: words.slice(0, -1),
    execPath: process.execPath,
  },
  markName: markerName,
  mark: (index) => `none/${index}/1/${process.pid}`,
  events,
});
pool.start(WORKER);

// what the pool hears there are signals
const worker = pool.get(WORKER);
addon.unwatch(worker.watch);
worker.watch = addon.watch(worker.control, (text) => {
  const [, command, rest] = /^(\w+) (.*)$/.exec(text ?? '') ?? [];
  if (command === 'signal') events.signal(worker, Number(rest));
  if (command !== 'open') return;
  const group = open(JSON.parse(rest));
  if (typeof group === 'number') pool.hand(worker, { sockets: [], opened: 0 }, []);
  else give(worker, group, { opened: group.port });
});
// the worker keeps nobody alive (lib/workers/launch.ts)
worker.process.ref();
