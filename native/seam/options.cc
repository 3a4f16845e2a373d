// SPDX-License-Identifier: Apache-2.0
// setsockopt(TCP_NODELAY): Node sets it on every accepted connection while it handles it (lib/net.js, onconnection). A
// child has its listener's (net/ipv4/tcp_minisocks.c, tcp_create_openreq_child: a copy of the listener's tcp_sock), so
// that once is enough.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "../refused.h"
#include "libc.h"
#include "loop.h"

namespace fastsocket::seam {

namespace {

// As many as any queue may have: every child is looked at.
constexpr int kUnknownQueue = 1 << 16;
// Children that are being made on other CPUs while the listener's option changes.
constexpr int kRacing = 128;
// An app that wants it for some connections and not for others: the listener stays without.
constexpr int kMostFlips = 8;

int setNoDelay(int fd, bool on) {
  const int value = on ? 1 : 0;
  return g_libc.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value);
}

void flip(Listener& listener, bool on) {
  if (listener.noDelay == on || (on && listener.flips >= kMostFlips) || setNoDelay(listener.fd, on) < 0) return;
  listener.noDelay = on;
  listener.flips++;
  listener.unsure = mostUnsure(listener.fd);
}

Listener* listenerOfFresh(Loop& loop, int fd) {
  for (int i = loop.freshCount - 1; i >= 0; i--)
    if (loop.fresh[i].fd == fd) return loop.listenerOf(loop.fresh[i].listener);
  return nullptr;
}

// A kernel whose children do not inherit it.
void dropInheritance(Loop& loop) {
  loop.pieces &= ~static_cast<unsigned>(kInheritNoDelay);
  for (int i = 0; i < loop.listenerCount; i++)
    if (loop.listeners[i].own) shareListener(loop.listeners[i]);
}

}  // namespace

// A child is a copy of its listener from the end of its handshake on, not from accept() on (net/ipv4/tcp_minisocks.c,
// tcp_check_req): those in the queue have what the listener had.
int queueLength(int fd) {
  tcp_info state = {};
  socklen_t length = sizeof state;
  // of a listening socket this field is the accept queue (net/ipv4/tcp.c, tcp_get_info)
  if (g_libc.getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &length) < 0) {
    noteRefusal(kNoTcpInfo);
    return kUnknownQueue;
  }
  return static_cast<int>(state.tcpi_unacked);
}

bool isTcp(int fd) {
  int protocol = 0;
  socklen_t length = sizeof protocol;
  const bool known = g_libc.getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0;
  if (!known) noteRefusal("a listener does without the seam: getsockopt(SO_PROTOCOL)");
  return known && protocol == IPPROTO_TCP;
}

int noDelayOf(int fd) {
  int on = 0;
  socklen_t length = sizeof on;
  if (g_libc.getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &length) < 0) {
    noteRefusal("TCP_NODELAY is not inherited: getsockopt(TCP_NODELAY)");
    return -1;
  }
  return on != 0 ? 1 : 0;
}

int mostUnsure(int fd) { return queueLength(fd) + kRacing; }

void shareListener(Listener& listener) {
  if (listener.noDelay && !listener.given) flip(listener, false);
}

void inherit(Loop& loop, Listener& listener, int fd, Handle& handle) {
  // another process's doings with a shared listener are not known here
  if (!listener.own || !loop.uses(kInheritNoDelay)) return;
  bool on = listener.noDelay;
  if (listener.unsure > 0) {
    const int has = noDelayOf(fd);
    if (has < 0) return;
    on = has == 1;
    if (--listener.unsure == 0 && on != listener.noDelay) {
      dropInheritance(loop);
      return;
    }
  }
  handle.set(kKnown);
  if (on) handle.set(kNoDelay);
  if (listener.given) handle.set(kGiven);
}

void inheritElsewhere(Loop& loop, const Listener& listener, int fd, Handle& handle) {
  if (!listener.own || !loop.uses(kInheritNoDelay)) return;
  const int has = noDelayOf(fd);
  if (has < 0) return;
  handle.set(kKnown);
  if (has == 1) handle.set(kNoDelay);
  if (listener.given) handle.set(kGiven);
}

// socket(7), SO_LINGER with a time of 0: the next close() resets (libuv's uv_tcp_close_reset).
void noteLinger(int fd, const void* value) {
  Handle* handle = Handles::known(fd);
  if (handle == nullptr || handle->kind != Kind::kConnected) return;
  const auto* asked = static_cast<const linger*>(value);
  if (asked->l_onoff != 0 && asked->l_linger == 0)
    handle->set(kAborts);
  else
    handle->clear(kAborts);
}

int option(Loop* loop, int fd, int level, int name, const void* value, socklen_t length) {
  if (level == SOL_SOCKET && name == SO_LINGER && length == sizeof(linger)) noteLinger(fd, value);
  Handle* handle = nullptr;
  if (level == IPPROTO_TCP && name == TCP_NODELAY && length == sizeof(int)) handle = Handles::at(fd);
  // a listener's counts before the loop's first turn, too
  if (handle == nullptr || loop == nullptr || (loop->pieces & kInheritNoDelay) == 0)
    return g_libc.setsockopt(fd, level, name, value, length);
  const bool on = *static_cast<const int*>(value) != 0;
  if (handle->kind == Kind::kListener) {
    const int result = g_libc.setsockopt(fd, level, name, value, length);
    Listener* listener = loop->listenerOf(fd);
    if (result == 0 && listener != nullptr) {
      listener->noDelay = listener->given = on;
      listener->unsure = mostUnsure(fd);
    }
    return result;
  }
  if (!handle->has(kFresh) || !handle->has(kKnown)) return g_libc.setsockopt(fd, level, name, value, length);
  handle->set(kAsked);
  if (on == handle->has(kNoDelay)) {
    loop->counters.inherited++;
    return 0;
  }
  const int result = g_libc.setsockopt(fd, level, name, value, length);
  if (result < 0) return result;
  if (on)
    handle->set(kNoDelay);
  else
    handle->clear(kNoDelay);
  Listener* listener = on ? listenerOfFresh(*loop, fd) : nullptr;
  if (listener != nullptr && listener->own) flip(*listener, true);
  return result;
}

// At the end of the turn of the accept, or when another process gets it: a child that was not asked to have TCP_NODELAY
// does not have it, and its siblings to come will not either (server.noDelay is false now).
void endInheritance(Loop& loop, const Fresh& fresh, Handle& handle) {
  if (!handle.has(kNoDelay) || handle.has(kAsked | kGiven)) return;
  setNoDelay(fresh.fd, false);
  loop.counters.notInherited++;
  Listener* listener = loop.listenerOf(fresh.listener);
  if (listener != nullptr && listener->own) flip(*listener, false);
}

}  // namespace fastsocket::seam
