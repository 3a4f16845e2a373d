// SPDX-License-Identifier: Apache-2.0
// The part of libuv: calls of libc, and what they are to do.
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

extern "C" {

int accepted;

// Accepts a connection, asks epoll_pwait for it, closes it by syscall(2): 0 where all that works.
int uv_run() {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener, generic, length) != 0 || listen(listener, 1) != 0) return 1;
  if (getsockname(listener, generic, &length) != 0) return 2;
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(client, generic, length) != 0) return 3;
  const int epoll = epoll_create1(0);
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = listener;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0) return 4;
  if (epoll_pwait(epoll, &event, 1, 1000, nullptr) != 1 || event.data.fd != listener) return 5;
#ifdef ADDRESS
  // its address, not only a call: a slot of another kind, and without -fPIE the function's address for everybody
  int (*volatile function)(int, sockaddr*, socklen_t*, int) = accept4;
  const int fd = function(listener, nullptr, nullptr, 0);
#else
  const int fd = accept4(listener, nullptr, nullptr, 0);
#endif
  if (fd < 0) return 6;
  accepted++;
  if (syscall(SYS_close, fd) != 0) return 7;
  return close(listener) + close(client) + close(epoll);
}
}
