// SPDX-License-Identifier: Apache-2.0
import { copyFileSync, mkdirSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';

/** The platform's name under prebuilds/. */
export function host() {
  const musl = !process.report?.getReport?.().header.glibcVersionRuntime;
  return `linux-${process.arch}-${musl ? 'musl' : 'glibc'}`;
}

/** Copies an addon in one step, and as a new file: a running program may have the old one mapped. */
export function install(made, target) {
  mkdirSync(dirname(target), { recursive: true });
  const beside = `${target}.${process.pid}`;
  copyFileSync(made, beside);
  renameSync(beside, target);
}
