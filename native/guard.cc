// SPDX-License-Identifier: Apache-2.0
// The origin's death by a signal that the app does not handle. Whoever waits for it may start the next instance at
// once, so the port must be free when the exit status can be seen, and workers need milliseconds to die (kernel/exit.c:
// exit_mm comes before exit_files). Hence the sockets leave LISTEN first - a bound socket that does not listen is no
// obstacle under SO_REUSEADDR -, the workers are killed and waited for, and then the signal does what it would have
// done without us.
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "clock.h"
#include "napi_help.h"
#include "signals.h"

namespace fastsocket {
namespace {

// What a handler works through. One block of memory: the lists stand behind it. Immutable once published.
struct Table {
  int process;
  size_t fdCount;
  size_t pidCount;
  Table* next;  // of those that have been replaced

  [[nodiscard]] const int* fds() const { return reinterpret_cast<const int*>(this + 1); }
  [[nodiscard]] const int* pids() const { return fds() + fdCount; }
};

Table* g_table;
// Handlers that look at a table now: one may run in any thread while another one replaces the table.
int g_readers;

// What was installed before us, and whether we are. Written while our handler is not installed for that signal.
struct sigaction g_before[kMostSignals + 1];
bool g_guarded[kMostSignals + 1];
// Tables that have been replaced and that a handler may still have read at that time.
Table* g_replaced;
// For all of the above but g_table and g_readers, which a handler takes without it.
pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;

// How long the killed may take, all together: one that waits for a disk does not hold up the origin's end for longer.
constexpr int kReapMs = 250;

// Whoever ends a whole tree asks for each of its processes until it is gone (PM2's treekill: kill(pid, 0)), and a
// zombie is not. It would be process 1's to wait for, which in a container may be a program that knows its own children
// alone. Only async-signal-safe calls here (signal-safety(7)). libuv takes ECHILD for an answer (src/unix/process.c,
// uv__wait_children).
void reap(const Table& table) {
  const int64_t end = nowMs() + kReapMs;
  for (size_t i = 0; i < table.pidCount; i++) {
    while (waitpid(table.pids()[i], nullptr, WNOHANG) == 0 && nowMs() < end) poll(nullptr, 0, 1);
  }
}

void shutAll() {
  __atomic_add_fetch(&g_readers, 1, __ATOMIC_SEQ_CST);
  const Table* table = __atomic_load_n(&g_table, __ATOMIC_SEQ_CST);
  // a child forked without exec has inherited handler and table, but neither the sockets nor the workers are its own
  if (table != nullptr && table->process == getpid()) {
    for (size_t i = 0; i < table->fdCount; i++) shutdown(table->fds()[i], SHUT_RD);
    for (size_t i = 0; i < table->pidCount; i++) kill(table->pids()[i], SIGKILL);
    reap(*table);
  }
  __atomic_sub_fetch(&g_readers, 1, __ATOMIC_SEQ_CST);
}

// Our handler's mask blocks everything, so a raised signal acts when the handler returns: the wait status names it.
void onSignal(int signal, siginfo_t* info, void* context) {
  const int saved = errno;
  shutAll();
  const struct sigaction& before = g_before[signal];
  const bool isDefault = (before.sa_flags & SA_SIGINFO) == 0 && before.sa_handler == SIG_DFL;
  // Node's own handler restores the terminal and raises again; it counts on SA_RESETHAND having been done (src/node.cc,
  // SignalExit, RegisterSignalHandler)
  if (isDefault || (before.sa_flags & static_cast<int>(SA_RESETHAND)) != 0) setDefault(signal);
  if (isDefault) {
    raiseHere(signal);
  } else if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(signal, info, context);
  } else {
    before.sa_handler(signal);
  }
  errno = saved;
}

bool isOurs(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == onSignal;
}

bool isIgnored(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_IGN;
}

int guardSignal(int signal) {
  struct sigaction now = {};
  if (sigaction(signal, nullptr, &now) < 0) return -errno;
  if (isOurs(now)) return 0;
  g_guarded[signal] = false;
  // ignored (nohup): it would not end the process, so nothing may be shut
  if (isIgnored(now)) return 0;
  g_before[signal] = now;
  const int error = installHandler(signal, onSignal);
  g_guarded[signal] = error == 0;
  return error;
}

void unguardSignal(int signal) {
  if (!g_guarded[signal]) return;
  g_guarded[signal] = false;
  struct sigaction now = {};
  // not ours any more: libuv has installed a handler of the app's since, or has set SIG_DFL after its last; leave it
  if (sigaction(signal, nullptr, &now) == 0 && isOurs(now)) sigaction(signal, &g_before[signal], nullptr);
}

// Nullptr where there is no memory.
Table* makeTable(const Buffer<int>& fds, const Buffer<int>& pids) {
  auto* table = static_cast<Table*>(calloc(1, sizeof(Table) + (sizeof(int) * (fds.size() + pids.size()))));
  if (table == nullptr) return nullptr;
  table->process = getpid();
  table->fdCount = fds.size();
  table->pidCount = pids.size();
  auto* lists = reinterpret_cast<int*>(table + 1);
  if (fds.size() > 0) memcpy(lists, fds.data(), sizeof(int) * fds.size());
  if (pids.size() > 0) memcpy(lists + fds.size(), pids.data(), sizeof(int) * pids.size());
  return table;
}

void publish(Table* table) {
  Table* old = __atomic_exchange_n(&g_table, table, __ATOMIC_SEQ_CST);
  if (old != nullptr) {
    old->next = g_replaced;
    g_replaced = old;
  }
  // A handler that began before the exchange may still read an old one. One that begins from now on finds the new one,
  // so a moment without any is enough for all that have been replaced; without such a moment, the next call looks
  // again.
  if (__atomic_load_n(&g_readers, __ATOMIC_SEQ_CST) > 0) return;
  while (g_replaced != nullptr) {
    Table* next = g_replaced->next;
    free(g_replaced);
    g_replaced = next;
  }
}

bool contains(const Buffer<int>& list, int value) {
  for (size_t i = 0; i < list.size(); i++) {
    if (list[i] == value) return true;
  }
  return false;
}

int replaceGuard(const Buffer<int>& signals, const Buffer<int>& fds, const Buffer<int>& pids) {
  for (size_t i = 0; i < signals.size(); i++) {
    if (signals[i] < 1 || signals[i] > kMostSignals || signals[i] == SIGKILL || signals[i] == SIGSTOP) return -EINVAL;
  }
  for (size_t i = 0; i < pids.size(); i++) {
    // kill(2): 0 is the process group, -1 everybody, 1 init
    if (pids[i] <= 1) return -EINVAL;
  }
  Table* table = makeTable(fds, pids);

  const SignalsBlocked blocked;
  pthread_mutex_lock(&g_lock);
  // nothing is better than what is true no longer: the numbers of ended workers may be somebody else's by now
  publish(table);
  // Process 1 of a PID namespace is not ended by a default action (kernel/signal.c, SIGNAL_UNKILLABLE): it lives on, so
  // must its sockets and workers.
  const bool immortal = getpid() == 1;
  int error = table == nullptr ? -ENOMEM : 0;
  for (int signal = 1; signal <= kMostSignals; signal++) {
    if (!immortal && contains(signals, signal)) {
      const int result = guardSignal(signal);
      if (result < 0 && error == 0) error = result;
    } else {
      unguardSignal(signal);
    }
  }
  pthread_mutex_unlock(&g_lock);
  return error;
}

napi_value jsGuard(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const Buffer<int> signals = args.integers(0);
  const Buffer<int> fds = args.integers(1);
  const Buffer<int> pids = args.integers(2);
  if (!args.ok()) return nullptr;
  return number(env, replaceGuard(signals, fds, pids));
}

napi_value jsShutAll(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!args.ok()) return nullptr;
  shutAll();
  return number(env, 0);
}

}  // namespace

bool exportGuard(napi_env env, napi_value exports) {
  static const Export kTable[] = {
      {"guard", jsGuard},
      {"shutAll", jsShutAll},
  };
  return defineAll(env, exports, kTable);
}

}  // namespace fastsocket
