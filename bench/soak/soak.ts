// SPDX-License-Identifier: Apache-2.0

import { whole } from '../lib/columns';
import { compiled } from '../lib/compiled';
import { freePort } from '../lib/free-port';
import { type Client, finClient } from '../lib/load/clients';
import { drive } from '../lib/load/run';
import type { Place } from '../lib/place';
import { Progress } from '../lib/progress';
import { type Held, heldBy, soakServer } from './held';
import type { Options } from './options';

const RUDE = ['reset', 'half-close', 'silent', 'garbage', 'mixed'] as const;
const CLIENTS = 128;
const SLICE_S = 5;
/** Much longer than a phase takes: a client that has not ended then hangs. */
const MOST_S = 600;

export interface Phase {
  name: string;
  connections: number;
  failed: number;
  held: Held;
}

function rudeClient(mode: string, count: number): Client {
  const program = compiled('bench/native/rude-client.c');
  return {
    name: mode,
    title: mode,
    words: (port, connections) => [program, String(port), String(connections), String(count), mode],
  };
}

/** Short connections first, then each kind of client that makes no proper request; what the server holds after each. */
export async function soak(place: Place, node: string, options: Options): Promise<Phase[]> {
  const server = await soakServer(place, node, await freePort(), options.hook);
  const progress = new Progress(process.stderr);
  const phases: Phase[] = [];
  const add = async (name: string, connections: number, failed: number) => {
    phases.push({ name, connections, failed, held: await heldBy(server) });
  };
  try {
    await add('at first', 0, 0);
    for (let done = 0, failed = 0; done < options.connections; ) {
      progress.now(`${whole(done)} of ${whole(options.connections)} short connections`);
      const load = { client: finClient(), connections: CLIENTS, seconds: SLICE_S };
      const outcome = await drive(place, server, load);
      failed += outcome.failed;
      const before = done;
      done += outcome.answered;
      const tenth = options.connections / 10;
      if (Math.floor(before / tenth) < Math.floor(done / tenth)) await add('short', done, failed);
    }
    for (const mode of RUDE) {
      progress.now(`${mode}: ${whole(options.rude)} connections`);
      const load = { client: rudeClient(mode, options.rude), connections: CLIENTS, seconds: MOST_S };
      const outcome = await drive(place, server, load);
      await add(mode, outcome.answered, outcome.failed);
    }
  } finally {
    progress.clear();
    await server.stop();
  }
  return phases;
}
