// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Figures, ModeSummary, Summary } from '../bench/demo/types';
import { verdict } from '../bench/demo/verdict';
import { modeSummary, summary } from './demo-helper';

const said = (changes: Partial<Summary> = {}): string => verdict(summary(changes)).join('\n');

function withFast(short: Partial<Figures>, changes: Partial<ModeSummary> = {}): Partial<Summary> {
  return { modes: [modeSummary('plain'), modeSummary('cluster'), modeSummary('fastsocket', short, changes)] };
}

test('two cores: the client shares them, throughput is a lower bound, CPU is what to read', () => {
  assert.match(
    said(),
    /same 2 cores.*takes about one.*lower bound.*CPU per connection is the figure to read/,
  );
  assert.doesNotMatch(said({ cores: 8, clients: 4 }), /takes about one/);
  assert.match(said({ cores: 8, clients: 4 }), /4 client processes run on the same 8 cores/);
  assert.match(said({ cores: 1 }), /one core: nothing can be spread/);
});

test('a gain is told with its rounds, against plain Node and cluster', () => {
  const text = said(withFast({ perSecond: [7_500, 8_000, 7_000], cpuUs: [50, 60, 55] }));
  assert.match(
    text,
    /short connections: against plain Node 1\.50x \(1\.40-1\.60\) connections per second at 0\.55x \(0\.50-0\.60\) the CPU/,
  );
  assert.match(text, /against cluster 1\.50x/);
  assert.doesNotMatch(text, /does not win/);
});

test('where fastsocket does not win, it says so', () => {
  const text = said(withFast({ perSecond: [4_000, 4_000, 4_000], cpuUs: [130, 140, 150] }));
  assert.match(
    text,
    /does not win here:.*fewer connections per second than plain Node \(short connections, 0\.80x\)/,
  );
  assert.match(text, /more CPU per connection than plain Node \(short connections, 1\.40x\)/);
  assert.match(text, /short connections, 0\.80x\), more CPU per connection than plain/);
  assert.match(
    text,
    /than cluster \(short connections, 0\.80x\) and more CPU per connection than cluster \(short connections, 1\.40x\)\./,
  );
  assert.match(text, /pays where one core is not enough/);
});

test('rounds that disagree are no difference', () => {
  const text = said(withFast({ perSecond: [4_000, 6_000, 4_500] }));
  assert.match(text, /0\.90x \(0\.80-1\.20, no clear difference\)/);
  assert.doesNotMatch(text, /does not win/);
});

test('a client that is full is the bottleneck, and is named', () => {
  assert.match(
    said(withFast({ clientBusy: [0.97, 0.97, 0.97] })),
    /client was the bottleneck for fastsocket \(short connections\)/,
  );
  assert.doesNotMatch(said(), /bottleneck/);
});

test('a full server process, and full cores, are limits of another kind', () => {
  assert.match(
    said(withFast({ serverBusy: [0.98, 0.99, 1] })),
    /One server process was full.*fastsocket \(short connections\)/,
  );
  assert.match(
    said(withFast({ serversBusy: [1.4, 1.4, 1.4] })),
    /All cores were full.*fastsocket \(short connections\)/,
  );
});

test('an inactive fastsocket is compared with nothing, and its reason is shown', () => {
  const text = said(
    withFast(
      {},
      { rootServes: true, serving: 1, remarks: ['fastsocket: the app runs as plain Node: no luck'] },
    ),
  );
  assert.match(text, /NOT active.*no luck/);
  assert.doesNotMatch(text, /against plain Node/);
  const missing: Summary['missing'] = [{ mode: 'fastsocket', why: 'not built' }];
  assert.match(
    said({ modes: [modeSummary('plain'), modeSummary('cluster')], missing }),
    /fastsocket is missing: not built/,
  );
});

test('local connections: chance on loopback, steered, or unknown', () => {
  assert.match(said(), /share is chance/);
  assert.match(said(withFast({ local: 0.99 })), /steers by CPU here/);
  const modes = [modeSummary('plain', { local: undefined }), modeSummary('fastsocket', { local: undefined })];
  assert.match(said({ modes }), /n\/a: the native addon is not there/);
});

test('disturbances and failures come up, and only then', () => {
  const noisy = modeSummary('plain');
  for (const load of Object.values(noisy.loads)) load.foreign = [0.8, 0.8, 0.8];
  assert.match(
    verdict(summary({ modes: [noisy] }))[0] ?? '',
    /Other programs used 0\.8 cores of this machine/,
  );
  assert.match(said(withFast({ failed: 3 })), /failed or were answered wrongly: 3 with fastsocket/);
  assert.match(said(withFast({}, { killed: 1 })), /SIGTERM did not end all processes within 3 s: fastsocket/);
  assert.doesNotMatch(said(), /Other programs|failed|SIGTERM/);
});

test('no sentence has a hole in it', () => {
  for (const text of [said(), said({ cores: 1 }), said({ modes: [modeSummary('plain')] })]) {
    assert.doesNotMatch(text, /NaN|undefined|Infinity|\[object/);
  }
});
