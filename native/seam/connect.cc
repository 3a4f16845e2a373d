// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <netinet/in.h>

#include <new>

#include "../refused.h"
#include "candidates.h"
#include "connects.h"
#include "libc.h"

#ifndef IP_LOCAL_PORT_RANGE
// linux/in.h since 6.3; Debian's 6.1 has it, too.
#define IP_LOCAL_PORT_RANGE 51
#endif

namespace fastsocket::seam {

namespace {

constexpr uint32_t kReadEveryMs = 1'000;
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

// Other programs' connect() is left the other half of a worker's part, and more where there may be other processes that
// bind ports out of the same range.
int mostBound(const Connects& connects) {
  const PortMask& allowed = connects.local.allowed;
  const int own = allowed.countCommon(connects.share);
  return own < allowed.countCommon(allowed) ? own / 2 : own / 4;
}

// Those that are left of the candidates were somebody else's. Returns how many.
unsigned noteMissed(Destination& destination, Candidates& candidates, uint32_t now) {
  const auto missed = static_cast<unsigned>(candidates.count());
  candidates.letRest(now);
  destination.misses += missed;
  destination.unexplained += missed;
  return missed;
}

bool isReady(Connects& connects, uint32_t now) {
  if (connects.refused != 0) return false;
  if (!connects.wasRead || now - connects.readAt >= kReadEveryMs) {
    connects.wasRead = true;
    connects.readAt = now;
    // what was last read holds: there may be no descriptor left for a moment
    if (connects.local.read())
      connects.usable = true;
    else if (!connects.usable)
      noteFailure("source ports are the kernel's: reading net.ipv4.ip_local_port_range", errno);
    // other programs' connect() is left the other half
    connects.mostBound = mostBound(connects);
  }
  if (connects.usable) takeIn(connects, now);
  return connects.usable;
}

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

// One that is to be connected.
struct Socket {
  int fd;
  int family;
  // Its address, where the app has named one.
  sockaddr_storage local;
  bool hasAddress;
  // To a port: another one needs a fresh socket.
  bool bound;
};

bool readEndpoints(Socket& socket, const sockaddr* address, socklen_t length, Endpoints* to) {
  if (!socket.hasAddress) return Endpoints::read(address, length, nullptr, to);
  auto* local = reinterpret_cast<sockaddr*>(&socket.local);
  socklen_t size = sizeof socket.local;
  return g_libc.getsockname(socket.fd, local, &size) == 0 && Endpoints::read(address, length, local, to);
}

int renewed(Socket& socket) {
  const int error = renew(socket.fd, socket.family, socket.hasAddress ? &socket.local : nullptr);
  if (error == 0) socket.bound = false;
  return error;
}

// As if no port had been named.
void unname(const Connects& connects, Socket& socket) {
  if (socket.bound) (void)renewed(socket);
  if (!connects.binds) (void)allow(socket.fd, 0, 0);
}

// Before the first port is bound: where another one is to follow, the socket has to be renewed.
bool canBind(Connects& connects, Socket& socket) {
  const int error = renewed(socket);
  if (error != 0) {
    errno = error;
    if (noteRefusal("source ports are the kernel's: socket or dup3")) connects.refused = error;
    return false;
  }
  connects.bound = Bound::make();
  return connects.bound != nullptr;
}

enum class Naming { kDone, kTaken, kImpossible };

// The next connect() comes from this port.
Naming name(Connects& connects, Socket& socket, uint16_t port, bool bind) {
  if (socket.bound && renewed(socket) != 0) return Naming::kImpossible;
  if (!bind) {
    if (allow(socket.fd, port, port) == 0) return Naming::kDone;
    if (errno == ENOPROTOOPT) connects.binds = true;
    if (!isOther(errno) && !connects.binds) connects.refused = errno;
    if (connects.binds)
      noteRefusal("source ports are bound, or the kernel's: setsockopt(IP_LOCAL_PORT_RANGE)");
    else if (connects.refused != 0)
      noteFailure("source ports are the kernel's: setsockopt(IP_LOCAL_PORT_RANGE)", errno);
    return Naming::kImpossible;
  }
  if (connects.bound == nullptr && !canBind(connects, socket)) return Naming::kImpossible;
  const int error = bindPort(socket.fd, socket.family, socket.hasAddress ? &socket.local : nullptr, port);
  socket.bound = error == 0;
  if (error == 0) return Naming::kDone;
  // the kernel has dropped the address, too (net/ipv4/af_inet.c, __inet_bind: inet_reset_saddr)
  if (socket.hasAddress) (void)bindPort(socket.fd, socket.family, &socket.local, 0);
  return error == EADDRINUSE ? Naming::kTaken : Naming::kImpossible;
}

void noteBound(Connects& connects, Handle& handle) {
  handle.set(kBound);
  connects.bound->opened(handle.port);
}

// So that bind() may share the port with it (net/ipv4/inet_connection_sock.c, inet_csk_bind_conflict): a server that
// starts later does not fail because of a connection of ours.
void shareable(int fd) {
  const int on = 1;
  if (g_libc.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
    noteRefusal("nobody can listen on a connection's port: setsockopt(SO_REUSEADDR)");
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
  Bound::destroy(connects->bound);
  connects->~Connects();
  free(connects);
}

int connectFrom(Loop& loop, Handle& handle, int fd, const sockaddr* address, socklen_t length) {
  Connects& connects = *loop.connects;
  const uint32_t now = nowMs();
  Socket socket = {fd, address->sa_family, {}, handle.has(kPortless), false};
  Endpoints to;
  if (!isReady(connects, now) || !readEndpoints(socket, address, length, &to))
    return connectPlainly(handle, fd, address, length);
  const Place place = {loop.id, connects.destinations.find(to)};
  Destination* destination = connects.destinations.at(place.destination);
  if (destination == nullptr) return connectPlainly(handle, fd, address, length);
  destination->ports.refresh(now);
  if (connects.bound != nullptr) connects.bound->refresh(now);
  shareable(fd);

  Candidates candidates(connects, *destination);
  for (uint16_t port = candidates.next(); port != 0; port = candidates.next()) {
    const Naming naming = name(connects, socket, port, candidates.isBound());
    if (naming == Naming::kTaken) continue;
    if (naming == Naming::kImpossible) {
      candidates.giveBack();
      // from now on they are bound
      if (connects.binds && !candidates.isBound()) continue;
      break;
    }
    const int result = g_libc.connect(fd, address, length);
    const int error = errno;
    if (result < 0 && isTaken(error)) continue;
    if (isUnderWay(result, error)) {
      book(handle, place, port);
      if (candidates.isSteered()) noteSteered(*destination, handle);
      if (socket.bound) noteBound(connects, handle);
      candidates.keepLast();
      destination->chosen++;
      if (destination->source.family == 0) readOwn(fd, &destination->source);
    } else {
      candidates.giveBack();
      // what comes next may be a connect() or bind() where the port is the kernel's choice
      unname(connects, socket);
    }
    if (noteMissed(*destination, candidates, now) > 0) askForStrangers(connects, *destination, now);
    errno = error;
    return result;
  }

  if (candidates.count() > 0) unname(connects, socket);
  const int result = g_libc.connect(fd, address, length);
  const int error = errno;
  if (result < 0 && isTaken(error)) {
    // it may have been the address
    while (candidates.count() > 0) candidates.giveBack();
  } else {
    noteMissed(*destination, candidates, now);
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
  if (!handle.has(kBound)) (void)allow(fd, 0, 0);
  const int result = g_libc.connect(fd, address, length);
  const int error = errno;
  if (isUnderWay(result, error)) {
    // how the one before has ended says nothing of this one
    if (portOf(fd) == handle.port) {
      handle.clear(kEnded | kEndedFirst | kPeerEnded);
    } else {
      lost(loop, handle);
      handle = {};
    }
  }
  errno = error;
  return result;
}

}  // namespace fastsocket::seam
