// SPDX-License-Identifier: Apache-2.0
import { debug, say } from '../log';
import type { State } from '../state';
import { appForks } from './eligible';

/** From now on the app is one process. An app that forks its own workers knows why, the others are told. */
export function becomeSingle(state: State, reason: string): void {
  state.reason = reason;
  state.active = false;
  if (!appForks()) say(`the app runs as plain Node: ${reason}`);
  else debug('one process: %s', reason);
}
