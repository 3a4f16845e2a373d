// SPDX-License-Identifier: Apache-2.0
// Below net.js: handles of servers on paths. Part of the preload.
import { replace } from './replace';
import { quietBinding } from './tcp';

/** The part of pipe_wrap's Pipe that we use for servers (src/pipe_wrap.cc). */
export interface PipeServer {
  fd: number;
  bind(path: string): number;
  listen(backlog: number): number;
  open(fd: number): number | undefined;
  close(callback?: () => void): void;
  fchmod(mode: number): number;
}

interface PipeBinding {
  Pipe: { new (type: number): PipeServer; prototype: PipeServer };
  constants: { SERVER: number };
}

type SeeBind = (handle: PipeServer, path: string, native: () => number) => number;

function pipes(): PipeBinding {
  return quietBinding<PipeBinding>('pipe_wrap');
}

export function newPipe(): PipeServer {
  const { Pipe, constants } = pipes();
  return new Pipe(constants.SERVER);
}

/** Lets `see` have every bind() of a pipe. */
export function onPipeBind(see: SeeBind): void {
  replace(
    pipes().Pipe.prototype,
    'bind',
    (original) =>
      function (this: PipeServer, ...args: [path: string]) {
        return see(this, args[0], () => Reflect.apply(original, this, args) as number);
      },
  );
}
