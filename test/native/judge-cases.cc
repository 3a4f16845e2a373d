// SPDX-License-Identifier: Apache-2.0
// Who is blocked, who helps, who is excluded: case by case.
#include <stdio.h>

#include "model/check.h"
#include "model/judged.h"

namespace model {

namespace {

void emptyQueueIsNotBlocked() {
  World world(2);
  world.wakeUp(1);
  for (int i = 0; i < 100; i++) {
    world.after(2 * kMs);
    CHECK(!world.judge->isBlocked(1));
  }
}

void oneLongTurn() {
  World world(2);
  world.wakeUp(1);
  world.sights[1].cpuNs = 50 * kMs;
  world.after(kMs);
  world.sights[1].cpuNs += 3 * kMs;
  world.after(3 * kMs);
  // it has been in one turn for long, and only now there is somebody who waits
  world.sights[1].queued = true;
  world.after(kMs / 10);
  CHECK(world.judge->isBlocked(1) && !world.judge->isExcluded(1));
  CHECK(world.helperFor(1) == 2);
  world.after(13 * kMs);
  CHECK(!world.judge->isExcluded(1));
  world.after(kMs);
  CHECK(world.judge->isExcluded(1));
  // it turns again, and has not come to accept yet
  world.turn(1);
  world.after(kMs / 10);
  CHECK(world.judge->isBlocked(1));
  world.sights[1].accepted++;
  world.after(kMs);
  CHECK(!world.judge->isBlocked(1) && !world.judge->isExcluded(1));
}

// Nobody could help: there is no hurry.
void noHurryWhereAllAreBusy() {
  World world(2);
  for (int i = 1; i <= 2; i++) {
    world.wakeUp(i);
    world.sights[i].queued = true;
    world.sights[i].turnNs = 2 * kMs;
  }
  world.after(2 * kMs);
  CHECK(world.judge->pause(world.now, world.seats()) == 2 * kMs);
  world.sights[2].queued = false;
  world.sights[1].turns += 2;
  world.after(2 * kMs);
  CHECK(world.judge->pause(world.now, world.seats()) == kMs / 2);
}

// Whoever has just accepted is of no help while it has more to accept, and then it is.
void siblingHasItsOwn() {
  World world(2);
  world.wakeUp(1);
  world.sights[1].queued = true;
  world.after(kMs);
  for (int i = 0; i < 20; i++) {
    world.sights[1].cpuNs += 2 * kMs;
    world.sights[2].accepted++;
    world.sights[2].behind = true;
    world.after(2 * kMs);
    CHECK(!world.judge->isExcluded(1));
  }
  CHECK(world.judge->isBlocked(1) && world.helperFor(1) == 2);
  world.sights[2].behind = false;
  world.after(2 * kMs);
  CHECK(world.judge->isExcluded(1));
}

// It is stopped, and not just busy like the others.
void gone() {
  World world(2);
  world.sights[1].queued = true;
  for (int ms = 0; ms < 300; ms += 2) {
    world.sights[2].accepted++;
    world.sights[2].behind = true;
    world.after(2 * kMs);
    if (ms < 230) CHECK(!world.judge->isExcluded(1));
  }
  CHECK(world.judge->isExcluded(1) && world.judge->isGone(1, world.now));
  // what waits for it is served, if only by who has enough to do
  world.sights[2].queued = true;
  world.look();
  CHECK(world.helperFor(1) == 0);
  CHECK(world.helperFor(1, true) == 2);
}

// Others have its CPU.
void starved() {
  World world(2);
  world.wakeUp(1);
  world.sights[1].queued = true;
  world.sights[1].cpuNs = 50 * kMs;
  world.after(kMs);
  for (int ms = 2; ms < 8; ms += 2) {
    CHECK(world.judge->pause(world.now, world.seats()) <= 2 * kMs);
    world.sights[1].cpuNs += kMs / 2;
    world.after(2 * kMs);
    CHECK(!world.judge->isBlocked(1));
  }
  world.after(2 * kMs);
  CHECK(world.judge->isBlocked(1));
}

void stoppedInItsSleep() {
  World world(2);
  world.sights[1].queued = true;
  world.after(kMs);
  CHECK(!world.judge->isBlocked(1));
  CHECK(world.judge->pause(world.now, world.seats()) <= 2 * kMs);
  world.after(2 * kMs);
  CHECK(world.judge->isBlocked(1));
}

void whoAcceptsIsNotBlocked() {
  World world(2);
  world.wakeUp(1);
  world.sights[1].queued = true;
  for (int i = 0; i < 100; i++) {
    world.sights[1].accepted++;
    world.after(2 * kMs);
    CHECK(!world.judge->isBlocked(1));
  }
}

// It turns, and does not accept: its listener is paused.
void turnsWithoutAccepting() {
  World world(2);
  world.sights[1].queued = true;
  world.after(kMs);
  for (int i = 0; i < 20; i++) {
    world.turn(1);
    world.after(2 * kMs);
  }
  CHECK(world.judge->isBlocked(1));
}

void allAreBusy() {
  World world(3);
  for (int i = 1; i <= 3; i++) {
    world.wakeUp(i);
    world.sights[i].queued = true;
  }
  world.look();
  for (int i = 0; i < 100; i++) {
    world.after(2 * kMs);
    for (int k = 1; k <= 3; k++) CHECK(!world.judge->isExcluded(k) && world.helperFor(k) == 0);
  }
  // the exclusions of a moment before stand
  world.sights[3].queued = false;
  world.turn(3);
  world.after(2 * kMs);
  CHECK(world.judge->isExcluded(1) && world.judge->isExcluded(2) && !world.judge->isExcluded(3));
  world.sights[3].queued = true;
  world.after(2 * kMs);
  CHECK(world.judge->isExcluded(1) && world.judge->isExcluded(2));
}

void whoHelps() {
  World world(5);
  world.sights[1].queued = true;
  world.after(2 * kMs);
  world.after(2 * kMs);
  CHECK(world.judge->isBlocked(1));
  // asleep before awake, of the same node before others, and then who has fewest
  for (int i = 2; i <= 5; i++) world.wakeUp(i);
  world.turn(4);
  world.sights[4].turns |= 1;
  CHECK(world.helperFor(1) == 4);
  world.sights[4].helps = false;
  world.sights[2].open = world.sights[3].open = 7;
  world.sights[5].open = 6;
  CHECK(world.helperFor(1) == 5);
  world.barred = 5;
  CHECK(world.helperFor(1) % 4 >= 2);
  world.barred = -1;
  world.sights[5].node = 1;
  CHECK(world.helperFor(1) % 4 >= 2);
  world.sights[5].serves = false;
  world.sights[2].queued = true;
  CHECK(world.helperFor(1) == 3);
  world.sights[3].serves = false;
  CHECK(world.helperFor(1) == 0);
}

void inTurn() {
  World world(4);
  int asked[5] = {};
  for (int i = 0; i < 300; i++) asked[world.helperFor(1)]++;
  CHECK(asked[0] == 0 && asked[1] == 0 && asked[2] == 100 && asked[3] == 100 && asked[4] == 100);
}

// A queue that nobody can take: it is looked at, and seldom.
void stuck() {
  World world(2);
  world.sights[1].queued = true;
  for (int i = 0; i < 1'000; i++) world.after(2 * kMs);
  CHECK(world.judge->isBlocked(1) && !world.judge->isQuiet());
  CHECK(world.judge->pause(world.now, world.seats()) == 20 * kMs);
  world.sights[2].accepted++;
  world.after(20 * kMs);
  CHECK(world.judge->pause(world.now, world.seats()) <= 2 * kMs);
}

// A queue that nobody can take, and a sibling that turns each time it is asked in vain: that is no change. What is one
// is found out at the next look, and those that follow are close again.
void askedInVain() {
  constexpr void (*kChanges[])(World&) = {
      [](World& world) { world.sights[2].accepted++; },
      // somebody has taken all of it who tells nothing
      [](World& world) { world.sights[1].queued = false; },
      [](World& world) { world.sights[3].queued = true; },
      // it has gone
      [](World& world) { world.sights[1].serves = false; },
  };
  for (const auto change : kChanges) {
    World world(3);
    world.sights[1].queued = true;
    int looks = 0;
    for (const uint64_t end = world.now + 3'000 * kMs; world.now < end; looks++) {
      world.turn(2);
      world.after(world.judge->pause(world.now, world.seats()));
    }
    CHECK(world.judge->isBlocked(1) && !world.judge->isQuiet());
    // closely, as ever for the rest of the first second, and then seldom
    CHECK(looks <= 100 + 500 + 110);
    CHECK(world.judge->pause(world.now, world.seats()) == 20 * kMs);
    change(world);
    world.after(20 * kMs);
    // where nothing waits, what comes next ends it
    const bool waits = world.sights[1].queued;
    CHECK(world.judge->pause(world.now, world.seats()) <= (waits ? 2 : 8) * kMs);
  }
}

// A sibling has served its queue while it had no CPU: it is blocked until it is seen to turn.
void asleepBesideAnEmptyQueue() {
  World world(2);
  world.sights[1].queued = true;
  world.after(kMs);
  world.after(8 * kMs);
  CHECK(world.judge->isBlocked(1));
  world.sights[1].queued = false;
  world.after(kMs);
  CHECK(world.judge->isBlocked(1));
  world.sights[1].turns += 2;
  world.after(kMs);
  CHECK(!world.judge->isBlocked(1) && !world.judge->isExcluded(1));
}

void quiet() {
  World world(2);
  world.after(2 * kMs);
  CHECK(world.judge->isQuiet());
  world.sights[2].accepted++;
  world.after(2 * kMs);
  CHECK(!world.judge->isQuiet());
  world.after(2 * kMs);
  CHECK(world.judge->isQuiet());
  world.sights[2].queued = true;
  world.after(2 * kMs);
  CHECK(!world.judge->isQuiet());
}

// What it had was taken: it is excluded at its time, without anything having come, and then nobody looks on and on.
void blockedBesideAnEmptyQueue() {
  World world(2);
  world.wakeUp(1);
  world.sights[1].queued = true;
  world.after(2 * kMs);
  world.after(2 * kMs);
  CHECK(world.judge->isBlocked(1));
  const uint64_t blockedAt = world.now;
  world.sights[1].queued = false;
  world.after(kMs);
  while (!world.judge->isExcluded(1)) {
    CHECK(!world.judge->isQuiet());
    world.after(world.judge->pause(world.now, world.seats()));
  }
  CHECK(world.now == blockedAt + 14 * kMs);
  while (world.now <= blockedAt + 1'001 * kMs) {
    CHECK(!world.judge->isQuiet());
    world.after(world.judge->pause(world.now, world.seats()));
  }
  CHECK(world.judge->isQuiet());
}

// Another process has the seat: nothing is held against it.
void successor() {
  World world(2);
  world.sights[1].queued = true;
  world.after(2 * kMs);
  world.after(2 * kMs);
  world.after(30 * kMs);
  CHECK(world.judge->isExcluded(1));
  world.judge->begin(1);
  world.sights[1] = {true, true, 0, 0, 0, true, 0, 0, 0};
  world.after(kMs);
  CHECK(!world.judge->isBlocked(1) && !world.judge->isExcluded(1));
}

}  // namespace
}  // namespace model

int main() {
  model::emptyQueueIsNotBlocked();
  model::oneLongTurn();
  model::noHurryWhereAllAreBusy();
  model::siblingHasItsOwn();
  model::gone();
  model::starved();
  model::stoppedInItsSleep();
  model::whoAcceptsIsNotBlocked();
  model::turnsWithoutAccepting();
  model::allAreBusy();
  model::whoHelps();
  model::inTurn();
  model::stuck();
  model::askedInVain();
  model::asleepBesideAnEmptyQueue();
  model::quiet();
  model::blockedBesideAnEmptyQueue();
  model::successor();
  printf("all\n");
  return 0;
}
