// SPDX-License-Identifier: Apache-2.0
// Where server and client of a benchmark run: a CPU for each, and a network of their own where this is allowed.
import { spawnSync } from 'node:child_process';
import { parseCpuList } from '../../lib/config/cpulist';
import { readText } from '../../lib/cpu/read';
import { programPath } from './programs';

/** How a network namespace is made and entered (unshare(1), nsenter(1)). */
export interface Network {
  make: readonly string[];
  enter: readonly string[];
}

export interface Place {
  serverCpu: number;
  clientCpu: number;
  /** undefined: server and client share the machine's loopback with everybody. */
  network: Network | undefined;
  /** One line about it. */
  text: string;
}

/**
 * A namespace begins without the TIME_WAIT sockets of earlier measures, which count against tcp_max_tw_buckets for a
 * minute, and with nobody else's sockets and firewall rules. Its own range of ports is wide, so that a client that closes
 * first does not run out of them at once.
 */
const NETWORK_UP =
  'ip link set lo up || exit 1; echo 10240 65535 2>/dev/null >/proc/sys/net/ipv4/ip_local_port_range; exec "$@"';

function usableNetwork(): Network | undefined {
  const kinds: Network[] = [
    { make: ['unshare', '--net'], enter: ['nsenter', '--net'] },
    {
      make: ['unshare', '--user', '--map-root-user', '--net'],
      enter: ['nsenter', '--user', '--preserve-credentials', '--net'],
    },
  ];
  return kinds.find(({ make: [command, ...words] }) => {
    const script = ['sh', '-c', NETWORK_UP, 'sh', 'true'];
    return spawnSync(command as string, [...words, ...script], { stdio: 'ignore' }).status === 0;
  });
}

/** @throws Error that names what is missing */
export function choosePlace(): Place {
  for (const program of ['taskset', 'setpriv'])
    if (!programPath(program)) throw new Error(`${program} is missing (Debian: util-linux)`);
  const status = readText('/proc/self/status') ?? '';
  const cpus = parseCpuList(/^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? '') ?? [0];
  // the last: interrupts and everybody else prefer the first
  const serverCpu = cpus.at(-1) as number;
  const clientCpu = cpus[0] as number;
  const network = usableNetwork();
  const shared = serverCpu === clientCpu ? ' (the only one: figures are of little use)' : '';
  const net = network ? 'a network namespace for each measure' : 'the loopback that all share';
  const text = `server on CPU ${serverCpu}, client on CPU ${clientCpu}${shared}, ${net}`;
  return { serverCpu, clientCpu, network, text };
}

/** Ends with this process, whatever ends it: prctl(2), PR_SET_PDEATHSIG. After unshare, which would forget it. */
const bound = (signal: string) => ['setpriv', '--pdeathsig', signal, '--'];
const pinned = (cpu: number) => ['taskset', '-c', String(cpu)];

export function serverWords(place: Place, words: readonly string[], deathSignal = 'KILL'): string[] {
  const made = place.network ? [...place.network.make, 'sh', '-c', NETWORK_UP, 'sh'] : [];
  return [...made, ...bound(deathSignal), ...pinned(place.serverCpu), ...words];
}

/** @param pid of the server whose network the client joins */
export function clientWords(place: Place, pid: number, words: readonly string[]): string[] {
  const entered = place.network ? [...place.network.enter, '--target', String(pid), '--'] : [];
  return [...entered, ...bound('KILL'), ...pinned(place.clientCpu), ...words];
}
