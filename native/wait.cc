// SPDX-License-Identifier: Apache-2.0
// Waiting for processes to end while the event loop stands still: at the origin's exit. pidfd_open(2).
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "clock.h"
#include "napi_help.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

namespace fastsocket {
namespace {

// One process. poll(2) skips entries whose descriptor is negative.
struct Awaited {
  int pid;
  bool gone;
};

// For kernels before 5.3 and seccomp profiles without pidfd_open. A child that has ended and that nobody has waited for
// yet (libuv will) counts as gone; WNOWAIT leaves it to libuv.
bool hasEnded(int pid) {
  siginfo_t info = {};
  if (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0) return info.si_pid == pid;
  // ECHILD: not ours to wait for
  return kill(pid, 0) < 0 && errno == ESRCH;
}

int waitGone(int ms, const Buffer<int>& pids) {
  const size_t count = pids.size();
  Buffer<pollfd> watched(count);
  Buffer<Fd> owned(count);
  Buffer<bool> gone(count);
  if (!watched.valid() || !owned.valid() || !gone.valid()) return -ENOMEM;
  return ms;
}

}  // namespace
}  // namespace fastsocket
