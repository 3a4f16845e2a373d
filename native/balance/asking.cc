// SPDX-License-Identifier: Apache-2.0
// Who is asked to serve the queue of a worker that cannot, and what is sent to them.
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "../failpoint.h"
#include "../refused.h"
#include "balancer.h"

namespace fastsocket::balance {

namespace {

// Connections that one offer stands for: the helper stops when the queue is empty, or when it has one of its own.
constexpr uint32_t kMostOffered = 64;
// Whoever could not make use of an offer is not asked again for that group for so long: its server there is closed,
// paused or limited.
constexpr uint64_t kDeclinedFor = 50'000'000;

}  // namespace

// Each group is the first to ask in its turn.
void Balancer::ask(Sight* sights) {
  const int last = first_;
  bool first = true;
  for (int n = 1; n <= kMostGroups; n++) {
    const int slot = (last + n) % kMostGroups;
    if (groups_[slot].generation == 0) continue;
    if (first) first_ = slot;
    first = false;
    askIn(groups_[slot], sights);
  }
}

bool Balancer::declines(int seat, const Group& group) const {
  const Decline& last = declines_[seat];
  return last.generation == group.generation && clock_ - last.at < kDeclinedFor;
}

// Queues whose worker is blocked, or has none.
void Balancer::askIn(const Group& group, Sight* sights) {
  for (size_t i = 1; i < group.sockets.size() && i < static_cast<size_t>(seats_); i++) {
    const auto victim = static_cast<int>(i);
    if (!group.queued[i] || (group.serving[i] && (options_.deadOnly || !judge_.isBlocked(victim)))) continue;
    const bool insists = !group.serving[i] || judge_.isGone(victim, clock_);
    const int seats =
        group.serving.size() < static_cast<size_t>(seats_) ? static_cast<int>(group.serving.size()) : seats_;
    bool allowed[kMostSeats];
    for (int k = 1; k < seats; k++) allowed[k] = group.serving[k] && !declines(k, group);
    int helper = judge_.helperFor(victim, sights, allowed, seats, insists);
    // the origin's event loop may take its time to find out who has ended
    while (helper != 0 && !offer(group, victim, helper, insists)) {
      sights[helper].helps = false;
      helper = judge_.helperFor(victim, sights, allowed, seats, insists);
    }
    if (helper != 0) sights[helper].helps = false;
  }
}

int Balancer::sendTo(int seat, Offer offered, int fd) {
  iovec words = {&offered, sizeof offered};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &words;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = space;
    message.msg_controllen = sizeof space;
    cmsghdr* control = CMSG_FIRSTHDR(&message);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(control), &fd, sizeof fd);
  }
  // it has ended, or has no room
  if (FAILING(fd < 0 ? "nudge" : "offer", sendmsg(channels_[seat], &message, MSG_DONTWAIT | MSG_NOSIGNAL)) < 0) {
    noteRefusal("idle workers are not asked to help: sendmsg");
    return -errno;
  }
  offered_[seat]++;
  FAILPOINT(fd < 0 ? "nudged" : "offered");
  return 0;
}

bool Balancer::offer(const Group& group, int victim, int helper, bool insists) {
  // where several share a CPU a long turn may have waited for it
  uint64_t workers = 0;
  for (int i = 1; i < seats_; i++)
    if (channels_[i] >= 0) workers++;
  const bool own = workers <= options_.cpus && !options_.deadOnly;
  const Offer offered = {group.generation, kMostOffered, static_cast<uint32_t>(victim), insists ? 1U : 0U,
                         own ? options_.rules.blockedNs : 0};
  const bool sent = sendTo(helper, offered, group.sockets[victim]) == 0;
  if (!sent) return false;
  offers_[helper] = group.generation;
  figures_.offers++;
  return true;
}

// It slept, a connection came, it was not given a CPU in time, and a sibling has served it: epoll_wait finds nothing
// and sleeps on (fs/eventpoll.c, ep_poll), and while nothing is steered to it nothing would ever wake it.
void Balancer::nudge(const Sight* sights) {
  for (int i = 1; i < seats_; i++) {
    const Sight& sight = sights[i];
    if (!judge_.isBlocked(i) || (sight.turns & 1) == 0 || sight.queued || channels_[i] < 0) continue;
    if (balance::get(page_->seats[i].told.offers) == offered_[i]) (void)sendTo(i, Offer(), -1);
  }
}

}  // namespace fastsocket::balance
