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

}  // namespace fastsocket::seam
