// SPDX-License-Identifier: Apache-2.0
#include "candidates.h"

namespace fastsocket::seam {

uint16_t Candidates::next() {
  if (count_ == kMost) return 0;
  isBound_ = connects_.binds;
  uint16_t port = steered();
  isSteered_ = port != 0;
  if (port == 0) port = any();
  if (port == 0 && resting_++ < kMostResting) port = rested();
  if (port == 0) return 0;
  destination_.ports.take(port);
  tried_[count_++] = port;
  return port;
}

uint16_t Candidates::steered() {
  Steering* steering = destination_.steering;
  return steering == nullptr || steering->left == 0 ? 0 : find(steering->home);
}

uint16_t Candidates::any() {
  const Steering* steering = destination_.steering;
  uint16_t port = steering != nullptr && steering->learns ? find(steering->unknown) : 0;
  if (port == 0) port = find(connects_.share);
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
    }
    destination_.ports.forget(rested.port);
  }
}

bool Candidates::mayBindAny() const {
  return (connects_.bound == nullptr ? 0 : connects_.bound->count()) < connects_.mostBound;
}

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
