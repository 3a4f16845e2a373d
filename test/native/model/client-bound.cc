// SPDX-License-Identifier: Apache-2.0
// The picture of what is bound, and of sockets that were replaced.
#include <errno.h>
#include <netinet/tcp.h>

#include <algorithm>

#include "../../../native/seam/libc.h"
#include "calls.h"
#include "check.h"
#include "client.h"

namespace model {

using fastsocket::seam::Bound;

namespace {

// As long as the seam can know of what is left of a connection.
constexpr uint64_t kLeftMs = 60'000;

constexpr struct {
  int level;
  int name;
  int value;
} kOptions[] = {
    {IPPROTO_TCP, TCP_NODELAY, 1},   {SOL_SOCKET, SO_KEEPALIVE, 1},  {IPPROTO_TCP, TCP_KEEPIDLE, 11},
    {IPPROTO_TCP, TCP_KEEPINTVL, 3}, {IPPROTO_TCP, TCP_KEEPCNT, 4},  {IPPROTO_TCP, TCP_KEEPIDLE, 7'200},
    {IPPROTO_IP, IP_TOS, 16},        {IPPROTO_IPV6, IPV6_V6ONLY, 1}, {IPPROTO_IPV6, IPV6_TCLASS, 32},
};

// Without those that say what is so anyway.
std::map<std::pair<int, int>, int> said(const Socket& socket) {
  std::map<std::pair<int, int>, int> options = socket.options;
  for (auto one = options.begin(); one != options.end();)
    one = one->second == 0 || one->second == 7'200 ? options.erase(one) : std::next(one);
  return options;
}

}  // namespace

void Client::setOptions(int fd) {
  for (const auto& option : kOptions) {
    if (option.level == IPPROTO_IPV6 && g_net.at(fd)->domain != AF_INET6) continue;
    if (chance(20)) CHECK(g_calls.setsockopt(fd, option.level, option.name, &option.value, sizeof option.value) == 0);
  }
}

// What the app has said of it holds, whatever socket it is now.
void Client::checkRenewed(const Socket& before, const Socket& after) {
  CHECK(after.domain == before.domain && after.tcp == before.tcp && after.numbers == before.numbers);
  CHECK(said(after) == said(before));
  CHECK(after.noPort == before.noPort);
  CHECK(after.reuse || !before.reuse);
  CHECK(after.local.bytes == before.local.bytes);
}

// As if the kernel had chosen, or better: it would not have found a port that is bound, or one in TIME_WAIT.
void Client::checkError(int error, int expected) const {
  if (error == expected) return;
  const bool bound = !tries_.empty() && tries_.back().bound;
  if (bound && expected == EADDRNOTAVAIL) {
    CHECK(error == g_net.fate);
    return;
  }
  // the last port was found taken, and there was no fresh socket
  CHECK(isShort() && error == EADDRNOTAVAIL && tries_.size() > 1 && tries_[tries_.size() - 2].bound);
}

// The peer's FIN.
void Client::reads(int fd) {
  char byte = 0;
  const auto booking = bookings_.find(fd);
  if (g_calls.read(fd, &byte, 1) == 0 && booking != bookings_.end()) booking->second.peerRead = true;
}

void Client::named(const Socket& socket, uint16_t port, int error) {
  if (picture_ == nullptr) return;
  CHECK(socket.reuse && !isNamed_);
  beginTry();
  const bool steered = candidate(port, true);
  tries_.push_back({port, 0, true, steered});
  isNamed_ = error == 0;
}

void Client::countMost() {
  int count = 0;
  int all = 0;
  for (int port = snapshot.low; port <= snapshot.high; port++) {
    if (!snapshot.allows(static_cast<uint16_t>(port))) continue;
    all++;
    if (connects_.share.has(static_cast<uint16_t>(port))) count++;
  }
  mostBound = count < all ? count / 2 : count / 4;
}

// That the seam's count is right is checked elsewhere.
bool Client::mayBind(uint16_t port) const {
  const Bound* bound = connects_.bound;
  return (bound != nullptr && bound->has(port)) || (bound == nullptr ? 0 : bound->count()) < mostBound;
}

// By the seam, and still its business.
std::set<uint16_t> Client::boundInKernel(const Socket* but) const {
  std::set<uint16_t> ports;
  for (const auto& [fd, socket] : g_net.files)
    if (socket->ours && socket.get() != but) ports.insert(socket->port);
  for (const auto& [tuple, entry] : g_net.table)
    if (entry.ours && entry.socket == nullptr && g_net.ms() - entry.closed < kLeftMs) ports.insert(tuple.first.port);
  return ports;
}

void Client::noteBound(Socket& socket, int handle) {
  const std::set<uint16_t> before = boundInKernel(&socket);
  const uint16_t port = socket.port;
  bool known = before.count(port) != 0;
  for (const auto& [fd, booking] : bookings_) known |= booking.bound && booking.port == port && fd != handle;
  for (const BoundRest& rest : boundRests_) known |= rest.port == port && rest.may > g_net.ms();
  if (!known) CHECK(static_cast<int>(before.size()) < mostBound);
  socket.ours = true;
}

void Client::checkBound() {
  const uint64_t now = g_net.ms();
  boundRests_.erase(
      std::remove_if(boundRests_.begin(), boundRests_.end(), [now](const BoundRest& rest) { return rest.may <= now; }),
      boundRests_.end());
  if (connects_.bound == nullptr) {
    for (const auto& [fd, booking] : bookings_) CHECK(!booking.bound);
    return;
  }
  Bound& bound = *connects_.bound;
  bound.refresh(fastsocket::seam::nowMs());
  std::set<uint16_t> must;
  std::set<uint16_t> may;
  for (const auto& [fd, booking] : bookings_)
    if (booking.bound) must.insert(booking.port);
  for (const BoundRest& rest : boundRests_) {
    if (rest.must > now) must.insert(rest.port);
    may.insert(rest.port);
  }
  may.insert(must.begin(), must.end());
  for (const uint16_t port : must) CHECK(bound.has(port));
  for (const uint16_t port : boundInKernel(nullptr)) CHECK(bound.has(port));
  int count = 0;
  for (int port = first; port <= last; port++) {
    if (!bound.has(static_cast<uint16_t>(port))) continue;
    count++;
    CHECK(may.count(static_cast<uint16_t>(port)) != 0);
  }
  CHECK(bound.count() == count);
}

void Client::checkStranger() const {
  const uint64_t now = g_net.ms();
  std::set<uint16_t> others(g_net.bound.begin(), g_net.bound.end());
  for (const auto& [fd, socket] : g_net.files)
    if (socket->named && !socket->ours) others.insert(socket->port);
  for (const auto& [tuple, entry] : g_net.table)
    if (entry.named && (!entry.ours || (entry.socket == nullptr && now - entry.closed >= kLeftMs)))
      others.insert(tuple.first.port);
  int left = 0;
  for (int port = g_net.settings.low; port <= g_net.settings.high; port++)
    if (g_net.settings.allows(static_cast<uint16_t>(port)) && others.count(static_cast<uint16_t>(port)) == 0) left++;
  const Bound* bound = connects_.bound;
  if (left <= (bound == nullptr ? 0 : bound->count())) return;
  const Socket plain;
  Address to;
  to.family = 4;
  to.bytes = {203, 0, 113, 1};
  to.port = 9;
  g_net.fate = g_net.noRoute = 0;
  CHECK(g_net.predict(plain, to) == 0);
}

}  // namespace model
