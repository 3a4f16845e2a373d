// SPDX-License-Identifier: Apache-2.0
// The source ports of one destination: which are free, and which of them is next.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../memory.h"

namespace fastsocket::seam {

// One bit for each of the 65,536 ports.
class PortMask {
 public:
  static constexpr int kWords = 65536 / 64;

  [[nodiscard]] bool has(uint16_t port) const { return ((words_[port / 64] >> (port % 64)) & 1) != 0; }
  void set(uint16_t port) { words_[port / 64] |= uint64_t{1} << (port % 64); }
  void clear(uint16_t port) { words_[port / 64] &= ~(uint64_t{1} << (port % 64)); }
  void fill(bool on) { memset(words_, on ? 0xff : 0, sizeof words_); }
  // How many are in both.
  [[nodiscard]] int countCommon(const PortMask& other) const;
  [[nodiscard]] uint64_t word(int i) const { return words_[i]; }
  uint64_t* words() { return words_; }

 private:
  uint64_t words_[kWords];
};

// What rests for so long at most is not to wait for what rests for a minute.
constexpr uint32_t kSoonMs = 1'100;

// Ports that nobody is to try before their time, in the order of their times; who comes with an earlier one than the
// last waits for that.
class Resting {
 public:
  // False where there was no memory.
  bool push(uint16_t port, uint32_t until, bool finished = false);
  // The port that has waited longest, 0 where there is none.
  [[nodiscard]] uint16_t first() const { return count_ == 0 ? 0 : ring_[head_].port; }
  [[nodiscard]] bool firstIsFinished() const { return count_ > 0 && ring_[head_].finished; }
  [[nodiscard]] bool isDue(uint32_t now) const;
  void pop();
  [[nodiscard]] size_t count() const { return count_; }

 private:
  struct Entry {
    uint32_t until;
    uint16_t port;
    bool finished;
  };
  bool grow();

  Buffer<Entry> ring_;
  size_t head_ = 0;
  size_t count_ = 0;
};

// A port is free, a connection's (taken), or resting. Times are milliseconds of a clock that nobody sets.
class Ports {
 public:
  Ports() { used_.fill(false); }

  // What has rested for long enough is free.
  void refresh(uint32_t now);
  // A free port of the ports that are allowed and wanted, from a random place on; 0 where there is none. At most 1,025
  // words are looked at. `also`: what it must be, too, where it is not nullptr.
  [[nodiscard]] uint16_t find(const PortMask& allowed, const PortMask& wanted, uint16_t start,
                              const PortMask* also = nullptr) const;
  // A port that rests.
  struct Rested {
    // 0 where there is none.
    uint16_t port;
    // In TIME_WAIT after a connection of ours whose peer's FIN has come: bind() can have it.
    bool finished;
  };
  // The one that has rested longest, which is nobody's now: take it, or let it rest again.
  Rested oldest();

  [[nodiscard]] bool isUsed(uint16_t port) const { return used_.has(port); }
  void take(uint16_t port);
  // What follows a take().
  void release(uint16_t port);
  void rest(uint16_t port, uint32_t now, uint32_t ms, bool finished = false);
  // A port that somebody else holds, free here until now; or one from oldest().
  void avoid(uint16_t port, uint32_t now, uint32_t ms, bool finished = false);
  // A port from oldest() that rests no longer.
  void forget(uint16_t port) { used_.clear(port); }

  [[nodiscard]] size_t taken() const { return taken_; }
  [[nodiscard]] size_t resting() const { return soon_.count() + late_.count(); }

 private:
  PortMask used_;
  // Up to a second or so, and longer: one queue for both would let the short ones wait for the long ones.
  Resting soon_;
  Resting late_;
  size_t taken_ = 0;
  uint32_t refreshed_ = 0;
};

}  // namespace fastsocket::seam
