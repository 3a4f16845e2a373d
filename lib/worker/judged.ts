// SPDX-License-Identifier: Apache-2.0
import type { BindArguments } from '../group/key';
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
  addon.send(control, `open ${JSON.stringify(bind)}`, []);
  inherited.read(ANSWER_MS);
  const { opened: port = 0 } = inherited;
  inherited.opened = undefined;
  return { ...bind, port };
}
