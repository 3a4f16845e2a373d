// SPDX-License-Identifier: Apache-2.0
// How much net.core.optmem_max a program needs, from the kernel itself.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import type { Program } from '../../lib/steering/bpf';
import { encode } from '../../lib/steering/program';
import { kernelBytes } from '../steering-helper';
import { fixture } from './app';

/** Why that cannot be asked here; false where it can. */
export function whyNoOptmem(): string | false {
  const works =
    process.getuid?.() === 0 &&
    spawnSync('unshare', ['-n', 'test', '-w', '/proc/sys/net/core/optmem_max']).status === 0;
  return !works && 'needs root and an optmem_max of its own in a network namespace (Linux 6.8)';
}

/** The least value with which each of the programs can be attached. */
export function optmemFor(programs: readonly Program[]): number[] {
  const input = JSON.stringify(programs.map((program) => Buffer.from(encode(program)).toString('base64')));
  const report = process.report.getReport() as unknown as { sharedObjects: string[] };
  const path =
    report.sharedObjects.find((object) => object.endsWith('fastsocket.node')) ??
    assert.fail('where is the addon?');
  const words = ['-n', process.execPath, '--no-deprecation', fixture('steering-optmem.js'), path];
  const child = spawnSync('unshare', words, { input, encoding: 'utf8' });
  assert.equal(child.status, 0, child.stderr);
  return JSON.parse(child.stdout) as number[];
}

/** The tests' own estimate of a program's size is what the kernel says. */
export function assertEstimates(needed: readonly number[], programs: readonly Program[]): void {
  needed.forEach((bytes, i) => {
    const estimate = kernelBytes(programs[i] as Program);
    assert.ok(Math.abs(estimate - bytes) < 64, `program ${i}: ${bytes} bytes, estimated ${estimate}`);
  });
}
