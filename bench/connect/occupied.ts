// SPDX-License-Identifier: Apache-2.0
// A network in which so many ports towards one destination are held.
import type { ChildProcess } from 'node:child_process';
import { compiled } from '../lib/compiled';
import { choosePlace, clientWords, type Place } from '../lib/place';
import { killGroup, runProgram, startReady } from '../lib/processes';
import { Server } from '../lib/server';
import { environment } from '../lib/variants';
import type { Holder, Plan, PortRange } from './plan';

const HOLD_MS = 30_000;

/**
 * The measured client has the CPU that is a server's elsewhere, which others use least. Ports in TIME_WAIT rest:
 * tcp_tw_reuse lets loopback connections take them again after a second (Documentation/networking/ip-sysctl.rst).
 * @throws Error where there is no network of one's own
 */
export async function placeFor({ low, high }: PortRange, holder: Holder): Promise<Place> {
  const place = choosePlace({
    'net/ipv4/ip_local_port_range': `${low} ${high}`,
    ...(holder === 'time-wait' ? { 'net/ipv4/tcp_tw_reuse': '0' } : {}),
  });
  const { network, clientCpu, serverCpu } = place;
  if (!network) throw new Error('there is no network namespace of its own (unshare --net fails)');
  const words = [...network.make, 'cat', '/proc/sys/net/ipv4/ip_local_port_range'];
  const { stdout } = await runProgram('unshare', words, process.env, HOLD_MS);
  if (stdout.trim() !== `${low}\t${high}`)
    throw new Error(`the ports of a network namespace cannot be chosen here: ${stdout.trim()}`);
  const text = `client on CPU ${serverCpu}, all else on CPU ${clientCpu}, a network namespace for each measure`;
  return { network, serverCpu: clientCpu, clientCpu: serverCpu, text };
}

/** Nobody's: in a namespace of one's own everything below the range is free. */
const portBelow = ({ low }: PortRange): number => low - 1;

/** @param holders where its processes are put */
async function hold(
  place: Place,
  server: Server,
  { low, high }: PortRange,
  plan: Plan,
  holders: ChildProcess[],
): Promise<void> {
  const program = compiled('bench/native/port-holder.c');
  let first = 0;
  const words = (count: number, kind: string): string[] => {
    const numbers = [server.port, low, high, first, count].map(String);
    first += count;
    return clientWords(place, server.pid, [program, ...numbers, kind]);
  };
  for (const count of plan.strangers)
    holders.push(await startReady('port-holder', words(count, 'established'), environment(0, {})));
  if (plan.timeWait > 0)
    await runProgram('port-holder', words(plan.timeWait, 'time-wait'), environment(0, {}), HOLD_MS);
}

/** Uses a fresh server towards which all is held that the measured process does not hold itself. */
export async function withOccupied<T>(
  place: Place,
  range: PortRange,
  plan: Plan,
  use: (server: Server) => Promise<T>,
): Promise<T> {
  const port = portBelow(range);
  const words = [compiled('bench/native/server.c'), String(port), String(plan.servers), 'byte'];
  const server = await Server.start(place, { words, env: environment(port, {}), port });
  const holders: ChildProcess[] = [];
  try {
    await hold(place, server, range, plan, holders);
    return await use(server);
  } finally {
    for (const holder of holders) killGroup(holder);
    await server.stop();
  }
}
