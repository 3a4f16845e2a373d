// SPDX-License-Identifier: Apache-2.0

/** `text` as an item of a list, broken between words so that no line is longer than `width` if its words allow it. */
export function item(text: string, width: number): string {
  const lines: string[] = [];
  let line = '-';
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > width && line.trim() !== '-') {
      lines.push(line);
      line = ' ';
    }
    line += ` ${word}`;
  }
  return [...lines, line].join('\n');
}
