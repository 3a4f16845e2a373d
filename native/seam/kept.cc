// SPDX-License-Identifier: Apache-2.0
// Whoever has helped a sibling helps it again without being asked: where handlers take a few milliseconds each, the
// origin's thread would have to look all the time to be there when one worker has nothing more to do and another one
// has two. It keeps the listener, and looks before it sleeps.
#include <sys/syscall.h>

#include "../failpoint.h"
#include "libc.h"
#include "loop.h"

namespace fastsocket::seam {

namespace {

void take(Loop& loop, int index) {
  loop.keptCount--;
  for (int i = index; i < loop.keptCount; i++) loop.kept[i] = loop.kept[i + 1];
}

void drop(Loop& loop, int index) {
  g_libc.syscall(SYS_close, loop.kept[index].fd, 0, 0, 0, 0, 0);
  take(loop, index);
}

// It runs the app's code: a time that cannot be is no time.
bool isInLongTurn(const balance::Told& told, uint64_t now, uint64_t ns) {
  // in this order: where it has just woken up it would seem to have been awake since before it slept
  const bool sleeps = (balance::getTurn(told) & 1) != 0;
  const uint64_t woke = balance::get(told.wokeNs);
  return !sleeps && balance::get(told.joined) != 0 && now >= woke && now - woke >= ns;
}

}  // namespace

void keepLoot(Loop& loop, const Loot& loot) {
  for (int i = loop.keptCount - 1; i >= 0; i--)
    if (loop.kept[i].victim == loot.victim && loop.kept[i].group == loot.group) drop(loop, i);
  if (loop.keptCount == kMostKept) drop(loop, 0);
  loop.kept[loop.keptCount++] = loot;
}

void dropKeptOf(Loop& loop, uint32_t group) {
  for (int i = loop.keptCount - 1; i >= 0; i--)
    if (group == 0 || loop.kept[i].group == group) drop(loop, i);
}

void lostKept(Loop& loop, int fd) {
  for (int i = loop.keptCount - 1; i >= 0; i--)
    if (loop.kept[i].fd == fd) take(loop, i);
}

void lookForLoot(Loop& loop) {
  if (loop.keptCount == 0 || !loop.worked || loop.seats == nullptr) return;
  loop.worked = false;
  const uint64_t now = nowNs();
  for (int i = 0; i < loop.keptCount; i++) {
    Loot loot = loop.kept[i];
    if (!isInLongTurn(loop.seats[loot.victim].told, now, loot.afterNs)) continue;
    if (FAILING("unasked", queueLength(loot.fd)) <= 0) continue;
    // behind the others when it is kept again
    take(loop, i);
    // one a turn; and nobody has asked, so that nobody declines
    loot.left = 1;
    loot.used = true;
    return addLoot(loop, loot);
  }
}

}  // namespace fastsocket::seam
