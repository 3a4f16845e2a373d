// SPDX-License-Identifier: Apache-2.0
// Who is blocked by what is known of its turn: case by case.
#include <stdio.h>

#include "model/check.h"
#include "model/judged.h"

namespace model {

namespace {

// A worker says when its turn began: it is not asked to be seen twice, T apart; nor where it was seen before that.
void turnsSayWhenTheyBegan() {
  World world(2);
  world.sights[1].cpuNs = 50 * kMs;
  world.after(2 * kMs);
  world.wakeUp(1);
  world.sights[1].turnNs = 3 * kMs / 2;
  world.sights[1].queued = true;
  world.sights[1].cpuNs += kMs;
  world.after(2 * kMs);
  CHECK(!world.judge->isBlocked(1));
  CHECK(world.judge->pause(world.now, world.seats()) == kMs / 2);
  world.sights[1].cpuNs += kMs / 2;
  world.after(kMs / 2 - 1);
  CHECK(!world.judge->isBlocked(1));
  world.after(1);
  CHECK(world.judge->isBlocked(1));
}

// Looks are far apart where little comes: it has computed for T in this turn even if it has done nothing else before
// it.
void turnsAmongFarLooks() {
  for (const uint64_t cpu : {3 * kMs - 1, 3 * kMs, 6 * kMs, 7 * kMs}) {
    World world(2);
    world.sights[1].cpuNs = 50 * kMs;
    world.after(2 * kMs);
    world.wakeUp(1);
    world.sights[1].turnNs = 5 * kMs;
    world.sights[1].queued = true;
    world.sights[1].cpuNs += cpu;
    world.after(6 * kMs);
    // more than there was time for: it has several threads, or the machine has stood still
    CHECK(world.judge->isBlocked(1) == (cpu >= 3 * kMs && cpu < 7 * kMs));
  }
}

// Each arrival has its look where they are few: looks are far apart then while nothing waits.
void littleComes() {
  World world(2);
  const auto comes = [&](uint64_t ns, uint64_t connections) {
    world.sights[1].accepted += connections;
    world.after(ns);
    return world.judge->isSparse();
  };
  for (int i = 0; i < 100; i++) CHECK(comes(4 * kMs, 1));
  CHECK(world.judge->pause(world.now, world.seats()) == 8 * kMs);
  for (int i = 0; i < 20; i++) comes(2 * kMs, 1);
  CHECK(!comes(2 * kMs, 1));
  CHECK(world.judge->pause(world.now, world.seats()) == 2 * kMs);
  // however many have come
  comes(2 * kMs, uint64_t{1} << 62U);
  for (int i = 0; i < 11; i++) comes(2 * kMs, 0);
  CHECK(world.judge->isSparse());
  // what comes while nobody looks comes after a rest, which counts
  for (int i = 0; i < 20; i++) comes(2 * kMs, 1);
  CHECK(!comes(2 * kMs, 1));
  for (int i = 0; i < 30; i++) {
    world.judge->rested(2 * kMs);
    comes(2 * kMs, 1);
  }
  CHECK(world.judge->isSparse());
}

// Whoever accepts says nothing of it, being without the seam: looks for what comes have no end then.
void whatNobodyTells() {
  World world(2);
  for (int i = 0; i < 20; i++) world.after(2 * kMs);
  const auto comes = [&] {
    world.judge->came();
    world.look();
    return world.judge->isSparse();
  };
  // it is accepted after the look that it has brought about, or before it
  for (int i = 0; i < 100; i++) {
    CHECK(comes());
    world.sights[1].accepted++;
    if (i % 2 == 0) world.after(kMs);
    world.now += 3 * kMs;
  }
  for (int i = 0; i < 10; i++) comes();
  CHECK(!world.judge->isSparse());
  // what the thread sleeps for in between is no more than it was: there are no more looks than every 2 ms
  for (int i = 0; i < 100; i++) {
    world.now += 2 * kMs;
    CHECK(!comes());
  }
}

// What it had computed before is not known: it is to be seen in its turn for T / 2.
void turnsOfWhoWasNotLookedAt() {
  World world(2);
  world.after(2 * kMs);
  world.wakeUp(1);
  world.sights[1].turnNs = 3 * kMs / 2;
  world.sights[1].queued = true;
  world.sights[1].cpuNs = 51 * kMs;
  world.after(2 * kMs);
  CHECK(!world.judge->isBlocked(1));
  CHECK(world.judge->pause(world.now, world.seats()) == kMs);
  world.sights[1].cpuNs += kMs;
  world.after(kMs);
  CHECK(world.judge->isBlocked(1));
}

// It has been in its turn for long, and has computed for less than half of the time since the last look.
void turnsOfWhoHasNoCpu() {
  World world(2);
  world.sights[1].cpuNs = 50 * kMs;
  world.after(2 * kMs);
  world.wakeUp(1);
  world.sights[1].turnNs = 3 * kMs;
  world.sights[1].queued = true;
  world.sights[1].cpuNs += kMs;
  world.after(4 * kMs);
  CHECK(!world.judge->isBlocked(1));
  world.sights[1].cpuNs += kMs;
  world.after(kMs);
  CHECK(!world.judge->isBlocked(1));
  // T in all, wherever the first of it was
  world.sights[1].cpuNs += kMs;
  world.after(2 * kMs);
  CHECK(world.judge->isBlocked(1));
}

// The last look was long ago: what it has computed since then says nothing of its turn.
void turnsAfterAPause() {
  World world(2);
  world.sights[1].cpuNs = 50 * kMs;
  world.after(2 * kMs);
  world.wakeUp(1);
  world.sights[1].turnNs = 2 * kMs;
  world.sights[1].queued = true;
  world.sights[1].cpuNs += 6 * kMs;
  world.after(8 * kMs);
  CHECK(!world.judge->isBlocked(1));
  CHECK(world.judge->pause(world.now, world.seats()) == kMs);
  world.after(kMs);
  CHECK(!world.judge->isBlocked(1));
}

// What it says is not believed where it cannot be: its turn has begun since the last look.
void turnsThatAreSaidToBeOld() {
  World world(2);
  world.sights[1].cpuNs = 50 * kMs;
  world.after(kMs);
  world.wakeUp(1);
  world.sights[1].turnNs = ~uint64_t{0};
  world.sights[1].queued = true;
  world.after(kMs / 2);
  CHECK(world.judge->pause(world.now, world.seats()) == 3 * kMs / 2);
  world.sights[1].cpuNs += 3 * kMs / 2;
  world.after(3 * kMs / 2 - 1);
  CHECK(!world.judge->isBlocked(1));
  world.after(1);
  CHECK(world.judge->isBlocked(1));
}

// Others share its CPU: what it was given of it counts.
void longTurnOnASharedCpu() {
  World world(2);
  world.wakeUp(1);
  world.sights[1].queued = true;
  world.sights[1].cpuNs = 50 * kMs;
  world.after(kMs);
  for (int i = 1; i <= 8; i++) {
    CHECK(!world.judge->isBlocked(1));
    world.sights[1].cpuNs += kMs / 4;
    world.after(2 * kMs / 3);
  }
  CHECK(world.judge->isBlocked(1));
}

// What comes to it will be somebody else's: for as long as its turn lasts, and there is somebody.
void whoIsHeldByItsTurn() {
  World world(2);
  for (int i = 1; i <= 2; i++) world.sights[i].cpuNs = 50 * kMs;
  world.after(2 * kMs);
  world.wakeUp(1);
  const auto computes = [&](uint64_t ns) {
    world.sights[1].cpuNs += ns;
    world.sights[1].turnNs += ns;
    world.after(ns);
  };
  computes(3 * kMs / 2);
  CHECK(!world.judge->isHeld(1));
  computes(kMs / 2);
  CHECK(world.judge->isHeld(1) && !world.judge->isHeld(2) && !world.judge->isBlocked(1));
  // the other one has enough to do itself
  world.sights[2].queued = true;
  computes(kMs);
  CHECK(!world.judge->isHeld(1));
  world.sights[2].queued = false;
  computes(kMs);
  CHECK(world.judge->isHeld(1));
  // it has come, and is taken
  world.sights[1].queued = true;
  computes(1);
  CHECK(world.judge->isBlocked(1) && world.judge->isHeld(1));
  world.sights[1].queued = false;
  world.turn(1);
  world.sights[1].turnNs = 0;
  world.after(kMs);
  CHECK(!world.judge->isBlocked(1) && !world.judge->isHeld(1));
  // it sleeps
  world.sights[1].turns |= 1;
  world.after(8 * kMs);
  CHECK(!world.judge->isHeld(1));
  // it has no CPU
  world.wakeUp(1);
  world.sights[1].cpuNs += kMs;
  world.sights[1].turnNs = 4 * kMs;
  world.after(4 * kMs);
  CHECK(!world.judge->isHeld(1));
}

// Handlers that all take a while: a worker's third long turn in a short time is known to be one by a quarter of T.
void oneLongTurnAfterAnother() {
  World world(2);
  world.sights[1].cpuNs = 50 * kMs;
  world.after(2 * kMs);
  const auto computes = [&](uint64_t ns) {
    world.sights[1].cpuNs += ns;
    world.sights[1].turnNs += ns;
    world.after(ns);
  };
  // whether it is held after so much of a new turn
  const auto heldAfter = [&](uint64_t ns) {
    world.wakeUp(1);
    world.turn(1);
    world.sights[1].turnNs = 0;
    computes(1);
    computes(ns - 2);
    const bool sooner = world.judge->isHeld(1);
    computes(1);
    return !sooner && world.judge->isHeld(1);
  };
  const auto sleepsFor = [&](uint64_t ns) {
    world.sights[1].turns |= 1;
    world.after(ns);
  };
  // its own first turn goes on in the second look: one turn, however often it is looked at
  CHECK(heldAfter(2 * kMs));
  computes(kMs);
  CHECK(heldAfter(2 * kMs));
  for (int i = 0; i < 10; i++) {
    CHECK(heldAfter(kMs / 2));
    sleepsFor(45 * kMs);
  }
  sleepsFor(10 * kMs);
  CHECK(heldAfter(2 * kMs));
  sleepsFor(51 * kMs);
  CHECK(heldAfter(2 * kMs));
  CHECK(heldAfter(2 * kMs));
  CHECK(heldAfter(kMs / 2));
}

// However many they are, and whenever their turns began.
void manyTurns() {
  World world(128);
  int looks = 0;
  for (const uint64_t end = world.now + 1'000 * kMs; world.now < end; looks++) {
    for (int i = 1; i < 128; i++) {
      // a turn of 3 ms each, one after the other
      const uint64_t turn = (world.now + static_cast<uint64_t>(i) * 23'000) / (3 * kMs);
      world.sights[i].turns = turn * 2;
      world.sights[i].accepted = turn;
      world.sights[i].queued = turn % 2 == 0;
      world.sights[i].cpuNs = world.now;
      world.sights[i].turnNs = (world.now + static_cast<uint64_t>(i) * 23'000) % (3 * kMs);
    }
    world.after(world.judge->pause(world.now, world.seats()));
  }
  CHECK(looks < 1'100);
}

}  // namespace
}  // namespace model

int main() {
  model::turnsSayWhenTheyBegan();
  model::turnsAmongFarLooks();
  model::littleComes();
  model::whatNobodyTells();
  model::turnsOfWhoWasNotLookedAt();
  model::turnsOfWhoHasNoCpu();
  model::turnsAfterAPause();
  model::turnsThatAreSaidToBeOld();
  model::longTurnOnASharedCpu();
  model::whoIsHeldByItsTurn();
  model::oneLongTurnAfterAnother();
  model::manyTurns();
  printf("all\n");
  return 0;
}
