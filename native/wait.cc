// SPDX-License-Identifier: Apache-2.0
// Waiting for processes to end while the event loop stands still: at the origin's exit. pidfd_open(2).
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "clock.h"
#include "napi_help.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

namespace fastsocket {
namespace {

// Without pidfd_open a process is asked for as often as this, in milliseconds.
constexpr int kAskEvery = 1;

// Descriptors of the processes that are waited for; -1 where there is none, which poll(2) skips.
class Watched {
 public:
  explicit Watched(const Buffer<int>& pids) : polled_(pids.size()) {
    for (size_t i = 0; i < polled_.size(); i++) {
      // pidfds are close-on-exec by themselves (pidfd_open(2))
      polled_[i].fd = static_cast<int>(syscall(SYS_pidfd_open, pids[i], 0));
      polled_[i].events = POLLIN;
    }
  }
  ~Watched() {
    for (size_t i = 0; i < polled_.size(); i++) drop(i);
  }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;
  Watched(Watched&&) = delete;
  Watched& operator=(Watched&&) = delete;

  [[nodiscard]] bool valid() const { return polled_.valid(); }
  [[nodiscard]] bool has(size_t i) const { return polled_[i].fd >= 0; }
  // A pidfd becomes readable when its process ends, also if nobody has waited for it yet.
  [[nodiscard]] bool ended(size_t i) const { return polled_[i].revents != 0; }
  void drop(size_t i) {
    if (polled_[i].fd >= 0) close(polled_[i].fd);
    polled_[i].fd = -1;
    polled_[i].revents = 0;
  }
  int wait(int ms) { return poll(polled_.data(), polled_.size(), ms) < 0 ? -errno : 0; }

 private:
  Buffer<pollfd> polled_;
};

// For kernels before 5.3 and seccomp profiles without pidfd_open. A child that has ended and that nobody has waited for
// yet (libuv will) counts as gone; WNOWAIT leaves it to libuv.
bool hasEnded(int pid) {
  siginfo_t info = {};
  if (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0) return info.si_pid == pid;
  // ECHILD: not a child of ours
  return kill(pid, 0) < 0 && errno == ESRCH;
}

// Returns how many are still there after ms at the most, or a negative errno.
int waitGone(int ms, const Buffer<int>& pids) {
  Watched watched(pids);
  Buffer<bool> gone(pids.size());
  if (!watched.valid() || !gone.valid()) return -ENOMEM;
  const int64_t end = nowMs() + ms;
  bool looked = false;  // at least once, also for 0 ms
  for (;;) {
    int left = 0;
    bool asked = false;
    for (size_t i = 0; i < pids.size(); i++) {
      if (!gone[i]) gone[i] = watched.has(i) ? watched.ended(i) : hasEnded(pids[i]);
      if (gone[i]) {
        watched.drop(i);
        continue;
      }
      left++;
      asked = asked || !watched.has(i);
    }
    const int64_t rest = end - nowMs();
    if (left == 0 || (looked && rest <= 0)) return left;
    looked = true;
    const int64_t pause = rest < 0 ? 0 : rest;
    const int error = watched.wait(static_cast<int>(asked && pause > kAskEvery ? kAskEvery : pause));
    if (error < 0 && error != -EINTR) return error;
  }
}

napi_value jsWaitGone(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int ms = args.integer(0);
  const Buffer<int> pids = args.integers(1);
  if (!args.ok()) return nullptr;
  for (size_t i = 0; i < pids.size(); i++) {
    // kill(2) takes 0 and negative numbers for groups, and those never end
    if (pids[i] <= 0) return number(env, -EINVAL);
  }
  return number(env, waitGone(ms, pids));
}

}  // namespace

bool exportWait(napi_env env, napi_value exports) {
  static const Export kTable[] = {
      {"waitGone", jsWaitGone},
  };
  return defineAll(env, exports, kTable);
}

}  // namespace fastsocket
