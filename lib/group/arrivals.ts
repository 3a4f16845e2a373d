// SPDX-License-Identifier: Apache-2.0
import type { TcpHandle } from '../hook/tcp';
import type { Addon } from '../native/addon';
import { type Arrivals, standsForConnections } from '../steering/arrivals';
import { isLoopbackAddress } from './key';

const REPORT_MS = 250;
/** Where nothing else tells that connections come a report does, though there be nothing in it, which need not be more often. */
const TICK_MS = 1_000;

export interface ArrivalReport {
  /** Connections by the CPU on which their packets arrived (SO_INCOMING_CPU, socket(7)), loopback left out. */
  cpus: Arrivals[];
  /** Of these connections, arrived on the CPU this process is pinned to. */
  local: number;
  remote: number;
}

/** Samples on which CPUs a process's accepted connections arrive, and reports at most every 250 ms. */
export class ArrivalSampler {
  private readonly counts = new Map<number, { connections: number; looked: number }>();
  private seen = 0;
  private reportedAt = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly addon: Addon,
    private readonly core: () => number | undefined,
    private readonly report: (report: ArrivalReport) => void,
  ) {}

  /**
   * Looks at the connections that `handle` accepts from now on.
   * @param sees whether they can come from another machine
   * @param ticks whether each is worth a report, as there is no balancing
   */
  attach(handle: TcpHandle, { sees, ticks }: { sees: boolean; ticks: boolean }): void {
    if (!sees && !ticks) return;
    const inner = handle.onconnection;
    const sampler = this;
    handle.onconnection = function onconnection(this: TcpHandle, status, client) {
      if (client !== undefined && sees) sampler.see(client);
      if (ticks) sampler.tick();
      return Reflect.apply(inner, this, [status, client]);
    };
  }

  private tick(): void {
    if (!this.timer && performance.now() - this.reportedAt >= TICK_MS) this.reportSoon();
  }

  private see(client: TcpHandle): void {
    const connections = standsForConnections(++this.seen);
    if (connections === 0) return;
    const name: { address?: string } = {};
    if (client.getsockname(name) < 0 || isLoopbackAddress(name.address ?? '')) return;
    const cpu = this.addon.incomingCpu(client.fd);
    if (cpu < 0) return;
    const count = this.counts.get(cpu) ?? { connections: 0, looked: 0 };
    count.connections += connections;
    count.looked++;
    this.counts.set(cpu, count);
    this.reportSoon();
  }

  /** At the same moment in every worker: reports of different spans would look like a lopsided machine. */
  private reportSoon(): void {
    this.timer ??= setTimeout(() => this.flush(), REPORT_MS - (Date.now() % REPORT_MS)).unref();
  }

  private flush(): void {
    this.timer = undefined;
    this.reportedAt = performance.now();
    const cpus = [...this.counts].map(
      ([cpu, { connections, looked }]): Arrivals => [cpu, connections, looked],
    );
    this.counts.clear();
    const core = this.core();
    let local = 0;
    let total = 0;
    for (const [cpu, connections] of cpus) {
      total += connections;
      if (cpu === core) local += connections;
    }
    this.report({ cpus, local, remote: total - local });
  }
}
