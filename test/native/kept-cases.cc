// SPDX-License-Identifier: Apache-2.0
// Siblings' queues that are kept for later, over the model's kernel.
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>

#include <vector>

#include "../../native/seam/libc.h"
#include "../../native/seam/loop.h"
#include "model/calls.h"
#include "model/check.h"
#include "model/kernel.h"
#include "model/seat.h"

namespace model {

namespace {

using namespace fastsocket::seam;

constexpr uint64_t kAfter = 2'000'000;
constexpr uint64_t kLater = 1'000'000'000;

// The sibling has been in a turn for so long.
void isInTurnFor(uint64_t ns) {
  fastsocket::balance::Told& told = g_page.seats[kVictim].told;
  told.joined = 1;
  told.turns = 2;
  told.wokeNs = g_kernel.now - ns;
}

void comesToSibling(int fd) { g_kernel.at(fd)->queue.push_back({true, false}); }

// It has something to do of its own, and has done it.
void work(int own) {
  comesToSibling(own);
  CHECK(turn() == std::vector<int>{own} && accept(own) >= 0);
  CHECK(g_kernel.at(own)->queue.empty());
}

// An offer that it has made use of once, and whose queue is empty now.
int helpOnce(Loop& loop, int own, uint32_t victim = kVictim, uint64_t afterNs = kAfter) {
  const int theirs = sibling(1);
  addLoot(loop, {theirs, kGroup, 64, false, victim, false, afterNs});
  CHECK(turn() == std::vector<int>{own} && accept(own) >= 0);
  CHECK(turn() == std::vector<int>{own} && accept(own) == -1 && errno == EAGAIN);
  CHECK(loop.lootCount == 0 && isOpen(theirs) == (afterNs != 0));
  return theirs;
}

struct Scene {
  OwnLoop loop = begin();
  int own = listenQuietly();
  Scene() {
    g_kernel.now = kLater;
    mayStealFrom(*loop, own, kGroup);
  }
};

void helpsAgain() {
  const Scene scene;
  const int theirs = helpOnce(*scene.loop, scene.own);
  isInTurnFor(kAfter);
  for (uint64_t i = 2; i < 5; i++) {
    comesToSibling(theirs);
    work(scene.own);
    CHECK(turn() == std::vector<int>{scene.own} && accept(scene.own) >= 0);
    CHECK(scene.loop->counters.stolen == i && g_page.seats[kVictim].taken.connections == i);
    // one a turn, and then it may be asked as before
    CHECK(accept(scene.own) == -1 && scene.loop->lootCount == 0 && scene.loop->keptCount == 1 && isOpen(theirs));
  }
  CHECK(scene.loop->declined == 0);
}

void notUnlessItIsKept() {
  const Scene scene;
  helpOnce(*scene.loop, scene.own, kVictim, 0);
  CHECK(scene.loop->keptCount == 0);
}

// Its turn is not long, or it is in none, or that cannot be known.
void onlyInALongTurn() {
  const Scene scene;
  const int theirs = helpOnce(*scene.loop, scene.own);
  comesToSibling(theirs);
  fastsocket::balance::Told& told = g_page.seats[kVictim].told;
  const auto helps = [&](uint64_t ns, uint64_t turns = 2, uint32_t joined = 1) {
    work(scene.own);
    isInTurnFor(ns);
    told.turns = turns;
    told.joined = joined;
    return !turn().empty();
  };
  CHECK(!helps(kAfter - 1));
  CHECK(!helps(kAfter, 3));
  CHECK(!helps(kAfter, 2, 0));
  // it runs the app's code: a time that cannot be
  CHECK(!helps(~uint64_t{0}));
  CHECK(helps(kAfter) && accept(scene.own) >= 0);
}

// Who has slept since has been beside it all the time: the thread will ask.
void onlyAfterItsWork() {
  const Scene scene;
  const int theirs = helpOnce(*scene.loop, scene.own);
  work(scene.own);
  CHECK(turn().empty());
  isInTurnFor(kAfter);
  comesToSibling(theirs);
  CHECK(turn().empty());
  work(scene.own);
  CHECK(turn() == std::vector<int>{scene.own});
}

// libuv is told of nothing.
void emptyQueue() {
  const Scene scene;
  helpOnce(*scene.loop, scene.own);
  isInTurnFor(kAfter);
  work(scene.own);
  const uint64_t empty = scene.loop->counters.empty;
  CHECK(turn().empty() && scene.loop->counters.empty == empty && scene.loop->keptCount == 1);
}

void itsOwnServerIsLimited() {
  const Scene scene;
  const int theirs = helpOnce(*scene.loop, scene.own);
  isInTurnFor(kAfter);
  comesToSibling(theirs);
  work(scene.own);
  g_takesAll = false;
  CHECK(turn().empty() && !isOpen(theirs) && scene.loop->keptCount == 0 && scene.loop->declined == 0);
}

// It was offered, and not made use of: there was a queue of its own to be served.
void keptUnused() {
  const Scene scene;
  const int theirs = sibling(1);
  comesToSibling(scene.own);
  addLoot(*scene.loop, {theirs, kGroup, 64, false, kVictim, false, kAfter});
  CHECK(turn() == std::vector<int>{scene.own} && accept(scene.own) >= 0 && isOpen(theirs));
  isInTurnFor(kAfter);
  g_takesAll = false;
  CHECK(turn().empty() && !isOpen(theirs) && scene.loop->declined == 0);
}

// Another one of the same queue comes in its place; of several queues one after the other is served.
void severalQueues() {
  const Scene scene;
  const int before = helpOnce(*scene.loop, scene.own);
  const int theirs = helpOnce(*scene.loop, scene.own);
  CHECK(!isOpen(before) && isOpen(theirs) && scene.loop->keptCount == 1);
  const int others = helpOnce(*scene.loop, scene.own, kVictim + 1);
  CHECK(scene.loop->keptCount == 2);
  isInTurnFor(kAfter);
  g_page.seats[kVictim + 1].told = g_page.seats[kVictim].told;
  for (int i = 0; i < 2; i++) {
    comesToSibling(theirs);
    comesToSibling(others);
  }
  for (int i = 0; i < 4; i++) {
    work(scene.own);
    CHECK(turn() == std::vector<int>{scene.own} && accept(scene.own) >= 0);
    CHECK(g_kernel.at(theirs)->queue.size() == static_cast<size_t>((3 - i) / 2));
    CHECK(g_kernel.at(others)->queue.size() == static_cast<size_t>((4 - i) / 2));
  }
  for (int i = 0; i < 3 * kMostKept; i++) helpOnce(*scene.loop, scene.own, kVictim + 2 + static_cast<uint32_t>(i));
  CHECK(scene.loop->keptCount == kMostKept);
  int open = 0;
  for (const auto& [fd, file] : g_kernel.files) open += file->type == Type::kListener ? 1 : 0;
  CHECK(open == kMostKept + 1);
}

void theEnd() {
  for (int which = 0; which < 4; which++) {
    const Scene scene;
    const int theirs = helpOnce(*scene.loop, scene.own);
    if (which == 0) dropLootOf(*scene.loop, kGroup + 1);
    CHECK(isOpen(theirs));
    if (which == 0) dropLootOf(*scene.loop, kGroup);
    if (which == 1) leave(*scene.loop);
    if (which == 2) CHECK(g_calls.syscall(SYS_close, theirs, 0, 0, 0, 0, 0) == 0);
    if (which == 3) CHECK(g_calls.syscall(SYS_close, scene.own, 0, 0, 0, 0, 0) == 0);
    if (which == 3) isInTurnFor(kAfter);
    if (which == 3) comesToSibling(theirs);
    if (which == 3) scene.loop->worked = true;
    if (which == 3) CHECK(turn().empty());
    CHECK(!isOpen(theirs) && scene.loop->keptCount == 0);
  }
}

}  // namespace
}  // namespace model

int main() {
  if (fastsocket::seam::Handles::map() != 0) return 2;
  model::installKernel();
  model::installCalls();
  model::helpsAgain();
  model::notUnlessItIsKept();
  model::onlyInALongTurn();
  model::onlyAfterItsWork();
  model::emptyQueue();
  model::itsOwnServerIsLimited();
  model::keptUnused();
  model::severalQueues();
  model::theEnd();
  printf("all\n");
  return 0;
}
