// SPDX-License-Identifier: Apache-2.0
// The addon's part: native/seam/slots.cc, and functions for it that count.
#include "slots-addon.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "../../native/seam/slots.h"

using fastsocket::seam::Replacement;

namespace {

int (*originalPwait)(int, epoll_event*, int, int, const sigset_t*);
int (*originalAccept)(int, sockaddr*, socklen_t*, int);
long (*originalSyscall)(long, long, long, long, long, long, long);
int (*originalNobody)();
int counts[3];

int pwaitHere(int epoll, epoll_event* events, int most, int timeout, const sigset_t* mask) {
  counts[0]++;
  return originalPwait(epoll, events, most, timeout, mask);
}

int acceptHere(int fd, sockaddr* address, socklen_t* length, int flags) {
  counts[1]++;
  return originalAccept(fd, address, length, flags);
}

long syscallHere(long number, long a, long b, long c, long d, long e, long f) {
  counts[2]++;
  return originalSyscall(number, a, b, c, d, e, f);
}

int nobodyHere() { return 0; }

template <typename T>
Replacement slot(const char* name, T function, T* original) {
  return {name, reinterpret_cast<void*>(function), reinterpret_cast<void**>(original)};
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const char* tryReplace(const void* inside, int count,
                                                                         const char** name, const int** calls) {
  const Replacement list[] = {
      slot("epoll_pwait", pwaitHere, &originalPwait),
      slot("accept4", acceptHere, &originalAccept),
      slot("syscall", syscallHere, &originalSyscall),
      slot("no_such_function", nobodyHere, &originalNobody),
  };
  *calls = counts;
  return fastsocket::seam::replace(inside, list, count, name);
}
