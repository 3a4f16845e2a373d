// SPDX-License-Identifier: Apache-2.0
// What short connections cost one server on one core: plain Node and fastsocket in turn, a fresh process for each measure,
// the client on another core. The figures are for reading: nothing here passes or fails.
import { join } from 'node:path';
import { optionsOr, run, versionOf } from '../lib/main';
import { nginxMissing } from '../lib/nginx';
import { choosePlace, type Place } from '../lib/place';
import { Results } from '../lib/results';
import { summary } from '../lib/table';
import { ablations, nginxVariant, nodeVariants, type Variant } from '../lib/variants';
import { answerP50, latency } from './latency';
import { type Options, readOptions, USAGE } from './options';
import { clientOf, throughput } from './throughput';

const SERVER = join(__dirname, 'server.js');

const about = (
  { pairs, seconds }: Options,
  place: Place,
): string => `Short connections: a request each, then closed.
One server process, ${place.text}.
Medians of ${pairs} rounds of ${seconds} s, a fresh server for each measure; ratios within a round.
`;

function variantsOf(node: string, { ablation, nginx }: Options): Variant[] {
  return [
    ...nodeVariants(node, SERVER),
    ...(ablation ? ablations(node, SERVER) : []),
    ...(nginx && !nginxMissing() ? [nginxVariant()] : []),
  ];
}

run('bench:short', USAGE, async (argv) => {
  const options = optionsOr(USAGE, () => readOptions(argv));
  const place = choosePlace();
  const results = new Results(options.json, { bench: 'short-connections', options, place });
  console.log(about(options, place));
  if (options.nginx && nginxMissing()) console.log(`nginx is left out: ${nginxMissing()}\n`);
  for (const node of options.nodes) {
    const version = versionOf(node);
    const variants = variantsOf(node, options);
    if (options.latency) {
      const { comparison, rate, text } = await latency(place, version, variants, options);
      results.add({ node: version, rate, ...comparison, summary: summary(comparison, answerP50) });
      console.log(text);
      continue;
    }
    for (const name of options.client)
      for (const clients of options.clients) {
        const client = clientOf(name);
        const { comparison, text } = await throughput(place, version, variants, {
          ...options,
          client,
          clients,
        });
        results.add({
          node: version,
          client: client.name,
          clients,
          ...comparison,
          summary: summary(comparison),
        });
        console.log(text);
      }
  }
});
