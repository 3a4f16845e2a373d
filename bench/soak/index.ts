// SPDX-License-Identifier: Apache-2.0
// What one server holds after very many short connections, and after clients that reset, end their side early, say nothing
// or send garbage: descriptors, entries of the handle cache, memory. The figures are for reading; a test asserts those
// that do not wobble.
import { columns, whole } from '../lib/columns';
import { optionsOr, run, versionOf } from '../lib/main';
import { choosePlace } from '../lib/place';
import { readOptions, USAGE } from './options';
import { type Phase, soak } from './soak';

function table(phases: readonly Phase[]): string {
  const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
  return columns([
    ['', 'connections', 'failed', 'descriptors', 'cache', 'held back', 'RSS, MiB', 'heap, MiB'],
    ...phases.map(({ name, connections, failed, held }) => [
      name,
      whole(connections),
      whole(failed),
      whole(held.fds),
      whole(held.known),
      whole(held.held),
      mib(held.rss),
      mib(held.heapUsed),
    ]),
  ]);
}

run('bench:soak', USAGE, async (argv) => {
  const options = optionsOr(USAGE, () => readOptions(argv));
  const place = choosePlace();
  for (const node of options.nodes) {
    const who = options.hook ? 'fastsocket, one worker' : 'plain Node';
    console.log(`${versionOf(node)}, ${who}: what it holds, after a collection\n`);
    console.log(`${table(await soak(place, node, options))}\n`);
  }
});
