// SPDX-License-Identifier: Apache-2.0
// What the thread does.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../affinity.h"
#include "../clock.h"
#include "../failpoint.h"
#include "../refused.h"
#include "balancer.h"
#include "slice.h"

namespace fastsocket::balance {

namespace {

constexpr int kMostEvents = 64;
// Sockets that are looked at with one poll(2).
constexpr int kMostPolled = 256;
constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kForEver = 86'400'000 * kMs;
// A sleep may last longer than was asked for; one in epoll_wait(2) is of whole milliseconds.
constexpr uint64_t kLate = 2 * kMs;
// Of so few seats everybody's CPU time is asked for at each look (0.3 us each).
constexpr int kFew = 16;

void sleepFor(uint64_t ns) {
  const timespec time = {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
  if (nanosleep(&time, nullptr) == 0 || errno == EINTR) return;
  // it must not go round without a pause
  (void)poll(nullptr, 0, static_cast<int>((ns + kMs - 1) / kMs));
}

// In ns; 0 where it is not known.
uint64_t cpuTimeOn(clockid_t clock) {
  timespec used = {};
  if (clock_gettime(clock, &used) < 0) {
    if (clock == CLOCK_THREAD_CPUTIME_ID) noteRefusal("what the balancing may cost has no bound: clock_gettime");
    return 0;
  }
  return static_cast<uint64_t>(used.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(used.tv_nsec);
}

// Of all its threads: who computes on several has not lost its CPU.
uint64_t cpuTimeOf(uint32_t pid) {
  // clock_getcpuclockid(3), without looking whether there is such a process (include/linux/posix-timers.h,
  // make_process_cpuclock: CPUCLOCK_SCHED)
  errno = 0;
  const uint64_t used = cpuTimeOn(static_cast<clockid_t>(~pid << 3U | 2U));
  // EINVAL: it may have ended, too
  if (used == 0 && (errno != EINVAL || kill(static_cast<pid_t>(pid), 0) == 0))
    noteRefusal("it is not known who has had no CPU: clock_gettime");
  return used;
}

// Queues that are looked at together.
class Polled {
 public:
  void add(int fd, bool* queued) {
    if (count_ == kMostPolled) look();
    polled_[count_] = {fd, POLLIN, 0};
    queued_[count_++] = queued;
  }
  // POLLIN of a listener: its queue is not empty (net/ipv4/tcp.c, tcp_poll; inet_csk_listen_poll).
  void look() {
    const int ready = count_ == 0 ? 0 : poll(polled_, static_cast<nfds_t>(count_), 0);
    if (ready < 0) noteRefusal("it is not seen whose queue stands still: poll");
    for (int i = 0; i < count_; i++) *queued_[i] = ready > 0 && (polled_[i].revents & POLLIN) != 0;
    count_ = 0;
  }

 private:
  pollfd polled_[kMostPolled];
  bool* queued_[kMostPolled];
  int count_ = 0;
};

}  // namespace

void* Balancer::run(void* data) {
  // it inherits the mask of the thread that has made it
  unpinThisThread();
  shortenSlices();
  (void)prctl(PR_SET_NAME, "fastsocket");
  static_cast<Balancer*>(data)->loop();
  // it does not end: it is asked for its CPU time
  for (;;) sleepFor(kForEver);
}

void Balancer::loop() {
  for (;;) {
    const uint64_t before = nowNs();
    if (!rest()) return;
    uint64_t last = nowNs();
    judge_.rested(last - before);
    bool quiet = false;
    // what has come is served by now, nearly always
    uint64_t pause = judge_.isSparse() ? 0 : options_.rules.blockedNs;
    while (!quiet) {
      pauseFor(pause);
      pthread_mutex_lock(&lock_);
      const uint64_t now = nowNs();
      // the whole machine may have stood still: that is nobody's blocking
      const uint64_t most = pause + kLate;
      clock_ += now - last < most ? now - last : most;
      last = now;
      look(clock_, now);
      quiet = judge_.isQuiet();
      if (!quiet) notify();
      pause = judge_.pause(clock_, seats_);
      const uint64_t least = budget_.pause(now, cpuTimeOn(CLOCK_THREAD_CPUTIME_ID), 4 * options_.rules.lookNs);
      if (use_.isDue(now)) tellUse(now);
      if (pause < least && !judge_.isSparse() && use_.isHigh(options_.cpus)) pause = least;
      pthread_mutex_unlock(&lock_);
    }
  }
}

void Balancer::tellUse(uint64_t now) {
  use_.begin(now);
  for (int i = 1; i < seats_; i++)
    if (balance::get(page_->seats[i].told.joined) != 0) use_.tell(i, cpuTimeOf(balance::get(page_->seats[i].told.pid)));
}

void Balancer::notify() {
  if (notify_ && say("active")) notify_ = false;
}

// Nothing moves: until something comes to any queue, or a worker comes back. One-shot, so that arrivals wake nobody
// while they come one after the other; a queue that is not empty is reported at once (epoll_ctl(2), EPOLL_CTL_MOD).
// False where it cannot be waited for: without a rest it would look for ever.
bool Balancer::rest() {
  pthread_mutex_lock(&lock_);
  armAll();
  figures_.rests++;
  pthread_mutex_unlock(&lock_);
  bool came = false;
  if (wait(-1, &came)) return true;
  noteRefusal("nobody helps who is blocked: epoll_wait");
  return false;
}

bool Balancer::wait(int ms, bool* came) {
  epoll_event events[kMostEvents];
  const int count = epoll_wait(epoll_, events, kMostEvents, ms);
  *came = false;
  if (count < 0) return errno == EINTR;
  pthread_mutex_lock(&lock_);
  for (int i = 0; i < count; i++) {
    const uint64_t of = events[i].data.u64;
    if (of == 0) {
      uint64_t times = 0;
      (void)!read(wake_, &times, sizeof times);
      continue;
    }
    *came = true;
    Group& group = groups_[of >> 16 & 0xffff];
    const size_t index = of & 0xffff;
    if (group.generation == of >> 32 && index < group.armed.size()) group.armed[index] = false;
  }
  if (*came) judge_.came();
  if (count > 0) notify();
  pthread_mutex_unlock(&lock_);
  return true;
}

// What comes to a worker that is known to be blocked ends the pause: it has waited for nothing yet. What comes to one
// that would be, too; but such turns begin all the time where there are many workers, and looks keep their distance.
void Balancer::pauseFor(uint64_t ns) {
  if (ns == 0) return;
  pthread_mutex_lock(&lock_);
  const bool sparse = judge_.isSparse();
  const bool all = sparse && armWhere([](int) { return true; });
  if (sparse && !all && ns > options_.rules.lookNs) ns = options_.rules.lookNs;
  const uint64_t apart = Judge::grain(seats_);
  const bool blocked = options_.steals && armWhere([this](int seat) { return judge_.isBlocked(seat); });
  const bool held = options_.steals && armWhere([this](int seat) { return judge_.isHeld(seat); });
  pthread_mutex_unlock(&lock_);
  if (!all && !blocked && (!held || ns <= apart)) return sleepFor(ns);
  if (!all && !blocked) {
    sleepFor(apart);
    ns -= apart;
  }
  bool came = false;
  if (!wait(static_cast<int>((ns + kMs - 1) / kMs), &came)) return sleepFor(ns);
  if (!came) return;
  if (!all && !blocked) FAILPOINT("held");
  pthread_mutex_lock(&lock_);
  figures_.woken++;
  pthread_mutex_unlock(&lock_);
}

// False where there is nobody's empty queue to wait for; one that is not empty would be reported at once.
template <typename Chosen>
bool Balancer::armWhere(Chosen chosen) {
  bool any = false;
  for (int slot = 0; slot < kMostGroups; slot++) {
    Group& group = groups_[slot];
    for (size_t i = 1; i < group.armed.size() && i < static_cast<size_t>(seats_); i++) {
      if (group.queued[i] || !group.serving[i] || !chosen(static_cast<int>(i))) continue;
      if (!group.armed[i]) (void)arm(slot, static_cast<int>(i), EPOLL_CTL_MOD);
      any = any || group.armed[i];
    }
  }
  return any;
}

void Balancer::armAll() {
  for (int slot = 0; slot < kMostGroups; slot++) {
    Group& group = groups_[slot];
    for (size_t i = 1; i < group.armed.size(); i++)
      if (!group.armed[i]) (void)arm(slot, static_cast<int>(i), EPOLL_CTL_MOD);
  }
}

// Who accepts all the time can have more waiting than it serves.
void Balancer::seeMoved(const bool* moved, Sight* sights) {
  bool queued[kMostSeats] = {};
  Polled polled;
  for (const Group& group : groups_) {
    if (group.generation == 0) continue;
    for (size_t i = 1; i < group.sockets.size() && i < static_cast<size_t>(seats_); i++)
      if (moved[i]) polled.add(group.sockets[i], &queued[i]);
    // before the next group's queue of the same worker
    polled.look();
    for (int i = 1; i < seats_; i++) sights[i].behind = sights[i].behind || queued[i];
  }
}

// Counters first; then the queues, of those alone that stand still; of the others where somebody is blocked.
void Balancer::see(uint64_t now, uint64_t real, Sight* sights) {
  bool moved[kMostSeats] = {};
  for (int i = 1; i < seats_; i++) {
    const Told& told = page_->seats[i].told;
    const uint64_t accepted = balance::get(told.accepted);
    moved[i] = accepted != sights[i].accepted;
    sights[i] = {};
    sights[i].accepted = accepted;
    sights[i].turns = balance::getTurn(told);
    const uint64_t wokeNs = balance::get(told.wokeNs);
    sights[i].turnNs = real > wokeNs ? real - wokeNs : 0;
    sights[i].open = balance::get(told.open);
    sights[i].node = nodes_[i];
    const uint64_t declined = balance::get(told.declined);
    if (declined != declined_[i]) declines_[i] = {now, offers_[i]};
    declined_[i] = declined;
    sights[i].helps = channels_[i] >= 0 && balance::get(told.thieves) > 0 && balance::get(told.offers) == offered_[i];
  }
  Polled polled;
  for (Group& group : groups_) {
    for (size_t i = 1; i < group.sockets.size() && i < static_cast<size_t>(seats_); i++) {
      const bool joined = channels_[i] >= 0 && balance::get(page_->seats[i].told.joined) != 0;
      if (group.serving[i] && joined) sights[i].serves = true;
      group.queued[i] = false;
      if (!moved[i]) polled.add(group.sockets[i], &group.queued[i]);
    }
  }
  polled.look();
  for (const Group& group : groups_)
    for (size_t i = 1; i < group.queued.size() && i < static_cast<size_t>(seats_); i++)
      if (group.queued[i]) sights[i].queued = true;
  bool blocked = false;
  for (int i = 1; i < seats_; i++) blocked = blocked || judge_.isBlocked(i);
  if (blocked) seeMoved(moved, sights);
  for (int i = 1; i < seats_; i++) {
    // of many those alone that might be blocked now or at the next look
    if (sights[i].serves && (sights[i].queued || (sights[i].turns & 1) == 0 || seats_ <= kFew))
      sights[i].cpuNs = cpuTimeOf(balance::get(page_->seats[i].told.pid));
  }
}

void Balancer::look(uint64_t now, uint64_t real) {
  figures_.looks++;
  see(now, real, sights_);
  bool before[kMostSeats];
  for (int i = 1; i < seats_; i++) before[i] = judge_.isBlocked(i);
  judge_.look(now, sights_, seats_);
  for (int i = 1; i < seats_; i++) {
    if (!judge_.isBlocked(i)) continue;
    if (!before[i]) figures_.blocked++;
    if (sights_[i].queued) FAILPOINT("judged");
  }
  excludeBlocked(now);
  nudge(sights_);
  if (options_.steals) ask(sights_);
}

void Balancer::excludeBlocked(uint64_t now) {
  for (int i = 1; i < seats_; i++) {
    const bool out = judge_.isExcluded(i);
    if (out == wanted_[i]) continue;
    wanted_[i] = out;
    balance::put(page_->seats[i].asked.excluded, out ? ++exclusions_ : 0);
  }
  bool swapped = false;
  for (Group& group : groups_) {
    const int done = group.generation == 0 ? 0 : group.exclude(wanted_, seats_);
    if (done < 0) {
      errno = -done;
      noteRefusal("new connections come to who is blocked: setsockopt(SO_ATTACH_REUSEPORT_CBPF)");
    }
    if (done <= 0) continue;
    figures_.swaps++;
    swapped = true;
  }
  if (!swapped) return;
  for (int i = 1; i < seats_; i++) {
    if (wanted_[i] == told_[i]) continue;
    told_[i] = wanted_[i];
    if (options_.tells) tell(i, now);
  }
}

void Balancer::tell(int seat, uint64_t now) {
  char text[100];
  if (told_[seat]) {
    excludedAt_[seat] = now;
    snprintf(text, sizeof text, "worker %d is blocked: new connections are steered around it", seat);
  } else {
    const auto ms = static_cast<unsigned long>((now - excludedAt_[seat]) / 1'000'000);
    snprintf(text, sizeof text, "worker %d is back after %lu ms", seat, ms);
  }
  (void)say(text);
}

// False where nobody listens, or enough has been said already.
bool Balancer::say(const char* text) {
  const bool said = send(notices_[1], text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
  if (!said) noteRefusal("the workers' figures are not looked at: send");
  return said;
}

}  // namespace fastsocket::balance
