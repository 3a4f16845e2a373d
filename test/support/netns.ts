// SPDX-License-Identifier: Apache-2.0
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { TestContext } from 'node:test';

const nameFor = (role: string) => `fs-${role}-${process.pid}-${Math.floor(Math.random() * 1e6)}`;
const remove = (name: string) => spawnSync('ip', ['netns', 'del', name]);
const ip = (...words: string[]) => execFileSync('ip', words, { stdio: ['ignore', 'ignore', 'inherit'] });

/** Namespaces of test processes that were killed before they could remove them. */
function removeLeftOver(): void {
  for (const line of spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout.split('\n')) {
    const [, name, pid] = /^(fs-[a-z]+-(\d+)-\d+)/.exec(line) ?? [];
    if (name !== undefined && !existsSync(`/proc/${pid}`)) remove(name);
  }
}

/** Why network namespaces cannot be made here; undefined where they can. */
export function whyNoNamespaces(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root for network namespaces';
  const name = nameFor('probe');
  const { status, error } = spawnSync('ip', ['netns', 'add', name]);
  if (error || status !== 0) return 'network namespaces cannot be made here';
  remove(name);
  removeLeftOver();
  return undefined;
}

/** A network namespace of the test's own, gone when it ends. */
export class Namespace {
  readonly name: string;

  constructor(t: TestContext, role: string) {
    this.name = nameFor(role);
    t.after(() => remove(this.name));
    ip('netns', 'add', this.name);
    this.run('ip', 'link', 'set', 'lo', 'up');
  }

  /** Words before a command that is to run in here. */
  get prefix(): string[] {
    return ['ip', 'netns', 'exec', this.name];
  }

  run(...command: string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.name, ...command], { encoding: 'utf8' });
  }

  sysctl(name: string, value: string | number): void {
    this.run('sh', '-c', `echo ${value} > /proc/sys/${name.replaceAll('.', '/')}`);
  }

  /** A counter of /proc/net/netstat or /proc/net/snmp (ListenOverflows, ListenDrops, ...). */
  counter(name: string): number {
    const text = this.run('cat', '/proc/net/netstat', '/proc/net/snmp');
    const lines = text.split('\n');
    for (let i = 0; i + 1 < lines.length; i++) {
      const at = lines[i]?.split(' ').indexOf(name) ?? -1;
      const value = lines[i + 1]?.split(' ')[at];
      if (at > 0 && /^\d+$/.test(value ?? '')) return Number(value);
    }
    throw new Error(`no counter ${name}`);
  }
}

export interface Link {
  server: Namespace;
  client: Namespace;
  address: string;
}

/**
 * Two namespaces and a veth pair. `rps` spreads what the server receives over these CPUs (a mask in hexadecimal), as a
 * network card with several queues does; '0' leaves it where the sender's softirq ran.
 */
export function link(t: TestContext, rps: string): Link {
  const server = new Namespace(t, 'srv');
  const client = new Namespace(t, 'cli');
  ip(
    'link',
    'add',
    'veth0',
    'netns',
    server.name,
    'type',
    'veth',
    'peer',
    'name',
    'veth0',
    'netns',
    client.name,
  );
  for (const [namespace, address] of [
    [server, '10.77.0.1/24'],
    [client, '10.77.0.2/24'],
  ] as const) {
    namespace.run('ip', 'addr', 'add', address, 'dev', 'veth0');
    namespace.run('ip', 'link', 'set', 'veth0', 'up');
  }
  // /sys shows the devices of the namespace it was mounted in: `ip netns exec` mounts it anew
  server.run('sh', '-c', `for q in /sys/class/net/veth0/queues/rx-*; do echo ${rps} > $q/rps_cpus; done`);
  return { server, client, address: '10.77.0.1' };
}
