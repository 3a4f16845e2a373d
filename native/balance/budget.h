// SPDX-License-Identifier: Apache-2.0
// How often the origin's thread may look where CPU is short: what it uses of one is bounded, whatever a look costs on
// this machine (one sleep of 2 ms cost 11 to 42 us of CPU time on a virtual machine of 2 CPUs with Linux 6.18, the look
// itself less). Where CPU is not short a look costs nobody anything, and who is blocked is to be found at once.
#pragma once

#include <stdint.h>

#include "page.h"

namespace fastsocket::balance {

// Whether all workers are busy: one that is not has CPU to spare, and may be needed at once.
class Use {
 public:
  // Long enough for a share, short enough for a burst of load.
  static constexpr uint64_t kEach = 100'000'000;

  [[nodiscard]] bool isDue(uint64_t now) const { return now - toldAt_ >= kEach; }

  // What each has used is told next. `now`: in ns.
  void begin(uint64_t now) {
    took_ = now - toldAt_;
    toldAt_ = now;
    least_ = ~uint64_t{0};
    workers_ = 0;
  }
  // `cpu`: of its process, in ns; less than before where it is another process.
  void tell(int seat, uint64_t cpu) {
    const uint64_t used = cpu > cpu_[seat] ? cpu - cpu_[seat] : 0;
    cpu_[seat] = cpu;
    workers_++;
    if (used < least_) least_ = used;
  }

  // Even the one that has used least has used more than three tenths of its part of so many CPUs: whoever loads them,
  // and the kernel's work for that, may well use the rest.
  [[nodiscard]] bool isHigh(uint64_t cpus) const { return workers_ > 0 && least_ * workers_ * 10 > took_ * cpus * 3; }

 private:
  uint64_t toldAt_ = 0;
  uint64_t took_ = 0;
  uint64_t least_ = 0;
  uint64_t workers_ = 0;
  uint64_t cpu_[kMostSeats] = {};
};

// A bucket of CPU time: who has looked seldom may look closely for a while.
class Budget {
 public:
  // One part in so many of a core.
  static constexpr int64_t kPart = 125;
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
