// SPDX-License-Identifier: Apache-2.0
// Connections from a sibling's queue, over the model's kernel.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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
// One a turn, until the queue is empty; then it is closed.
void oneEachTurn() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  const int theirs = sibling(3);
  turn();
  CHECK(g_seat.told.thieves == 1);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
  for (uint64_t i = 1; i <= 3; i++) {
    CHECK(turn() == std::vector<int>{own});
    const int child = accept(own);
    CHECK(child >= 0 && Handles::at(child)->kind == Kind::kAccepted);
    CHECK(g_page.seats[kVictim].taken.connections == i);
    CHECK(loop->counters.stolen == i && loop->counters.accepted == i && g_seat.told.accepted == i && loop->open == i);
    // that was all for this turn
    CHECK(accept(own) == -1 && errno == EAGAIN && isOpen(theirs));
  }
  // and nobody was asked
  CHECK(loop->counters.empty == 0);
  CHECK(turn() == std::vector<int>{own} && accept(own) == -1 && errno == EAGAIN);
  CHECK(!isOpen(theirs) && loop->lootCount == 0);
  CHECK(turn().empty() && g_seat.told.stolen == 3);
}

void noMoreThanOffered() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  const int theirs = sibling(5);
  addLoot(*loop, {theirs, kGroup, 2, false, kVictim});
  for (int i = 0; i < 2; i++) CHECK(turn() == std::vector<int>{own} && accept(own) >= 0);
  CHECK(!isOpen(theirs) && turn().empty() && loop->counters.stolen == 2);
}

// Somebody has come to the own queue meanwhile.
void ownQueueFirst() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  const int theirs = sibling(5);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
  g_kernel.at(own)->queue.push_back({true, false});
  CHECK(turn() == std::vector<int>{own});
  CHECK(accept(own) >= 0 && loop->counters.stolen == 0 && !isOpen(theirs));
}

// The sibling is gone: one of its connections beside the own ones, in each turn.
void besideTheOwnQueue() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  const int theirs = sibling(2);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim, true});
  for (uint64_t stolen = 1; stolen <= 2; stolen++) {
    g_kernel.at(own)->queue.push_back({true, false});
    const std::vector<int> told = turn();
    CHECK(told.size() >= 2 && told.front() == own && told.back() == own);
    CHECK(accept(own) >= 0 && loop->counters.stolen == stolen);
    CHECK(accept(own) >= 0 && loop->counters.stolen == stolen && g_kernel.at(own)->queue.empty());
  }
  g_kernel.at(own)->queue.push_back({true, false});
  turn();
  CHECK(accept(own) == -1 && errno == EAGAIN && !isOpen(theirs));
  CHECK(accept(own) >= 0);
}

void notWithoutListener() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  // of no group, of another one, closed, with a limit of its own
  int theirs = sibling(1);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
  CHECK(turn().empty() && !isOpen(theirs));
  mayStealFrom(*loop, own, kGroup + 1);
  theirs = sibling(1);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
  CHECK(turn().empty() && !isOpen(theirs));
  mayStealFrom(*loop, own, kGroup);
  g_takesAll = false;
  theirs = sibling(1);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
  CHECK(turn().empty() && !isOpen(theirs));
  g_takesAll = true;
  theirs = sibling(1);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
  CHECK(turn() == std::vector<int>{own});
  CHECK(g_calls.syscall(SYS_close, own, 0, 0, 0, 0, 0) == 0);
  CHECK(turn().empty() && !isOpen(theirs) && loop->counters.stolen == 0);
  CHECK(loop->declined == 4);
}

// Some of it has been made use of: nobody has declined it.
void listenerThatCloses() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  const int theirs = sibling(3);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
  CHECK(turn() == std::vector<int>{own} && accept(own) >= 0);
  CHECK(g_calls.syscall(SYS_close, own, 0, 0, 0, 0, 0) == 0);
  CHECK(turn().empty() && !isOpen(theirs) && loop->declined == 0);
}

// Several queues: one connection a turn all the same, and who was offered first is served first.
void severalQueues() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  int theirs[3];
  for (int& fd : theirs) {
    fd = sibling(3);
    addLoot(*loop, {fd, kGroup, 2, false, kVictim});
  }
  for (int i = 0; i < 6; i++) {
    CHECK(turn() == std::vector<int>{own} && accept(own) >= 0);
    for (int k = 0; k < 3; k++) CHECK(isOpen(theirs[k]) == (i < 2 * k + 1));
  }
  CHECK(turn().empty());
}

// A stolen connection's callback takes its time: the next turn accepts one at a time.
void longTurn() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  addLoot(*loop, {sibling(1), kGroup, 64, false, kVictim});
  loop->listenerOf(own)->batch = 4;
  CHECK(turn() == std::vector<int>{own} && accept(own) >= 0);
  g_kernel.now += 3'000'000;
  turn();
  CHECK(loop->listenerOf(own)->batch == 1);
}

// There are no descriptors left for its own queue.
void notWhileDisarmed() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  g_kernel.at(own)->queue.push_back({true, false});
  g_kernel.limit = g_kernel.files.size();
  CHECK(turn() == std::vector<int>{own} && accept(own) == -1 && loop->disarmedCount == 1);
  g_kernel.limit = 1024;
  const int theirs = sibling(1);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
  CHECK(turn().empty() && !isOpen(theirs));
}

// libuv no longer watches the listener: it would take the event for that of somebody who has gone.
void notWhilePaused() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  CHECK(g_calls.epoll_ctl(g_kernel.epoll, EPOLL_CTL_DEL, own, nullptr) == 0);
  const int theirs = sibling(1);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
  CHECK(turn().empty() && !isOpen(theirs));
}

// It has been registered by a ring that nobody has served here, and nobody has come to it yet.
void registeredUnseen() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  Handles::at(own)->clear(kRegistered);
  const int theirs = sibling(1);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
  CHECK(turn() == std::vector<int>{own} && accept(own) >= 0 && loop->counters.stolen == 1);
}

void noDescriptors() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  const int theirs = sibling(1);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
  g_kernel.limit = g_kernel.files.size();
  CHECK(turn() == std::vector<int>{own} && accept(own) == -1 && errno == EAGAIN);
  CHECK(!isOpen(theirs) && loop->disarmedCount == 0 && loop->counters.outOfFds == 0 && loop->declined == 1);
}

// What a sibling's listener had of TCP_NODELAY says nothing of ours.
void noDelay() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  turn();
  const int theirs = sibling(3, true);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
  turn();
  const int first = accept(own);
  const int on = 1;
  CHECK(g_calls.setsockopt(first, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 && loop->counters.inherited == 1);
  turn();
  // nobody asks for it: it has none at the end of the turn
  const int second = accept(own);
  CHECK(g_kernel.at(second)->noDelay);
  turn();
  CHECK(!g_kernel.at(second)->noDelay && g_kernel.at(first)->noDelay);
}

void groupCloses() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  const int other = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  mayStealFrom(*loop, other, kGroup + 1);
  const int theirs = sibling(1);
  const int others = sibling(1);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
  addLoot(*loop, {others, kGroup + 1, 64, false, kVictim});
  dropLootOf(*loop, kGroup);
  CHECK(!isOpen(theirs) && isOpen(others) && turn() == std::vector<int>{other});
}

void tooMuch() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  for (int i = 0; i < 3 * kMostLoot; i++) {
    addLoot(*loop, {sibling(1), kGroup, 64, false, kVictim});
    CHECK(loop->lootCount < kMostLoot);
  }
  int open = 0;
  for (const auto& [fd, file] : g_kernel.files) open += file->type == Type::kListener ? 1 : 0;
  CHECK(open == loop->lootCount + 1);
}

void theEnd() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  const int theirs = sibling(1);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
  // a program that is about to be started has it, too: it outlives our number (epoll(7), questions and answers)
  const int offers = loop->offers;
  File* channel = g_kernel.at(offers);
  g_kernel.add(g_kernel.files.at(offers));
  leave(*loop);
  CHECK(!isOpen(theirs) && loop->seat == nullptr && g_seat.told.joined == 0);
  CHECK(g_kernel.epolls.at(g_kernel.epoll).count({offers, channel}) == 0);
  CHECK(turn().empty() && loop->listenerOf(own)->group == 0);
}

// Somebody closes numbers that are not his: nothing is written to or read from whoever has them next.
void numbersThatAreClosed() {
  for (int which = 0; which < 3; which++) {
    const OwnLoop loop = begin();
    const int own = listenQuietly();
    mayStealFrom(*loop, own, kGroup);
    const int theirs = sibling(1);
    addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
    const int later = sibling(1);
    addLoot(*loop, {later, kGroup, 64, false, kVictim});
    const int number = which == 0 ? loop->offers : which == 1 ? loop->wake : theirs;
    const int others = which == 0 ? loop->wake : loop->offers;
    CHECK(g_calls.syscall(SYS_close, number, 0, 0, 0, 0, 0) == 0);
    CHECK((loop->seat == nullptr) == (which < 2) && loop->lootCount == (which < 2 ? 0 : 1));
    if (which == 2) CHECK(turn() == std::vector<int>{own} && accept(own) >= 0 && g_kernel.at(later)->queue.empty());
    if (which < 2) CHECK(g_kernel.at(others) == nullptr && g_seat.told.joined == 0);
  }
}

// The process before has the seat still: what it says then counts for nobody.
void successor() {
  const OwnLoop loop = begin();
  turn();
  CHECK(g_seat.told.joined == 1);
  g_seat.told.pid++;
  leave(*loop);
  CHECK(g_seat.told.joined == 1);
}

// libuv has stopped the listener, and nobody has seen it.
void eventThatNobodyTakes() {
  const OwnLoop loop = begin();
  const int own = listenQuietly();
  mayStealFrom(*loop, own, kGroup);
  const int theirs = sibling(1);
  addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
  CHECK(turn() == std::vector<int>{own});
  CHECK(turn().empty() && !isOpen(theirs));
  // it is told of the next offer, and of its own queue
  addLoot(*loop, {sibling(1), kGroup, 64, false, kVictim});
  CHECK(turn() == std::vector<int>{own} && accept(own) >= 0 && loop->counters.stolen == 1);
  g_kernel.at(own)->queue.push_back({true, false});
  turn();
  CHECK(turn() == std::vector<int>{own} && accept(own) >= 0 && loop->counters.stolen == 1);
}

// What is told: odd while it sleeps.
void turns() {
  const OwnLoop loop = begin();
  listenQuietly();
  g_kernel.waiting = [](int timeout) { CHECK((g_seat.told.turns & 1) == (timeout != 0 ? 1U : 0U)); };
  for (int i = 0; i < 100; i++) {
    const uint64_t before = g_seat.told.turns;
    turn();
    CHECK(g_seat.told.turns == before + 2 && g_seat.told.joined == 1);
  }
}

}  // namespace
}  // namespace model

int main() {
  if (fastsocket::seam::Handles::map() != 0) return 2;
  model::installKernel();
  model::installCalls();
  model::oneEachTurn();
  model::noMoreThanOffered();
  model::ownQueueFirst();
  model::besideTheOwnQueue();
  model::notWithoutListener();
  model::listenerThatCloses();
  model::severalQueues();
  model::longTurn();
  model::notWhileDisarmed();
  model::notWhilePaused();
  model::registeredUnseen();
  model::noDescriptors();
  model::noDelay();
  model::groupCloses();
  model::tooMuch();
  model::theEnd();
  model::numbersThatAreClosed();
  model::successor();
  model::eventThatNobodyTakes();
  model::turns();
  printf("all\n");
  return 0;
}
