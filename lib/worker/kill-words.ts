// SPDX-License-Identifier: Apache-2.0

/** What may stand before a command in its line. */
const BEFORE =
  '(?:(?:command|do|doas|else|env|exec|nohup|npx|sudo|then|xargs)(?:\\s+-\\S+(?:\\s+(?:\\d+|\\{\\}))?)*\\s+)*';
const COMMAND = new RegExp(
  `(?:^|[;|&({\`\\n])\\s*${BEFORE}(?:\\S*/)?(kill|pkill|killall|fuser|kill-port|fkill)(?=[\\s;|&)\`]|$)([^;|&)\`\\n]*)`,
  'g',
);
const ANOTHER = /[;|&(){}`\n]/g;
/** Of the signal, or instead of one: it asks, or lists. */
const HARMLESS: ReadonlySet<string> = new Set(['0', 'l', 'L', '-list', '-table']);
const SHELL = /(?:^|\/)(?:ba|da|a|z|k)?sh$/;

/** A command line that may end process `pid`, in the words of a program that is about to be started; undefined: none. */
export function killingWords(words: readonly string[], pid: number): string | undefined {
  const [file = '', ...args] = words;
  const script = SHELL.test(file) && args.some((word) => /^-\w*c$/.test(word)) ? args.at(-1) : undefined;
  // without a shell what looks like another command is an argument
  const line = script ?? words.map((word) => word.replaceAll(ANOTHER, '_')).join(' ');
  for (const [, command, rest = ''] of line.matchAll(COMMAND))
    if (endsIt(command as string, rest, pid)) return line.trim().replaceAll(/\s+/g, ' ');
  return undefined;
}

function endsIt(command: string, rest: string, pid: number): boolean {
  if (command === 'fuser') return /\s(?:-\w*k\w*|--kill)(?=\s|$)/.test(rest);
  if (command !== 'kill') return true;
  const given = rest.trim().split(/\s+/);
  const option = given[0]?.startsWith('-') ? given.shift() : undefined;
  const signal = option === '-s' || option === '-n' ? given.shift() : option?.slice(1);
  if (signal !== undefined && HARMLESS.has(signal)) return false;
  const pids = given.filter((word) => word !== '--');
  // whose they are only the shell knows: $(lsof -ti :PORT), or they come by xargs
  if (pids.length === 0 || !pids.every((word) => /^-?\d+$/.test(word))) return true;
  return pids.some((word) => Math.abs(Number(word)) === pid);
}
