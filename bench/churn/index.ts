// SPDX-License-Identifier: Apache-2.0
// Very many connections to one destination, opened and ended at random: nothing may fail, and what the seam knows of the
// source ports has to be what the kernel knows. Counts decide, times do not.
import { columns, whole } from '../lib/columns';
import { optionsOr, run, versionOf } from '../lib/main';
import { mostFds } from '../lib/proc';
import { Results } from '../lib/results';
import { churn, churnPlace, type Moment } from './churn';
import { checkRoom, type Options, readOptions, USAGE, WORKERS } from './options';
import { faultsOf, restingPorts, sum } from './verdict';

const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(1);

const HEAD = [
  ...['', 'opened', 'ended', 'errors', 'held', 'by ss', 'inUse', 'TIME_WAIT', 'resting', 'retries'],
  ...['by kernel', 'descriptors', 'RSS, MiB', 'heap, MiB'],
];

function table(moments: readonly Moment[], options: Options): string {
  const rows = moments.flatMap((moment) => {
    const waiting = restingPorts(moment, options);
    return moment.workers.map(({ pid, rss, fds, report }, i) => {
      const established = moment.kernel.filter((one) => one.pid === pid && one.state === 'ESTAB');
      const { opened, ended, errors, ports, heapUsed, state } = report;
      const { inUse = 0, resting = 0, retries = 0, byKernel = 0 } = state ?? {};
      const connections = [opened, sum(ended), sum(errors), ports.length, established.length];
      const seam = [inUse, waiting.get(report), resting, retries, byKernel];
      const counts = [...connections, ...seam, fds].map(whole);
      return [`${moment.name}, worker ${i}`, ...counts, mib(rss), mib(heapUsed)];
    });
  });
  return columns([HEAD, ...rows]);
}

/** Of the last moment: how connections were ended, and what the plain program has done. */
function closing(moments: readonly Moment[]): string {
  const { workers, beside } = moments.at(-1) as Moment;
  const ways = Object.keys(workers[0]?.report.ended ?? {}).map((way) => {
    const count = workers.reduce((all, { report }) => all + (report.ended[way] ?? 0), 0);
    return `${way} ${whole(count)}`;
  });
  const [same, other] = beside.all;
  return `Ended by: ${ways.join(', ')}.
The plain program: ${whole(beside.attempts)} attempts, ${whole(same.opened)} connections to the same destination and \
${whole(other.opened)} to another, ${whole(sum(same.errors) + sum(other.errors))} errors.`;
}

run('bench:churn', USAGE, async (argv) => {
  const options = optionsOr(USAGE, () => {
    const read = readOptions(argv);
    checkRoom(read, mostFds());
    return read;
  });
  const place = churnPlace(options);
  const results = new Results(options.json, { bench: 'churn', options, place });
  console.log(`${versionOf(options.node)}, fastsocket, ${WORKERS} workers, ${options.servers} servers, \
${options.seconds} s; ${place.text}\n`);
  const moments = await churn(place, options);
  const faults = faultsOf(moments, options);
  const brief = moments.map(({ kernel, workers, beside, ...moment }) => ({
    ...moment,
    sockets: kernel.length,
    workers: workers.map(({ report: { used, ports, ...report }, ...worker }) => ({
      ...worker,
      ...report,
      held: ports.length,
    })),
    beside: { attempts: beside.attempts, all: beside.all.map(({ used, ports, ...books }) => books) },
  }));
  results.add({ moments: brief, faults });
  console.log(`${table(moments, options)}\n\n${closing(moments)}\n`);
  if (faults.length > 0) throw new Error(`${faults.length} counts are wrong\n${faults.join('\n')}`);
  console.log('All counts are right.');
});
