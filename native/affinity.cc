// SPDX-License-Identifier: Apache-2.0
// Which CPUs a thread may run on. sched_setaffinity(2): a mask belongs to a thread, a new thread and a forked process
// inherit the mask of their maker. Only the event loop is to be pinned, so everything it makes gets the original mask
// back.
#include "affinity.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "napi_help.h"
#include "refused.h"
#include "seam/old_glibc.h"

namespace fastsocket {
namespace {

// The largest kernel has 8,192 CPUs (arch/x86/Kconfig, NR_CPUS_RANGE_END); cpu_set_t ends at 1,024. The kernel answers
// EINVAL when its own mask does not fit. A fixed size needs no memory in a forked child.
constexpr int kMostCpus = 8192;
constexpr int kWordBits = static_cast<int>(sizeof(unsigned long) * 8);

struct Mask {
  unsigned long words[kMostCpus / kWordBits];

  [[nodiscard]] bool has(int cpu) const { return ((words[cpu / kWordBits] >> (cpu % kWordBits)) & 1UL) != 0; }
  void add(int cpu) { words[cpu / kWordBits] |= 1UL << (cpu % kWordBits); }
  [[nodiscard]] bool is(const Mask& other) const { return memcmp(words, other.words, sizeof words) == 0; }
  [[nodiscard]] bool isWithin(const Mask& other) const {
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
      if ((words[i] & ~other.words[i]) != 0) return false;
    return true;
  }
};

// Through syscall(): the kernel's interface has no cpu_set_t, and libc's wrappers differ in what they do with its
// length.
int readMask(int thread, Mask* mask) {
  *mask = {};
  const long bytes = syscall(SYS_sched_getaffinity, thread, sizeof mask->words, mask->words);
  return bytes < 0 ? -errno : 0;
}

int writeMask(int thread, const Mask& mask) {
  return syscall(SYS_sched_setaffinity, thread, sizeof mask.words, mask.words) < 0 ? -errno : 0;
}

// Every CPU that there can be. A thread with this mask may use what its control group may, now and later: since Linux
// 6.2 what a thread has asked for outlives a change of its cpuset (kernel/sched/core.c, __set_cpus_allowed_ptr:
// user_cpus_ptr), so one that had asked for the CPUs of today would never see those of tomorrow.
Mask everyCpu() {
  Mask mask;
  memset(mask.words, 0xff, sizeof mask.words);
  return mask;
}

// With no CPU that the control group has, a mask is refused: EINVAL (sched_setaffinity(2)).
int writeMaskOrEvery(int thread, const Mask& mask) {
  const int error = writeMask(thread, mask);
  return error == -EINVAL ? writeMask(thread, everyCpu()) : error;
}

int threadId() {
  // gettid() has a wrapper only since glibc 2.30
  return static_cast<int>(syscall(SYS_gettid));
}

// Process-wide. Written under the lock by whoever pins; read without it in a forked child (which has one thread) and by
// sweeps, after `pinned` says that they are there.
struct State {
  Mask original;
  Mask single;
  int thread;
  bool pinned;
  bool hasForkHandler;
};
State g_state;
pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;

class Locked {
 public:
  Locked() { pthread_mutex_lock(&g_lock); }
  ~Locked() { pthread_mutex_unlock(&g_lock); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  Locked(Locked&&) = delete;
  Locked& operator=(Locked&&) = delete;
};

bool isPinned() { return __atomic_load_n(&g_state.pinned, __ATOMIC_ACQUIRE); }

// Gives a thread the original mask back if it has exactly the mask of the pinned thread: one that somebody else has
// placed stays where it is.
int unpinThread(int thread) {
  Mask mask;
  const int error = readMask(thread, &mask);
  if (error < 0) return error;
  if (!mask.is(g_state.single)) return 0;
  const int written = writeMaskOrEvery(thread, g_state.original);
  return written < 0 ? written : 1;
}

// libuv starts programs by fork() and execvp() (src/unix/process.c, uv_spawn). Only async-signal-safe calls here.
void inForkedChild() {
  const int saved = errno;
  if (isPinned()) unpinThread(0);
  errno = saved;
}

// Of the calling thread, which is about to be pinned: every CPU where nobody has given it fewer than its group has.
// *whole: a negative errno where it cannot be known whether somebody has.
int readOriginal(Mask* original, int* whole) {
  const int error = readMask(0, original);
  if (error < 0) return error;
  Mask mask;
  *whole = writeMask(0, everyCpu());
  if (*whole == 0) *whole = readMask(0, &mask);
  if (*whole == 0 && mask.is(*original)) *original = everyCpu();
  return 0;
}

int pin(int cpu) {
  if (cpu < 0 || cpu >= kMostCpus) return -EINVAL;
  Locked locked;
  const int thread = threadId();
  // it would be taken for one that has inherited the pin
  if (thread < 0) return -errno;
  if (g_state.pinned && g_state.thread != thread) return -EBUSY;
  if (!g_state.hasForkHandler) {
    const int error = pthread_atfork(nullptr, nullptr, inForkedChild);
    if (error != 0) return -error;
    g_state.hasForkHandler = true;
  }
  int whole = 0;
  if (!g_state.pinned) {
    const int error = readOriginal(&g_state.original, &whole);
    if (error < 0) return error;
  }
  Mask single = {};
  single.add(cpu);
  const int error = writeMask(0, single);
  if (error < 0) {
    // every CPU was asked for, to see which there are
    if (!g_state.pinned) (void)writeMaskOrEvery(0, g_state.original);
    return error;
  }
  if (whole < 0) noteFailure("threads and programs do not follow when there are more CPUs: sched_setaffinity", -whole);
  g_state.single = single;
  g_state.thread = thread;
  __atomic_store_n(&g_state.pinned, true, __ATOMIC_RELEASE);
  return 0;
}

// Somebody has given the process these CPUs, one thread after the other, and those that looked as if they had inherited
// the pin then have been given more by a sweep.
int boundThread(int thread) {
  Mask mask;
  const int error = readMask(thread, &mask);
  if (error < 0 || mask.isWithin(g_state.original)) return error;
  const int written = writeMaskOrEvery(thread, g_state.original);
  return written < 0 ? written : 1;
}

constexpr const char* kUnswept = "threads that others start stay on the event loop's CPU: reading /proc/self/task";

// Gives the other threads the original mask that need it, 1 of `mend`: how many. Under the lock.
int sweepOthers(int (*mend)(int thread)) {
  DIR* tasks = opendir("/proc/self/task");
  if (tasks == nullptr) {
    // for want of descriptors: the next one may find them
    if (errno != EMFILE && errno != ENFILE) noteFailure(kUnswept, errno);
    return -errno;
  }
  int changed = 0;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(tasks);
    if (entry == nullptr) break;
    const int thread = static_cast<int>(strtol(entry->d_name, nullptr, 10));
    // 0: "." and ".."; a thread that has ended since is no error
    if (thread > 0 && thread != g_state.thread && mend(thread) == 1) changed++;
  }
  // the end of the list leaves it as it is (readdir(3))
  if (errno != 0) noteFailure(kUnswept, errno);
  closedir(tasks);
  return changed;
}

// The calling thread and those that have inherited its pin may use these CPUs from now on; none: every one. Where it is
// not pinned, the calling thread alone.
int unpin(const Buffer<int>& cpus) {
  Mask free = {};
  for (size_t i = 0; i < cpus.size(); i++) {
    if (cpus[i] < 0 || cpus[i] >= kMostCpus) return -EINVAL;
    free.add(cpus[i]);
  }
  if (cpus.size() == 0) free = everyCpu();
  Locked locked;
  if (!g_state.pinned) return writeMaskOrEvery(0, free);
  if (g_state.thread != threadId()) return -EBUSY;
  g_state.original = free;
  (void)sweepOthers(unpinThread);
  if (cpus.size() > 0) (void)sweepOthers(boundThread);
  __atomic_store_n(&g_state.pinned, false, __ATOMIC_RELEASE);
  return writeMaskOrEvery(0, g_state.original);
}

struct Whole {
  Mask mask;
  int error;
};

void* askWhole(void* data) {
  auto* whole = static_cast<Whole*>(data);
  whole->error = writeMask(0, everyCpu());
  if (whole->error == 0) whole->error = readMask(0, &whole->mask);
  return nullptr;
}

// In a thread that ends at once: the others keep what they have asked for.
int readWhole(Mask* mask) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  // a signal of the app's is not to be handled there
  int error = pthread_sigmask(SIG_SETMASK, &all, &before);
  if (error != 0) return -error;
  Whole whole = {};
  pthread_t thread = {};
  error = pthread_create(&thread, nullptr, askWhole, &whole);
  (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return -error;
  (void)pthread_join(thread, nullptr);
  *mask = whole.mask;
  return whole.error;
}

napi_value listOf(napi_env env, const Mask& mask) {
  napi_value list = nullptr;
  if (napi_create_array(env, &list) != napi_ok) return nullptr;
  uint32_t count = 0;
  for (int cpu = 0; cpu < kMostCpus; cpu++) {
    if (mask.has(cpu) && napi_set_element(env, list, count++, number(env, cpu)) != napi_ok) return nullptr;
  }
  return list;
}

napi_value jsGetAffinity(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int thread = args.integer(0);
  if (!args.ok()) return nullptr;
  Mask mask;
  const int error = readMask(thread, &mask);
  return error < 0 ? number(env, error) : listOf(env, mask);
}

napi_value jsGroupCpus(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!args.ok()) return nullptr;
  Mask mask = {};
  const int error = readWhole(&mask);
  return error < 0 ? number(env, error) : listOf(env, mask);
}

napi_value jsUnpinEventLoop(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const Buffer<int> cpus = args.integers(0);
  if (!args.ok()) return nullptr;
  return number(env, cpus.valid() ? unpin(cpus) : -ENOMEM);
}

napi_value jsPinEventLoop(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int cpu = args.integer(0);
  if (!args.ok()) return nullptr;
  return number(env, pin(cpu));
}

napi_value jsRestoreThread(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!args.ok()) return nullptr;
  Locked locked;
  return number(env, g_state.pinned ? writeMaskOrEvery(0, g_state.original) : 0);
}

int sweep() {
  Locked locked;
  return g_state.pinned ? sweepOthers(unpinThread) : 0;
}

napi_value jsSweepThreads(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!args.ok()) return nullptr;
  return number(env, sweep());
}

napi_value jsCurrentCpu(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!args.ok()) return nullptr;
  return number(env, orErrno(sched_getcpu()));
}

}  // namespace

void unpinThisThread() {
  if (isPinned()) (void)unpinThread(0);
}

bool exportAffinity(napi_env env, napi_value exports) {
  static const Export kTable[] = {
      {"getAffinity", jsGetAffinity},       {"groupCpus", jsGroupCpus},         {"pinEventLoop", jsPinEventLoop},
      {"unpinEventLoop", jsUnpinEventLoop}, {"restoreThread", jsRestoreThread}, {"sweepThreads", jsSweepThreads},
      {"currentCpu", jsCurrentCpu},
  };
  return defineAll(env, exports, kTable);
}

}  // namespace fastsocket
