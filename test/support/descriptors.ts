// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';

/** Why the sockets of another process cannot be looked at (pidfd_getfd(2), by Python); false where they can. */
export const noLookInto =
  process.getuid?.() !== 0 || spawnSync('python3', ['-V']).status !== 0 ? 'needs root and python3' : false;
