// SPDX-License-Identifier: Apache-2.0
// Where server and client of a benchmark run: a CPU for each, and a network of their own where this is allowed.
import { spawnSync } from 'node:child_process';
import { parseCpuList } from '../../lib/config/cpulist';
import { readText } from '../../lib/cpu/read';
import { programPath } from './programs';

/** What comes before a command that is to run in a network namespace: of its own, or in that of `--target PID`. */
export interface Network {
  make: readonly string[];
  enter: readonly string[];
}

export interface Place {
  /** undefined: it may use all. */
  serverCpu: number | undefined;
  clientCpu: number | undefined;
  /** undefined: server and client share the machine's loopback with everybody. */
  network: Network | undefined;
  /** One line about it. */
  text: string;
}

/** Settings of a network namespace, by path below /proc/sys. */
export type Sysctls = Readonly<Record<string, string>>;

/** Wide, so that a client that closes first does not run out of ports at once. */
export const WIDE_RANGE: Sysctls = { 'net/ipv4/ip_local_port_range': '10240 65535' };

/**
 * A namespace begins without the TIME_WAIT sockets of earlier measures, which count against tcp_max_tw_buckets for a
 * minute, and with nobody else's sockets and firewall rules.
 */
function networkUp(sysctls: Sysctls): string[] {
  const settings = Object.entries(sysctls).map(
    ([path, value]) => `echo ${value} 2>/dev/null >/proc/sys/${path}`,
  );
  return ['sh', '-c', ['ip link set lo up || exit 1', ...settings, 'exec "$@"'].join('; '), 'sh'];
}

/** How unshare(1) and nsenter(1) are allowed to do it here. */
function usableNetwork(sysctls: Sysctls): Network | undefined {
  const kinds: Network[] = [
    { make: ['unshare', '--net'], enter: ['nsenter', '--net'] },
    {
      make: ['unshare', '--user', '--map-root-user', '--net'],
      enter: ['nsenter', '--user', '--preserve-credentials', '--net'],
    },
  ];
  return kinds
    .map(({ make, enter }) => ({ make: [...make, ...networkUp(sysctls)], enter }))
    .find(
      ({ make: [command, ...words] }) =>
        spawnSync(command as string, [...words, 'true'], { stdio: 'ignore' }).status === 0,
    );
}

/** @throws Error that names what is missing */
export function choosePlace(sysctls: Sysctls = WIDE_RANGE): Place {
  for (const program of ['taskset', 'setpriv'])
    if (!programPath(program)) throw new Error(`${program} is missing (Debian: util-linux)`);
  const status = readText('/proc/self/status') ?? '';
  const cpus = parseCpuList(/^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? '') ?? [0];
  // the last: interrupts and everybody else prefer the first
  const serverCpu = cpus.at(-1) as number;
  const clientCpu = cpus[0] as number;
  const network = usableNetwork(sysctls);
  const shared = serverCpu === clientCpu ? ' (the only one: figures are of little use)' : '';
  const net = network ? 'a network namespace for each measure' : 'the loopback that all share';
  const text = `server on CPU ${serverCpu}, client on CPU ${clientCpu}${shared}, ${net}`;
  return { serverCpu, clientCpu, network, text };
}

/** Ends with this process, whatever ends it: prctl(2), PR_SET_PDEATHSIG. After unshare, which would forget it. */
const bound = (signal: string) => ['setpriv', '--pdeathsig', signal, '--'];
const pinned = (cpu: number | undefined) => (cpu === undefined ? [] : ['taskset', '-c', String(cpu)]);

export function serverWords(place: Place, words: readonly string[], deathSignal = 'KILL'): string[] {
  return [...(place.network?.make ?? []), ...bound(deathSignal), ...pinned(place.serverCpu), ...words];
}

/** The network of a process that runs, for further servers. */
export function placeBeside(place: Place, pid: number): Place {
  if (!place.network) return place;
  const make = [...place.network.enter, '--target', String(pid), '--'];
  return { ...place, network: { ...place.network, make } };
}

/** @param pid of the server whose network the client joins */
export function clientWords(place: Place, pid: number, words: readonly string[]): string[] {
  return [
    ...(placeBeside(place, pid).network?.make ?? []),
    ...bound('KILL'),
    ...pinned(place.clientCpu),
    ...words,
  ];
}
