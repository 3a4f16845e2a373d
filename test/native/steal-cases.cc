// SPDX-License-Identifier: Apache-2.0
// Connections from a sibling's queue, over the model's kernel.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/syscall.h>

#include <memory>
#include <vector>

#include "../../native/seam/libc.h"
#include "../../native/seam/loop.h"
#include "model/calls.h"
#include "model/check.h"
#include "model/kernel.h"
#include "model/quiet.h"

namespace model {

namespace {

using namespace fastsocket::seam;
using fastsocket::balance::Page;
using fastsocket::balance::Seat;

constexpr uint32_t kGroup = 7;
Page g_page;
constexpr int kIndex = 2;
constexpr uint32_t kVictim = 5;
Seat& g_seat = g_page.seats[kIndex];
bool g_takesAll;

OwnLoop begin() {
  OwnLoop loop = beginQuietly(100);
  g_page = {};
  g_takesAll = true;
  CHECK(join(*loop, g_page, kIndex, g_kernel.add(Type::kOther), g_kernel.add(Type::kOther)) == 0);
  loop->takesAll = [](void*, int) { return g_takesAll; };
  return loop;
}

// Our duplicate of a sibling's listener.
int sibling(int clients, bool noDelay = false) {
  const int fd = g_kernel.add(Type::kListener);
  for (int i = 0; i < clients; i++) g_kernel.at(fd)->queue.push_back({true, noDelay});
  return fd;
}

// What libuv is told in one turn of the loop that would sleep.
std::vector<int> turn() {
  epoll_event events[1024];
  g_kernel.dry.clear();
  g_kernel.accepted.clear();
  g_kernel.idle = [] { CHECK(false); };
  const int count = g_calls.epoll_pwait(g_kernel.epoll, events, 1024, 10, nullptr);
  std::vector<int> fds;
  for (int i = 0; i < count; i++)
    if ((events[i].events & EPOLLIN) != 0) fds.push_back(events[i].data.fd);
  return fds;
}

int accept(int fd) { return g_calls.accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); }

// The number may be a connection's by now.
bool isOpen(int fd) { return g_kernel.at(fd) != nullptr && g_kernel.at(fd)->type == Type::kListener; }

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
  CHECK(!isOpen(theirs) && loop->disarmedCount == 0 && loop->counters.outOfFds == 0);
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
  leave(*loop);
  CHECK(!isOpen(theirs) && loop->seat == nullptr && g_seat.told.joined == 0);
  CHECK(turn().empty());
}

// Somebody closes numbers that are not his: nothing is written to or read from whoever has them next.
void numbersThatAreClosed() {
  for (int which = 0; which < 3; which++) {
    const OwnLoop loop = begin();
    mayStealFrom(*loop, listenQuietly(), kGroup);
    const int theirs = sibling(1);
    addLoot(*loop, {theirs, kGroup, 64, false, kVictim});
    const int number = which == 0 ? loop->offers : which == 1 ? loop->wake : theirs;
    const int others = which == 0 ? loop->wake : loop->offers;
    CHECK(g_calls.syscall(SYS_close, number, 0, 0, 0, 0, 0) == 0);
    CHECK(loop->lootCount == 0 && (loop->seat == nullptr) == (which < 2));
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
