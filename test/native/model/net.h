// SPDX-License-Identifier: Apache-2.0
// A small TCP of one network namespace: sockets, their ports, the table of connections with those that have ended. It
// stands where libc stands for the seam (native/seam/libc.h), and chooses ports as Linux does
// (net/ipv4/inet_hashtables.c, __inet_hash_connect; net/ipv4/inet_connection_sock.c).
#pragma once

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

namespace model {

// As the kernel compares it: an IPv4 address in an IPv6 socket is an IPv4 address.
struct Address {
  std::array<uint8_t, 16> bytes = {};
  uint32_t scope = 0;
  uint16_t port = 0;
  // 4, 6, or 0 for neither
  int family = 0;

  static Address of(const sockaddr* address, socklen_t length);
  [[nodiscard]] bool isAny() const { return bytes == std::array<uint8_t, 16>{}; }
  [[nodiscard]] bool isLoopback() const;
  bool operator<(const Address& o) const {
    return std::tie(bytes, scope, port, family) < std::tie(o.bytes, o.scope, o.port, o.family);
  }
  bool operator==(const Address& o) const { return !(*this < o) && !(o < *this); }
};

// Its own end and the peer's.
using Tuple = std::pair<Address, Address>;

enum class Life { kClosed, kFailed, kSynSent, kEstablished, kFinWait2, kCloseWait, kLastAck, kTimeWait, kListen };

// An open file description.
struct Socket {
  int domain = AF_INET;
  bool tcp = true;
  // Of a kind that is none of the seam's business, or not made through it.
  bool foreign = false;
  Life life = Life::kClosed;
  Address local;
  Address remote;
  // inet_num; named: by bind() (its bucket's fastreuse is not -1).
  uint16_t port = 0;
  bool named = false;
  bool noPort = false;
  bool reuse = false;
  bool aborts = false;
  // Its port is one that the seam has bound.
  bool ours = false;
  // What has been said of it, by level and name: those that are none of the model's business.
  std::map<std::pair<int, int>, int> options;
  uint32_t range = 0;
  uint32_t rtt = 0;
  int numbers = 0;
};

// What holds a tuple: a socket, or what is left of one.
struct Entry {
  Life life;
  bool timestamps;
  bool reuse;
  // Its port was bound by name; by the seam.
  bool named;
  bool ours;
  // Left: ms, when the state began, and when it is over; 0: not by itself.
  uint64_t since;
  uint64_t until;
  // When its last descriptor was closed.
  uint64_t closed;
  // nullptr: a stranger's, or nobody's any more
  Socket* socket;
};

struct Settings {
  uint16_t low;
  uint16_t high;
  std::set<uint16_t> reserved;
  int reuse;
  bool operator==(const Settings& o) const {
    return low == o.low && high == o.high && reserved == o.reserved && reuse == o.reuse;
  }
  [[nodiscard]] bool reserves(uint16_t port) const { return reserved.count(port) != 0; }
  [[nodiscard]] bool allows(uint16_t port) const { return port >= low && port <= high && reserved.count(port) == 0; }
  [[nodiscard]] bool reuses(const Address& to) const { return reuse == 1 || (reuse == 2 && to.isLoopback()); }
};

struct Net {
  std::map<int, std::shared_ptr<Socket>> files;
  std::map<Tuple, Entry> table;
  // Ports that others have bound.
  std::multiset<uint16_t> bound;
  Settings settings = {};
  bool hasOption = true;
  bool infoFails = false;
  // socket() and dup3() fail.
  bool full = false;
  bool busy = false;
  uint64_t now = 0;
  // What becomes of the next connect() that finds a port; before that it may have no route or no address of its own.
  int fate = 0;
  int noRoute = 0;
  // Of what is left of a connection: how long the last ACK takes.
  uint64_t lastAckMs = 0;

  // A connect() that looks for a port: its socket's range, and what it found (0: nothing).
  std::function<void(const Socket&, const Address& to, uint16_t found)> tried;
  // A bind() to a port, and what came of it: 0 or an errno.
  std::function<void(const Socket&, uint16_t port, int error)> named;

  [[nodiscard]] uint64_t ms() const { return now / 1'000'000; }
  [[nodiscard]] Socket* at(int fd) const;
  int add(std::shared_ptr<Socket> socket);
  // close(2) as everybody but libuv calls it.
  void close(int fd);
  void drop(Socket& socket);
  void advance(uint64_t ms);

  // Where a packet to `to` comes from.
  [[nodiscard]] static Address source(const Socket& socket, const Address& to);
  // Both addresses of its connection, whatever has become of that.
  [[nodiscard]] static std::pair<Address, Address> tupleOf(const Socket& socket);
  // Both ends are here: what is sent has been answered when the call returns.
  [[nodiscard]] static bool isLocal(const Socket& socket);
  // Where it really goes to.
  [[nodiscard]] static Address resolve(const Socket& socket, Address to);
  [[nodiscard]] bool isFree(const Socket& socket, const Address& to, uint16_t port) const;
  // Ports that a connect() passes over that looks for one: they have been bound by name, by whomever.
  [[nodiscard]] std::set<uint16_t> namedPorts() const;
  // Where packets of this connection come to; -1 where nobody knows.
  [[nodiscard]] static int cpuOf(const Socket& socket);
  // The destination's, in us.
  [[nodiscard]] static uint32_t rttOf(const Address& to);
  // What connect() would say that leaves the port to the kernel: 0 or an errno.
  [[nodiscard]] int predict(const Socket& socket, const Address& address) const;
  // For bind() without a port.
  [[nodiscard]] bool canBind(const Socket& socket) const;
  [[nodiscard]] bool conflicts(const Socket& socket, uint16_t port) const;
  [[nodiscard]] Entry* entryOf(const Socket& socket);

  // What the peers do, and time.
  void fail(Socket& socket);
  void peerEnds(Socket& socket);
  void peersLive();

 private:
  void expire();
  // TIME_WAIT after it.
  [[nodiscard]] Entry left(const Entry& entry, const Socket& socket) const;
};

extern Net g_net;

// Puts it into g_libc, at the program's start.
void installNet();

}  // namespace model
