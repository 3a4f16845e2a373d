// SPDX-License-Identifier: Apache-2.0
// epoll_pwait: where one turn of the loop ends and the next begins.
#include <errno.h>
#include <string.h>

#include "adapt.h"
#include "libc.h"
#include "loop.h"

namespace fastsocket::seam {

namespace {

// Room in libuv's array (1,024 events, src/unix/linux.c, uv__io_poll) for what is added to the kernel's events.
constexpr int kRoom = 256;
constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kAskEvery = 64;
constexpr int kAwake = 16;
static_assert(kMostHeld + kMostLoot < kRoom, "all that is held back is offered at once");

void endTurn(Loop& loop) {
  // from the last one: a number that was closed and accepted anew in this turn is what it was last
  for (int i = loop.freshCount - 1; i >= 0; i--) {
    Handle* handle = Handles::known(loop.fresh[i].fd);
    if (handle == nullptr || !handle->has(kFresh)) continue;
    handle->clear(kFresh);
    endInheritance(loop, loop.fresh[i], *handle);
  }
  loop.freshCount = 0;
  bool slow = false;
  if (loop.turnSince != 0) slow = nowNs() - loop.turnSince > loop.limits.turnNs;
  for (int i = 0; i < loop.listenerCount; i++) {
    Listener& listener = loop.listeners[i];
    if (listener.fired) adapt(listener, loop.limits.batch);
    // libuv has not come for it
    if (listener.steals) dropLootOf(loop, listener.group);
    // what is accepted waits here while one request takes its time; what is queued could be another's
    if (slow) listener.batch = 1;
    listener.fired = listener.dry = listener.crowded = listener.shortage = listener.steals = false;
    listener.accepted = 0;
  }
  loop.turnSince = 0;
  adapt(loop.firstReads);
}

// Connections whose first read found nothing, or that stay open.
void registerOffered(Loop& loop) {
  int kept = 0;
  for (int i = 0; i < loop.heldCount; i++) {
    const Held held = loop.held[i];
    if (!held.offered) {
      loop.held[kept++] = held;
      continue;
    }
    Handle* handle = Handles::at(held.fd);
    if (handle == nullptr || !handle->has(kHeld)) continue;
    epoll_event event = {};
    event.events = held.events;
    event.data.fd = held.fd;
    if (g_libc.epoll_ctl(loop.epoll, EPOLL_CTL_ADD, held.fd, &event) < 0 && errno != EEXIST) {
      // no memory or no watches left: it is asked again whether it can read
      loop.held[kept++] = {held.fd, held.events, false};
      continue;
    }
    handle->clear(kHeld);
    handle->set(kRegistered);
    loop.counters.registeredLate++;
  }
  loop.heldCount = kept;
}

// Arms listeners whose time has come. Returns how long it is to the next one, in ms; -1 where there is none.
int rearm(Loop& loop, uint64_t now) {
  if (loop.disarmedCount == 0) return -1;
  uint64_t next = UINT64_MAX;
  for (int i = 0; i < loop.listenerCount; i++) {
    Listener& listener = loop.listeners[i];
    if (!listener.disarmed) continue;
    const uint64_t at = listener.leaves ? newcomerUntil(loop) : loop.rearmAt;
    if (now < at) {
      if (at < next) next = at;
      continue;
    }
    if (!listener.leaves) loop.counters.rearmed++;
    arm(loop, listener, true);
  }
  return next == UINT64_MAX ? -1 : static_cast<int>((next - now) / kMs) + 1;
}

bool isAccepted(const epoll_event& event) {
  const Handle* handle = Handles::at(event.data.fd);
  return handle != nullptr && handle->kind == Kind::kAccepted;
}

// Who has been accepted and has something to say comes before the listeners: while one of these takes its time, what is
// queued can be a sibling's, what is accepted can not. The kernel's order is that in which they became ready
// (fs/eventpoll.c, ep_send_events), and stays among the others. Returns where first reads belong: behind those who were
// accepted before them.
int acceptLast(Loop& loop, epoll_event* events, int count) {
  int end = count;
  while (end > 0 && !isAccepted(events[end - 1])) end--;
  epoll_event late[kMostListeners];
  int listeners = 0;
  int kept = 0;
  for (int i = 0; i < end; i++) {
    if (listeners < kMostListeners && loop.listenerOf(events[i].data.fd) != nullptr)
      late[listeners++] = events[i];
    else
      events[kept++] = events[i];
  }
  for (int i = 0; i < listeners; i++) events[kept + i] = late[i];
  return kept;
}

// Who has been accepted is read before others are accepted.
int offerFirstReads(Loop& loop, epoll_event* events, int count, int at) {
  int kept = 0;
  for (int i = 0; i < loop.heldCount; i++) {
    Held& held = loop.held[i];
    const Handle* handle = Handles::at(held.fd);
    // its number is another file's now
    if (handle == nullptr || !handle->has(kHeld)) continue;
    held.offered = true;
    loop.held[kept++] = held;
  }
  loop.heldCount = kept;
  if (kept == 0) return count;
  epoll_event* first = events + at;
  memmove(first + kept, first, static_cast<size_t>(count - at) * sizeof *events);
  for (int i = 0; i < kept; i++) {
    first[i].events = EPOLLIN;
    first[i].data.fd = loop.held[i].fd;
  }
  loop.counters.firstReads += static_cast<uint64_t>(kept);
  loop.firstReads.offered += kept;
  return count + kept;
}

// libuv accepts one connection an event (src/unix/stream.c, uv__server_io; since 1.45): several events, several
// connections.
int repeatListeners(Loop& loop, epoll_event* events, int count, int most) {
  const int fromKernel = count;
  for (int i = 0; i < fromKernel; i++) {
    Listener* listener = loop.listenerOf(events[i].data.fd);
    if (listener == nullptr) continue;
    if (loop.turnSince == 0) loop.turnSince = nowNs();
    listener->fired = true;
    Handles::at(listener->fd)->set(kRegistered);
    listener->crowded = fromKernel + loop.heldCount > 1;
    if (!listener->own || !loop.uses(kBatch) || (events[i].events & EPOLLIN) == 0) continue;
    for (int n = 1; n < listener->batch && count < most; n++) events[count++] = events[i];
  }
  return count;
}

// libuv asks with a timeout of 0 first, and then for as long as it may sleep (UV_METRICS_IDLE_TIME, which Node sets).
// It does not sleep after a call that found nothing where somebody else does it, or where it has other things to do.
void noteSleep(Loop& loop, int timeout) {
  if (timeout != 0) {
    loop.sleeps = loop.slept = true;
    loop.idle = loop.doubts = 0;
    return;
  }
  if (loop.idle > 0) loop.sleeps = false;
  // an app that has something for setImmediate sleeps again before long
  if (loop.idle >= kAwake) loop.slept = false;
}

// Whether it sleeps here is not known of a loop that has always had something to do. It is asked: told that there is
// nothing yet, libuv comes back at once and says for how long it would sleep, where it would.
bool asksSleep(Loop& loop, int timeout) {
  if (timeout != 0 || loop.sleeps || !loop.uses(kNextTurnRead | kOutOfFds)) return false;
  const bool due = loop.ask || loop.counters.turns % kAskEvery == 1;
  loop.ask = false;
  return due;
}

// The events of one call. Waits in parts where a listener is to be armed meanwhile: libuv books the time between call
// and return as idle, and its own time runs on.
int collect(Loop& loop, epoll_event* events, int most, int timeout, const sigset_t* mask) {
  uint64_t end = 0;
  for (;;) {
    int patience = timeout;
    if (loop.disarmedCount > 0) {
      const uint64_t now = nowNs();
      if (timeout > 0 && end == 0) end = now + static_cast<uint64_t>(timeout) * kMs;
      if (timeout > 0) patience = now < end ? static_cast<int>((end - now + kMs - 1) / kMs) : 0;
      const int next = rearm(loop, now);
      if (next >= 0 && (patience < 0 || patience > next)) patience = next;
    }
    if (patience != 0 && loop.heldCount + loop.lootCount == 0) lookForLoot(loop);
    if (loop.heldCount + loop.lootCount > 0) patience = 0;
    int count = g_libc.epoll_pwait(loop.epoll, events, most - kRoom, patience, mask);
    if (count < 0 && (errno != EINTR || loop.heldCount + loop.lootCount == 0)) return count;
    if (count < 0) count = 0;
    if (count > 0) loop.worked = true;
    count = awaitNewcomer(loop, events, takeOffers(loop, events, count));
    const int behindAccepted = acceptLast(loop, events, count);
    count = repeatListeners(loop, events, count, most - kMostHeld - kMostLoot);
    count = offerFirstReads(loop, events, count, behindAccepted);
    count = offerLoot(loop, events, count, most);
    const bool over = end == 0 ? patience == timeout : nowNs() >= end;
    if (count > 0 || timeout == 0 || (timeout > 0 && over)) return count;
  }
}

}  // namespace

int wait(Loop& loop, epoll_event* events, int most, int timeout, const sigset_t* mask) {
  loop.seen = true;
  loop.counters.turns++;
  noteSleep(loop, timeout);
  endTurn(loop);
  registerOffered(loop);
  if (most <= 2 * kRoom) {
    // for good: a listener that is disarmed again and again, and armed here, would spin
    leave(loop);
    return g_libc.epoll_pwait(loop.epoll, events, most, timeout, mask);
  }
  const bool asks = asksSleep(loop, timeout);
  tellBefore(loop, timeout);
  const int count = asks ? 0 : collect(loop, events, most, timeout, mask);
  tellAfter(loop, timeout);
  if (count == 0 && timeout == 0)
    loop.idle++;
  else
    loop.idle = 0;
  return count;
}

void leave(Loop& loop) {
  part(loop);
  for (int i = 0; i < loop.heldCount; i++) loop.held[i].offered = true;
  registerOffered(loop);
  for (int i = 0; i < loop.listenerCount; i++) arm(loop, loop.listeners[i], true);
  loop.pieces = 0;
}

}  // namespace fastsocket::seam
