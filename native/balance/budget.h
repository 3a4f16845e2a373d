// SPDX-License-Identifier: Apache-2.0
// How often the origin's thread may look: what it uses of a CPU is bounded, whatever a look costs on this machine (one
// sleep of 2 ms cost 11 to 42 us of CPU time on a virtual machine of 2 CPUs with Linux 6.18, the look itself less).
#pragma once

#include <stdint.h>

namespace fastsocket::balance {

// A bucket of CPU time: who has looked seldom may look closely for a while.
class Budget {
 public:
  // One part in so many of a core.
  static constexpr int64_t kPart = 100;
  // What can be saved up, in ns: that of a second.
  static constexpr int64_t kMost = 1'000'000'000 / kPart;

  // After each look. `now`: time in ns; `cpu`: what the thread has used in all, in ns; `longest`: what it has used
  // beyond its part does not keep it from looking for longer than that, in ns.
  // Returns for how long it is to pause at least, in ns.
  uint64_t pause(uint64_t now, uint64_t cpu, uint64_t longest) {
    saved_ += static_cast<int64_t>(now - lookedAt_) / kPart - static_cast<int64_t>(cpu - used_);
    lookedAt_ = now;
    used_ = cpu;
    const int64_t least = -static_cast<int64_t>(longest) / kPart;
    if (saved_ > kMost) saved_ = kMost;
    if (saved_ < least) saved_ = least;
    return saved_ < 0 ? static_cast<uint64_t>(-saved_ * kPart) : 0;
  }

 private:
  uint64_t lookedAt_ = 0;
  uint64_t used_ = 0;
  int64_t saved_ = 0;
};

}  // namespace fastsocket::balance
