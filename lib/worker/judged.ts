// SPDX-License-Identifier: Apache-2.0
import { type BindArguments, REUSE_PORT } from '../group/key';
import type { Addon } from '../native/addon';
import type { InheritedSockets } from './inherited';

const ANSWER_MS = 5_000;

/**
 * Node's own tests, run as a worker (TEST_GROUPS), listen on port 0: scripts/util/judging-origin.cjs opens a listener group
 * for it at once, so that the socket is there as that of a fixed port is.
 * @returns the address with the port that it has got; as it was where there is none
 */
export function openAnyPort(
  { addon, control }: { addon: Addon; control: number },
  inherited: InheritedSockets,
  bind: BindArguments,
): BindArguments {
  // as an origin leaves them to the app: bindReason in lib/origin/eligible.ts
  if ((bind.flags & REUSE_PORT) !== 0) return bind;
  addon.send(control, `open ${JSON.stringify(bind)}`, []);
  inherited.read(ANSWER_MS);
  const { opened: port = 0 } = inherited;
  inherited.opened = undefined;
  return { ...bind, port };
}
