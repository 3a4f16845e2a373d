// SPDX-License-Identifier: Apache-2.0
// listen: a listener is known from here on. And close: nothing is known of the number afterwards.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "../refused.h"
#include "connects.h"
#include "libc.h"

namespace fastsocket::seam {

namespace {

// tcp(7): accept wakes only when the client has sent something, or about this many seconds later without.
constexpr int kDeferSeconds = 1;

}  // namespace

int listenOn(Loop& loop, int fd, int backlog) {
  Handle* handle = Handles::at(fd);
  if (handle != nullptr && handle->has(kPortless)) bindNow(*handle, fd);
  const int result = g_libc.listen(fd, backlog);
  if (result < 0 || handle == nullptr || !isTcp(fd)) return result;
  if (handle->kind == Kind::kConnected) forget(&loop, fd);
  if (loop.listenerOf(fd) == nullptr) loop.addListener(fd, handle->kind == Kind::kOwn);
  Listener* listener = loop.listenerOf(fd);
  if (listener != nullptr) {
    listener->noDelay = noDelayOf(fd) == 1;
    // a duplicate of a socket whose children inherited it in another process may have others in its queue
    if (listener->noDelay || queueLength(fd) > 0) listener->unsure = mostUnsure(fd);
  }
  if ((loop.pieces & kDeferAccept) != 0 &&
      g_libc.setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &kDeferSeconds, sizeof kDeferSeconds) < 0)
    noteRefusal("connections are accepted at once: setsockopt(TCP_DEFER_ACCEPT)");
  return result;
}

void closing(Loop* loop, int fd) {
  if (loop != nullptr && fd >= 0) {
    if (fd == loop->ring.fd) dropRing(*loop);
    if (fd == loop->epoll) loop->epoll = -1;
    lostNumber(*loop, fd);
  }
  Handle* handle = Handles::at(fd);
  if (handle == nullptr) return;
  if (loop != nullptr) {
    if (handle->kind == Kind::kConnected) disconnecting(*loop, *handle, fd);
    if (handle->kind == Kind::kListener) loop->removeListener(fd);
    if (handle->has(kHeld)) loop->dropHeld(fd);
    hasSpoken(*loop, fd);
    // there is room again
    if (loop->disarmedCount > 0) loop->rearmAt = 0;
  }
  closed(loop, *handle);
  // closed by a thread of the pool: the loop whose connection it was finds out when the number comes back
  if (loop == nullptr && handle->kind == Kind::kConnected) return;
  Handles::forget(fd);
}

}  // namespace fastsocket::seam
