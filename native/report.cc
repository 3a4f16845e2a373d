// SPDX-License-Identifier: Apache-2.0
// A worker's signals: it reports them to the origin and does nothing else, until the origin tells it what to do.
#include <errno.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "napi_help.h"
#include "refused.h"
#include "signals.h"

namespace fastsocket {
namespace {

// Process-wide, as signal handlers are. The socket is written before a handler is installed.
struct Report {
  int sock;
  int process;
};
Report g_report = {-1, 0};

// Signals of which the app has a handler, one bit each.
uint64_t g_handled = 0;

// The value of a signal that the origin sends for this process alone, see jsSignalAlone.
constexpr int kAlone = 0x466173;

bool isForThisOne(const siginfo_t& info) { return info.si_code == SI_QUEUE && info.si_value.sival_int == kAlone; }

bool isHandled(int signal) { return ((__atomic_load_n(&g_handled, __ATOMIC_ACQUIRE) >> (signal - 1)) & 1U) != 0; }

// "signal <n>", without snprintf, which is not async-signal-safe.
size_t writeReport(char* text, int signal) {
  static const char kPrefix[] = "signal ";
  size_t length = sizeof kPrefix - 1;
  memcpy(text, kPrefix, length);
  if (signal >= 10) text[length++] = static_cast<char>('0' + signal / 10);
  text[length++] = static_cast<char>('0' + signal % 10);
  return length;
}

void report(int signal, siginfo_t* info, void* /*context*/) {
  const int saved = errno;
  if (__atomic_load_n(&g_report.process, __ATOMIC_ACQUIRE) != getpid()) {
    // a child forked without exec has inherited this handler, but it is no worker: the signal means what it always did
    setDefault(signal);
    raiseHere(signal);
  } else if (isForThisOne(*info)) {
    // a handler runs when the loop has the origin's word for it; without one the end does not wait for a loop that
    // blocks
    if (!isHandled(signal)) {
      setDefault(signal);
      raiseHere(signal);
    }
  } else if (info->si_code != SI_KERNEL) {
    // SI_KERNEL: from the terminal, whose foreground process group the origin is in too. A full channel loses the
    // report, as a second pending signal of the same number would be lost.
    char text[16];
    const size_t length = writeReport(text, signal);
    if (send(__atomic_load_n(&g_report.sock, __ATOMIC_ACQUIRE), text, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
      noteRefusal("a signal to this process alone is lost: send");
  }
  errno = saved;
}

bool validSignal(int signal) { return signal >= 1 && signal <= kMostSignals; }

napi_value jsReportSignals(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int sock = args.integer(0);
  const Buffer<int> signals = args.integers(1);
  if (!args.ok()) return nullptr;
  __atomic_store_n(&g_report.sock, sock, __ATOMIC_RELEASE);
  __atomic_store_n(&g_report.process, getpid(), __ATOMIC_RELEASE);
  for (size_t i = 0; i < signals.size(); i++) {
    const int error = validSignal(signals[i]) ? installHandler(signals[i], report) : -EINVAL;
    if (error < 0) return number(env, error);
  }
  return number(env, 0);
}

// handlesSignal(signal, 0 or 1): whether the app has a handler of it.
napi_value jsHandlesSignal(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int signal = args.integer(0);
  const int handled = args.integer(1);
  if (!args.ok()) return nullptr;
  if (!validSignal(signal)) return number(env, -EINVAL);
  const uint64_t bit = uint64_t{1} << (signal - 1);
  if (handled != 0)
    __atomic_or_fetch(&g_handled, bit, __ATOMIC_RELEASE);
  else
    __atomic_and_fetch(&g_handled, ~bit, __ATOMIC_RELEASE);
  return number(env, 0);
}

// signalAlone(pid, signal): in the origin, for a worker whose report() knows it by its value.
napi_value jsSignalAlone(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int process = args.integer(0);
  const int signal = args.integer(1);
  if (!args.ok()) return nullptr;
  if (process <= 0 || !validSignal(signal)) return number(env, -EINVAL);
  sigval value = {};
  value.sival_int = kAlone;
  return number(env, orErrno(sigqueue(process, signal, value)));
}

int die(int signal) {
  if (!validSignal(signal)) return -EINVAL;
  // SIGKILL and SIGSTOP refuse a disposition and need none
  const int error = setDefault(signal);
  if (error < 0 && error != -EINVAL) return error;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  if (sigprocmask(SIG_UNBLOCK, &set, nullptr) < 0) return -errno;
  return raiseHere(signal);
}

napi_value jsDie(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int signal = args.integer(0);
  if (!args.ok()) return nullptr;
  return number(env, die(signal));
}

napi_value jsSetParentDeathSignal(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int signal = args.integer(0);
  if (!args.ok()) return nullptr;
  return number(env, orErrno(prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)));
}

napi_value jsBlockedSignals(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!args.ok()) return nullptr;
  sigset_t blocked;
  if (sigprocmask(SIG_SETMASK, nullptr, &blocked) < 0) return number(env, -errno);
  int list[kMostSignals] = {};
  size_t count = 0;
  for (int signal = 1; signal <= kMostSignals; signal++) {
    if (sigismember(&blocked, signal) == 1) list[count++] = signal;
  }
  return numbers(env, list, count);
}

napi_value jsDisposition(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int signal = args.integer(0);
  if (!args.ok()) return nullptr;
  struct sigaction now = {};
  if (sigaction(signal, nullptr, &now) < 0) return number(env, -errno);
  if ((now.sa_flags & SA_SIGINFO) != 0) return number(env, 2);
  return number(env, now.sa_handler == SIG_DFL ? 0 : now.sa_handler == SIG_IGN ? 1 : 2);
}

}  // namespace

bool exportReport(napi_env env, napi_value exports) {
  static const Export kTable[] = {
      {"reportSignals", jsReportSignals},
      {"handlesSignal", jsHandlesSignal},
      {"signalAlone", jsSignalAlone},
      {"die", jsDie},
      {"setParentDeathSignal", jsSetParentDeathSignal},
      {"blockedSignals", jsBlockedSignals},
      {"disposition", jsDisposition},
  };
  return defineAll(env, exports, kTable);
}

}  // namespace fastsocket
