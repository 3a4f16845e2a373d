// SPDX-License-Identifier: Apache-2.0
// bind: a socket that is bound to an address without a port gets its port when it connects (ip(7),
// IP_BIND_ADDRESS_NO_PORT). Else its port would be its own for every destination, and so many the limit of the host.
#include <errno.h>
#include <netinet/in.h>

#include "../refused.h"
#include "connects.h"
#include "libc.h"

namespace fastsocket::seam {

namespace {

int setNoPort(int fd, bool on) {
  const int value = on ? 1 : 0;
  const int result = g_libc.setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &value, sizeof value);
  if (result < 0) noteRefusal("a socket with an address has a port for all of it: setsockopt(IP_BIND_ADDRESS_NO_PORT)");
  return result;
}

bool isPortless(const sockaddr* address, socklen_t length) {
  Endpoints named;
  return Endpoints::read(address, length, nullptr, &named) && named.port == 0;
}

}  // namespace

int bindOn(Loop& loop, Handle& handle, int fd, const sockaddr* address, socklen_t length) {
  const bool portless = handle.kind == Kind::kStream && loop.connects != nullptr && isPortless(address, length) &&
                        setNoPort(fd, true) == 0;
  const int result = g_libc.bind(fd, address, length);
  if (portless && result < 0) {
    const int error = errno;
    setNoPort(fd, false);
    errno = error;
  }
  if (result < 0) return result;
  if (handle.kind == Kind::kUnknown || handle.kind == Kind::kStream) handle.kind = Kind::kOwn;
  if (portless) handle.set(kPortless);
  return result;
}

// Bound once more, which is allowed while there is no port (net/ipv4/af_inet.c, __inet_bind: inet_num).
void bindNow(Handle& handle, int fd) {
  const int error = errno;
  sockaddr_storage address = {};
  auto* name = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof address;
  const bool known = g_libc.getsockname(fd, name, &length) == 0 && setNoPort(fd, false) == 0;
  if (known && g_libc.bind(fd, name, length) < 0 && errno == EADDRINUSE) {
    // the kernel has dropped the address, too: listen() would choose a port of all addresses once there is one
    setNoPort(fd, true);
    (void)g_libc.bind(fd, name, length);
  } else {
    handle.clear(kPortless);
  }
  errno = error;
}

}  // namespace fastsocket::seam
