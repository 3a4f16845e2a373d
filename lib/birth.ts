// SPDX-License-Identifier: Apache-2.0
// Part of the preload.

/** The process as it was when the hook was loaded: apps delete secrets, chdir('/') and drop their uid later. */
export interface Birth {
  env: Record<string, string>;
  cwd: string;
  umask: number;
  script: string;
  args: string[];
  execArgv: string[];
  execPath: string;
}

export function rememberBirth(env: Record<string, string>): Birth {
  const [execPath, script, ...args] = process.argv;
  return {
    env,
    cwd: process.cwd(),
    umask: process.umask(),
    script: script ?? '',
    args,
    execArgv: [...process.execArgv],
    execPath: execPath ?? process.execPath,
  };
}
