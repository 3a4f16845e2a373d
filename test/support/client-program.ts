// SPDX-License-Identifier: Apache-2.0
// A client program under the hook and under plain Node, where strangers hold most of the ports to where it goes.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { until } from './app';
import { type Connector, connector, type Destination } from './connector';
import { Namespace } from './netns';
import { madeBy } from './tcp-table';

export interface Strangers {
  host: string;
  port: number;
  localAddress?: string;
}

export interface Scenario {
  /** In test/fixtures/clients. */
  script: string;
  /** The server, and whatever else there has to be. */
  server: (t: TestContext, namespace: Namespace) => Promise<unknown>;
  /** Where strangers hold ports. */
  strangers: readonly Strangers[];
  /** Words before node. */
  prefix?: string[];
  /** What happens with the client; what it returns has to be the same in both. */
  play: (client: ClientProgram) => Promise<unknown>;
}

/** The range is so wide that programs get along with what is left. */
const PORTS = 400;
/** Of them, strangers': more than half. */
export const HELD = 240;

/** A namespace with few ports. */
export function place(t: TestContext): Namespace {
  const namespace = new Namespace(t, 'prg');
  namespace.sysctl('net.ipv4.ip_local_port_range', `40000 ${40_000 + PORTS - 1}`);
  // a port in TIME_WAIT stays there, as between two hosts
  namespace.sysctl('net.ipv4.tcp_tw_reuse', 0);
  return namespace;
}

export class ClientProgram {
  constructor(
    readonly namespace: Namespace,
    readonly hook: boolean,
    private readonly client: Connector,
    private readonly stranger: Connector,
    private readonly scenario: Scenario,
  ) {}

  ask<T = unknown>(step: string): Promise<T> {
    return this.client.ask<T>(step);
  }

  destinations(): Promise<Destination[]> {
    return this.client.destinations();
  }

  /** Strangers take their share of what is free. */
  async crowd(): Promise<void> {
    for (const options of this.scenario.strangers) await this.stranger.open(HELD, options);
  }

  /** By the kernel's word. */
  private async sockets(ports: readonly number[]): Promise<number> {
    const { client, namespace } = this;
    const counts = ports.map((port) => madeBy(client.app.pid, port, namespace.prefix));
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  }

  /**
   * Waits until the program has so many sockets towards these ports, and the seam knows of just as many: what has been
   * said last may still be on its way.
   */
  async holds(count: number, ...ports: number[]): Promise<void> {
    let seen: [number, number] = [-1, -1];
    await until(
      async () => {
        const known = (await this.destinations()).filter(({ port }) => ports.includes(port));
        const inUse = known.reduce((sum, one) => sum + one.inUse, 0);
        seen = [await this.sockets(ports), inUse];
        return seen[0] === count && (!this.hook || seen[1] === count);
      },
      () => `${count} sockets to ${ports}: there are ${seen[0]}, and ${seen[1]} known in use`,
      8_000,
    );
  }
}

type Counts = Pick<Destination, 'chosen' | 'byKernel' | 'retries'>;

/**
 * A port is tried again only when no other is left: strangers' ports, and those that they had before, are found taken once
 * each at the most. Where 6 of 10 are taken, one connection in 60 finds none in 8 tries, until more is known, and more where a
 * burst comes before that and takes what is left: of two threads that begin at once it may all be the second one's.
 */
export function assertChosen(destinations: readonly Counts[]): void {
  assert.notDeepEqual(destinations, []);
  const text = JSON.stringify(destinations);
  const sum = (of: keyof Counts): number => destinations.reduce((all, one) => all + one[of], 0);
  assert.ok(sum('byKernel') <= 3 * destinations.length + sum('chosen') / 4, text);
  for (const { chosen, retries } of destinations) {
    assert.ok(chosen > 0, text);
    assert.ok(retries <= 1.25 * HELD, text);
  }
}

async function once(t: TestContext, scenario: Scenario, hook: boolean): Promise<unknown> {
  const { script, server, prefix = [], play } = scenario;
  const namespace = place(t);
  await server(t, namespace);
  const stranger = connector(t, namespace, { hook: false });
  const client = connector(t, namespace, { hook, script: `clients/${script}`, prefix });
  const program = new ClientProgram(namespace, hook, client, stranger, scenario);
  await program.crowd();
  const played = await play(program);
  const destinations = await program.destinations();
  if (hook) {
    t.diagnostic(JSON.stringify(destinations));
    assertChosen(destinations);
  } else assert.deepEqual(destinations, []);
  await client.end();
  await stranger.app.stop();
  return played;
}

/** Plays it under plain Node and under the hook: what is seen has to be the same. */
export async function twins(t: TestContext, scenario: Scenario): Promise<unknown> {
  const plain = await once(t, scenario, false);
  const hooked = await once(t, scenario, true);
  assert.deepEqual(hooked, plain);
  return plain;
}
