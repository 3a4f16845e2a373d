// SPDX-License-Identifier: Apache-2.0
// What the addon does without because a system call is refused: named once, by the call and its error.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addonChild } from './support/addon-child';
import { refusing } from './support/refuse';

const REFUSED = [
  'setsockopt:1=1,2=26:EPERM',
  'setsockopt:1=1,2=27:ENOSYS',
  'getsockopt:1=1,2=49:EINVAL',
  'shutdown:1=0:EACCES',
  'sendto:3=0x4040:EPERM',
];

test('each is named once, however often it fails', async (t) => {
  const script = `
    const fd = addon.bindShared(4, '127.0.0.1', 0, 0);
    addon.listen(fd, 1);
    addon.reportSignals(addon.pair()[0], [15]);
    for (let i = 0; i < 2; i++) {
      for (const name of ['dropSyn', 'keepSyn', 'incomingCpu', 'shutdownRead']) addon[name](fd);
      process.kill(process.pid, 15);
      console.log(JSON.stringify(addon.refusals()));
    }
  `;
  const { output } = await addonChild(t, script, refusing(...REFUSED));
  const [first, second] = output()
    .split('\n')
    .filter((line) => line.startsWith('['))
    .map((line) => JSON.parse(line) as string[]);
  assert.deepEqual(first, [
    'handshakes begin up to the last moment: setsockopt(SO_ATTACH_FILTER) fails (errno 1)',
    'filters stay on their sockets: setsockopt(SO_DETACH_FILTER) fails (errno 38)',
    'it is not known where packets arrive: getsockopt(SO_INCOMING_CPU) fails (errno 22)',
    'a socket that nobody serves stays in its group: shutdown fails (errno 13)',
    'a signal to this process alone is lost: send fails (errno 1)',
  ]);
  assert.deepEqual(second, []);
});

test('what has to do with one descriptor is no refusal', async (t) => {
  const script = `
    const errors = ['dropSyn', 'keepSyn', 'incomingCpu', 'shutdownRead'].map((name) => addon[name](999));
    console.log(JSON.stringify([errors, addon.refusals()]));
  `;
  const { output } = await addonChild(t, script);
  assert.match(output(), /^\[\[-9,-9,-9,-9\],\[\]\]$/m);
});
