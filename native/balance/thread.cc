// SPDX-License-Identifier: Apache-2.0
// What the thread does.
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../affinity.h"
#include "../clock.h"
#include "balancer.h"

namespace fastsocket::balance {

namespace {

constexpr int kMostEvents = 64;
// Sockets that are looked at with one poll(2).
constexpr int kMostPolled = 256;
// Connections that one offer stands for: the helper stops when the queue is empty, or when it has one of its own.
constexpr uint32_t kMostOffered = 64;

void sleepFor(uint64_t ns) {
  const timespec time = {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
  (void)nanosleep(&time, nullptr);
}

// Of all its threads: who computes on several has not lost its CPU.
uint64_t cpuTimeOf(uint32_t pid) {
  // clock_getcpuclockid(3), without looking whether there is such a process (include/linux/posix-timers.h,
  // make_process_cpuclock: CPUCLOCK_SCHED)
  const auto clock = static_cast<clockid_t>(~pid << 3U | 2U);
  timespec used = {};
  if (clock_gettime(clock, &used) < 0) return 0;
  return static_cast<uint64_t>(used.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(used.tv_nsec);
}

// Queues that are looked at together.
class Polled {
 public:
  explicit Polled(bool* queued) : queued_(queued) {}
  void add(int fd, int seat) {
    if (count_ == kMostPolled) look();
    polled_[count_] = {fd, POLLIN, 0};
    seats_[count_++] = seat;
  }
  // POLLIN of a listener: its queue is not empty (net/ipv4/tcp.c, tcp_poll; inet_csk_listen_poll).
  void look() {
    if (count_ > 0 && poll(polled_, static_cast<nfds_t>(count_), 0) > 0)
      for (int i = 0; i < count_; i++)
        if ((polled_[i].revents & POLLIN) != 0) queued_[seats_[i]] = true;
    count_ = 0;
  }

 private:
  bool* queued_;
  pollfd polled_[kMostPolled];
  int seats_[kMostPolled];
  int count_ = 0;
};

}  // namespace

void* Balancer::run(void* data) {
  // it inherits the mask of the thread that has made it
  unpinThisThread();
  static_cast<Balancer*>(data)->loop();
  return nullptr;
}

void Balancer::loop() {
  for (;;) {
    rest();
    bool quiet = false;
    // what has come is served by now, nearly always
    uint64_t pause = options_.rules.blockedNs;
    while (!quiet) {
      sleepFor(pause);
      pthread_mutex_lock(&lock_);
      const uint64_t now = nowNs();
      look(now);
      quiet = judge_.isQuiet();
      pause = judge_.pause(now, seats_);
      pthread_mutex_unlock(&lock_);
    }
  }
}

// Nothing moves: until something comes to any queue, or a worker comes back. One-shot, so that arrivals wake nobody
// while they come one after the other; a queue that is not empty is reported at once (epoll_ctl(2), EPOLL_CTL_MOD).
void Balancer::rest() {
  pthread_mutex_lock(&lock_);
  armAll();
  figures_.rests++;
  pthread_mutex_unlock(&lock_);
  epoll_event events[kMostEvents];
  const int count = epoll_wait(epoll_, events, kMostEvents, -1);
  pthread_mutex_lock(&lock_);
  for (int i = 0; i < count; i++) {
    const uint64_t of = events[i].data.u64;
    if (of == 0) {
      uint64_t times = 0;
      (void)!read(wake_, &times, sizeof times);
      continue;
    }
    Group& group = groups_[of >> 16 & 0xffff];
    const size_t index = of & 0xffff;
    if (group.generation == of >> 32 && index < group.armed.size()) group.armed[index] = false;
  }
  if (count > 0 && notify_) {
    notify_ = false;
    say("active");
  }
  pthread_mutex_unlock(&lock_);
}

void Balancer::armAll() {
  for (int slot = 0; slot < kMostGroups; slot++) {
    Group& group = groups_[slot];
    for (size_t i = 1; i < group.armed.size(); i++)
      if (!group.armed[i]) (void)arm(slot, static_cast<int>(i), EPOLL_CTL_MOD);
  }
}

// Counters first; then the queues, of those alone that stand still.
void Balancer::see(Sight* sights) {
  bool queued[kMostSeats] = {};
  bool moved[kMostSeats] = {};
  for (int i = 1; i < seats_; i++) {
    const Told& told = page_->seats[i].told;
    const uint64_t accepted = balance::get(told.accepted);
    moved[i] = accepted != sights[i].accepted;
    sights[i] = {};
    sights[i].accepted = accepted;
    sights[i].turns = balance::get(told.turns);
    sights[i].open = balance::get(told.open);
    sights[i].helps = channels_[i] >= 0 && balance::get(told.thieves) > 0 && balance::get(told.offers) == offered_[i];
  }
  Polled polled(queued);
  for (const Group& group : groups_) {
    for (size_t i = 1; i < group.sockets.size() && i < static_cast<size_t>(seats_); i++) {
      const bool joined = channels_[i] >= 0 && balance::get(page_->seats[i].told.joined) != 0;
      if (group.serving[i] && joined) sights[i].serves = true;
      if (!moved[i]) polled.add(group.sockets[i], static_cast<int>(i));
    }
  }
  polled.look();
  for (int i = 1; i < seats_; i++) {
    sights[i].queued = queued[i];
    // of those alone that might be blocked now or at the next look
    if (sights[i].serves && (queued[i] || (sights[i].turns & 1) == 0))
      sights[i].cpuNs = cpuTimeOf(balance::get(page_->seats[i].told.pid));
  }
}

void Balancer::look(uint64_t now) {
  figures_.looks++;
  see(sights_);
  bool before[kMostSeats];
  for (int i = 1; i < seats_; i++) before[i] = judge_.isBlocked(i);
  judge_.look(now, sights_, seats_);
  for (int i = 1; i < seats_; i++)
    if (!before[i] && judge_.isBlocked(i)) figures_.blocked++;
  excludeBlocked();
  if (options_.steals) ask(sights_);
}

void Balancer::excludeBlocked() {
  for (int i = 1; i < seats_; i++) {
    const bool out = judge_.isExcluded(i);
    Asked& asked = page_->seats[i].asked;
    if (out != wanted_[i]) balance::put(asked.excluded, out ? ++exclusions_ : 0);
    wanted_[i] = out;
  }
  for (Group& group : groups_) {
    if (group.generation == 0) continue;
    if (group.exclude(wanted_, seats_) > 0) figures_.swaps++;
  }
}

// A queue whose worker is blocked, or has none.
void Balancer::ask(Sight* sights) {
  for (const Group& group : groups_) {
    for (size_t i = 1; i < group.sockets.size() && i < static_cast<size_t>(seats_); i++) {
      const auto victim = static_cast<int>(i);
      if (!sights[i].queued || (group.serving[i] && (options_.deadOnly || !judge_.isBlocked(victim)))) continue;
      const int helper = judge_.helperFor(victim, sights, seats_);
      if (helper == 0 || static_cast<size_t>(helper) >= group.serving.size() || !group.serving[helper]) continue;
      offer(group, victim, helper);
      sights_[helper].helps = false;
    }
  }
}

void Balancer::offer(const Group& group, int victim, int helper) {
  Offer offered = {group.generation, kMostOffered};
  iovec words = {&offered, sizeof offered};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &words;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  cmsghdr* control = CMSG_FIRSTHDR(&message);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(control), &group.sockets[victim], sizeof(int));
  // it has ended, or has no room: somebody else is asked next time
  if (sendmsg(channels_[helper], &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return;
  offered_[helper]++;
  figures_.offers++;
}

void Balancer::say(const char* text) {
  // nobody listens, or enough has been said already
  (void)send(notices_[1], text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace fastsocket::balance
