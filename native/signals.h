// SPDX-License-Identifier: Apache-2.0
// Helpers that both sides of the signal handling share. signal-safety(7): everything here may run in a handler.
#pragma once

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

namespace fastsocket {

// Signal numbers are 1.._NSIG-1; the kernel has 64 on every architecture that Node supports.
constexpr int kMostSignals = 64;

using SignalHandler = void (*)(int, siginfo_t*, void*);

inline int installHandler(int signal, SignalHandler handler) {
  struct sigaction action = {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigfillset(&action.sa_mask);
  return sigaction(signal, &action, nullptr) < 0 ? -errno : 0;
}

// To the calling thread; to any one of the process where raise(3) cannot name it (a seccomp profile without gettid or
// tgkill). 0 or a negative errno.
inline int raiseHere(int signal) {
  if (raise(signal) == 0) return 0;
  return kill(getpid(), signal) < 0 ? -errno : 0;
}

inline int setDefault(int signal) {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  sigemptyset(&action.sa_mask);
  return sigaction(signal, &action, nullptr) < 0 ? -errno : 0;
}

// Blocks every signal in this thread as long as it lives. sigprocmask and not pthread_sigmask, which changed its symbol
// version in glibc 2.32; on Linux both change the calling thread only (kernel/signal.c, sys_rt_sigprocmask).
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  SignalsBlocked(SignalsBlocked&&) = delete;
  SignalsBlocked& operator=(SignalsBlocked&&) = delete;

 private:
  sigset_t before_ = {};
};

}  // namespace fastsocket
