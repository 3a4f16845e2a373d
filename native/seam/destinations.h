// SPDX-License-Identifier: Apache-2.0
// Where connections go to, and what is known of the source ports of each.
#pragma once

#include <sys/socket.h>

#include "ports.h"

namespace fastsocket::seam {

// A bound socket's ports are free or not by its address and the peer's address and port. An IPv4 address in an IPv6
// socket (::ffff:0:0/96) is an IPv4 address: the kernel compares it so (net/ipv6/tcp_ipv6.c, tcp_v6_connect).
struct Endpoints {
  uint8_t remote[16];
  // All zero where the kernel chooses it.
  uint8_t local[16];
  uint32_t scope;
  uint16_t port;
  uint8_t family;
  uint8_t unused;

  // False where the family is neither IPv4 nor IPv6, or the length does not fit. local may be nullptr.
  static bool read(const sockaddr* remote, socklen_t length, const sockaddr* local, Endpoints* result);
  [[nodiscard]] bool is(const Endpoints& other) const { return memcmp(this, &other, sizeof *this) == 0; }
  [[nodiscard]] uint32_t hash() const;
  [[nodiscard]] bool isLoopback() const;
};
static_assert(sizeof(Endpoints) == 40, "compared by its bytes: there is no padding");

// Which ports bring their packets to this core.
struct Steering {
  // Tried first, each once before any of them is tried again: a server that has closed first remembers a connection for
  // a minute, and not every one takes the next from the same port without asking (RFC 9293, 3.6.1).
  PortMask home;
  PortMask turn;
  // Learning: not tried yet, and tried next. Where a connection's packets came to decides in which of them its port is.
  PortMask unknown;
  bool learns;
  // How many ports `home` has.
  uint32_t learnt;
  // So many connections may still be made from `home`: what nobody has verified harms no more than those.
  uint32_t left;
};

struct Destination {
  Endpoints to;
  // Never another's in this loop.
  uint32_t id;
  Ports ports;
  // nullptr: every port is as good as the other.
  Steering* steering;
  // How often steering has begun: connections of an earlier one say nothing of this one.
  uint32_t epoch;
  // The address that its first connection came from.
  Endpoints source;
  // Of its connections, since it is known: where the port was chosen here, where the kernel chose it.
  uint64_t chosen;
  uint64_t kernels;
  // Ports that were tried and were taken.
  uint64_t misses;
  // Of connections that have ended: whose packets came to a known core, and to ours.
  uint64_t looked;
  uint64_t local;
  // The same of those whose port was of Steering::home, and how many of these were made.
  uint64_t steered;
  uint64_t steeredLooked;
  uint64_t steeredLocal;
  // When it was last connected to, on the list's own clock.
  uint64_t used;
  // Round-trip time of the connection that was last looked at, in us.
  uint32_t rttUs;
  // Connections, not on loopback, whose peer's FIN had been read at their end.
  uint32_t ends;
  // Misses since strangers were last asked for, and when that was.
  uint32_t unexplained;
  uint32_t askedAt;
  uint32_t surveys;
  bool loopback;

  // From now on `home` comes first, for so many connections (negative: for all). nullptr: what is known of it stays,
  // or nothing is known where steering begins. `share`: what there is to learn. False where there is no memory.
  bool steer(const PortMask* home, bool learns, int budget, const PortMask& share);
  // Every port is as good as the other.
  void leaveAlone();
};

constexpr int kMostDestinations = 256;

// Destinations without connections make room for new ones, the one that has been idle longest first.
class Destinations {
 public:
  Destinations() = default;
  ~Destinations();
  Destinations(const Destinations&) = delete;
  Destinations& operator=(const Destinations&) = delete;
  Destinations(Destinations&&) = delete;
  Destinations& operator=(Destinations&&) = delete;

  // -1 where there is no memory, or all have connections.
  int find(const Endpoints& to);
  // -1 where it is not known.
  [[nodiscard]] int known(const Endpoints& to) const { return buckets_[bucketOf(to)] - 1; }
  // nullptr where it is not known any more.
  Destination* byId(uint32_t id);
  // nullptr where there is none of that number.
  Destination* at(int index) { return index >= 0 && index < kMostDestinations ? list_[index] : nullptr; }
  [[nodiscard]] int count() const { return count_; }

 private:
  static constexpr int kBuckets = 512;
  static void destroy(Destination* destination);
  [[nodiscard]] int bucketOf(const Endpoints& to) const;
  int room();
  void remove(int index);

  Destination* list_[kMostDestinations] = {};
  // Open addressing; 0: free, else index + 1.
  uint16_t buckets_[kBuckets] = {};
  int count_ = 0;
  uint32_t lastId_ = 0;
  uint64_t clock_ = 0;
};

}  // namespace fastsocket::seam
