// SPDX-License-Identifier: Apache-2.0

const LOGIC = [
  'accept',
  'bind',
  'bound',
  'candidates',
  'connect',
  'control',
  'destinations',
  'ends',
  'handles',
  'kept',
  'listen',
  'local_ports',
  'loop',
  'newcomer',
  'offers',
  'open',
  'options',
  'ports',
  'ring',
  'share',
  'steal',
  'survey',
  'wait',
  'wrappers',
];

/** The seam's sources that need no Node, but for those that a test has a model of. */
export const seamLogic = (without: string[] = []): string[] =>
  LOGIC.filter((name) => !without.includes(name)).map((name) => `native/seam/${name}.cc`);

export const modelParts = (names: string[]): string[] => names.map((name) => `test/native/model/${name}.cc`);
