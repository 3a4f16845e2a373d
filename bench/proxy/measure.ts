// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Taken } from '../lib/compare';
import { compiled } from '../lib/compiled';
import { freePort } from '../lib/free-port';
import { finClient } from '../lib/load/clients';
import { drive, type Load, type Measure, measure } from '../lib/load/run';
import { type Place, placeBeside } from '../lib/place';
import { cpuNs } from '../lib/proc';
import { Reports } from '../lib/reports';
import { Server } from '../lib/server';
import { environment } from '../lib/variants';
import { type ProcessReport, together } from './reports';
import type { Variant } from './variants';

/** Within so long all processes serve, or never will. */
const START_MS = 10_000;
const TOUCH_S = 0.2;
const MOST_WARM_S = 1;

export interface ProxyMeasure extends Measure {
  /** By how much the event loop of a process was late, 99 of 100 times at most; of the process where that is most. */
  delayMs: number;
  /** Processes that accepted. */
  serving: number;
}

interface Proxied {
  place: Place;
  server: Server;
  backend: Server;
  reports: Reports<ProcessReport>;
}

/** A backend in a network of its own, and a fresh proxy beside it. */
async function withProxy<T>(
  place: Place,
  variant: Variant,
  use: (proxied: Proxied) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'fastsocket-proxy-'));
  const socket = join(folder, 'reports.sock');
  const reports = await Reports.listen<ProcessReport>(socket);
  const servers: Server[] = [];
  const start = async (where: Place, port: number, words: readonly string[], env: Record<string, string>) => {
    const server = await Server.start(where, { words, env: environment(port, env), port });
    servers.unshift(server);
    return server;
  };
  try {
    const backendPort = await freePort();
    const program = compiled('bench/native/server.c');
    const backend = await start(place, backendPort, [program, String(backendPort), '1', 'http'], {});
    const beside = placeBeside(place, backend.pid);
    const env = { ...variant.env, BACKEND: String(backendPort), REPORTS: socket };
    const server = await start(beside, await freePort(), variant.words, env);
    return await use({ place: beside, server, backend, reports });
  } finally {
    for (const server of servers) await server.stop();
    reports.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Asks until as many processes accept as there are to be. */
async function settled(
  { place, server, reports }: Proxied,
  { name, workers }: Variant,
  load: Load,
): Promise<void> {
  for (const end = performance.now() + START_MS; ; ) {
    const before = await reports.ask();
    await drive(place, server, { ...load, seconds: TOUCH_S });
    const { serving } = together(before, await reports.ask());
    if (serving >= workers) return;
    if (performance.now() > end)
      throw new Error(
        `${name}: ${serving} of ${workers} processes accept after ${START_MS} ms\n${server.stderr}`,
      );
  }
}

/** What a request costs a fresh proxy that has as much to do as it can. */
export function measureProxy(
  place: Place,
  variant: Variant,
  { clients, seconds }: { clients: number; seconds: number },
): Promise<Taken<ProxyMeasure>> {
  return withProxy(place, variant, async (proxied) => {
    const { server, backend, reports } = proxied;
    const load = { client: finClient(), connections: clients, seconds };
    await settled(proxied, variant, load);
    await drive(proxied.place, server, { ...load, seconds: Math.min(MOST_WARM_S, seconds) });
    const before = await reports.ask();
    const { measure: common } = await measure(proxied.place, server, load, undefined, () =>
      cpuNs(backend.pid),
    );
    const { delayMs, serving } = together(before, await reports.ask());
    const few = serving < variant.workers ? `${serving} of ${variant.workers} processes accepted` : undefined;
    return { measure: { ...common, delayMs, serving }, remark: few ?? variant.remark(server.stderr) };
  });
}
