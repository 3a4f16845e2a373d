// SPDX-License-Identifier: Apache-2.0
// Who has been accepted and has said nothing yet. A client that connects speaks within some 10 to 100 us. While a quiet
// worker waits for that, it leaves the next connection in the queue: once both are accepted, the one that speaks second
// can be read first, or both in one turn, and its request may take 200 ms; what is queued can be a sibling's meanwhile,
// and the end of an answer (uv_shutdown) goes out before the loop asks for events again (src/unix/core.c, uv_run).
#include "libc.h"
#include "loop.h"

namespace fastsocket::seam {

namespace {

constexpr uint64_t kMostNs = 1'000'000;
constexpr int kMostWithout = 1024;

void stopWaiting(Newcomer& newcomer) { newcomer.since = 0; }

// Clients that let the server speak first, or connect and speak later: in vain. Twice as many are not waited for each
// time.
void giveUp(Newcomer& newcomer) {
  if (newcomer.awaited) {
    newcomer.without = newcomer.without == 0 ? 1 : newcomer.without * 2;
    if (newcomer.without > kMostWithout) newcomer.without = kMostWithout;
    newcomer.skip = newcomer.without;
  }
  stopWaiting(newcomer);
}

// Where more wait, or nobody else could take what is queued, there is nothing to be won.
bool leavesQueued(const Listener& listener) { return listener.group != 0 && listener.batch == 1 && !listener.shortage; }

// Nothing has happened but that others have come.
bool onlyListeners(Loop& loop, const epoll_event* events, int count) {
  for (int i = 0; i < count; i++) {
    const Listener* listener = loop.listenerOf(events[i].data.fd);
    if (listener == nullptr || !leavesQueued(*listener)) return false;
  }
  return count > 0;
}

}  // namespace

void welcome(Loop& loop, const Listener& listener, int fd) {
  Newcomer& newcomer = loop.newcomer;
  stopWaiting(newcomer);
  if (!leavesQueued(listener)) return;
  // where one after the other comes, every second is waited for: a queue does not grow by that
  if (newcomer.rests) {
    newcomer.rests = false;
  } else if (newcomer.skip > 0) {
    newcomer.skip--;
  } else {
    newcomer.fd = fd;
    newcomer.since = loop.turnSince;
    newcomer.awaited = false;
  }
}

void hasSpoken(Loop& loop, int fd) {
  Newcomer& newcomer = loop.newcomer;
  if (newcomer.since == 0 || newcomer.fd != fd) return;
  stopWaiting(newcomer);
  if (!newcomer.awaited) return;
  newcomer.without /= 2;
  newcomer.rests = true;
}

bool putsOff(Loop& loop, const Listener& listener) {
  Newcomer& newcomer = loop.newcomer;
  if (newcomer.since == 0 || !leavesQueued(listener)) return false;
  if (loop.turnSince - newcomer.since >= kMostNs) {
    giveUp(newcomer);
    return false;
  }
  newcomer.awaited = true;
  loop.counters.putOff++;
  return true;
}

uint64_t newcomerUntil(const Loop& loop) { return loop.newcomer.since == 0 ? 0 : loop.newcomer.since + kMostNs; }

int awaitNewcomer(Loop& loop, const epoll_event* events, int count) {
  Newcomer& newcomer = loop.newcomer;
  if (newcomer.since == 0 || !loop.sleeps || !loop.slept) return count;
  const Handle* handle = Handles::at(newcomer.fd);
  // its first read comes now, and then accept() is asked
  if (handle == nullptr || handle->has(kHeld) || !onlyListeners(loop, events, count)) return count;
  const uint64_t now = nowNs();
  if (now - newcomer.since >= kMostNs) {
    giveUp(newcomer);
    return count;
  }
  for (int i = 0; i < count; i++) {
    Listener* listener = loop.listenerOf(events[i].data.fd);
    arm(loop, *listener, false);
    // it would be told of again and again
    if (!listener->disarmed) {
      giveUp(newcomer);
      return count;
    }
    listener->leaves = true;
  }
  newcomer.awaited = true;
  loop.counters.putOff++;
  return 0;
}

}  // namespace fastsocket::seam
