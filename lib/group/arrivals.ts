// SPDX-License-Identifier: Apache-2.0
import type { TcpHandle } from '../hook/tcp';
import type { Addon } from '../native/addon';
import { isLoopbackAddress } from './key';

/** Every connection is looked at up to here, then one in SPARSE. */
const DENSE = 2_000;
const SPARSE = 16;
const REPORT_MS = 250;

export interface ArrivalReport {
  /** Connections by the CPU on which their packets arrived (SO_INCOMING_CPU, socket(7)), loopback left out. */
  cpus: [cpu: number, count: number][];
  /** Of these, arrived on the CPU this process is pinned to. */
  local: number;
  remote: number;
}

/** Samples on which CPUs a process's accepted connections arrive, and reports at most every 250 ms. */
export class ArrivalSampler {
  private readonly counts = new Map<number, number>();
  private seen = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly addon: Addon,
    private readonly core: () => number | undefined,
    private readonly report: (report: ArrivalReport) => void,
  ) {}

  /** Looks at the connections that `handle` accepts from now on. */
  attach(handle: TcpHandle): void {
    const inner = handle.onconnection;
    const sampler = this;
    handle.onconnection = function onconnection(this: TcpHandle, status, client) {
      if (client !== undefined) sampler.see(client);
      return Reflect.apply(inner, this, [status, client]);
    };
  }

  private see(client: TcpHandle): void {
    if (this.seen++ >= DENSE && this.seen % SPARSE !== 0) return;
    const name: { address?: string } = {};
    if (client.getsockname(name) < 0 || isLoopbackAddress(name.address ?? '')) return;
    const cpu = this.addon.incomingCpu(client.fd);
    if (cpu < 0) return;
    this.counts.set(cpu, (this.counts.get(cpu) ?? 0) + 1);
    // at the same moment in every worker: reports of different spans would look like a lopsided machine
    this.timer ??= setTimeout(() => this.flush(), REPORT_MS - (Date.now() % REPORT_MS)).unref();
  }

  private flush(): void {
    this.timer = undefined;
    const cpus = [...this.counts];
    this.counts.clear();
    const core = this.core();
    let local = 0;
    let total = 0;
    for (const [cpu, count] of cpus) {
      total += count;
      if (cpu === core) local += count;
    }
    this.report({ cpus, local, remote: total - local });
  }
}
