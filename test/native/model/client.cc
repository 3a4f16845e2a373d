// SPDX-License-Identifier: Apache-2.0
// What the app does, by libuv's calls.
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/syscall.h>

#include <algorithm>

#include "../../../native/seam/libc.h"
#include "calls.h"
#include "check.h"

namespace model {

using fastsocket::seam::Handle;
using fastsocket::seam::Handles;
using HandleKind = fastsocket::seam::Kind;

namespace {

constexpr int kStream = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

// An own address, or the host's of no such family; without a port.
Target ownAddress(int domain, bool mapped, bool loopback) {
  Target own = {};
  if (domain == AF_INET) {
    auto* in = reinterpret_cast<sockaddr_in*>(&own.address);
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(chance(20) ? INADDR_ANY : loopback ? INADDR_LOOPBACK : 0x0a000001);
    own.length = sizeof *in;
    return own;
  }
  auto* in6 = reinterpret_cast<sockaddr_in6*>(&own.address);
  in6->sin6_family = AF_INET6;
  own.length = sizeof *in6;
  if (chance(20)) return own;
  const char* text = mapped ? (loopback ? "::ffff:127.0.0.1" : "::ffff:10.0.0.1") : loopback ? "::1" : "2001:db8::1";
  CHECK(inet_pton(AF_INET6, text, &in6->sin6_addr) == 1);
  return own;
}

void setPort(Target& target, uint16_t port) {
  // at the same place in both
  reinterpret_cast<sockaddr_in*>(&target.address)->sin_port = htons(port);
}

const sockaddr* at(const Target& target) { return reinterpret_cast<const sockaddr*>(&target.address); }

}  // namespace

Client::Client(fastsocket::seam::Loop& loop, std::vector<Target> targets)
    : loop_(loop), connects_(*loop.connects), targets_(std::move(targets)) {}

const Target& Client::target() const { return targets_[g_dice() % targets_.size()]; }

int Client::anyOf() const { return fds_.empty() ? -1 : fds_[g_dice() % fds_.size()]; }

int Client::open(int domain) {
  const int fd = g_calls.socket(domain, kStream, 0);
  CHECK(fd >= 0);
  forgetNumber(fd);
  CHECK(Handles::at(fd)->kind == HandleKind::kStream && Handles::at(fd)->flags == 0);
  fds_.push_back(fd);
  setOptions(fd);
  return fd;
}

// Sockets of other kinds: c-ares makes its streams otherwise. What anybody says of them but the app is checked there.
void Client::openOther() {
  static const struct {
    int domain;
    int type;
    int protocol;
  } kKinds[] = {{AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0},
                {AF_INET, SOCK_STREAM, IPPROTO_TCP},
                {AF_INET, kStream, IPPROTO_TCP},
                {AF_INET6, SOCK_STREAM, 0},
                {AF_UNIX, kStream, 0}};
  const auto& kind = kKinds[g_dice() % 5];
  const int fd = g_calls.socket(kind.domain, kind.type, kind.protocol);
  forgetNumber(fd);
  fds_.push_back(fd);
  CHECK(Handles::known(fd) == nullptr);
  const Target to = target();
  if (chance(30)) {
    const Target own = ownAddress(kind.domain == AF_INET6 ? AF_INET6 : AF_INET, false, false);
    (void)g_calls.bind(fd, at(own), own.length);
  }
  (void)g_calls.connect(fd, at(to), to.length);
  const Handle* handle = Handles::known(fd);
  CHECK(handle == nullptr || (handle->kind == HandleKind::kOwn && handle->flags == 0));
  sockaddr_storage name = {};
  socklen_t length = sizeof name;
  if (chance(30)) (void)g_calls.getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length);
}

void Client::bindSomehow(int fd, const Target& to) {
  const Address remote = Address::of(at(to), to.length);
  const int domain = to.address.ss_family;
  Target own = ownAddress(domain, remote.family == 4, remote.isLoopback());
  const Socket* socket = g_net.at(fd);
  if (chance(20)) setPort(own, static_cast<uint16_t>(first + upTo(last - first)));
  if (chance(5)) reinterpret_cast<uint8_t*>(&own.address)[domain == AF_INET ? 7 : 23] = 77;
  const Address named = Address::of(at(own), own.length);
  const int result = g_calls.bind(fd, at(own), own.length);
  const Handle* handle = Handles::at(fd);
  if (result < 0) {
    CHECK(!socket->noPort && handle->kind == HandleKind::kStream && handle->flags == 0);
    return;
  }
  CHECK(handle->kind == HandleKind::kOwn);
  CHECK(handle->has(fastsocket::seam::kPortless) == (named.port == 0));
  CHECK(socket->port == named.port);
}

// A server's: the port is there as soon as somebody asks for it.
void Client::bindAndAsk() {
  const Target to = target();
  const int fd = open(to.address.ss_family);
  const int on = 1;
  if (chance(50)) CHECK(g_calls.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
  if (chance(80)) bindSomehow(fd, to);
  const Socket* socket = g_net.at(fd);
  const bool bindable = socket->port != 0 || g_net.canBind(*socket);
  const bool portless = Handles::at(fd)->has(fastsocket::seam::kPortless);
  const std::array<uint8_t, 16> address = socket->local.bytes;
  sockaddr_storage name = {};
  socklen_t length = sizeof name;
  const bool asks = chance(50);
  if (asks) {
    CHECK(g_calls.getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) == 0);
    const Address told = Address::of(reinterpret_cast<sockaddr*>(&name), length);
    CHECK(told.port == socket->port && (!portless || (told.port != 0) == bindable));
  }
  if (!asks || chance(50)) {
    CHECK((g_calls.listen(fd, 511) == 0) == bindable);
    if (bindable && loop_.listenerCount < fastsocket::seam::kMostListeners) CHECK(loop_.listenerOf(fd) != nullptr);
  }
  CHECK(socket->local.bytes == address);
  if (bindable) CHECK(!Handles::at(fd)->has(fastsocket::seam::kPortless) && !socket->noPort);
  // its port is its own: nobody chooses another
  if (socket->life == Life::kClosed && socket->port != 0 && chance(50)) connect(fd, to);
}

void Client::connectSomewhere(bool bound) {
  const Target to = target();
  const int fd = open(to.address.ss_family);
  if (bound) bindSomehow(fd, to);
  connect(fd, to);
}

// The number of a socket that is closed, of which nobody has told the seam.
void Client::connectNowhere() {
  const Target to = target();
  const int fd = open(to.address.ss_family);
  steal(fd);
  Key key;
  key.remote = Address::of(at(to), to.length);
  begin(key);
  CHECK(g_calls.connect(fd, at(to), to.length) == -1 && errno == EBADF);
  giveBackUntried(*picture_);
  picture_ = nullptr;
  dropForgotten();
}

// What the seam does from here on is for this destination.
void Client::begin(const Key& key) {
  tries_.clear();
  ownTries_ = restingTries_ = maybeResting_ = 0;
  withoutNumber = gaveUpTooSoon_ = askedNow_ = false;
  isNamed_ = false;
  bindsBefore_ = connects_.binds;
  key_ = key;
  picture_ = &pictures_[key];
  picture_->used = ++clock_;
}

void Client::connect(int fd, const Target& to) {
  const std::shared_ptr<Socket> socket = g_net.files.at(fd);
  const Socket told = *socket;
  const size_t files = g_net.files.size();
  const Handle before = *Handles::at(fd);
  if (before.kind == HandleKind::kConnected) return connectAgain(fd, to);
  Key key;
  key.remote = Address::of(at(to), to.length);
  const bool portless = before.has(fastsocket::seam::kPortless);
  if (portless) key.local = socket->local.bytes;
  const bool local = Net::resolve(*socket, key.remote).isLoopback();
  g_net.fate = local ? 0 : EINPROGRESS;
  if (chance(10)) g_net.fate = chance(20) ? EPERM : chance(30) ? EINTR : ECONNREFUSED;
  g_net.noRoute = chance(95) ? 0 : chance(50) ? ENETUNREACH : EADDRNOTAVAIL;
  const int expected = g_net.predict(*socket, key.remote);
  const bool ours = before.kind == HandleKind::kStream || portless;
  if (ours) begin(key);
  g_net.full = chance(4);
  g_net.busy = chance(2);
  const int result = g_calls.connect(fd, at(to), to.length);
  const int error = result < 0 ? errno : 0;
  picture_ = nullptr;
  CHECK(g_net.files.size() == files);
  if (ours) {
    checkError(error, expected);
    const std::shared_ptr<Socket> after = g_net.files.at(fd);
    checkRenewed(told, *after);
    settle(fd, key, error, *after);
    // nobody tries again with one that is still bound
    if (after->named && !after->ours) close(fd);
  } else {
    CHECK(error == expected);
    CHECK(memcmp(Handles::at(fd), &before, sizeof before) == 0);
    CHECK(socket->range == 0);
  }
  g_net.noRoute = 0;
  g_net.full = g_net.busy = false;
}

// Once more, which says how it went, or is a new one after the first has failed; or nowhere, which ends it.
void Client::connectAgain(int fd, const Target& to) {
  Socket* socket = g_net.at(fd);
  const Booking booking = bookings_.at(fd);
  const std::pair<Address, Address> tuple = Net::tupleOf(*socket);
  g_net.fate = EINPROGRESS;
  if (chance(10) && socket->life != Life::kTimeWait) {
    sockaddr nowhere = {};
    nowhere.sa_family = AF_UNSPEC;
    CHECK(g_calls.connect(fd, &nowhere, sizeof nowhere) == 0);
  } else {
    const int expected = g_net.predict(*socket, Address::of(at(to), to.length));
    const int result = g_calls.connect(fd, at(to), to.length);
    CHECK((result < 0 ? errno : 0) == expected);
    if (expected != EINPROGRESS) {
      CHECK(Handles::at(fd)->kind == HandleKind::kConnected);
      return;
    }
  }
  if (socket->port == booking.port) {
    Booking& again = bookings_.at(fd);
    // the seam counts with the first destination
    socket->ours = false;
    if (const auto left = g_net.table.find(tuple); left != g_net.table.end()) left->second.ours = false;
    again.ended = again.endedFirst = again.peerRead = false;
    return;
  }
  CHECK(Handles::known(fd) == nullptr);
  unbook(fd, {62'100, 62'100});
}

void Client::shutdown(int fd) {
  const Socket& socket = *g_net.at(fd);
  static const int kHows[] = {SHUT_WR, SHUT_WR, SHUT_RDWR, SHUT_RD};
  const int how = kHows[g_dice() % 4];
  const auto booking = bookings_.find(fd);
  g_net.infoFails = chance(2);
  if (booking != bookings_.end() && how != SHUT_RD) noteEnd(booking->second, socket);
  if (booking != bookings_.end()) booking->second.blind |= g_net.infoFails;
  // the seam counts on what it is told
  if (booking != bookings_.end() && g_net.infoFails) g_net.at(fd)->ours = false;
  (void)g_calls.shutdown(fd, how);
  g_net.infoFails = false;
}

void Client::lingers(int fd) {
  const linger value = {chance(70) ? 1 : 0, chance(80) ? 0 : 5};
  CHECK(g_calls.setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value) == 0);
  const auto booking = bookings_.find(fd);
  if (booking != bookings_.end()) booking->second.aborts = value.l_onoff != 0 && value.l_linger == 0;
}

void Client::close(int fd) {
  const std::shared_ptr<Socket> socket = g_net.files.at(fd);
  const auto found = bookings_.find(fd);
  const auto [own, to] = Net::tupleOf(*socket);
  g_net.lastAckMs = socket->rtt == 0 ? 0 : g_dice() % (1 + socket->rtt / 1'000);
  g_net.infoFails = chance(2);
  RestTime time = {};
  Booking booking = {};
  if (found != bookings_.end()) {
    time = restOf(found->second, *socket);
    booking = found->second;
  }
  const Life life = socket->life;
  const bool last = socket->numbers == 1;
  CHECK(g_calls.syscall(SYS_close, fd, 0, 0, 0, 0, 0) == 0);
  fds_.erase(std::find(fds_.begin(), fds_.end(), fd));
  CHECK(Handles::known(fd) == nullptr && Handles::at(fd)->flags == 0);
  if (found == bookings_.end()) return;
  unbook(fd, time);
  const uint64_t ms = time.ms;
  const bool knew = !g_net.infoFails;
  g_net.infoFails = false;
  if (booking.lost || booking.blind || !last || booking.port != own.port) return;
  // what is left of it in the kernel is what the seam expects
  const auto left = g_net.table.find({own, to});
  // of one that was reset there is nothing: another has come from its port
  const bool was = life != Life::kFailed && life != Life::kClosed;
  const bool there = was && left != g_net.table.end() && left->second.socket == nullptr;
  // one that was connected once more, from a port that is bound, may have been farther away
  const bool near = booking.key.remote.isLoopback() || pictures_.at(booking.key).rtt != socket->rtt;
  if (there && near && left->second.life == Life::kLastAck) left->second.ours = false;
  if (there && left->second.life == Life::kLastAck && !near) CHECK(ms >= left->second.until - g_net.ms());
  if (there && left->second.life != Life::kLastAck) CHECK(ms >= 1'000);
  if (there && left->second.life == Life::kFinWait2 && !connects_.local.timeWaitReuse) CHECK(ms == 62'100);
  const bool gone = life == Life::kSynSent || life == Life::kFailed || booking.aborts;
  if (knew && gone && !booking.ended) CHECK(ms == 0);
}

void Client::touch(int fd) {
  const Socket& socket = *g_net.at(fd);
  if (chance(10)) return shutdown(fd);
  if (chance(5) && socket.tcp) return lingers(fd);
  if (chance(2)) return steal(fd);
  if (chance(2)) return share(fd);
  const Target& to = target();
  if (chance(5) && !socket.foreign && socket.life != Life::kListen && socket.domain == to.address.ss_family)
    return connect(fd, to);
  if (chance(30)) return close(fd);
  if (chance(50)) reads(fd);
}

void Client::live() {
  if (fds_.size() < most) {
    if (chance(70)) connectSomewhere(chance(30));
    if (chance(5)) openOther();
    if (chance(5)) bindAndAsk();
    if (chance(3)) adopt();
    if (chance(5)) accepts();
    if (chance(1)) connectNowhere();
    if (chance(5)) steers();
  } else {
    close(anyOf());
  }
  for (int n = upTo(3); n > 0 && !fds_.empty(); n--) touch(anyOf());
  if (!shared_.empty() && chance(20)) {
    if (--shared_.back()->numbers == 0) g_net.drop(*shared_.back());
    shared_.pop_back();
  }
}

void Client::end() {
  while (!fds_.empty()) close(fds_.back());
  // nobody has told the seam of these: the next sockets of their numbers do
  while (!bookings_.empty()) open(AF_INET);
  while (!fds_.empty()) close(fds_.back());
  check();
  g_net.advance(120'000);
  for (const auto& [key, picture] : pictures_) {
    fastsocket::seam::Ports& ports = connects_.destinations.at(connects_.destinations.known(key.endpoints()))->ports;
    ports.refresh(fastsocket::seam::nowMs());
    CHECK(ports.taken() == 0 && ports.resting() == 0);
    for (int port = 0; port < 65'536; port++) CHECK(!ports.isUsed(static_cast<uint16_t>(port)));
  }
  checkBound();
  CHECK(connects_.bound == nullptr || connects_.bound->count() == 0);
  for (const auto& socket : shared_) g_net.drop(*socket);
}

}  // namespace model
