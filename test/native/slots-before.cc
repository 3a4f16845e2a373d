// SPDX-License-Identifier: Apache-2.0
// An LD_PRELOAD library that has a function of its own in the place of libc's, and calls that one.
#include <dlfcn.h>
#include <sys/socket.h>

extern "C" int accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  auto next = reinterpret_cast<decltype(&accept4)>(dlsym(RTLD_NEXT, "accept4"));
  return next(fd, address, length, flags);
}
