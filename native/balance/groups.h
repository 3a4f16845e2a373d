// SPDX-License-Identifier: Apache-2.0
// The listener groups that the thread watches, with their programs.
#pragma once

#include <linux/filter.h>

#include "../memory.h"
#include "page.h"

namespace fastsocket::balance {

// A program in which sockets can be named that get no connections: placeholders in two of its instructions' constants.
struct Guarded {
  Buffer<sock_filter> program;
  // Instructions whose constant is the index of an excluded socket: `each` for every one that may be, side by side.
  Buffer<int> slots;
  size_t each = 0;
  // The instruction whose constant is the socket that takes what nobody else can.
  int safe = -1;

  // How many can be excluded.
  [[nodiscard]] size_t count() const { return each == 0 ? 0 : slots.size() / each; }
  void name(size_t slot, uint32_t index);
  // Every place is in the program.
  [[nodiscard]] bool fits() const;
};

// NOBODY of lib/steering/guarded.ts.
constexpr uint32_t kNobody = 0x7fffffff;

struct Group {
  // 0: free.
  uint32_t generation = 0;
  // By index; the origin's descriptors. Whoever closes them says so first (Balancer::forget).
  Buffer<int> sockets;
  // Workers that serve it now.
  Buffer<bool> serving;
  // Sockets whose next connection wakes the thread (EPOLLONESHOT).
  Buffer<bool> armed;
  Buffer<sock_filter> lean;
  Guarded guarded;
  // Queues that were not empty at the last look.
  Buffer<bool> queued;
  // The program in the kernel excludes these, unless it is stale: the kernel has refused the last one.
  Buffer<bool> excluded;
  bool stale = false;

  // These are its sockets now: those that it had, and more. What is known of the former stays. False: no memory, and
  // nothing has changed.
  bool hold(const Buffer<int>& all);
  // Excludes these, by seat, and nobody else. 1 where that needed another program, 0 where it did not, or a negative
  // errno.
  int exclude(const bool* wanted, int seats);
  // A new table, under which those who are excluded stay so. A negative errno: the kernel has kept the one before; 1:
  // it has no room for the guarded program, and nobody can be excluded.
  int attach(Buffer<sock_filter> lean, Guarded guarded);

 private:
  int attachNow();
};

}  // namespace fastsocket::balance
