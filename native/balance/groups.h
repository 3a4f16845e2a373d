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
  // Instructions whose constant is a socket's index: one for each that may be excluded.
  Buffer<int> slots;
  // The instruction whose constant is the socket that takes what nobody else can.
  int safe = -1;
};

constexpr uint32_t kNobody = 0xffffffff;

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
  // The program in the kernel excludes these.
  Buffer<bool> excluded;

  // Excludes these, by seat, and nobody else. 1 where that needed another program, 0 where it did not, or a negative
  // errno.
  int exclude(const bool* wanted, int seats);
  // A new table, under which these stay excluded. 0 or a negative errno: the kernel has kept the one before.
  int attach(Buffer<sock_filter> lean, Guarded guarded);

 private:
  int attachNow();
};

}  // namespace fastsocket::balance
