// SPDX-License-Identifier: Apache-2.0
// The ports that one connect() tries.
#pragma once

#include "connects.h"

namespace fastsocket::seam {

// A port that was found taken: whoever holds it, an established connection or TIME_WAIT. As long as that (ends.cc).
constexpr uint32_t kTakenMs = 62'100;

class Candidates {
 public:
  Candidates(Connects& connects, Destination& destination) : connects_(connects), destination_(destination) {}

  // Taken from now on, 0 where there is none: after a few, what is left is the kernel's choice.
  uint16_t next();

  // Of the last one. It was said to come home; it is to be bound.
  [[nodiscard]] bool isSteered() const { return isSteered_; }
  [[nodiscard]] bool isBound() const { return isBound_; }
  // The last one is not needed.
  void giveBack() { destination_.ports.release(tried_[--count_]); }
  // The last one is a connection's.
  void keepLast() { count_--; }

  [[nodiscard]] int count() const { return count_; }
  // All that are left were found taken.
  void letRest(uint32_t now) {
    while (count_ > 0) destination_.ports.rest(tried_[--count_], now, kTakenMs);
  }

 private:
  static constexpr int kMost = 8;
  // Of them, ports of the share that were somebody else's.
  static constexpr int kMostInShare = 3;
  // And ports that rest: where no other is left.
  static constexpr int kMostResting = 4;

  [[nodiscard]] int most() const;
  [[nodiscard]] bool wantsToLearn() const;
  uint16_t any();
  uint16_t steered();
  uint16_t rested();
  uint16_t find(const PortMask& wanted);
  [[nodiscard]] uint16_t findFrom(const PortMask& wanted, uint16_t start) const;
  [[nodiscard]] bool mayBindAny() const;
  [[nodiscard]] bool mayBind(uint16_t port) const;

  Connects& connects_;
  Destination& destination_;
  uint16_t tried_[kMost] = {};
  int count_ = 0;
  int resting_ = 0;
  bool isSteered_ = false;
  bool isBound_ = false;
};

}  // namespace fastsocket::seam
