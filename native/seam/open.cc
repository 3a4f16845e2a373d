// SPDX-License-Identifier: Apache-2.0
// How many accepted connections are open. libuv closes them in the loop's thread (src/unix/core.c, uv__close), and so
// does what it sends to another process (child_process's send(), when the other has it). But a number can be closed
// elsewhere, too:
// - by fs.close(), in a thread of libuv's pool (src/unix/fs.c, uv__fs_close), or by another thread of Node's: seen
// there;
// - by a native addon, or by the kernel's own thread for libuv's ring (UV_USE_IO_URING; src/unix/linux.c,
//   uv__iou_fs_close): nobody sees it, and the numbers are looked at by and by.
#include <netinet/in.h>

#include "connects.h"
#include "libc.h"
#include "loop.h"

namespace fastsocket::seam {

namespace {

constexpr uint64_t kRecountNs = 1'000'000'000;
// The clock is not read in every turn.
constexpr uint64_t kTurns = 16;
// Numbers of which the kernel is asked at once, 0.1 us each.
constexpr int kMostAsked = 256;

// By loop: closed in other threads.
uint32_t g_elsewhere[UINT8_MAX + 1];

// The table says it: an app that closes one number twice at once has been counted twice.
void recount(Loop& loop) {
  uint64_t open = 0;
  int asked = 0;
  int highest = 0;
  int next = 0;
  for (int fd = 0; fd <= loop.highest; fd++) {
    Handle* handle = Handles::at(fd);
    const Handle seen = Handles::load(*handle);
    if (seen.kind != Kind::kAccepted || seen.loop != loop.id) continue;
    if (fd >= loop.askNext && asked == kMostAsked && next == 0) next = fd;
    if (fd >= loop.askNext && asked < kMostAsked) {
      asked++;
      // a connection's is the same one's, as far as is known
      if (!isTcp(fd)) {
        // the kernel may have given the number to another thread meanwhile: what that one says of it stays
        Handles::forgetIf(*handle, seen);
        continue;
      }
    }
    highest = fd;
    open++;
  }
  loop.askNext = next;
  loop.highest = highest;
  loop.open = open;
}

}  // namespace

void opened(Loop& loop, Handle& handle, int fd) {
  Handle accepted = {};
  accepted.kind = Kind::kAccepted;
  accepted.loop = loop.id;
  // never half of it: without its loop it would be the first one's, whose recount() may be looking at it
  Handles::store(handle, accepted);
  loop.open++;
  if (fd > loop.highest) loop.highest = fd;
}

void closed(Loop* loop, const Handle& handle) {
  if (handle.kind != Kind::kAccepted) return;
  if (loop == nullptr || loop->id != handle.loop)
    __atomic_fetch_add(&g_elsewhere[handle.loop], 1, __ATOMIC_RELAXED);
  else if (loop->open > 0)
    loop->open--;
}

void settleOpen(Loop& loop) {
  uint32_t& elsewhere = g_elsewhere[loop.id];
  if (__atomic_load_n(&elsewhere, __ATOMIC_RELAXED) != 0) {
    const uint64_t count = __atomic_exchange_n(&elsewhere, 0, __ATOMIC_RELAXED);
    loop.open = count < loop.open ? loop.open - count : 0;
  }
  if (loop.counters.turns % kTurns != 0) return;
  const uint64_t now = nowNs();
  if (now - loop.recountedAt < kRecountNs) return;
  loop.recountedAt = now;
  recount(loop);
}

}  // namespace fastsocket::seam
