// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { afterEach, test } from 'node:test';
import {
  debugEnabled,
  debugListed,
  marker,
  seamAsked,
  setMarker,
  snapshotEnvironment,
  switchedOff,
} from '../lib/config/environment';
import { parseSettings } from '../lib/config/settings';

const before = { ...process.env };
afterEach(() => {
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
  Object.assign(process.env, before);
});

test('the kill switch', () => {
  for (const value of ['off', 'OFF', '0', 'false', 'no', ' off ']) {
    process.env['FASTSOCKET'] = value;
    assert.equal(switchedOff(), true, value);
  }
  for (const value of ['', 'on', '1', 'offf']) {
    process.env['FASTSOCKET'] = value;
    assert.equal(switchedOff(), false, value);
  }
});

test('the kill switch agrees with the settings', () => {
  for (const value of [
    'off',
    'OFF',
    ' Off ',
    '0',
    'false',
    'no',
    '',
    ' ',
    'on',
    '1',
    'true',
    'yes',
    'offf',
    '00',
    'n',
  ]) {
    process.env['FASTSOCKET'] = value;
    assert.equal(switchedOff(), parseSettings(process.env).settings?.off === true, value);
  }
});

test('the marker is set, seen by programs started later, and removed', () => {
  const inChild = () =>
    spawnSync(process.execPath, ['-p', 'String(process.env.FASTSOCKET_CORE)']).stdout.toString().trim();
  setMarker('3');
  assert.equal(marker(), '3');
  assert.equal(inChild(), '3');
  setMarker(undefined);
  assert.equal(marker(), undefined);
  assert.equal(inChild(), 'undefined');
});

test('the snapshot stays as it was', () => {
  process.env['SECRET'] = 's';
  const snapshot = snapshotEnvironment();
  delete process.env['SECRET'];
  assert.equal(snapshot['SECRET'], 's');
  snapshot['SECRET'] = 'other';
  assert.equal(process.env['SECRET'], undefined);
});

const LISTS = [
  'fastsocket',
  'FASTSOCKET',
  'net,fastsocket',
  'fastsocket,net',
  'fast*',
  '*',
  'fast.ocket',
  'fastsocketx',
  'xfastsocket',
  'net',
  ',',
  'net,',
  ' fastsocket',
  'fast|fastsocket',
  'f*t',
  '(fastsocket)',
  '',
];

test("NODE_DEBUG follows Node's own rule, list by list", () => {
  const script = "process.stdout.write(String(require('node:util').debuglog('fastsocket').enabled))";
  for (const list of LISTS) {
    const node = spawnSync(process.execPath, ['-e', script], { env: { ...before, NODE_DEBUG: list } });
    assert.equal(String(debugListed(list, 'fastsocket')), node.stdout.toString(), JSON.stringify(list));
  }
  assert.equal(debugListed(undefined, 'fastsocket'), false);
  process.env['NODE_DEBUG'] = 'http,fastsocket';
  assert.equal(debugEnabled(), true);
  process.env['NODE_DEBUG'] = 'http';
  assert.equal(debugEnabled(), false);
});

test("the environment of PM2's cluster mode counts before PM2 has spread it", () => {
  process.env['FASTSOCKET_SEAM'] = 'off';
  for (const [json, off, seam] of [
    ['{"FASTSOCKET":"off"}', true, false],
    ['{"FASTSOCKET":0}', true, false],
    ['{"FASTSOCKET_SEAM":"on","instances":2}', false, true],
    ['{}', false, false],
    ['null', false, false],
    ['no JSON', false, false],
  ] as const) {
    process.env['pm2_env'] = json;
    assert.deepEqual([switchedOff(), seamAsked()], [off, seam], json);
  }
});

test('and what PM2 has spread is part of the settings that this process was started with', () => {
  const script = `process.env = {}; console.log(JSON.stringify(require(${JSON.stringify(
    require.resolve('../lib/config/environment'),
  )}).initialSettings()))`;
  const env = { PATH: '/', FASTSOCKET: 'on', pm2_env: '{"FASTSOCKET_WORKERS":3,"FASTSOCKET":"off"}' };
  const { stdout } = spawnSync(process.execPath, ['-e', script], { env });
  assert.deepEqual(JSON.parse(stdout.toString()), { FASTSOCKET: 'off', FASTSOCKET_WORKERS: '3' });
});
