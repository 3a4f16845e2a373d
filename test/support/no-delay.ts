// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';

/** TCP_NODELAY of descriptors of another process (pidfd_getfd(2)). */
export function noDelayOf(pid: number, fds: number[]): boolean[] {
  const program = `
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
pidfd = libc.syscall(434, ${pid}, 0)
for fd in ${JSON.stringify(fds)}:
    copy = libc.syscall(438, pidfd, fd, 0)
    if copy < 0: sys.exit(os.strerror(ctypes.get_errno()))
    print(socket.socket(fileno=copy).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
`;
  const { status, stdout, stderr } = spawnSync('python3', ['-c', program], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout
    .trim()
    .split('\n')
    .map((text) => text !== '0');
}
