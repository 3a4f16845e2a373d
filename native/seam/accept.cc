// SPDX-License-Identifier: Apache-2.0
// accept4: in batches, and never out of descriptors in libuv's eyes.
#include <errno.h>

#include "connects.h"
#include "libc.h"

namespace fastsocket::seam {

namespace {

constexpr uint64_t kRearmNs = 50'000'000;
constexpr int kMostDoubts = 16;

int again() {
  errno = EAGAIN;
  return -1;
}

// The first accept of a turn is the event's own; those that follow are ours, and have to end.
bool timeIsUp(const Loop& loop, const Listener& listener) {
  return listener.accepted > 0 && !listener.shortage && nowNs() - loop.turnSince > loop.limits.turnNs;
}

// What accept(2) says when a limit is reached: of the process, of the system, of memory.
bool isShortage(int error) { return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS; }

// Of more than that in one turn most are closed: libuv has shed load (uv__emfile_trick).
void dropClosed(Loop& loop) {
  int kept = 0;
  for (int i = 0; i < loop.freshCount; i++) {
    const Handle* handle = Handles::at(loop.fresh[i].fd);
    if (handle->has(kFresh)) loop.fresh[kept++] = loop.fresh[i];
  }
  loop.freshCount = kept;
}

}  // namespace

void remember(Loop& loop, Listener& listener, int fd, bool stolen) {
  Handle* handle = Handles::at(fd);
  if (handle == nullptr) return;
  forget(&loop, fd);
  opened(loop, *handle, fd);
  if (loop.seat != nullptr) balance::put(loop.seat->told.accepted, loop.counters.accepted);
  if (stolen)
    inheritElsewhere(loop, listener, fd, *handle);
  else
    inherit(loop, listener, fd, *handle);
  if (loop.freshCount == kMostFresh) dropClosed(loop);
  if (loop.freshCount == kMostFresh) {
    endInheritance(loop, {fd, listener.fd}, *handle);
    handle->clear(kKnown | kNoDelay);
    return;
  }
  handle->set(kFresh);
  loop.fresh[loop.freshCount++] = {fd, listener.fd};
}

int accept(Loop& loop, Listener& listener, sockaddr* address, socklen_t* length, int flags) {
  if (listener.steals) return steal(loop, listener, address, length, flags);
  // an event that stands for several connections was one too many
  if (listener.dry) return again();
  if (timeIsUp(loop, listener)) {
    loop.counters.outOfTime++;
    return again();
  }
  if (putsOff(loop, listener)) return again();
  const int fd = g_libc.accept4(listener.fd, address, length, flags);
  if (fd >= 0) {
    loop.counters.accepted++;
    listener.accepted++;
    loop.doubts = 0;
    remember(loop, listener, fd, false);
    welcome(loop, listener, fd);
    return fd;
  }
  const int error = errno;
  // libuv goes on by itself after these: it is told of the next connection by another event
  if (error == EINTR || error == ECONNABORTED) {
    errno = error;
    return -1;
  }
  if (error == EAGAIN) loop.counters.empty++;
  if (!isShortage(error)) {
    listener.dry = true;
  } else if (loop.uses(kOutOfFds) && (loop.slept || loop.doubts < kMostDoubts)) {
    // libuv would accept and close everybody who waits (src/unix/stream.c, uv__emfile_trick), or be told again and
    // again
    listener.dry = true;
    loop.counters.outOfFds++;
    if (loop.slept) {
      if (!listener.disarmed || listener.leaves) loop.rearmAt = nowNs() + kRearmNs;
      arm(loop, listener, false);
    } else {
      // it has just begun, or it never sleeps here and might not come back: it stays armed, and is asked
      loop.doubts++;
      loop.ask = true;
    }
    return again();
  } else {
    // the trick has a descriptor in reserve: what it accepts and closes now is none of ours
    listener.shortage = true;
  }
  errno = error;
  return -1;
}

}  // namespace fastsocket::seam
