// SPDX-License-Identifier: Apache-2.0
#include "ports.h"

namespace fastsocket::seam {

namespace {

// Twelve days; times are compared within 24 (2^31 ms).
constexpr uint32_t kLongMs = 1U << 30;
constexpr size_t kFirstRing = 16;

bool isPast(uint32_t now, uint32_t until) { return static_cast<int32_t>(now - until) >= 0; }

}  // namespace

int PortMask::countCommon(const PortMask& other) const {
  int count = 0;
  // without the instruction for it, which not every x86-64 has, the compiler would call its own library
  for (int i = 0; i < kWords; i++)
    for (uint64_t bits = words_[i] & other.words_[i]; bits != 0; bits &= bits - 1) count++;
  return count;
}

bool Resting::grow() {
  Buffer<Entry> larger(ring_.size() == 0 ? kFirstRing : ring_.size() * 2);
  if (!larger.valid()) return false;
  for (size_t i = 0; i < count_; i++) larger[i] = ring_[(head_ + i) & (ring_.size() - 1)];
  ring_ = static_cast<Buffer<Entry>&&>(larger);
  head_ = 0;
  return true;
}

bool Resting::push(uint16_t port, uint32_t until, bool finished) {
  if (count_ == ring_.size() && !grow()) return false;
  ring_[(head_ + count_) & (ring_.size() - 1)] = {until, port, finished};
  count_++;
  return true;
}

bool Resting::isDue(uint32_t now) const { return count_ > 0 && isPast(now, ring_[head_].until); }

void Resting::pop() {
  head_ = (head_ + 1) & (ring_.size() - 1);
  count_--;
}

void Ports::refresh(uint32_t now) {
  // after weeks the clock has come around, and nothing rests any more
  const bool isLong = now - refreshed_ > kLongMs;
  refreshed_ = now;
  for (; isLong ? soon_.count() > 0 : soon_.isDue(now); soon_.pop()) used_.clear(soon_.first());
  for (; isLong ? late_.count() > 0 : late_.isDue(now); late_.pop()) used_.clear(late_.first());
}

uint16_t Ports::find(const PortMask& allowed, const PortMask& wanted, uint16_t start, const PortMask* also) const {
  const int first = start / 64;
  uint64_t mask = ~uint64_t{0} << (start % 64);
  // the first word comes again at the end, for what lies before the start
  for (int i = 0; i <= PortMask::kWords; i++) {
    const int at = (first + i) & (PortMask::kWords - 1);
    uint64_t free = allowed.word(at) & wanted.word(at) & ~used_.word(at) & mask;
    if (also != nullptr) free &= also->word(at);
    if (free != 0) return static_cast<uint16_t>(at * 64 + __builtin_ctzll(free));
    mask = ~uint64_t{0};
  }
  return 0;
}

Ports::Rested Ports::oldest() {
  Resting& queue = soon_.count() > 0 ? soon_ : late_;
  const Rested rested = {queue.first(), queue.firstIsFinished()};
  if (rested.port != 0) queue.pop();
  return rested;
}

void Ports::take(uint16_t port) {
  used_.set(port);
  taken_++;
}

void Ports::release(uint16_t port) {
  used_.clear(port);
  taken_--;
}

void Ports::rest(uint16_t port, uint32_t now, uint32_t ms, bool finished) {
  taken_--;
  avoid(port, now, ms, finished);
}

void Ports::avoid(uint16_t port, uint32_t now, uint32_t ms, bool finished) {
  Resting& queue = ms <= kSoonMs ? soon_ : late_;
  if (ms > 0 && queue.push(port, now + ms, finished))
    used_.set(port);
  else
    used_.clear(port);
}

}  // namespace fastsocket::seam
