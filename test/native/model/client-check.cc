// SPDX-License-Identifier: Apache-2.0
// The picture: what the seam has to know, and to do, after what has happened.
#include <errno.h>
#include <string.h>

#include <algorithm>

#include "../../../native/seam/libc.h"
#include "check.h"
#include "client.h"

namespace model {

using fastsocket::seam::Destination;
using fastsocket::seam::Endpoints;
using fastsocket::seam::Handle;
using fastsocket::seam::Handles;
using fastsocket::seam::kMostDestinations;
using fastsocket::seam::PortMask;
using HandleKind = fastsocket::seam::Kind;

namespace {

// As native/seam/connect.cc promises: ports tried, and of them ports that rest; ms that what was found taken rests; how
// often strangers are asked for.
constexpr unsigned kRttEvery = 16;
constexpr int kMostInShare = 3;
constexpr int kMostResting = 4;
constexpr uint64_t kTakenMs = 62'100;
constexpr uint64_t kTimeWaitMs = 62'100;
constexpr uint64_t kReusedMs = 1'050;
constexpr uint64_t kSoonMs = 1'100;
constexpr unsigned kMissesToAsk = 16;
constexpr uint64_t kAskEveryMs = 10'000;

bool isTaken(int error) { return error == EADDRNOTAVAIL || error == EADDRINUSE; }
bool isUnderWay(int error) { return error == 0 || error == EINPROGRESS || error == EINTR; }

}  // namespace

Endpoints Key::endpoints() const {
  Endpoints result = {};
  memcpy(result.remote, remote.bytes.data(), 16);
  memcpy(result.local, local.data(), 16);
  result.scope = remote.scope;
  result.port = remote.port;
  result.family = static_cast<uint8_t>(remote.family);
  return result;
}

// A port that nobody has for this destination, as far as the seam can know.
bool Client::isFree(int number, const PortMask* wanted) const {
  const auto port = static_cast<uint16_t>(number);
  if (!snapshot.allows(port) || (wanted != nullptr && !wanted->has(port)) || port == key_.remote.port) return false;
  if (picture_->booked.count(port) != 0 || picture_->resting.count(port) != 0) return false;
  if (connects_.binds && !mayBind(port)) return false;
  return std::none_of(tries_.begin(), tries_.end(), [&](const Try& one) { return one.port == port; });
}

bool Client::hasFree(const PortMask* wanted) const {
  for (int port = first; port <= last; port++)
    if (isFree(port, wanted)) return true;
  return false;
}

// The first one that is free from a random place on: nobody can foretell it.
void Client::checkStart(uint16_t port, const PortMask* wanted) const {
  const uint64_t count = static_cast<uint64_t>(snapshot.high) - snapshot.low + 1;
  int other = static_cast<int>(snapshot.low + (count * number >> 32));
  for (; other != port; other = other == snapshot.high ? snapshot.low : other + 1) CHECK(!isFree(other, wanted));
}

// Where it may come from, the best first. True where it was said to come home.
bool Client::checkChoice(uint16_t port) {
  fastsocket::seam::Steering* steering = picture_->steering.get();
  if (withoutNumber) return false;
  const PortMask* wanted = steering != nullptr && steering->learns ? &steering->unknown : nullptr;
  if (!wantsToLearn() && steering != nullptr && steering->left > 0 && hasFree(&steering->home)) {
    // each in its turn
    CHECK(steering->home.has(port));
    steering->turn = destination()->steering->turn;
    CHECK(!steering->turn.has(port));
    PortMask before = steering->turn;
    before.set(port);
    checkStart(port, &before);
    return true;
  }
  if (wanted == nullptr || !hasFree(wanted)) wanted = ownTries_ > kMostInShare ? nullptr : &connects_.share;
  if (wanted == nullptr) {
    checkStart(port, nullptr);
    return false;
  }
  if (!hasFree(wanted)) wanted = nullptr;
  CHECK(wanted == nullptr || wanted->has(port));
  checkStart(port, wanted);
  return false;
}

// Those that are free again before long come first; what bind() can have is bound.
void Client::checkRested(uint16_t port, const Rest& tried, bool binds) {
  if (tried.must <= g_net.ms()) return;
  CHECK(withoutNumber || !hasFree(nullptr));
  CHECK(++restingTries_ <= kMostResting);
  CHECK(binds == (connects_.binds || (tried.finished && mayBind(port))));
  for (const auto& [other, rest] : picture_->resting)
    if (rest.must > g_net.ms() && mayTry(other)) CHECK(!(rest < tried));
}

void Client::rest(Picture& picture, uint16_t port, uint64_t ms, bool finished) {
  const uint64_t until = g_net.ms() + ms;
  // who rests for a short time may wait for others who do
  const bool soon = ms <= kSoonMs;
  picture.resting[port] = {until, soon ? g_net.ms() + kSoonMs : until, soon, lastRest_++, finished};
}

void Client::refresh(Picture& picture) const {
  for (auto rest = picture.resting.begin(); rest != picture.resting.end();)
    rest = rest->second.may <= g_net.ms() ? picture.resting.erase(rest) : std::next(rest);
}

// Ports that rest are looked at: what may not be tried any more may be dropped.
void Client::letGo() {
  for (auto& [port, rest] : picture_->resting)
    if (!mayTry(port)) rest.must = 0;
}

// Of one that rests.
bool Client::mayTry(uint16_t port) const {
  return snapshot.allows(port) && port != key_.remote.port && (!connects_.binds || mayBind(port));
}

// A port was chosen, and the socket could not be told.
void Client::giveBackUntried(Picture& picture) {
  for (auto& [port, rest] : picture.resting) rest.must = 0;
}

// A port of ours is tried. True where it was said to come home.
bool Client::candidate(uint16_t port, bool binds) {
  CHECK(usable && g_net.ms() - readAt < 1'000);
  CHECK(++ownTries_ <= mostTries());
  CHECK(!surveying || answeredAt > g_net.ms());
  CHECK(snapshot.allows(port));
  CHECK(port != key_.remote.port);
  CHECK(picture_->booked.count(port) == 0);
  CHECK(!binds || mayBind(port));
  for (const Try& before : tries_) CHECK(before.port != port);
  const auto rest = picture_->resting.find(port);
  isUnsure_ = false;
  if (rest == picture_->resting.end()) {
    CHECK(binds == connects_.binds);
    return checkChoice(port);
  }
  // where no other is left
  maybeResting_++;
  isUnsure_ = rest->second.must <= g_net.ms();
  syncTurn(key_, picture_);
  checkRested(port, rest->second, binds);
  picture_->resting.erase(rest);
  letGo();
  return false;
}

void Client::beginTry() {
  if (tries_.empty() && usable && connects_.refused == 0) refresh(*picture_);
  CHECK(tries_.empty() || tries_.back().port != 0);
  if (connects_.binds && !bindsBefore_) giveBackUntried(*picture_);
  bindsBefore_ = connects_.binds;
}

void Client::tried(const Socket& socket, uint16_t found) {
  if (picture_ == nullptr) {
    CHECK(socket.range == 0 || socket.named);
    return;
  }
  if (isNamed_) {
    isNamed_ = false;
    tries_.back().found = found;
    return;
  }
  beginTry();
  if (socket.named) {
    // no fresh socket was to be had
    CHECK(isShort());
    tries_.push_back({0, found, false, false});
    return;
  }
  const auto port = static_cast<uint16_t>(socket.range & 0xffff);
  CHECK(port == socket.range >> 16);
  bool steered = false;
  if (port != 0) {
    steered = candidate(port, false);
  } else if (ownTries_ < mostTries() && !isShort()) {
    letGo();
    gaveUpTooSoon_ = hasFree(nullptr);
    for (const auto& [other, rest] : picture_->resting)
      if (maybeResting_ < kMostResting && rest.must > g_net.ms() && mayTry(other)) gaveUpTooSoon_ = true;
  }
  tries_.push_back({port, found, false, steered});
}

void Client::asks(const Endpoints& to, bool timeWaitCounts) {
  CHECK(picture_ != nullptr && to.is(key_.endpoints()));
  surveying = true;
  CHECK(timeWaitCounts != snapshot.reuses(key_.remote));
  CHECK(picture_->misses + static_cast<unsigned>(ownTries_) >= kMissesToAsk);
  CHECK(!picture_->asked || g_net.ms() - picture_->askedAt >= kAskEveryMs);
  picture_->asked = askedNow_ = true;
  picture_->askedAt = g_net.ms();
  picture_->misses = 0;
}

void Client::learns(const Endpoints& to, const std::set<uint16_t>& ports) {
  surveying = false;
  for (auto& [key, picture] : pictures_) {
    // one that is new in this call is not known yet
    if (!key.endpoints().is(to) || connects_.destinations.known(to) < 0) continue;
    for (const uint16_t port : ports) {
      if (!snapshot.allows(port) || picture.booked.count(port) != 0) continue;
      const auto rest = picture.resting.find(port);
      if (rest == picture.resting.end())
        this->rest(picture, port, kTakenMs);
      else if (rest->second.must <= g_net.ms())
        rest->second = {0, g_net.ms() + kTakenMs, false, 0, false};  // free already, or to be freed by the next look
    }
  }
}

// Destinations that the seam has given up: the one that was idle longest, none with connections.
void Client::dropForgotten() {
  for (auto one = pictures_.begin(); one != pictures_.end();) {
    if (connects_.destinations.known(one->first.endpoints()) >= 0) {
      ++one;
      continue;
    }
    CHECK(one->second.booked.empty());
    for (const auto& [key, other] : pictures_)
      CHECK(!other.booked.empty() || other.used >= one->second.used || one->second.used == clock_);
    one = pictures_.erase(one);
  }
}

void Client::book(int fd, const Key& key, uint16_t port) {
  Picture& picture = pictures_.at(key);
  CHECK(picture.booked.count(port) == 0);
  picture.booked[port] = fd;
  picture.resting.erase(port);
  bookings_[fd] = {key, port};
}

void Client::unbook(int fd, const RestTime& time) {
  const Booking booking = bookings_.at(fd);
  bookings_.erase(fd);
  Picture& picture = pictures_.at(booking.key);
  CHECK(picture.booked.erase(booking.port) == 1);
  if (time.ms > 0) rest(picture, booking.port, time.ms, booking.endedFirst && booking.peerRead);
  if (!booking.bound || time.bound == 0) return;
  const uint64_t now = g_net.ms();
  boundRests_.push_back({booking.port, now + time.bound, now + std::max(time.bound, kSoonMs)});
}

// The number is another file's, and the seam has seen that.
void Client::forgetNumber(int fd) {
  if (bookings_.count(fd) != 0) unbook(fd, {kTimeWaitMs, kTimeWaitMs});
}

void Client::noteEnd(Booking& booking, const Socket& socket) {
  if (booking.ended) return;
  Picture& picture = pictures_.at(booking.key);
  const bool knows =
      booking.peerRead && (booking.key.remote.isLoopback() || (picture.rtt != 0 && ++picture.ends % kRttEvery != 0));
  if (knows) {
    booking.ended = true;
    look(booking, picture, socket);
    return;
  }
  if (g_net.infoFails || !socket.tcp) return;
  const bool first = socket.life == Life::kEstablished || socket.life == Life::kFinWait2;
  if (!first && socket.life != Life::kCloseWait && socket.life != Life::kLastAck) return;
  booking.ended = true;
  booking.endedFirst = first;
  picture.rtt = socket.rtt;
  look(booking, picture, socket);
}

// How long the port of one that is closed now rests.
Client::RestTime Client::restOf(Booking& booking, const Socket& socket) {
  if (!booking.aborts) noteEnd(booking, socket);
  const bool known = booking.ended || booking.aborts || (!g_net.infoFails && socket.tcp);
  if (booking.endedFirst || !known) return {snapshot.reuses(booking.key.remote) ? kReusedMs : kTimeWaitMs, kTimeWaitMs};
  if (!booking.ended || booking.key.remote.isLoopback()) return {0, 0};
  const uint64_t ms = std::min<uint64_t>(1 + pictures_.at(booking.key).rtt / 500, 1'000);
  return {ms, ms};
}

// What came of the ports that were tried.
void Client::settleTries(Picture& picture, int error) {
  const bool kernels = tries_.empty() || tries_.back().port == 0;
  const bool nothing = kernels && isTaken(error);
  unsigned misses = 0;
  for (auto one = tries_.rbegin(); one != tries_.rend(); ++one) {
    if (one->port == 0 || nothing || (!kernels && one == tries_.rbegin())) continue;
    rest(picture, one->port, kTakenMs);
    misses++;
  }
  picture.misses = askedNow_ ? 0 : picture.misses + misses;
  const bool due = picture.misses >= kMissesToAsk && (!picture.asked || g_net.ms() - picture.askedAt >= kAskEveryMs);
  if (misses > 0 && surveys && !surveying) CHECK(!due);
}

void Client::settle(int fd, const Key& key, int error, Socket& socket) {
  dropForgotten();
  const Handle& handle = *Handles::at(fd);
  const auto found = pictures_.find(key);
  syncTurn(key, found == pictures_.end() ? nullptr : &found->second);
  const bool chose = usable && connects_.refused == 0 && found != pictures_.end();
  if (!chose) CHECK(ownTries_ == 0);
  if ((!chose || isShort()) && found != pictures_.end()) giveBackUntried(found->second);
  if (chose && !withoutNumber) CHECK(!gaveUpTooSoon_);
  if (usable && connects_.refused == 0 && !chose) CHECK(pictures_.size() == kMostDestinations);
  if (usable) CHECK(connects_.refused == 0);
  if (g_net.hasOption) CHECK(!connects_.binds);
  if (found != pictures_.end()) settleTries(found->second, error);
  const bool kernels = tries_.empty() || tries_.back().port == 0;
  if (kernels || !isUnderWay(error)) CHECK(isShort() || (socket.range == 0 && !socket.named));
  if (!isUnderWay(error)) {
    CHECK(handle.kind == HandleKind::kStream || handle.has(fastsocket::seam::kPortless));
    return;
  }
  if (kernels && handle.kind == HandleKind::kUnknown) {
    CHECK(handle.flags == 0);
    // what rests stays so
    if (chose) CHECK(found->second.booked.count(socket.port) + found->second.resting.count(socket.port) != 0);
    return;
  }
  const auto rest = found->second.resting.find(handle.port);
  CHECK(rest == found->second.resting.end() || rest->second.must <= g_net.ms());
  CHECK(handle.kind == HandleKind::kConnected && handle.loop == loop_.id);
  // a range that has changed in the last second may have made the kernel choose another
  if (kernels || snapshot == g_net.settings) CHECK(handle.port == socket.port);
  if (!kernels) CHECK(tries_.back().port == handle.port && socket.reuse);
  book(fd, key, handle.port);
  Booking& booking = bookings_.at(fd);
  booking.bound = !kernels && tries_.back().bound;
  CHECK(socket.named == booking.bound && handle.has(fastsocket::seam::kBound) == booking.bound);
  if (booking.bound) noteBound(socket, fd);
  noteSteered(booking, found->second, handle.flags);
}

void Client::checkDestination(const Key& key, const Picture& picture) {
  const int index = connects_.destinations.known(key.endpoints());
  CHECK(index >= 0);
  Destination& destination = *connects_.destinations.at(index);
  CHECK(destination.ports.taken() == picture.booked.size());
  size_t used = 0;
  for (int i = first; i <= last; i++) {
    const auto port = static_cast<uint16_t>(i);
    const bool isUsed = destination.ports.isUsed(port);
    used += isUsed ? 1 : 0;
    const auto rest = picture.resting.find(port);
    if (picture.booked.count(port) != 0 || (rest != picture.resting.end() && rest->second.must > g_net.ms()))
      CHECK(isUsed);
    else if (rest == picture.resting.end())
      CHECK(!isUsed);
  }
  CHECK(used == destination.ports.taken() + destination.ports.resting());
  checkSteering(picture, destination);
  for (const auto& [port, fd] : picture.booked) {
    const Handle& handle = *Handles::at(fd);
    CHECK(handle.kind == HandleKind::kConnected && handle.port == port && handle.destination == index);
  }
}

void Client::check() {
  CHECK(connects_.destinations.count() == static_cast<int>(pictures_.size()));
  CHECK(connects_.destinations.count() <= kMostDestinations);
  for (const auto& [key, picture] : pictures_) checkDestination(key, picture);
  checkBound();
}

}  // namespace model
