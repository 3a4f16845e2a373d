// SPDX-License-Identifier: Apache-2.0
// Ports that sockets of ours are bound to. bind() names a port where IP_LOCAL_PORT_RANGE does not exist, and where one
// of our own is in TIME_WAIT. But no other program's connect() chooses a port that is bound, to whatever destination
// (net/ipv4/inet_hashtables.c, __inet_hash_connect: tb->fastreuse >= 0), so there is a limit to them.
#pragma once

#include <sys/socket.h>

#include "ports.h"

namespace fastsocket::seam {

class Bound {
 public:
  // nullptr where there is no memory.
  static Bound* make();
  static void destroy(Bound* bound);

  // Of all loops of this process.
  static int ofAll();

  [[nodiscard]] bool has(uint16_t port) const { return ports_.has(port); }
  [[nodiscard]] int count() const { return count_; }
  [[nodiscard]] bool isOpen(uint16_t port) const { return open_[port] > 0; }
  [[nodiscard]] const PortMask& ports() const { return ports_; }

  void opened(uint16_t port);
  // ms: how long it rests, and is bound, after that.
  void closed(uint16_t port, uint32_t now, uint32_t ms);
  void refresh(uint32_t now);

 private:
  void count(int difference);
  void dropUnused(uint16_t port);
  void refresh(Resting& resting, uint32_t now);

  static int g_count;

  PortMask ports_;
  int count_;
  uint16_t open_[65536];
  uint8_t rests_[65536];
  // Up to a second, and for a minute: one queue for both would let the short ones wait for the long ones.
  Resting soon_;
  Resting late_;
};

// Binds fd, a TCP socket of that family, to a port of the address (of all, where it is nullptr), to be shared with
// other sockets of ours. Returns 0 or an errno.
int bindPort(int fd, int family, const sockaddr_storage* address, uint16_t port);

// Puts a fresh socket in the place of one that is bound: a second bind() fails (net/ipv4/af_inet.c, __inet_bind). The
// options that libuv may have set are carried over. Returns 0 or an errno; the socket is then what it was.
int renew(int fd, int family, const sockaddr_storage* address);

}  // namespace fastsocket::seam
