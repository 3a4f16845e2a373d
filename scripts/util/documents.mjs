// SPDX-License-Identifier: Apache-2.0
// What can be checked of the documents without reading them. Pure.
import { posix } from 'node:path';

const FENCED = /^```[\s\S]*?^```$/gm;
const HEADING = /^#{1,6} +(.+)$/gm;
/** `[text](target)`; addresses of other machines and mail are left out. */
const LINK = /\]\((?![a-z]+:)([^)\s]*)\)/g;

/** How GitHub names a heading: lower case, without what is neither letter, digit, `_`, `-` nor space; spaces as `-`. */
export function anchorOf(heading) {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}_\- ]/gu, '')
    .replaceAll(' ', '-');
}

function anchorsOf(text) {
  return new Set([...text.replace(FENCED, '').matchAll(HEADING)].map(([, heading]) => anchorOf(heading)));
}

/**
 * Relative links that lead nowhere, to a heading that is not there, or out of the repository.
 * @param texts of the documents, by path from the root
 * @param exists whether there is such a path
 */
export function brokenLinks(texts, exists) {
  return [...texts].flatMap(([path, text]) =>
    [...text.replace(FENCED, '').matchAll(LINK)].flatMap(([, target]) => {
      const [file, anchor] = target.split('#');
      const to = file === '' ? path : posix.join(posix.dirname(path), file);
      const known = texts.get(to);
      if (!exists(to)) return [`${path}: there is no ${to} (${target})`];
      if (anchor === undefined || (known !== undefined && anchorsOf(known).has(anchor))) return [];
      return [`${path}: ${to} has no heading #${anchor}`];
    }),
  );
}

/** Settings that have no line in the table of the README. */
export function untoldSettings(readme, source) {
  const [, list = ''] = /SETTING_NAMES = \[([^\]]*)\]/.exec(source) ?? [];
  const names = [...list.matchAll(/'(\w+)'/g)].map(([, name]) => name);
  if (names.length === 0) return ['lib/config/settings.ts: SETTING_NAMES is not found'];
  return ['FASTSOCKET', ...names]
    .filter((name) => !readme.includes(`\n| \`${name}\` |`))
    .map((name) => `README.md: ${name} is not in the table of settings`);
}
