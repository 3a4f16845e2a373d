// SPDX-License-Identifier: Apache-2.0
// The functions that libuv calls: the seam's wrappers.
#pragma once

#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace model {

struct Calls {
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
  long (*syscall)(long, long, long, long, long, long, long);
};

extern Calls g_calls;
// At the program's start, after the model's kernel has been put into g_libc.
void installCalls();

}  // namespace model
