// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { noLookInto } from './descriptors';

/** Why there can be no half-open connections here; false where there can. */
export const noHalfOpen = noLookInto;

const PATIENCE_MS = 8_000;

/**
 * TCP_DEFER_ACCEPT on every listening socket of a process, as long as the process has it (pidfd_getfd(2) gives another
 * one a duplicate): the last ACK of a handshake is dropped until there are data behind it (net/ipv4/tcp_minisocks.c,
 * tcp_check_req), as on a long way.
 */
function deferAccept(pid: number): void {
  const program = `
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
pidfd = libc.syscall(434, ${pid}, 0)
count = 0
for fd in map(int, os.listdir('/proc/${pid}/fd')):
    try:
        if not os.readlink('/proc/${pid}/fd/%d' % fd).startswith('socket:'): continue
    except OSError: continue
    copy = libc.syscall(438, pidfd, fd, 0)
    if copy < 0: continue
    try:
        one = socket.socket(fileno=copy)
        if one.getsockopt(socket.SOL_SOCKET, 30):  # SO_ACCEPTCONN
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
            count += 1
    except OSError: pass
print(count)
`;
  const { status, stdout, stderr } = spawnSync('python3', ['-c', program], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  assert.ok(Number(stdout) > 0, 'no listening socket was found');
}

/** Connections that are established for their clients and in the middle of the handshake for the server. */
export class HalfOpen {
  private constructor(private readonly sockets: Socket[]) {}

  /** @param pid holds the listening sockets that listen now */
  static async begin(pid: number, port: number, count: number): Promise<HalfOpen> {
    deferAccept(pid);
    const sockets = Array.from({ length: count }, () => connect(port, '127.0.0.1'));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    for (const socket of sockets) socket.on('error', () => {});
    return new HalfOpen(sockets);
  }

  /** Each asks now. How they ended. */
  async finish(): Promise<{ answered: number; reset: number; hung: number }> {
    const ends = { answered: 0, reset: 0, hung: 0 };
    await Promise.all(
      this.sockets.map(async (socket) => {
        let text = '';
        socket.on('data', (data) => {
          text += data;
        });
        const closed = once(socket, 'close').catch(() => {});
        if (socket.destroyed) return ends.reset++;
        socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
        const hung = await Promise.race([closed.then(() => false), sleep(PATIENCE_MS, true, { ref: false })]);
        return hung ? ends.hung++ : text.includes('hello') ? ends.answered++ : ends.reset++;
      }),
    );
    for (const socket of this.sockets) socket.destroy();
    return ends;
  }
}
