// SPDX-License-Identifier: Apache-2.0
#include "wrappers.h"

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>

#include "connects.h"
#include "libc.h"
#include "loop.h"

namespace fastsocket::seam {

namespace {

int epollPwait(int epoll, epoll_event* events, int most, int timeout, const sigset_t* mask) {
  Loop* loop = currentLoop();
  if (loop == nullptr || loop->epoll != epoll) return g_libc.epoll_pwait(epoll, events, most, timeout, mask);
  return wait(*loop, events, most, timeout, mask);
}

int epollCtl(int epoll, int operation, int fd, epoll_event* event) {
  Loop* loop = currentLoop();
  if (loop == nullptr || loop->epoll != epoll) return g_libc.epoll_ctl(epoll, operation, fd, event);
  return control(*loop, operation, fd, event);
}

int accept4Here(int fd, sockaddr* address, socklen_t* length, int flags) {
  Loop* loop = currentLoop();
  Listener* listener = loop == nullptr ? nullptr : loop->listenerOf(fd);
  if (listener != nullptr && loop->seen) return accept(*loop, *listener, address, length, flags);
  const int accepted = g_libc.accept4(fd, address, length, flags);
  if (accepted >= 0) forget(loop, accepted);
  return accepted;
}

int setsockoptHere(int fd, int level, int name, const void* value, socklen_t length) {
  return option(currentLoop(), fd, level, name, value, length);
}

int bindHere(int fd, const sockaddr* address, socklen_t length) {
  Loop* loop = currentLoop();
  Handle* handle = loop == nullptr ? nullptr : Handles::at(fd);
  if (handle == nullptr) return g_libc.bind(fd, address, length);
  return bindOn(*loop, *handle, fd, address, length);
}

int listenHere(int fd, int backlog) {
  Loop* loop = currentLoop();
  return loop == nullptr ? g_libc.listen(fd, backlog) : listenOn(*loop, fd, backlog);
}

// As libuv makes them (src/unix/core.c, uv__socket); c-ares, which shares the slots, names a protocol or no flags.
bool isStream(int domain, int type, int protocol) {
  return (domain == AF_INET || domain == AF_INET6) && type == (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC) &&
         protocol == 0;
}

// A new socket has nothing of whoever had its number before.
int socketHere(int domain, int type, int protocol) {
  const int fd = g_libc.socket(domain, type, protocol);
  if (fd < 0) return fd;
  Loop* loop = currentLoop();
  forget(loop, fd);
  Handle* handle = Handles::at(fd);
  if (handle != nullptr && loop != nullptr && loop->connects != nullptr && isStream(domain, type, protocol))
    handle->kind = Kind::kStream;
  return fd;
}

int connectHere(int fd, const sockaddr* address, socklen_t length) {
  Loop* loop = currentLoop();
  Handle* handle = loop == nullptr || loop->connects == nullptr ? nullptr : Handles::known(fd);
  if (handle != nullptr && handle->kind == Kind::kConnected) return connectAgain(*loop, *handle, fd, address, length);
  if (handle == nullptr || (handle->kind != Kind::kStream && !handle->has(kPortless)))
    return g_libc.connect(fd, address, length);
  return connectFrom(*loop, *handle, fd, address, length);
}

int shutdownHere(int fd, int how) {
  Loop* loop = currentLoop();
  Handle* handle = loop == nullptr ? nullptr : Handles::known(fd);
  if (handle != nullptr && handle->kind == Kind::kConnected && how != SHUT_RD) ending(*loop, *handle, fd);
  return g_libc.shutdown(fd, how);
}

int getsocknameHere(int fd, sockaddr* address, socklen_t* length) {
  Handle* handle = currentLoop() == nullptr ? nullptr : Handles::known(fd);
  if (handle != nullptr && handle->has(kPortless)) bindNow(*handle, fd);
  return g_libc.getsockname(fd, address, length);
}

ssize_t sendmsgHere(int fd, const msghdr* message, int flags) {
  Loop* loop = currentLoop();
  if (loop != nullptr && message->msg_controllen > 0) sharing(*loop, *message);
  return g_libc.sendmsg(fd, message, flags);
}

ssize_t readHere(int fd, void* buffer, size_t length) {
  const ssize_t result = g_libc.read(fd, buffer, length);
  Loop* loop = currentLoop();
  if (result < 0 && errno == EAGAIN) {
    if (loop != nullptr) foundNothing(*loop, fd);
    return result;
  }
  if (loop != nullptr) hasSpoken(*loop, fd);
  if (result == 0 && length > 0) {
    Handle* handle = Handles::known(fd);
    if (handle != nullptr && handle->kind == Kind::kConnected) handle->set(kPeerEnded);
  }
  return result;
}

// libuv closes by syscall(SYS_close) and enters its rings by syscall(SYS_io_uring_enter) (src/unix/core.c,
// uv__close_nocancel; src/unix/linux.c). Six arguments are read whatever the call has: they are registers.
long syscallHere(long number, long a, long b, long c, long d, long e, long f) {
  if (number == SYS_close) {
    closing(currentLoop(), static_cast<int>(a));
  } else if (number == SYS_io_uring_enter) {
    Loop* loop = currentLoop();
    if (loop != nullptr)
      return enterRing(*loop, static_cast<int>(a), static_cast<unsigned>(b), static_cast<unsigned>(c),
                       static_cast<unsigned>(d), e, f);
  }
  return g_libc.syscall(number, a, b, c, d, e, f);
}

template <typename T>
Replacement slot(const char* name, T function, T* original) {
  return {name, reinterpret_cast<void*>(function), reinterpret_cast<void**>(original)};
}

}  // namespace

uint64_t nowNs() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

const Replacement* wrappers() {
  static const Replacement kList[kWrapperCount] = {
      slot("epoll_ctl", epollCtl, &g_libc.epoll_ctl),
      slot("accept4", accept4Here, &g_libc.accept4),
      slot("setsockopt", setsockoptHere, &g_libc.setsockopt),
      slot("bind", bindHere, &g_libc.bind),
      slot("listen", listenHere, &g_libc.listen),
      slot("socket", socketHere, &g_libc.socket),
      slot("sendmsg", sendmsgHere, &g_libc.sendmsg),
      slot("read", readHere, &g_libc.read),
      slot("connect", connectHere, &g_libc.connect),
      slot("shutdown", shutdownHere, &g_libc.shutdown),
      slot("getsockname", getsocknameHere, &g_libc.getsockname),
      slot("syscall", syscallHere, &g_libc.syscall),
      // last: nothing is done before it has been called
      slot("epoll_pwait", epollPwait, &g_libc.epoll_pwait),
  };
  return kList;
}

}  // namespace fastsocket::seam
