// SPDX-License-Identifier: Apache-2.0
// The first connections of a program. Part of the preload.
import { replace } from './replace';
import { CONNECTS, type TcpBinding } from './tcp';

/** UV_ECONNREFUSED */
const REFUSED = -111;
/** Nobody can listen on it, and Linux answers a SYN to it as one to any closed port. */
const NOBODYS_PORT = 0;
/** What a program asks about its own port it asks while it starts: later connections cost nothing more than they did. */
const MOST_WATCHED = 256;

type Completed = (this: unknown, status: number, ...rest: unknown[]) => unknown;

/** TCPConnectWrap (src/connect_wrap.cc): net.js puts there what is called when the connection is there, or not. */
interface ConnectRequest {
  oncomplete?: Completed;
}

type ConnectArguments = [request: ConnectRequest, address: string, port: number];
type Connect = (args: ConnectArguments) => number;

/** Lets `intercept` make the first connections of this thread, by `native`. */
function interceptFirst(
  binding: TcpBinding,
  intercept: (args: ConnectArguments, native: Connect) => number,
): void {
  let left = MOST_WATCHED;
  const { prototype } = binding.TCP;
  for (const name of CONNECTS) {
    const descriptor = Object.getOwnPropertyDescriptor(prototype, name);
    replace(
      prototype,
      name,
      (original) =>
        function (this: unknown, ...args: never[]) {
          const native: Connect = (changed) => Reflect.apply(original, this, changed as unknown as never[]);
          if (left-- > 0) return intercept(args as unknown as ConnectArguments, native);
          // where an app has wrapped it, it stays
          if (prototype[name] === put && descriptor) Object.defineProperty(prototype, name, descriptor);
          return native(args as unknown as ConnectArguments);
        } as typeof original,
    );
    const put = prototype[name];
  }
}

/** Tells which of this thread's first connections are refused, before the app hears of it. */
export function onRefusedConnect(
  binding: TcpBinding,
  refused: (address: string, port: number) => void,
): void {
  interceptFirst(binding, (args, native) => {
    const [request, address, port] = args;
    const { oncomplete } = request ?? {};
    const error = native(args);
    // set by whoever connects, before or after; it answers in a later turn (libuv: src/unix/tcp.c, delayed_error)
    if (error === 0 && typeof oncomplete === 'function')
      request.oncomplete = function (status, ...rest) {
        if (status === REFUSED) refused(address, port);
        return Reflect.apply(oncomplete, this, [status, ...rest]);
      };
    return error;
  });
}

/**
 * Lets some of this thread's first connections be refused, by the kernel: error, timing and async context are those of
 * a port on which nobody listens.
 */
export function refuseConnects(
  binding: TcpBinding,
  refuses: (address: string, port: number) => boolean,
): void {
  interceptFirst(binding, (args, native) => {
    const [request, address, port] = args;
    return native(refuses(address, port) ? [request, address, NOBODYS_PORT] : args);
  });
}
