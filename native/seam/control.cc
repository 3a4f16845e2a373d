// SPDX-License-Identifier: Apache-2.0
// epoll_ctl: a connection is registered when its first read has found nothing, and removed only if it was registered.
#include <errno.h>

#include "adapt.h"
#include "libc.h"
#include "loop.h"

namespace fastsocket::seam {

namespace {

int real(Loop& loop, int operation, int fd, epoll_event* event) {
  return g_libc.epoll_ctl(loop.epoll, operation, fd, event);
}

int registerNow(Loop& loop, Handle& handle, int fd, epoll_event* event) {
  loop.dropHeld(fd);
  handle.set(kRegistered);
  loop.counters.registeredLate++;
  return real(loop, EPOLL_CTL_ADD, fd, event);
}

bool onlyReads(const epoll_event& event) { return event.events == EPOLLIN; }

bool hold(Loop& loop, Handle& handle, int fd, const epoll_event& event) {
  if (!loop.uses(kNextTurnRead) || !loop.sleeps || !handle.has(kFresh) || !onlyReads(event) ||
      loop.heldCount == kMostHeld || skipsFirstRead(loop.firstReads))
    return false;
  loop.dropHeld(fd);
  handle.set(kHeld);
  loop.held[loop.heldCount++] = {fd, event.events, false};
  return true;
}

int add(Loop& loop, Handle& handle, int fd, epoll_event* event) {
  if (hold(loop, handle, fd, *event)) return 0;
  handle.set(kRegistered);
  return real(loop, EPOLL_CTL_ADD, fd, event);
}

int remove(Loop& loop, Handle& handle, int fd, epoll_event* event) {
  if (handle.has(kHeld)) {
    loop.dropHeld(fd);
  } else if (handle.kind != Kind::kAccepted || handle.has(kRegistered) || !loop.uses(kNextTurnRead)) {
    handle.clear(kRegistered);
    return real(loop, EPOLL_CTL_DEL, fd, event);
  }
  loop.counters.neverRegistered++;
  return 0;
}

// libuv has changed what it watches a listener for.
void noteListener(Loop& loop, int fd) {
  Listener* listener = loop.listenerOf(fd);
  if (listener == nullptr || !listener->disarmed) return;
  listener->disarmed = listener->leaves = false;
  loop.disarmedCount--;
}

}  // namespace

void foundNothing(Loop& loop, int fd) {
  const Handle* handle = Handles::known(fd);
  if (handle != nullptr && handle->has(kHeld)) loop.firstReads.empty++;
}

int control(Loop& loop, int operation, int fd, epoll_event* event) {
  Handle* handle = Handles::known(fd);
  if (handle == nullptr) return real(loop, operation, fd, event);
  if (operation == EPOLL_CTL_DEL) return remove(loop, *handle, fd, event);
  if (handle->kind == Kind::kListener) noteListener(loop, fd);
  if (!handle->has(kHeld)) {
    if (operation == EPOLL_CTL_ADD) return add(loop, *handle, fd, event);
    return real(loop, operation, fd, event);
  }
  Held* held = loop.heldOf(fd);
  if (held == nullptr || !onlyReads(*event)) return registerNow(loop, *handle, fd, event);
  held->events = event->events;
  return 0;
}

}  // namespace fastsocket::seam
