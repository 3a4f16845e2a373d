// SPDX-License-Identifier: Apache-2.0
// What is decided about source ports, without a kernel.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { queueCpus, receiveQueue } from '../lib/connect/interrupts';
import { BUDGET, type Counts, firstStep, type Method, nextStep, type Step } from '../lib/connect/policy';
import { portGroups, portShare } from '../lib/connect/port-share';

const ZERO: Counts = { looked: 0, local: 0, steered: 0, steeredLooked: 0, steeredLocal: 0 };

/** Lets connections end until the step changes, or until there were as many as `most`: where it is then, and how many. */
function run(
  step: Step,
  methods: readonly Method[],
  share: (step: Step) => number,
  most = 5_000,
): { step: Step; counts: Counts; took: number } {
  const counts = { ...step.from };
  for (let took = 1; took <= most; took++) {
    const local =
      share(step) >= 1 || Math.floor(took * share(step)) > Math.floor((took - 1) * share(step)) ? 1 : 0;
    counts.looked++;
    counts.local += local;
    if ('method' in step) {
      counts.steered++;
      counts.steeredLooked++;
      counts.steeredLocal += local;
    }
    const next = nextStep(step, { ...counts }, methods);
    if (next !== step) return { step: next, counts, took };
  }
  return { step, counts, took: most };
}

test('auto does nothing where packets come home by themselves, and looks again whether they still do', () => {
  const methods: Method[] = ['rss', 'learn'];
  const measured = run(firstStep('auto', methods, ZERO, ''), methods, () => 0.99);
  assert.equal(measured.step.phase, 'rest');
  assert.match((measured.step as { why: string }).why, /by themselves/);
  const later = run(measured.step, methods, () => 0.99);
  assert.equal(later.step.phase, 'rest');
  const changed = run(later.step, methods, () => 0.5);
  assert.equal(changed.step.phase, 'measure');
});

test('a method is on trial, then used; below nine in ten it gives way to the next, and then to none', () => {
  const methods: Method[] = ['rfd', 'rss', 'learn'];
  const right: Record<Method, number> = { rfd: 0.1, rss: 1, learn: 0.5 };
  const share = (step: Step) => ('method' in step ? right[step.method] : 0.12);
  let { step } = run(firstStep('auto', methods, ZERO, ''), methods, share);
  assert.deepEqual([step.phase, (step as { method: Method }).method], ['try', 'rfd']);
  const trial = run(step, methods, share);
  assert.ok(trial.took < BUDGET, `${trial.took} connections of a method that is wrong`);
  assert.deepEqual([trial.step.phase, (trial.step as { method: Method }).method], ['try', 'rss']);
  step = run(trial.step, methods, share).step;
  assert.deepEqual([step.phase, (step as { method: Method }).method], ['use', 'rss']);
  // the operator changes the card's table
  right.rss = 0.2;
  step = run(step, methods, share).step;
  assert.deepEqual([step.phase, (step as { method: Method }).method], ['try', 'learn']);
  step = run(step, methods, share).step;
  assert.equal(step.phase, 'rest');
  assert.match((step as { why: string }).why, /learn: 50 % of \d+ came home/);
  // and that is that
  assert.equal(run(step, methods, () => 0.1).step, step);
});

test('learning that is wrong is noticed within 500 connections', () => {
  const { took } = run(firstStep('learn', ['learn'], ZERO, ''), ['learn'], () => 0.5);
  assert.ok(took < 250, `${took}`);
});

test('a method that was asked for and is not possible is not replaced by another', () => {
  const step = firstStep('rss', [], ZERO, 'rss: eth0 has one queue');
  assert.equal(step.phase, 'rest');
  assert.match((step as { why: string }).why, /^not possible here: rss: eth0 has one queue$/);
});

const portsIn = (mask: Uint8Array) =>
  Array.from({ length: 65_536 }, (_, port) => port).filter(
    (port) => ((mask[port >> 3] as number) >> (port & 7)) & 1,
  );

test('hash(p) = p & (ROUND_UP_POWER_OF_2(n) - 1)', () => {
  assert.deepEqual([1, 2, 3, 8, 9, 128].map(portGroups), [1, 2, 4, 8, 16, 128]);
  for (const [workers, index] of [
    [1, 0],
    [2, 1],
    [3, 2],
    [24, 17],
    [128, 127],
  ] as const) {
    const ports = portsIn(portShare(workers, index));
    assert.ok(ports.every((port) => (port & (portGroups(workers) - 1)) === index));
    assert.equal(ports.length, 65_536 / portGroups(workers));
  }
  // a worker beyond the count
  assert.deepEqual(portShare(2, 5), portShare(2, 1));
});

test('the queue that an interrupt is of', () => {
  const queues: [string, number | undefined][] = [
    ['virtio0-input.3', 3],
    ['virtio0-output.3', undefined],
    ['virtio0-config', undefined],
    ['eth0-TxRx-12', 12],
    ['eth0-rx-2', 2],
    ['eth0-tx-2', undefined],
    ['eth0-Tx-Rx-7', 7],
    ['i40e-ens1f0-TxRx-30', 30],
    ['mlx5_comp5@pci:0000:01:00.0', 5],
    ['mlx5_async0@pci:0000:01:00.0', undefined],
    ['ena-mgmnt@pci:0000:00:05.0', undefined],
    ['ahci[0000:00:17.0]', undefined],
    ['timer', undefined],
  ];
  for (const [name, queue] of queues) assert.equal(receiveQueue(name), queue, name);
});

test('the CPU of each queue: one that is asked for before one that is in effect, none where there are several', () => {
  const files: Record<string, string> = {
    '/proc/interrupts': [
      '            CPU0       CPU1',
      '   4:          0         23   IO-APIC   4-edge      ttyS0',
      '  24:          0          0   PCI-MSI 49152-edge      virtio0-config',
      '  25:       1234          0   PCI-MSI 49153-edge      virtio0-input.0',
      '  26:          0         17   PCI-MSI 49154-edge      virtio0-output.0',
      '  27:          0       1234   PCI-MSI 49155-edge      virtio0-input.1',
      '  28:          0          0   PCI-MSI 49156-edge      virtio0-input.2',
      '  29:          0          0   PCI-MSI 49157-edge      virtio1-input.0',
      ' NMI:          0          0   Non-maskable interrupts',
    ].join('\n'),
    '/proc/irq/25/smp_affinity_list': '1\n',
    '/proc/irq/25/effective_affinity_list': '0\n',
    '/proc/irq/27/smp_affinity_list': '0-1\n',
    '/proc/irq/27/effective_affinity_list': '1\n',
    '/proc/irq/28/smp_affinity_list': '0-1\n',
    '/proc/irq/29/smp_affinity_list': '0\n',
  };
  const cpus = queueCpus(
    {
      text: (path) => files[path],
      names: (folder) =>
        folder === '/sys/class/net/eth0/device/../msi_irqs' ? ['24', '25', '26', '27', '28'] : [],
    },
    'eth0',
  );
  assert.deepEqual(
    [...cpus],
    [
      [0, 1],
      [1, 1],
    ],
  );
});
