// SPDX-License-Identifier: Apache-2.0
import { compiled } from './compiled';

/** Words to put before a program for which system calls fail: `setsockopt:2=51:EPERM` refuses one option. */
export function refusing(...rules: string[]): string[] {
  return [compiled('refuse'), ...rules, '--'];
}
