// SPDX-License-Identifier: Apache-2.0
// How the policy shares connections out on machines that are not here: 2 to 128 CPUs, made-up workers and clients, the real
// decisions. The figures are for reading: test/simulation.test.ts holds the bounds.
import { writeFileSync } from 'node:fs';
import { svg } from '../lib/chart';
import { optionsOr, run } from '../lib/main';
import { figuresOf } from './figures';
import { readOptions, USAGE } from './options';
import { drawing, scenarioTable } from './report';
import { scenarioOf } from './scenarios';
import { simulate } from './simulate';

const ABOUT = `Settled: from then on even for a second, open connections within 5 % of their mean, a second's connections within 5 % and
five standard deviations, utilisation at most 12 points above its mean. Even then: part of the time after that. Open off by: at
the end. Share: least and greatest of a second, over the fair one. Tables: programs attached. Local: from the sixth second on.
`;

/** One drawing a scenario. */
const svgFile = (file: string, name: string, several: boolean): string =>
  several ? file.replace(/(\.svg)?$/, `-${name}.svg`) : file;

run('bench:simulate', USAGE, async (argv) => {
  const options = optionsOr(USAGE, () => readOptions(argv));
  const { workers, skews, seed, seeds, json, notes } = options;
  console.log(ABOUT);
  const all: unknown[] = [];
  for (const name of options.scenarios) {
    const scenarios = workers.flatMap((count) => skews.map((skew) => scenarioOf(name, count, skew)));
    const runs = scenarios.flatMap((scenario) =>
      Array.from({ length: seeds }, (_, i) => simulate(scenario, options, seed + i)),
    );
    console.log(scenarioTable(runs));
    if (notes) for (const { notes } of runs) console.log(`${notes.join('\n')}\n`);
    if (options.svg !== undefined)
      writeFileSync(
        svgFile(options.svg, name, options.scenarios.length > 1),
        svg(drawing(runs.filter((_, i) => i % seeds === 0))),
      );
    for (const each of runs) all.push({ scenario: each.scenario, figures: figuresOf(each) });
    if (json !== undefined)
      writeFileSync(json, `${JSON.stringify({ bench: 'simulate', options, runs: all }, undefined, 1)}\n`);
  }
});
