// SPDX-License-Identifier: Apache-2.0
// Connections from the queue of a sibling that cannot serve them: accepted by a listener of our own, as if they had
// come there.
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../failpoint.h"
#include "libc.h"
#include "loop.h"

namespace fastsocket::seam {

namespace {

int again() {
  errno = EAGAIN;
  return -1;
}

void takeLoot(Loop& loop, int index) {
  // in its place: who was offered first is served first
  loop.lootCount--;
  for (int i = index; i < loop.lootCount; i++) loop.loot[i] = loop.loot[i + 1];
}

void dropLoot(Loop& loop, int index) {
  g_libc.syscall(SYS_close, loop.loot[index].fd, 0, 0, 0, 0, 0);
  takeLoot(loop, index);
}

// For now.
void endLoot(Loop& loop, int index) {
  const Loot loot = loop.loot[index];
  if (loot.afterNs == 0) return dropLoot(loop, index);
  takeLoot(loop, index);
  keepLoot(loop, loot);
}

// In the epoll set. Before the first turn, and where nothing is held back, libuv's ring adds it unseen (ring.cc): the
// kernel knows, ENOENT where it is not (epoll_ctl(2)).
bool isRegistered(const Loop& loop, int fd) {
  Handle* handle = Handles::at(fd);
  if (handle->has(kRegistered)) return true;
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (g_libc.epoll_ctl(loop.epoll, EPOLL_CTL_MOD, fd, &event) < 0) return false;
  handle->set(kRegistered);
  return true;
}

// The listener of that group which libuv watches.
Listener* thiefFor(Loop& loop, uint32_t group) {
  for (int i = 0; i < loop.listenerCount; i++) {
    Listener& listener = loop.listeners[i];
    if (listener.group != group || (listener.disarmed && !listener.leaves) || loop.listenerOf(listener.fd) != &listener)
      continue;
    if (!isRegistered(loop, listener.fd)) continue;
    return loop.takesAll == nullptr || loop.takesAll(loop.of, listener.fd) ? &listener : nullptr;
  }
  return nullptr;
}

int lootFor(const Loop& loop, uint32_t group) {
  for (int i = 0; i < loop.lootCount; i++)
    if (loop.loot[i].group == group) return i;
  return -1;
}

}  // namespace

void mayStealFrom(Loop& loop, int fd, uint32_t group) {
  Listener* listener = loop.listenerOf(fd);
  if (listener == nullptr || listener->group == group) return;
  listener->group = group;
}

void addLoot(Loop& loop, const Loot& loot) {
  loop.loot[loop.lootCount++] = loot;
  if (loop.lootCount == kMostLoot) dropLoot(loop, 0);
}

void dropLootOf(Loop& loop, uint32_t group) {
  for (int i = loop.lootCount - 1; i >= 0; i--)
    if (loop.loot[i].group == group) dropLoot(loop, i);
  dropKeptOf(loop, group);
}

// One connection a turn: what is stolen must not wait behind each other.
int offerLoot(Loop& loop, epoll_event* events, int count, int most) {
  for (int i = 0; i < loop.lootCount;) {
    Listener* thief = thiefFor(loop, loop.loot[i].group);
    if (thief == nullptr && !loop.loot[i].used) loop.declined++;
    // who has a queue of its own is not the one to help; another sibling will be asked
    const bool busy = thief != nullptr && thief->fired && !loop.loot[i].insists;
    if (thief == nullptr || busy || count == most) {
      if (thief == nullptr)
        dropLoot(loop, i);
      else
        endLoot(loop, i);
      continue;
    }
    i++;
    if (thief->steals) continue;
    thief->steals = true;
    events[count].events = EPOLLIN;
    events[count++].data.fd = thief->fd;
    if (loop.turnSince == 0) loop.turnSince = nowNs();
  }
  return count;
}

int steal(Loop& loop, Listener& listener, sockaddr* address, socklen_t* length, int flags) {
  listener.steals = false;
  // its own queue is as it was
  listener.dry = !listener.fired;
  const int index = lootFor(loop, listener.group);
  // the app has closed or opened a listener in this turn
  if (index < 0) return again();
  Loot& loot = loop.loot[index];
  loot.used = true;
  const uint32_t victim = loot.victim;
  const int fd = FAILING("steal", g_libc.accept4(loot.fd, address, length, flags));
  if (fd < 0 && errno != EAGAIN) loop.declined++;
  // whatever it was that failed here, the queue is the sibling's: nobody is shed, and nothing is reported
  if (fd < 0 && errno != EAGAIN)
    dropLoot(loop, index);
  else if (fd < 0 || --loot.left == 0)
    endLoot(loop, index);
  if (fd < 0) {
    loop.counters.empty++;
    return again();
  }
  loop.counters.accepted++;
  loop.counters.stolen++;
  if (loop.seats != nullptr) balance::addOne(loop.seats[victim].taken.connections);
  remember(loop, listener, fd, true);
  FAILPOINT("stolen");
  return fd;
}

int join(Loop& loop, balance::Page& page, int index, int offers, int wake) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = offers;
  if (g_libc.epoll_ctl(loop.epoll, EPOLL_CTL_ADD, offers, &event) < 0) return -errno;
  loop.seats = page.seats;
  loop.seat = &page.seats[index];
  balance::put(loop.seat->told.pid, static_cast<uint32_t>(getpid()));
  loop.offers = offers;
  loop.wake = wake;
  FAILPOINT("joined");
  return 0;
}

void part(Loop& loop, int gone) {
  while (loop.lootCount > 0) dropLoot(loop, loop.lootCount - 1);
  dropKeptOf(loop, 0);
  if (loop.seat == nullptr) return;
  for (int i = 0; i < loop.listenerCount; i++) loop.listeners[i].group = 0;
  // a successor may have the seat already
  if (balance::get(loop.seat->told.pid) == static_cast<uint32_t>(getpid()))
    balance::put(loop.seat->told.joined, uint32_t{0});
  loop.seat = loop.seats = nullptr;
  (void)g_libc.epoll_ctl(loop.epoll, EPOLL_CTL_DEL, loop.offers, nullptr);
  if (loop.offers != gone) g_libc.syscall(SYS_close, loop.offers, 0, 0, 0, 0, 0);
  if (loop.wake != gone) g_libc.syscall(SYS_close, loop.wake, 0, 0, 0, 0, 0);
}

void lostNumber(Loop& loop, int fd) {
  for (int i = loop.lootCount - 1; i >= 0; i--) {
    if (loop.loot[i].fd != fd) continue;
    loop.lootCount--;
    for (int k = i; k < loop.lootCount; k++) loop.loot[k] = loop.loot[k + 1];
  }
  lostKept(loop, fd);
  if (loop.seat != nullptr && (fd == loop.offers || fd == loop.wake)) part(loop, fd);
}

}  // namespace fastsocket::seam
