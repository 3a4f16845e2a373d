// SPDX-License-Identifier: Apache-2.0
#include "loop.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "libc.h"

namespace fastsocket::seam {

Libc g_libc;

namespace {
thread_local Loop* t_loop = nullptr;
}

Loop* currentLoop() { return t_loop; }
void setCurrentLoop(Loop* loop) { t_loop = loop; }

Listener* Loop::listenerOf(int fd) {
  const Handle* handle = Handles::at(fd);
  if (handle == nullptr || handle->kind != Kind::kListener) return nullptr;
  // the number may be another loop's
  if (handle->loop != id || handle->listener >= listenerCount) return nullptr;
  Listener* listener = &listeners[handle->listener];
  return listener->fd == fd ? listener : nullptr;
}

void Loop::addListener(int fd, bool own) {
  Handle* handle = Handles::at(fd);
  if (handle == nullptr) return;
  // the number was another listener's, which somebody has closed or replaced behind our back
  for (int i = listenerCount - 1; i >= 0; i--) {
    if (listeners[i].fd != fd) continue;
    arm(*this, listeners[i], true);
    if (listeners[i].disarmed) disarmedCount--;
    moveLast(i);
  }
  if (listenerCount == kMostListeners) dropStrangers();
  if (listenerCount == kMostListeners) return;
  Listener& listener = listeners[listenerCount];
  listener = {};
  listener.fd = fd;
  listener.own = own;
  listener.batch = 1;
  *handle = {};
  handle->kind = Kind::kListener;
  handle->loop = id;
  handle->listener = static_cast<uint8_t>(listenerCount++);
}

// Listeners that somebody has closed behind our back.
void Loop::dropStrangers() {
  for (int i = listenerCount - 1; i >= 0; i--) {
    const int fd = listeners[i].fd;
    if (listenerOf(fd) == &listeners[i]) continue;
    if (listeners[i].disarmed) disarmedCount--;
    moveLast(i);
  }
}

void Loop::moveLast(int to) {
  listeners[to] = listeners[--listenerCount];
  if (to == listenerCount) return;
  Handle* moved = Handles::at(listeners[to].fd);
  if (moved != nullptr && moved->kind == Kind::kListener && moved->loop == id)
    moved->listener = static_cast<uint8_t>(to);
}

void Loop::removeListener(int fd) {
  const Listener* listener = listenerOf(fd);
  if (listener == nullptr) return;
  if (listener->disarmed) disarmedCount--;
  moveLast(static_cast<int>(listener - listeners));
}

Held* Loop::heldOf(int fd) {
  for (int i = heldCount - 1; i >= 0; i--)
    if (held[i].fd == fd) return &held[i];
  return nullptr;
}

void Loop::dropHeld(int fd) {
  Handle* handle = Handles::at(fd);
  if (handle != nullptr) handle->clear(kHeld);
  // in its place, for the order is that of the accepts
  int kept = 0;
  for (int i = 0; i < heldCount; i++)
    if (held[i].fd != fd) held[kept++] = held[i];
  heldCount = kept;
}

void arm(Loop& loop, Listener& listener, bool on) {
  if (on && !listener.disarmed) return;
  epoll_event event = {};
  event.events = on ? static_cast<uint32_t>(EPOLLIN) : 0;
  event.data.fd = listener.fd;
  // the number may be somebody else's, who wants other events; ENOENT: libuv has stopped watching it, or our addon has
  // (the origin stands by)
  const bool known = loop.listenerOf(listener.fd) == &listener;
  if (known && g_libc.epoll_ctl(loop.epoll, EPOLL_CTL_MOD, listener.fd, &event) < 0 && !on) return;
  listener.leaves = false;
  if (listener.disarmed == !on) return;
  listener.disarmed = !on;
  loop.disarmedCount += on ? -1 : 1;
}

}  // namespace fastsocket::seam
