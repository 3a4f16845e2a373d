// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';

/** Words before a command that make it process 1 of a PID namespace, like the only program of a container. */
export const UNSHARE = ['unshare', '--fork', '--pid', '--mount-proc', '--kill-child'];

const [command, ...words] = [...UNSHARE, 'true'];

/** Option `skip` of a test that needs one. */
export const whyNotFirst =
  spawnSync(command as string, words).status === 0 ? false : 'no PID namespace can be made here (not root)';
