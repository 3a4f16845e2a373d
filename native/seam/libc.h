// SPDX-License-Identifier: Apache-2.0
// What the wrappers stand for: the functions that libuv would have called. A table, so that the tests put a kernel of
// their own behind it.
#pragma once

#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace fastsocket::seam {

struct Libc {
  int (*epoll_pwait)(int, epoll_event*, int, int, const sigset_t*);
  int (*epoll_ctl)(int, int, int, epoll_event*);
  int (*accept4)(int, sockaddr*, socklen_t*, int);
  int (*setsockopt)(int, int, int, const void*, socklen_t);
  int (*bind)(int, const sockaddr*, socklen_t);
  int (*listen)(int, int);
  int (*socket)(int, int, int);
  ssize_t (*sendmsg)(int, const msghdr*, int);
  ssize_t (*read)(int, void*, size_t);
  int (*connect)(int, const sockaddr*, socklen_t);
  int (*shutdown)(int, int);
  int (*getsockname)(int, sockaddr*, socklen_t*);
  // Never replaced.
  int (*getsockopt)(int, int, int, void*, socklen_t*);
  int (*dup3)(int, int, int);
  ssize_t (*recvmsg)(int, msghdr*, int);
  long (*syscall)(long, long, long, long, long, long, long);
};

// Filled in before the first slot is pointed at a wrapper, and never changed afterwards.
extern Libc g_libc;

// CLOCK_MONOTONIC in nanoseconds; the tests have their own.
uint64_t nowNs();
// The same in milliseconds, of which only differences count.
inline uint32_t nowMs() { return static_cast<uint32_t>(nowNs() / 1'000'000); }

}  // namespace fastsocket::seam
