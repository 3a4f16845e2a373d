// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <netinet/in.h>

#include <new>

#include "connects.h"
#include "libc.h"

#ifndef IP_LOCAL_PORT_RANGE
// linux/in.h since 6.3; Debian's 6.1 has it, too.
#define IP_LOCAL_PORT_RANGE 51
#endif

namespace fastsocket::seam {

namespace {

constexpr uint32_t kReadEveryMs = 1'000;
// A port that was found taken: whoever holds it, an established connection or TIME_WAIT.
constexpr uint32_t kTakenMs = 60'000;
constexpr int kMostTries = 8;
// Of them, ports that rest: where no other is left.
constexpr int kMostResting = 4;
// So many misses towards one destination, and strangers are asked for; at most so often.
constexpr uint32_t kMissesToAsk = 16;
constexpr uint32_t kAskEveryMs = 10'000;

bool isTaken(int error) { return error == EADDRNOTAVAIL || error == EADDRINUSE; }

// The number is no TCP socket's: closed by somebody else, and maybe another file's by now.
bool isOther(int error) { return error == EBADF || error == ENOTSOCK || error == EOPNOTSUPP; }

int allow(int fd, uint16_t low, uint16_t high) {
  // ip(7): the upper bound in the high 16 bits; 0 and 0: as if nothing had been said
  const uint32_t range = static_cast<uint32_t>(high) << 16 | low;
  return g_libc.setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof range);
}

// What was found taken by somebody else.
void takeIn(Connects& connects, uint32_t now) {
  Endpoints to;
  const PortMask* held = connects.survey.finished(&to);
  if (held == nullptr) return;
  Destination* destination = connects.destinations.at(connects.destinations.known(to));
  if (destination == nullptr) return;
  for (int word = 0; word < PortMask::kWords; word++) {
    for (uint64_t bits = held->word(word) & connects.local.allowed.word(word); bits != 0; bits &= bits - 1) {
      const auto port = static_cast<uint16_t>(word * 64 + __builtin_ctzll(bits));
      if (!destination->ports.isUsed(port)) destination->ports.avoid(port, now, kTakenMs);
    }
  }
}

void askForStrangers(Connects& connects, Destination& destination, uint32_t now) {
  if (destination.unexplained < kMissesToAsk) return;
  if (destination.surveys > 0 && now - destination.askedAt < kAskEveryMs) return;
  const int reuse = connects.local.timeWaitReuse;
  if (!connects.survey.start(destination.to, !(reuse == 1 || (reuse == 2 && destination.loopback)))) return;
  destination.surveys++;
  destination.askedAt = now;
  destination.unexplained = 0;
}

bool isReady(Connects& connects, uint32_t now) {
  if (connects.refused != 0) return false;
  if (!connects.wasRead || now - connects.readAt >= kReadEveryMs) {
    connects.wasRead = true;
    connects.readAt = now;
    // what was last read holds: there may be no descriptor left for a moment
    if (connects.local.read()) connects.usable = true;
  }
  if (connects.usable) takeIn(connects, now);
  return connects.usable;
}

// The ports of one connect().
class Candidates {
 public:
  Candidates(Connects& connects, Destination& destination) : connects_(connects), destination_(destination) {}

  // Taken from now on, 0 where there is none.
  uint16_t next() {
    if (count_ == kMostTries) return 0;
    uint16_t port = steered();
    isSteered_ = port != 0;
    if (port == 0 && learns()) port = find(destination_.steering->unknown);
    if (port == 0) port = find(connects_.share);
    if (port == 0) port = find(connects_.local.allowed);
    if (port == 0 && resting_++ < kMostResting) port = rested();
    if (port == 0) return 0;
    destination_.ports.take(port);
    tried_[count_++] = port;
    return port;
  }

  // The last one was said to come home.
  [[nodiscard]] bool isSteered() const { return isSteered_; }
  [[nodiscard]] int count() const { return count_; }
  // The last one is not needed.
  void giveBack() { destination_.ports.release(tried_[--count_]); }
  void letRest(uint32_t now) {
    while (count_ > 0) destination_.ports.rest(tried_[--count_], now, kTakenMs);
  }
  // The last one is a connection's.
  void keepLast() { count_--; }

 private:
  [[nodiscard]] bool learns() const { return destination_.steering != nullptr && destination_.steering->learns; }

  uint16_t steered() {
    Steering* steering = destination_.steering;
    return steering == nullptr || steering->left == 0 ? 0 : find(steering->home);
  }

  // One that rests, to be tried all the same. What is not allowed any more is let go: the kernel would choose another.
  uint16_t rested() {
    for (;;) {
      const uint16_t port = destination_.ports.oldest();
      if (port == 0 || (connects_.local.allowed.has(port) && port != destination_.to.port)) return port;
      destination_.ports.forget(port);
    }
  }

  uint16_t find(const PortMask& wanted) {
    uint32_t number = 0;
    if (!connects_.random.next(&number)) return 0;
    const LocalPorts& local = connects_.local;
    const auto count = static_cast<uint64_t>(local.high) - local.low + 1;
    const auto start = static_cast<uint16_t>(local.low + (number * count >> 32));
    const Ports& ports = destination_.ports;
    const uint16_t port = ports.find(local.allowed, wanted, start);
    // a socket whose both ends are the same is connected to itself (RFC 9293, 3.5: simultaneous open)
    if (port == 0 || port != destination_.to.port) return port;
    const uint16_t other = ports.find(local.allowed, wanted, static_cast<uint16_t>(port + 1));
    return other == port ? 0 : other;
  }

  Connects& connects_;
  Destination& destination_;
  uint16_t tried_[kMostTries] = {};
  int count_ = 0;
  int resting_ = 0;
  bool isSteered_ = false;
};

bool isUnderWay(int result, int error) { return result == 0 || error == EINPROGRESS || error == EINTR; }

struct Place {
  uint8_t loop;
  int destination;
};

void book(Handle& handle, const Place& place, uint16_t port) {
  handle = {};
  handle.kind = Kind::kConnected;
  handle.loop = place.loop;
  handle.destination = static_cast<uint16_t>(place.destination);
  handle.port = port;
}

void noteSteered(Destination& destination, Handle& handle) {
  handle.set(static_cast<uint16_t>(kSteered | (destination.epoch & kEpochMask) << kEpochShift));
  destination.steered++;
  // UINT32_MAX: for ever
  uint32_t& left = destination.steering->left;
  if (left != UINT32_MAX) left--;
}

// A connected socket's own address and port.
bool readOwn(int fd, Endpoints* own) {
  sockaddr_storage address = {};
  socklen_t length = sizeof address;
  return g_libc.getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
         Endpoints::read(reinterpret_cast<sockaddr*>(&address), length, nullptr, own);
}

// The kernel chooses, and nothing is booked.
int connectPlainly(Handle& handle, int fd, const sockaddr* address, socklen_t length) {
  const int result = g_libc.connect(fd, address, length);
  if (isUnderWay(result, errno)) handle = {};
  return result;
}

// 0 where there is none.
uint16_t portOf(int fd) {
  Endpoints own;
  return readOwn(fd, &own) ? own.port : 0;
}

// The port that the kernel has chosen.
void learnPort(Handle& handle, const Place& place, Destination& destination, int fd) {
  const uint16_t port = portOf(fd);
  handle = {};
  // one that rests here may be in TIME_WAIT all the same, once this connection is closed
  if (port == 0 || destination.ports.isUsed(port)) return;
  destination.ports.take(port);
  book(handle, place, port);
}

bool readEndpoints(const Handle& handle, int fd, const sockaddr* address, socklen_t length, Endpoints* to) {
  if (!handle.has(kPortless)) return Endpoints::read(address, length, nullptr, to);
  sockaddr_storage local = {};
  socklen_t size = sizeof local;
  return g_libc.getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) == 0 &&
         Endpoints::read(address, length, reinterpret_cast<sockaddr*>(&local), to);
}

// So that bind() may share the port with it (net/ipv4/inet_connection_sock.c, inet_csk_bind_conflict): a server that
// starts later does not fail because of a connection of ours.
void shareable(int fd) {
  const int on = 1;
  (void)g_libc.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
}

}  // namespace

Connects* Connects::make() {
  void* memory = calloc(1, sizeof(Connects));
  if (memory == nullptr) return nullptr;
  auto* connects = new (memory) Connects();
  connects->share.fill(true);
  connects->core = -1;
  return connects;
}

void Connects::destroy(Connects* connects) {
  if (connects == nullptr) return;
  connects->survey.abandon();
  connects->~Connects();
  free(connects);
}

int connectFrom(Loop& loop, Handle& handle, int fd, const sockaddr* address, socklen_t length) {
  Connects& connects = *loop.connects;
  const uint32_t now = nowMs();
  Endpoints to;
  if (!isReady(connects, now) || !readEndpoints(handle, fd, address, length, &to))
    return connectPlainly(handle, fd, address, length);
  const Place place = {loop.id, connects.destinations.find(to)};
  Destination* destination = connects.destinations.at(place.destination);
  if (destination == nullptr) return connectPlainly(handle, fd, address, length);
  destination->ports.refresh(now);
  shareable(fd);

  Candidates candidates(connects, *destination);
  for (uint16_t port = candidates.next(); port != 0; port = candidates.next()) {
    if (allow(fd, port, port) < 0) {
      if (!isOther(errno)) connects.refused = errno;
      candidates.giveBack();
      break;
    }
    const int result = g_libc.connect(fd, address, length);
    const int error = errno;
    if (result < 0 && isTaken(error)) continue;
    const auto missed = static_cast<unsigned>(candidates.count() - 1);
    if (isUnderWay(result, error)) {
      book(handle, place, port);
      if (candidates.isSteered()) noteSteered(*destination, handle);
      candidates.keepLast();
      destination->chosen++;
      if (destination->source.family == 0) readOwn(fd, &destination->source);
    } else {
      candidates.giveBack();
      // what comes next may be a connect() or bind() where the port is the kernel's choice
      (void)allow(fd, 0, 0);
    }
    candidates.letRest(now);
    destination->misses += missed;
    destination->unexplained += missed;
    if (missed > 0) askForStrangers(connects, *destination, now);
    errno = error;
    return result;
  }

  const int missed = candidates.count();
  if (missed > 0) (void)allow(fd, 0, 0);
  const int result = g_libc.connect(fd, address, length);
  const int error = errno;
  if (result < 0 && isTaken(error)) {
    // it may have been the address
    while (candidates.count() > 0) candidates.giveBack();
  } else {
    candidates.letRest(now);
    destination->misses += static_cast<unsigned>(missed);
    destination->unexplained += static_cast<unsigned>(missed);
    if (isUnderWay(result, error)) {
      destination->kernels++;
      learnPort(handle, place, *destination, fd);
    }
  }
  askForStrangers(connects, *destination, now);
  errno = error;
  return result;
}

int connectAgain(Loop& loop, Handle& handle, int fd, const sockaddr* address, socklen_t length) {
  (void)allow(fd, 0, 0);
  const int result = g_libc.connect(fd, address, length);
  const int error = errno;
  if (isUnderWay(result, error) && portOf(fd) != handle.port) {
    lost(loop, handle);
    handle = {};
  }
  errno = error;
  return result;
}

}  // namespace fastsocket::seam
