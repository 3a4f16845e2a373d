// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BALANCE_PIECES,
  DEFAULT_SETTINGS,
  type Environment,
  parseSettings,
  SEAM_PIECES,
  type Settings,
} from '../lib/config/settings';

function settingsOf(env: Environment): Settings {
  const parsed = parseSettings(env);
  assert.equal(parsed.error, undefined);
  return parsed.settings as Settings;
}

function errorOf(env: Environment): string {
  const { error, settings } = parseSettings(env);
  assert.equal(settings, undefined);
  assert.ok(error, `no error for ${JSON.stringify(env)}`);
  return error;
}

test('an empty environment gives the defaults, and blank means unset', () => {
  assert.deepEqual(settingsOf({}), DEFAULT_SETTINGS);
  const blank = {
    FASTSOCKET: ' ',
    FASTSOCKET_WORKERS: '',
    FASTSOCKET_PIN: ' ',
    FASTSOCKET_STEER: '',
    FASTSOCKET_EXIT_WAIT_MS: '',
  };
  assert.deepEqual(settingsOf(blank), DEFAULT_SETTINGS);
  assert.equal(DEFAULT_SETTINGS.exitWaitMs, 10_000);
});

test('FASTSOCKET is a switch in any of its spellings', () => {
  for (const value of ['off', '0', 'false', 'no', 'OFF', ' Off '])
    assert.equal(settingsOf({ FASTSOCKET: value }).off, true, value);
  for (const value of ['on', '1', 'true', 'yes', 'On', ''])
    assert.equal(settingsOf({ FASTSOCKET: value }).off, false, value);
});

test('switched off, nothing else is looked at', () => {
  const parsed = parseSettings({ FASTSOCKET: 'off', FASTSOCKET_WORKERS: 'many', FASTSOCKET_WROKERS: '1' });
  assert.deepEqual(parsed, { settings: { ...DEFAULT_SETTINGS, off: true }, warnings: [] });
});

test('FASTSOCKET_WORKERS: auto, a number, a percentage', () => {
  const workers = (value: string) => settingsOf({ FASTSOCKET_WORKERS: value }).workers;
  assert.deepEqual(workers('auto'), { kind: 'auto' });
  assert.deepEqual(workers('1'), { kind: 'count', n: 1 });
  assert.deepEqual(workers(' 1024 '), { kind: 'count', n: 1024 });
  assert.deepEqual(workers('50%'), { kind: 'percent', p: 50 });
  assert.deepEqual(workers('100 %'), { kind: 'percent', p: 100 });
});

test('FASTSOCKET_TEST_GROUPS is for tests: no word of it to users', () => {
  assert.equal(settingsOf({ FASTSOCKET_TEST_GROUPS: 'held' }).testGroups, 'held');
  assert.match(
    errorOf({ FASTSOCKET_TEST_GROUPS: 'on' }),
    /FASTSOCKET_TEST_GROUPS='on' .*\(free, held, worker\)/,
  );
  const { warnings } = parseSettings({ FASTSOCKET_TEST_GROUPS: 'free', FASTSOCKET_NONSENSE_NAME: '1' });
  assert.equal(warnings.length, 1);
  assert.doesNotMatch(warnings[0] as string, /TEST_GROUPS/);
});

test('FASTSOCKET_SEAM: everything, nothing, or a list', () => {
  assert.deepEqual(settingsOf({}).seam, SEAM_PIECES);
  assert.deepEqual(settingsOf({ FASTSOCKET_SEAM: 'On' }).seam, SEAM_PIECES);
  for (const word of ['off', '0', 'False', 'no'])
    assert.deepEqual(settingsOf({ FASTSOCKET_SEAM: word }).seam, []);
  assert.deepEqual(settingsOf({ FASTSOCKET_SEAM: 'read, batch' }).seam, ['batch', 'read']);
  assert.equal(settingsOf({}).deferAccept, false);
  assert.equal(settingsOf({ FASTSOCKET_DEFER_ACCEPT: 'yes' }).deferAccept, true);
});

test('FASTSOCKET_BALANCE: the same', () => {
  assert.deepEqual(settingsOf({}).balance, BALANCE_PIECES);
  for (const word of ['on', 'AUTO', '1']) {
    assert.deepEqual(settingsOf({ FASTSOCKET_BALANCE: word }).balance, BALANCE_PIECES);
  }
  assert.deepEqual(settingsOf({ FASTSOCKET_BALANCE: 'off' }).balance, []);
  assert.deepEqual(settingsOf({ FASTSOCKET_BALANCE: 'swap,steal' }).balance, ['steal', 'swap']);
});

test('workersSet is about FASTSOCKET_WORKERS alone', () => {
  assert.equal(settingsOf({ FASTSOCKET_WORKERS: 'auto' }).workersSet, true);
  assert.equal(settingsOf({ FASTSOCKET_WORKERS: '' }).workersSet, false);
  assert.equal(settingsOf({ WEB_CONCURRENCY: '4' }).workersSet, false);
});

test('WEB_CONCURRENCY is honoured when FASTSOCKET_WORKERS is unset or blank, and never an error', () => {
  assert.deepEqual(settingsOf({ WEB_CONCURRENCY: '4' }).workers, { kind: 'count', n: 4 });
  assert.deepEqual(settingsOf({ WEB_CONCURRENCY: '4', FASTSOCKET_WORKERS: '' }).workers, {
    kind: 'count',
    n: 4,
  });
  assert.deepEqual(settingsOf({ WEB_CONCURRENCY: '4', FASTSOCKET_WORKERS: '2' }).workers, {
    kind: 'count',
    n: 2,
  });
  assert.deepEqual(settingsOf({ WEB_CONCURRENCY: '4', FASTSOCKET_WORKERS: 'auto' }).workers, {
    kind: 'auto',
  });
  for (const value of ['0', '-1', 'auto', '2.5', '1e2', '50%', '99999', '']) {
    assert.deepEqual(settingsOf({ WEB_CONCURRENCY: value }).workers, { kind: 'auto' }, value);
  }
});

test('FASTSOCKET_PIN: auto, on, off, a list', () => {
  const pin = (value: string) => settingsOf({ FASTSOCKET_PIN: value }).pin;
  assert.deepEqual(pin('auto'), { kind: 'auto' });
  assert.deepEqual(pin('ON'), { kind: 'auto' });
  assert.deepEqual(pin('off'), { kind: 'off' });
  assert.deepEqual(pin('0-3,8'), { kind: 'list', cpus: [0, 1, 2, 3, 8] });
  assert.deepEqual(pin('1'), { kind: 'list', cpus: [1] }, 'a bare number is a CPU, not a switch');
});

test('FASTSOCKET_CONNECT: a mode, or a switch', () => {
  const connect = (value: string) => settingsOf({ FASTSOCKET_CONNECT: value }).connect;
  assert.equal(settingsOf({}).connect, 'auto');
  for (const mode of ['auto', 'rfd', 'rss', 'learn', 'off']) assert.equal(connect(mode.toUpperCase()), mode);
  for (const word of ['on', '1', 'true', 'yes']) assert.equal(connect(word), 'auto');
  for (const word of ['0', 'false', 'no']) assert.equal(connect(word), 'off');
});

test('FASTSOCKET_STEER and FASTSOCKET_EXIT_WAIT_MS', () => {
  for (const steer of ['auto', 'cpu', 'hash', 'ip'])
    assert.equal(settingsOf({ FASTSOCKET_STEER: steer.toUpperCase() }).steer, steer);
  assert.equal(settingsOf({ FASTSOCKET_EXIT_WAIT_MS: '0' }).exitWaitMs, 0);
  assert.equal(settingsOf({ FASTSOCKET_EXIT_WAIT_MS: '600000' }).exitWaitMs, 600_000);
});

const BAD: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['FASTSOCKET', ['maybe', '2', 'offf'], /on, 1, true, yes, off, 0, false or no/],
  [
    'FASTSOCKET_WORKERS',
    ['0', '-1', '1025', '1.5', '0x10', '0%', '101%', '%', 'max', '1e3', '4 workers'],
    /auto, a number from 1 to 1024, or a percentage/,
  ],
  ['FASTSOCKET_PIN', ['yes', '3-1', '0-3,', '9999999'], /auto, on, off, or a list of CPUs such as 0-3,8/],
  ['FASTSOCKET_STEER', ['rss', 'off', '1'], /auto, cpu, hash or ip/],
  [
    'FASTSOCKET_SEAM',
    ['maybe', 'batch,all', 'batch,'],
    /on, off, or a list of batch, nodelay, read, fds, backlog/,
  ],
  ['FASTSOCKET_BALANCE', ['ip', 'steal,all', 'steal,'], /on, off, or a list of steal, swap, shares/],
  ['FASTSOCKET_DEFER_ACCEPT', ['1s', 'auto'], /on, 1, true, yes, off, 0, false or no/],
  ['FASTSOCKET_CONNECT', ['rps', 'rss,learn', '2'], /auto, rfd, rss, learn or off/],
  ['FASTSOCKET_EXIT_WAIT_MS', ['-1', '10s', '600001', 'Infinity', '1.5'], /milliseconds from 0 to 600000/],
];

for (const [name, values, allowed] of BAD) {
  test(`${name}: a bad value gets one line with setting, value, what is allowed, and the outcome`, () => {
    for (const value of values) {
      const line = errorOf({ [name]: value });
      assert.ok(line.includes(`${name}='${value}'`), line);
      assert.match(line, allowed);
      assert.match(line, /plain Node/);
      assert.doesNotMatch(line, /\n/);
    }
  });
}

test('the value shown is escaped and cut', () => {
  const hostile = errorOf({ FASTSOCKET_STEER: "a\nb\r\t\u001b[31m\u009b\\'\u202e\u{1f600}\0z" });
  assert.ok(hostile.includes("='a\\nb\\r\\t\\x1b[31m\\x9b\\\\\\'\\u{202e}\\u{1f600}\\x00z' is"), hostile);
  assert.match(hostile, /^[\x20-\x7e]+$/);

  const shown = (value: string): string =>
    /='(.*)'\.\.\. is/.exec(errorOf({ FASTSOCKET_PIN: value }))?.[1] ?? assert.fail();
  assert.equal(shown('x'.repeat(61)), 'x'.repeat(60));
  assert.equal(shown(`${'x'.repeat(58)}\n\n`.padEnd(70, 'y')), `${'x'.repeat(58)}\\n`);
  assert.equal(shown(`${'x'.repeat(59)}\ny`), 'x'.repeat(59), 'an escape is not split');
  assert.match(errorOf({ FASTSOCKET_PIN: 'x'.repeat(60) }), /x{60}' is not/);
});

test('the first of several bad values is named', () => {
  assert.match(errorOf({ FASTSOCKET_WORKERS: 'x', FASTSOCKET_PIN: 'y' }), /^fastsocket: FASTSOCKET_WORKERS=/);
});

test('unknown names are warnings, with a suggestion when it looks like a slip', () => {
  const warn = (name: string) => parseSettings({ [name]: '1' }).warnings;
  assert.match(
    warn('FASTSOCKET_WORKER')[0] ?? '',
    /FASTSOCKET_WORKER is not a setting.*did you mean FASTSOCKET_WORKERS\?/,
  );
  assert.match(warn('FASTSOCKET_WROKERS')[0] ?? '', /did you mean FASTSOCKET_WORKERS\?/);
  assert.match(warn('FASTSOCKET_STEERING')[0] ?? '', /not a setting/);
  assert.match(warn('FASTSOCKET_PINN')[0] ?? '', /did you mean FASTSOCKET_PIN\?/);
  assert.match(warn('FASTSOCKET_COLOUR')[0] ?? '', /there are: FASTSOCKET, FASTSOCKET_WORKERS/);
  assert.match(warn('FASTSOCKET_A\nB')[0] ?? '', /^fastsocket: FASTSOCKET_A\\nB is not/);
  assert.equal(warn('FASTSOCKET_RFD').length, 1);
});

test('known and foreign names are no warnings', () => {
  const known = {
    FASTSOCKET_CORE: 'origin',
    FASTSOCKET_PIN: 'off',
    FASTSOCKETS: '1',
    PATH: '/',
    MY_FASTSOCKET_X: '1',
  };
  assert.deepEqual(parseSettings(known).warnings, []);
  const serviceLinks = [
    'SERVICE_HOST',
    'SERVICE_PORT',
    'SERVICE_PORT_HTTP',
    'PORT',
    'PORT_80_TCP',
    'PORT_80_TCP_PROTO',
    'PORT_80_TCP_ADDR',
    'API_SERVICE_HOST',
    'API_PORT',
  ];
  for (const suffix of serviceLinks)
    assert.deepEqual(parseSettings({ [`FASTSOCKET_${suffix}`]: 'x' }).warnings, [], suffix);
});
