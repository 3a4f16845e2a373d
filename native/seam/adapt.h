// SPDX-License-Identifier: Apache-2.0
// How many connections a listener's next event may stand for.
#pragma once

#include "loop.h"

namespace fastsocket::seam {

// A queue that runs dry at the second accept of a batch of two says that connections come one by one: this many full
// turns pass before another batch is tried, each of which would cost one accept4 that finds nothing.
constexpr int kPatience = 16;

// After each turn in which the listener had an event. One on a quiet server, where the loop waits for each connection;
// doubles while the queue does not run dry.
inline void adapt(Listener& listener, int most) {
  if (!listener.crowded) {
    listener.batch = 1;
    listener.streak = 0;
    return;
  }
  if (listener.dry) {
    // libuv may have accepted more than that itself (src/unix/stream.c, uv__emfile_trick)
    const int accepted = listener.accepted < most ? listener.accepted : most;
    listener.batch = accepted > 1 ? accepted : 1;
    if (listener.accepted <= 1) listener.patience = kPatience;
    listener.streak = 0;
    return;
  }
  if (listener.accepted < listener.batch) return;
  if (listener.patience > 0) {
    listener.patience--;
  } else if (++listener.streak > 1 || listener.batch > 1) {
    listener.batch = listener.batch * 2 > most ? most : listener.batch * 2;
  }
}

// First reads that are offered and looked at together. Clients that connect and speak later cost a read each that finds
// nothing, less than half of what one that finds something saves (a registration, its removal, an event): where three
// of four do, as many connections as the sample are registered at once before the next sample, and twice as many each
// time.
constexpr int kSample = 64;
constexpr int kMostWithout = 8192;

inline bool skipsFirstRead(FirstReads& reads) {
  if (reads.skip == 0) return false;
  reads.skip--;
  return true;
}

// At the end of each turn.
inline void adapt(FirstReads& reads) {
  if (reads.offered < kSample) return;
  if (reads.empty * 4 <= reads.offered * 3)
    reads.without = 0;
  else if (reads.without < kMostWithout)
    reads.without = reads.without == 0 ? kSample : reads.without * 2;
  reads.skip = reads.without;
  reads.offered = reads.empty = 0;
}

}  // namespace fastsocket::seam
