// SPDX-License-Identifier: Apache-2.0
// Children that must not outlive the thread that forks them. A parent-death signal survives execve (prctl(2)), so it is
// set between fork and exec: a child that set it when it runs would be an orphan if its parent ended before that.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "napi_help.h"
#include "signals.h"

namespace fastsocket {
namespace {

// Written by the thread that forks, under the lock. A forked child has a copy of that thread, and of what it has
// written.
struct State {
  pthread_t thread;
  int process;
  int signal;
  bool hasForkHandler;
};
State g_state;
pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;

// Only async-signal-safe calls here. Another thread's child is none of ours.
void inForkedChild() {
  const int signal = __atomic_load_n(&g_state.signal, __ATOMIC_ACQUIRE);
  if (signal == 0 || pthread_equal(pthread_self(), g_state.thread) == 0) return;
  const int saved = errno;
  prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0);
  // it may have ended before; where the kernel does not say, that is not known (a seccomp profile without these calls)
  const int parent = getppid();
  if (parent >= 0 && g_state.process > 0 && parent != g_state.process) kill(getpid(), signal);
  errno = saved;
}

int setChildDeathSignal(int signal) {
  if (signal < 0 || signal > kMostSignals) return -EINVAL;
  pthread_mutex_lock(&g_lock);
  int error = 0;
  const bool others =
      __atomic_load_n(&g_state.signal, __ATOMIC_ACQUIRE) != 0 && pthread_equal(pthread_self(), g_state.thread) == 0;
  if (others) error = -EBUSY;
  if (error == 0 && !g_state.hasForkHandler) {
    // libuv starts programs by fork() and execvp() (src/unix/process.c, uv_spawn)
    error = -pthread_atfork(nullptr, nullptr, inForkedChild);
    g_state.hasForkHandler = error == 0;
  }
  if (error == 0) {
    g_state.thread = pthread_self();
    g_state.process = getpid();
    __atomic_store_n(&g_state.signal, signal, __ATOMIC_RELEASE);
  }
  pthread_mutex_unlock(&g_lock);
  return error;
}

napi_value jsSetChildDeathSignal(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int signal = args.integer(0);
  if (!args.ok()) return nullptr;
  return number(env, setChildDeathSignal(signal));
}

}  // namespace

bool exportOffspring(napi_env env, napi_value exports) {
  static const Export kTable[] = {
      {"setChildDeathSignal", jsSetChildDeathSignal},
  };
  return defineAll(env, exports, kTable);
}

}  // namespace fastsocket
