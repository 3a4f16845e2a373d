// SPDX-License-Identifier: Apache-2.0

const INSPECT = /^--inspect(-brk|-wait|-port)?(?:=(.*))?$/;
const DEFAULT_PORT = 9229;

const SINGLE = /^--(inspect(-brk|-wait)?|cpu-prof|heap-prof|prof)$/;
/** What is traced is written to one file, `node_trace.1.log`, by all processes, unless its name has their ids in it. */
const TRACE = /^--trace-event(s-enabled|-categories)$/;
const TRACE_FILE = '--trace-event-file-pattern';

/** Node takes `_` for `-` in the names of its flags (src/node_options-inl.h, OptionsParser::Parse). */
const flagOf = (word: string): string => (word.split('=', 1)[0] as string).replaceAll('_', '-');

/** Flags that make sense for one process only, unless the user has asked for workers by number. */
export function singleProcessFlag(
  execArgv: readonly string[],
  nodeOptions: string | undefined,
): string | undefined {
  const words = [...execArgv, ...(nodeOptions?.split(/\s+/) ?? [])];
  const apart = words.some((word, i) => {
    const pattern = word.includes('=') ? word : words[i + 1];
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Node's own (src/tracing/node_trace_writer.cc)
    return flagOf(word) === TRACE_FILE && pattern?.includes('${pid}');
  });
  return words.find((word) => SINGLE.test(flagOf(word)) || (!apart && TRACE.test(flagOf(word))));
}

/** `[host:]port` -> the same with port + index; port 0 stays 0 (any free one). */
export function shiftPort(value: string | undefined, index: number): string {
  const match = /^(?:(.*):)?(\d+)$/.exec(value ?? '');
  const host = match ? match[1] : value;
  const port = match ? Number(match[2]) : DEFAULT_PORT;
  const shifted = port === 0 ? 0 : port + index;
  return host === undefined || host === '' ? String(shifted) : `${host}:${shifted}`;
}

function shiftWord(word: string, index: number): string {
  const match = INSPECT.exec(word);
  return match ? `--inspect${match[1] ?? ''}=${shiftPort(match[2], index)}` : word;
}

/** Worker k's inspector listens on the base port + k, wherever the flag stands. */
export function shiftInspectPort(
  env: Record<string, string>,
  execArgv: readonly string[],
  index: number,
): { env: Record<string, string>; execArgv: string[] } {
  const options = env['NODE_OPTIONS'];
  const shifted = execArgv.map((word) => shiftWord(word, index));
  if (options === undefined || !options.includes('--inspect')) return { env, execArgv: shifted };
  const words = options.split(' ').map((word) => shiftWord(word, index));
  return { env: { ...env, NODE_OPTIONS: words.join(' ') }, execArgv: shifted };
}
