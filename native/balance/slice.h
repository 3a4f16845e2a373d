// SPDX-License-Identifier: Apache-2.0
// How soon the thread runs after it is woken, on a CPU that a worker computes on.
#pragma once

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../refused.h"

namespace fastsocket::balance {

// sched_setattr(2); no libc has it in all versions, and the kernel's header has a sched_param beside libc's.
struct Attributes {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime;
  uint64_t deadline;
  uint64_t period;
};
static_assert(sizeof(Attributes) == 48, "include/uapi/linux/sched/types.h, SCHED_ATTR_SIZE_VER0");

// A thread that asks for the shortest slices takes the place of one with longer ones when it wakes up, and its part of
// the CPU is as large as before. Since Linux 6.12 (kernel/sched/syscalls.c, __setparam_fair; kernel/sched/fair.c,
// PREEMPT_SHORT); kernels before take no notice of sched_runtime for this policy.
inline void shortenSlices() {
  Attributes wanted = {};
  wanted.size = sizeof wanted;
  if (syscall(SYS_sched_getattr, 0, &wanted, sizeof wanted, 0) < 0) {
    noteRefusal("the thread that looks for blocked workers runs as late as others do: sched_getattr");
    return;
  }
  // somebody has given this process another policy
  if (wanted.policy != SCHED_OTHER) return;
  // the least there is (__setparam_fair: 100 us to 100 ms)
  wanted.runtime = 100'000;
  if (syscall(SYS_sched_setattr, 0, &wanted, 0) < 0)
    noteRefusal("the thread that looks for blocked workers runs as late as others do: sched_setattr");
}

}  // namespace fastsocket::balance
