// SPDX-License-Identifier: Apache-2.0
// What a worker's loop tells the origin's thread, and what that offers.
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "../clock.h"
#include "../failpoint.h"
#include "../refused.h"
#include "connects.h"
#include "libc.h"
#include "loop.h"

namespace fastsocket::seam {

namespace {

using balance::Offer;
using balance::put;
using balance::Told;

// Offers that are looked at in one turn; the channel stays readable.
constexpr int kMostOffers = 8;

// One message. False where there is none.
bool receive(Loop& loop) {
  Offer offer = {};
  iovec words = {&offer, sizeof offer};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &words;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  const ssize_t length = g_libc.recvmsg(loop.offers, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (length < 0) {
    // it would wake the loop for ever
    if (noteRefusal("siblings are not helped: recvmsg")) part(loop);
    return false;
  }
  if (length == 0) {
    // the origin has gone, or wants this worker no longer
    part(loop);
    return false;
  }
  loop.offered++;
  int fd = -1;
  const cmsghdr* control = CMSG_FIRSTHDR(&message);
  if (control != nullptr && control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_RIGHTS &&
      control->cmsg_len == CMSG_LEN(sizeof fd))
    memcpy(&fd, CMSG_DATA(control), sizeof fd);
  if (fd < 0) {
    // it was asked whether it is there, or there was no descriptor left for it (unix(7), MSG_CTRUNC)
    if (offer.generation != 0) loop.declined++;
    return true;
  }
  FAILPOINT("offer-taken");
  // the number is ours now, whoever had it before
  forget(&loop, fd);
  if (length == sizeof offer && offer.generation != 0 && offer.most > 0 && offer.victim < balance::kMostSeats)
    addLoot(loop, {fd, offer.generation, offer.most, false, offer.victim, offer.insists != 0, offer.afterNs});
  else
    g_libc.syscall(SYS_close, fd, 0, 0, 0, 0, 0);
  return true;
}

void tell(Loop& loop) {
  Told& told = loop.seat->told;
  uint32_t thieves = 0;
  for (int i = 0; i < loop.listenerCount; i++)
    if (loop.listeners[i].group != 0) thieves++;
  put(told.thieves, thieves);
  put(told.accepted, loop.counters.accepted);
  put(told.stolen, loop.counters.stolen);
  settleOpen(loop);
  put(told.open, loop.open);
  put(told.local, loop.local);
  put(told.remote, loop.remote);
  put(told.offers, loop.offered);
  put(told.declined, loop.declined);
  balance::putTurn(told, loop.turns);
  put(told.joined, uint32_t{1});
  const uint32_t excluded = balance::get(loop.seat->asked.excluded);
  if (excluded == loop.answered) return;
  loop.answered = excluded;
  const uint64_t one = 1;
  // nobody waits where it fails: the counter is full, and somebody has been told
  if (excluded != 0)
    (void)FAILING("answer", g_libc.syscall(SYS_write, loop.wake, reinterpret_cast<long>(&one), sizeof one, 0, 0, 0));
}

}  // namespace

void tellBefore(Loop& loop, int timeout) {
  // without a seat, too: it is odd while it sleeps, whenever the seat comes
  loop.turns += timeout != 0 ? 1 : 2;
  if (loop.seat == nullptr) return;
  // it does not sleep: a turn ends here, and the next begins
  if (timeout == 0) put(loop.seat->told.wokeNs, nowNs());
  if (timeout != 0 && loop.idleNs != nullptr) put(loop.seat->told.idleNs, loop.idleNs(loop.of));
  tell(loop);
}

void tellAfter(Loop& loop, int timeout) {
  if (timeout == 0) return;
  loop.turns++;
  if (loop.seat == nullptr) return;
  put(loop.seat->told.wokeNs, nowNs());
  balance::putTurn(loop.seat->told, loop.turns);
}

void flushOffers(Loop& loop, uint32_t group) {
  while (loop.seat != nullptr && receive(loop)) continue;
  dropLootOf(loop, group);
}

int takeOffers(Loop& loop, epoll_event* events, int count) {
  if (loop.seat == nullptr) return count;
  for (int i = 0; i < count; i++) {
    if (events[i].data.fd != loop.offers) continue;
    for (int k = i + 1; k < count; k++) events[k - 1] = events[k];
    count--;
    for (int n = 0; n < kMostOffers && receive(loop); n++) continue;
    if (loop.seat != nullptr) {
      // it has been awake, though its loop may go on sleeping
      loop.turns += 2;
      if (loop.idleNs != nullptr) put(loop.seat->told.idleNs, loop.idleNs(loop.of));
      tell(loop);
    }
    break;
  }
  return count;
}

}  // namespace fastsocket::seam
