// SPDX-License-Identifier: Apache-2.0
// One client process: it runs one load at a time, as the demo says over the IPC channel.
import { type Load, startAutocannon } from '../lib/load/autocannon';
import type { FromClient, LoadSpec, ToClient } from './load-messages';
import { Recorder } from './recorder';
import { startUndici } from './undici';

let load: Load | undefined;
let recorder = new Recorder();

function start(spec: LoadSpec): void {
  recorder = new Recorder();
  load = spec.driver === 'undici' ? startUndici(spec, recorder) : startAutocannon(spec, recorder);
}

async function obey(message: ToClient): Promise<FromClient> {
  switch (message.kind) {
    case 'start':
      start(message.spec);
      break;
    case 'begin':
      recorder.begin();
      break;
    case 'end':
      return { kind: 'window', window: recorder.end() };
    case 'stop':
      await load?.stop();
      load = undefined;
      break;
  }
  return { kind: 'done' };
}

process.on('message', async (message: ToClient) => {
  const answer = await obey(message);
  if (process.connected) process.send?.(answer);
});
process.on('disconnect', () => process.exit());
// Ctrl-C reaches the whole foreground group: the demo ends its clients itself, after their servers
process.on('SIGINT', () => {});
