// SPDX-License-Identifier: Apache-2.0
#include "candidates.h"

namespace fastsocket::seam {

namespace {

// Learning: fewer ports than these beside those in use, and more are looked for; the second number once it has been
// seen that what is learnt is right, by every other connection then.
constexpr uint32_t kFewestOnTrial = 64;
constexpr uint32_t kFewest = 128;

}  // namespace

// Where no connection has come to pass it may be the address that is not available: the kernel says so at once.
int Candidates::most() const { return destination_.chosen + destination_.kernels == 0 ? 1 : kMost; }

uint16_t Candidates::next() {
  if (count_ == most()) return 0;
  isBound_ = connects_.binds;
  uint16_t port = wantsToLearn() ? find(destination_.steering->unknown) : 0;
  isSteered_ = false;
  if (port == 0) {
    port = steered();
    isSteered_ = port != 0;
  }
  if (port == 0) port = any();
  if (port == 0 && resting_++ < kMostResting) port = rested();
  if (port == 0) return 0;
  destination_.ports.take(port);
  tried_[count_++] = port;
  return port;
}

bool Candidates::wantsToLearn() const {
  const Steering* steering = destination_.steering;
  if (steering == nullptr || !steering->learns) return false;
  const bool onTrial = steering->left != UINT32_MAX;
  const uint64_t fewest = destination_.ports.taken() + (onTrial ? kFewestOnTrial : kFewest);
  return steering->learnt < fewest && (onTrial || destination_.chosen % 2 == 1);
}

uint16_t Candidates::steered() {
  Steering* steering = destination_.steering;
  if (steering == nullptr || steering->left == 0) return 0;
  uint16_t port = find(steering->turn);
  if (port == 0) {
    port = find(steering->home);
    if (port != 0) steering->turn = steering->home;
  }
  if (port != 0) steering->turn.clear(port);
  return port;
}

uint16_t Candidates::any() {
  const Steering* steering = destination_.steering;
  uint16_t port = steering != nullptr && steering->learns ? find(steering->unknown) : 0;
  // the kernel gives every other port to connect(), so that of two workers one has most strangers in its share
  if (port == 0 && count_ < kMostInShare) port = find(connects_.share);
  if (port == 0) port = find(connects_.local.allowed);
  return port;
}

// One that rests, to be tried all the same. What is not allowed any more is let go: the kernel would choose another.
uint16_t Candidates::rested() {
  for (;;) {
    const Ports::Rested rested = destination_.ports.oldest();
    if (rested.port == 0) return 0;
    if (connects_.local.allowed.has(rested.port) && rested.port != destination_.to.port) {
      // a connection's own TIME_WAIT gives way to bind() (net/ipv4/tcp_ipv4.c, tcp_twsk_unique: twp is a null pointer)
      if (rested.finished && mayBind(rested.port)) isBound_ = true;
      if (!isBound_ || mayBind(rested.port)) return rested.port;
      // it is not chosen again before it may be bound
    }
    destination_.ports.forget(rested.port);
  }
}

bool Candidates::mayBindAny() const { return Bound::ofAll() < connects_.mostBound; }

bool Candidates::mayBind(uint16_t port) const {
  return mayBindAny() || (connects_.bound != nullptr && connects_.bound->has(port));
}

uint16_t Candidates::findFrom(const PortMask& wanted, uint16_t start) const {
  const PortMask* bound = nullptr;
  if (isBound_ && !mayBindAny()) {
    // no more than those that are bound already
    if (connects_.bound == nullptr) return 0;
    bound = &connects_.bound->ports();
  }
  return destination_.ports.find(connects_.local.allowed, wanted, start, bound);
}

uint16_t Candidates::find(const PortMask& wanted) {
  uint32_t number = 0;
  if (!connects_.random.next(&number)) return 0;
  const LocalPorts& local = connects_.local;
  const auto count = static_cast<uint64_t>(local.high) - local.low + 1;
  const auto start = static_cast<uint16_t>(local.low + (number * count >> 32));
  const uint16_t port = findFrom(wanted, start);
  // a socket whose both ends are the same is connected to itself (RFC 9293, 3.5: simultaneous open)
  if (port == 0 || port != destination_.to.port) return port;
  const uint16_t other = findFrom(wanted, static_cast<uint16_t>(port + 1));
  return other == port ? 0 : other;
}

}  // namespace fastsocket::seam
