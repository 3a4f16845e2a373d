// SPDX-License-Identifier: Apache-2.0
// The table: which ports are free, what is left of connections that have ended.
#include "net.h"

#include <errno.h>
#include <string.h>

#include <algorithm>

#include "check.h"

namespace model {

Net g_net;

namespace {

// include/net/tcp.h, TCP_TIMEWAIT_LEN, and net.ipv4.tcp_fin_timeout
constexpr uint64_t kMinuteMs = 60'000;

Address make(int family, std::array<uint8_t, 16> bytes) {
  Address address;
  address.family = family;
  address.bytes = bytes;
  return address;
}

}  // namespace

Address Address::of(const sockaddr* address, socklen_t length) {
  Address result;
  if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(address);
    result.family = 4;
    memcpy(result.bytes.data(), &in->sin_addr, 4);
    result.port = ntohs(in->sin_port);
  } else if (address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(address);
    result.port = ntohs(in6->sin6_port);
    const bool mapped = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
    result.family = mapped ? 4 : 6;
    if (mapped)
      memcpy(result.bytes.data(), in6->sin6_addr.s6_addr + 12, 4);
    else
      memcpy(result.bytes.data(), &in6->sin6_addr, 16);
    if (!mapped) result.scope = in6->sin6_scope_id;
  }
  return result;
}

bool Address::isLoopback() const {
  if (isAny()) return true;
  return family == 4 ? bytes[0] == 127
                     : bytes == std::array<uint8_t, 16>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
}

Socket* Net::at(int fd) const {
  const auto found = files.find(fd);
  return found == files.end() ? nullptr : found->second.get();
}

int Net::add(std::shared_ptr<Socket> socket) {
  int fd = 3;
  while (files.count(fd) != 0) fd++;
  socket->numbers++;
  files[fd] = std::move(socket);
  return fd;
}

void Net::close(int fd) {
  const auto found = files.find(fd);
  CHECK(found != files.end());
  const std::shared_ptr<Socket> socket = found->second;
  files.erase(found);
  if (--socket->numbers == 0) drop(*socket);
}

std::pair<Address, Address> Net::tupleOf(const Socket& socket) {
  Address own = source(socket, socket.remote);
  own.port = socket.port;
  return {own, socket.remote};
}

Address Net::source(const Socket& socket, const Address& to) {
  Address own = socket.local;
  own.scope = 0;
  if (own.family == to.family && !own.isAny()) return own;
  if (to.family == 4) {
    if (to.isLoopback()) return make(4, {127, 0, 0, 1});
    return make(4, {10, 0, 0, 1});
  }
  if (to.isLoopback()) return make(6, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  return make(6, {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
}

std::set<uint16_t> Net::namedPorts() const {
  std::set<uint16_t> ports(bound.begin(), bound.end());
  for (const auto& [fd, socket] : files)
    if (socket->named) ports.insert(socket->port);
  for (const auto& [tuple, entry] : table)
    if (entry.named) ports.insert(tuple.first.port);
  return ports;
}

bool Net::isFree(const Socket& socket, const Address& to, uint16_t port) const {
  Address own = source(socket, to);
  own.port = port;
  const auto held = table.find({own, to});
  if (held == table.end()) return true;
  // net/ipv4/tcp_ipv4.c, tcp_twsk_unique; what has no FIN of the peer's is FIN_WAIT2 here
  if (held->second.life != Life::kTimeWait || !held->second.timestamps) return false;
  return socket.named || (settings.reuses(to) && ms() - held->second.since >= 1'000);
}

int Net::cpuOf(const Socket& socket) {
  // as a card hashes
  return static_cast<int>(((socket.port + socket.remote.port) * 0x9e3779b1U >> 16) % 4) - 1;
}

uint32_t Net::rttOf(const Address& to) {
  return static_cast<uint32_t>(to.port * 7 + to.bytes[3] * 31 + to.bytes[15] * 131) * 97 % 400'000;
}

bool Net::isLocal(const Socket& socket) {
  return socket.remote.isLoopback() || source(socket, socket.remote).bytes == socket.remote.bytes;
}

Address Net::resolve(const Socket& socket, Address to) {
  // the loopback address of its family, or its own (net/ipv4/route.c, ip_route_output_key_hash_rcu)
  if (to.isAny()) to.bytes = source(socket, to).bytes;
  return to;
}

int Net::predict(const Socket& socket, const Address& address) const {
  const Address to = resolve(socket, address);
  switch (socket.life) {
    case Life::kClosed:
      break;
    case Life::kFailed:
      return ECONNABORTED;
    case Life::kSynSent:
      return EALREADY;
    default:
      return EISCONN;
  }
  if (noRoute != 0) return noRoute;
  if (socket.port != 0) return isFree(socket, to, socket.port) ? fate : EADDRNOTAVAIL;
  const std::set<uint16_t> passed = namedPorts();
  bool found = false;
  for (int port = settings.low; !found && port <= settings.high; port++) {
    const auto candidate = static_cast<uint16_t>(port);
    found = settings.allows(candidate) && passed.count(candidate) == 0 && isFree(socket, to, candidate);
  }
  return found ? fate : EADDRNOTAVAIL;
}

// net/ipv4/inet_connection_sock.c, inet_csk_bind_conflict; one who has connected has a port, too, and from then on the
// address that it comes from.
bool Net::conflicts(const Socket& socket, uint16_t port) const {
  if (bound.count(port) != 0) return true;
  const auto overlaps = [&](const Address& other) {
    return socket.local.isAny() || other.isAny() || socket.local.family != other.family ||
           socket.local.bytes == other.bytes;
  };
  std::set<const Socket*> connected;
  for (const auto& [tuple, entry] : table) {
    if (entry.socket != nullptr) connected.insert(entry.socket);
    if (tuple.first.port != port || entry.socket == &socket || !overlaps(tuple.first)) continue;
    if (!socket.reuse || !(entry.socket != nullptr ? entry.socket->reuse : entry.reuse)) return true;
  }
  return std::any_of(files.begin(), files.end(), [&](const auto& file) {
    const Socket& other = *file.second;
    if (&other == &socket || other.port != port || connected.count(&other) != 0 || !overlaps(other.local)) return false;
    return !socket.reuse || !other.reuse || other.life == Life::kListen;
  });
}

bool Net::canBind(const Socket& socket) const {
  for (int port = settings.low; port <= settings.high; port++)
    if (settings.allows(static_cast<uint16_t>(port)) && !conflicts(socket, static_cast<uint16_t>(port))) return true;
  return false;
}

Entry* Net::entryOf(const Socket& socket) {
  for (auto& [tuple, entry] : table)
    if (entry.socket == &socket) return &entry;
  return nullptr;
}

// It is reset, or was never made (net/ipv4/tcp.c, tcp_set_state: TCP_CLOSE gives the port back).
void Net::fail(Socket& socket) {
  for (auto entry = table.begin(); entry != table.end();)
    entry = entry->second.socket == &socket ? table.erase(entry) : std::next(entry);
  socket.life = Life::kFailed;
  if (!socket.named) socket.port = 0;
}

Entry Net::left(const Entry& entry, const Socket& socket) const {
  return {Life::kTimeWait, entry.timestamps, socket.reuse, socket.named, socket.ours, ms(), ms() + kMinuteMs, ms(),
          nullptr};
}

void Net::peerEnds(Socket& socket) {
  Entry* entry = entryOf(socket);
  if (socket.life == Life::kEstablished) {
    socket.life = Life::kCloseWait;
  } else if (socket.life == Life::kFinWait2) {
    // the socket is closed, and something small stays behind (net/ipv4/tcp_minisocks.c, tcp_time_wait)
    socket.life = Life::kTimeWait;
    if (entry != nullptr) *entry = left(*entry, socket);
  }
  if (entry != nullptr && entry->socket != nullptr) entry->life = socket.life;
}

// The last descriptor has been closed (net/ipv4/tcp.c, __tcp_close).
void Net::drop(Socket& socket) {
  Entry* entry = entryOf(socket);
  if (entry == nullptr) return;
  if (socket.life == Life::kSynSent || socket.aborts) return fail(socket);
  *entry = left(*entry, socket);
  if (socket.life == Life::kCloseWait || socket.life == Life::kLastAck) {
    entry->life = Life::kLastAck;
    entry->until = ms() + (isLocal(socket) ? 0 : lastAckMs);
  } else {
    entry->life = Life::kFinWait2;
  }
  expire();
}

void Net::expire() {
  for (auto entry = table.begin(); entry != table.end();)
    entry = entry->second.until != 0 && entry->second.until <= ms() ? table.erase(entry) : std::next(entry);
}

void Net::advance(uint64_t ms) {
  now += ms * 1'000'000 + g_dice() % 1'000'000;
  expire();
}

// Handshakes succeed or do not, peers end or reset connections, what nobody has any more goes on.
void Net::peersLive() {
  std::vector<std::shared_ptr<Socket>> list;
  for (const auto& [fd, socket] : files) list.push_back(socket);
  for (const auto& socket : list) {
    if (entryOf(*socket) == nullptr) continue;
    if (socket->life == Life::kSynSent && chance(50)) {
      if (chance(20)) {
        fail(*socket);
        continue;
      }
      socket->life = entryOf(*socket)->life = Life::kEstablished;
    }
    if (socket->life == Life::kLastAck && chance(50)) {
      fail(*socket);
      continue;
    }
    if (chance(10)) peerEnds(*socket);
    if (chance(3)) fail(*socket);
  }
  for (auto& [tuple, entry] : table)
    if (entry.socket == nullptr && entry.life == Life::kFinWait2 && chance(20))
      entry = {Life::kTimeWait,  entry.timestamps, entry.reuse, entry.named, entry.ours, ms(),
               ms() + kMinuteMs, entry.closed,     nullptr};
}

}  // namespace model

// The seam's clock (native/seam/wrappers.cc); linked with --wrap.
extern "C" int __wrap_clock_gettime(clockid_t /*clock*/, timespec* time) {
  time->tv_sec = static_cast<time_t>(model::g_net.now / 1'000'000'000);
  time->tv_nsec = static_cast<long>(model::g_net.now % 1'000'000'000);
  return 0;
}
