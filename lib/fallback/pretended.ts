// SPDX-License-Identifier: Apache-2.0

/** What net.js needs of a listening handle that is none (lib/internal/cluster/child.js, rr: its handles are such too). */
interface PretendedHandle {
  listen(): number;
  close(callback?: () => void): void;
  ref(): void;
  unref(): void;
  getsockname(out: { address?: string; family?: string; port?: number }): number;
}

/**
 * Lets a server believe that it listens on the address `key`. The app listened there in the origin and closed again, to
 * see whether the port is free (get-port, detect-port); the same code runs in its copies.
 */
export function pretendedHandle(key: string, closed: () => void): PretendedHandle {
  const [family = '', address = '', port] = key.split('|');
  return {
    listen: () => 0,
    close: (callback) => {
      closed();
      if (callback) process.nextTick(callback);
    },
    ref: () => {},
    unref: () => {},
    getsockname: (out) => {
      Object.assign(out, { address, family: `IPv${family[0]}`, port: Number(port) });
      return 0;
    },
  };
}
