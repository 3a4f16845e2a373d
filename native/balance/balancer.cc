// SPDX-License-Identifier: Apache-2.0
// What the origin's JavaScript tells the thread: groups, seats, programs.
#include "balancer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <new>

#include "../failpoint.h"
#include "../refused.h"
#include "../seam/old_glibc.h"

// linux/socket.h since 4.12
#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

namespace fastsocket::balance {

namespace {

Balancer* g_balancer = nullptr;

constexpr size_t kStack = size_t{256} * 1024;

class Locked {
 public:
  explicit Locked(pthread_mutex_t* lock) : lock_(lock) { pthread_mutex_lock(lock_); }
  ~Locked() { pthread_mutex_unlock(lock_); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  Locked(Locked&&) = delete;
  Locked& operator=(Locked&&) = delete;

 private:
  pthread_mutex_t* lock_;
};

int startThread(pthread_t* thread, void* (*run)(void*), void* data) {
  pthread_attr_t attributes;
  int error = pthread_attr_init(&attributes);
  if (error != 0) return -error;
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  error = pthread_attr_setstacksize(&attributes, kStack);
  if (error == 0) error = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // a signal of the app's is not to be handled there
  if (error == 0) error = pthread_sigmask(SIG_SETMASK, &all, &before);
  if (error == 0) {
    error = pthread_create(thread, &attributes, run, data);
    (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  pthread_attr_destroy(&attributes);
  return -error;
}

}  // namespace

Balancer* Balancer::get() { return g_balancer; }

Balancer* Balancer::start(const Options& options, int* error, const char** what) {
  if (g_balancer != nullptr) {
    const Locked locked(&g_balancer->lock_);
    g_balancer->options_.rules = options.rules;
    g_balancer->options_.cpus = options.cpus;
    g_balancer->judge_.setRules(options.rules);
    return g_balancer;
  }
  void* memory = calloc(1, sizeof(Balancer));
  *error = -ENOMEM;
  *what = "calloc";
  if (memory == nullptr) return nullptr;
  auto* balancer = new (memory) Balancer();
  balancer->options_ = options;
  balancer->judge_.setRules(options.rules);
  for (int& channel : balancer->channels_) channel = -1;
  balancer->page_ = makePage(&balancer->pageFd_, what);
  *error = balancer->page_ == nullptr ? balancer->pageFd_ : 0;
  Fd page(balancer->pageFd_);
  Fd epoll;
  Fd wake;
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = 0;
  const auto must = [error, what](const char* name, auto call) {
    if (*error < 0) return;
    *what = name;
    if (call() < 0) *error = -errno;
  };
  must("epoll_create1", [&epoll] {
    epoll.reset(epoll_create1(EPOLL_CLOEXEC));
    return epoll.get();
  });
  must("eventfd", [&wake] {
    wake.reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    return wake.get();
  });
  must("epoll_ctl", [&] { return epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event); });
  // where the thread could not wait, nobody would look after the queues of workers that have ended
  must("epoll_wait", [&epoll] {
    epoll_event none = {};
    return epoll_wait(epoll.get(), &none, 1, 0);
  });
  must("socketpair", [balancer] {
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, balancer->notices_);
  });
  Fd ours(balancer->notices_[0]);
  Fd theirs(balancer->notices_[1]);
  balancer->epoll_ = epoll.get();
  balancer->wake_ = wake.get();
  if (*error == 0) {
    *what = "a thread";
    *error = startThread(&balancer->thread_, run, balancer);
  }
  if (*error < 0) {
    // the page stays mapped: it is made once
    free(memory);
    return nullptr;
  }
  page.release();
  epoll.release();
  wake.release();
  ours.release();
  theirs.release();
  g_balancer = balancer;
  return balancer;
}

int Balancer::seat(int index, int node, int fds[3]) {
  if (index < 1 || index >= kMostSeats) return -EINVAL;
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) return -errno;
  Fd ours(pair[0]);
  Fd theirs(pair[1]);
  Fd page(fcntl(pageFd_, F_DUPFD_CLOEXEC, 3));
  Fd wake(fcntl(wake_, F_DUPFD_CLOEXEC, 3));
  if (!page.valid() || !wake.valid()) return -errno;
  const Locked locked(&lock_);
  Fd before(channels_[index]);
  memset(static_cast<void*>(&page_->seats[index]), 0, sizeof(Seat));
  judge_.begin(index);
  offered_[index] = declined_[index] = 0;
  offers_[index] = 0;
  declines_[index] = {};
  nodes_[index] = node;
  channels_[index] = ours.release();
  if (index >= seats_) seats_ = index + 1;
  fds[0] = page.release();
  fds[1] = theirs.release();
  fds[2] = wake.release();
  return 0;
}

void Balancer::vacate(int index) {
  if (index < 1 || index >= kMostSeats) return;
  FAILPOINT("vacate");
  const Locked locked(&lock_);
  const Fd before(channels_[index]);
  channels_[index] = -1;
  put(page_->seats[index].told.joined, uint32_t{0});
}

void Balancer::place(int index, int node) {
  if (index < 1 || index >= kMostSeats) return;
  const Locked locked(&lock_);
  nodes_[index] = node;
}

Group* Balancer::find(uint32_t generation) {
  for (Group& group : groups_)
    if (group.generation == generation) return &group;
  return nullptr;
}

int Balancer::arm(int slot, int index, int operation) {
  Group& group = groups_[slot];
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLONESHOT;
  event.data.u64 =
      static_cast<uint64_t>(group.generation) << 32 | static_cast<uint64_t>(slot) << 16 | static_cast<uint64_t>(index);
  if (epoll_ctl(epoll_, operation, group.sockets[index], &event) < 0) {
    const int error = errno;
    // the first time whoever has asked for it says so
    if (operation == EPOLL_CTL_MOD) noteRefusal("nobody helps who is blocked: epoll_ctl");
    return -error;
  }
  group.armed[index] = true;
  return 0;
}

int Balancer::watch(uint32_t generation, const Buffer<int>& sockets) {
  if (generation == 0 || sockets.size() < 2 || sockets.size() > kMostSeats) return -EINVAL;
  const Locked locked(&lock_);
  Group* group = find(generation);
  if (group == nullptr) group = find(0);
  if (group == nullptr) return -ENOSPC;
  // those that are watched stay as they are
  const size_t before = group->sockets.size();
  if (sockets.size() <= before) return -EEXIST;
  if (!group->hold(sockets)) return -ENOMEM;
  group->generation = generation;
  int error = 0;
  const auto slot = static_cast<int>(group - groups_);
  for (size_t i = before > 1 ? before : 1; i < sockets.size() && error == 0; i++)
    error = arm(slot, static_cast<int>(i), EPOLL_CTL_ADD);
  if (error == 0) return 0;
  for (size_t i = 1; i < sockets.size(); i++) (void)epoll_ctl(epoll_, EPOLL_CTL_DEL, sockets[i], nullptr);
  *group = Group();
  return error;
}

void Balancer::forget(uint32_t generation) {
  FAILPOINT("forget");
  const Locked locked(&lock_);
  Group* group = generation == 0 ? nullptr : find(generation);
  if (group == nullptr) return;
  // workers have duplicates: the registration would outlive our descriptor (epoll(7), questions and answers)
  for (size_t i = 1; i < group->sockets.size(); i++) (void)epoll_ctl(epoll_, EPOLL_CTL_DEL, group->sockets[i], nullptr);
  *group = Group();
}

int Balancer::serve(uint32_t generation, const Buffer<int>& indexes) {
  const Locked locked(&lock_);
  Group* group = generation == 0 ? nullptr : find(generation);
  if (group == nullptr) return -ENOENT;
  for (size_t i = 0; i < group->serving.size(); i++) group->serving[i] = false;
  for (size_t i = 0; i < indexes.size(); i++)
    if (indexes[i] > 0 && static_cast<size_t>(indexes[i]) < group->serving.size()) group->serving[indexes[i]] = true;
  return 0;
}

void Balancer::spread(uint64_t starvedNs, uint64_t cpus) {
  const Locked locked(&lock_);
  options_.cpus = cpus;
  options_.rules.starvedNs = starvedNs;
  judge_.setRules(options_.rules);
}

int Balancer::program(uint32_t generation, Buffer<sock_filter> lean, Guarded guarded) {
  const Locked locked(&lock_);
  Group* group = generation == 0 ? nullptr : find(generation);
  if (group == nullptr) return -ENOENT;
  return group->attach(static_cast<Buffer<sock_filter>&&>(lean), static_cast<Guarded&&>(guarded));
}

void Balancer::notifyNext() {
  const Locked locked(&lock_);
  notify_ = true;
}

void Balancer::countDrops() {
  for (int i = 1; i < seats_; i++) {
    uint64_t drops = 0;
    for (const Group& group : groups_) {
      if (static_cast<size_t>(i) >= group.sockets.size()) continue;
      // include/uapi/linux/sock_diag.h: SK_MEMINFO_DROPS of a listener (net/ipv4/tcp_input.c, tcp_conn_request:
      // tcp_listendrop)
      uint32_t values[9] = {};
      socklen_t length = sizeof values;
      if (getsockopt(group.sockets[i], SOL_SOCKET, SO_MEMINFO, values, &length) < 0)
        noteRefusal("what is dropped is not counted: getsockopt(SO_MEMINFO)");
      else if (length == sizeof values)
        drops += values[8];
    }
    put(page_->seats[i].asked.drops, drops);
  }
}

void Balancer::figures(Figures* figures, uint64_t* threadNs) {
  const Locked locked(&lock_);
  *figures = figures_;
  countDrops();
  *threadNs = 0;
  clockid_t clock = {};
  timespec used = {};
  if (pthread_getcpuclockid(thread_, &clock) == 0 && clock_gettime(clock, &used) == 0)
    *threadNs = static_cast<uint64_t>(used.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(used.tv_nsec);
}

}  // namespace fastsocket::balance
