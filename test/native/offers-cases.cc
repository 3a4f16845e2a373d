// SPDX-License-Identifier: Apache-2.0
// What the origin's thread offers to a worker, and what that answers, over the model's kernel.
#include <errno.h>
#include <stdio.h>
#include <string.h>
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
using fastsocket::balance::kMostSeats;
using fastsocket::balance::Offer;

constexpr Offer kOffer = {kGroup, 64, kVictim, 0, 0};

// It is on its way; the listener is open nowhere else.
std::weak_ptr<File> send(const Loop& loop, const Offer& offer, int clients, size_t length = sizeof(Offer)) {
  auto listener = std::make_shared<File>();
  listener->type = Type::kListener;
  for (int i = 0; i < clients; i++) listener->queue.push_back({true, false});
  std::vector<char> bytes(length);
  memcpy(bytes.data(), &offer, length);
  g_kernel.at(loop.offers)->messages.push_back({bytes, listener});
  return listener;
}

// It is asked whether it is there.
void nudge(const Loop& loop) {
  g_kernel.at(loop.offers)->messages.push_back({std::vector<char>(sizeof(Offer)), nullptr});
}

int helper(Loop& loop) {
  const int own = listenQuietly();
  mayStealFrom(loop, own, kGroup);
  turn();
  return own;
}

void oneOffer() {
  const OwnLoop loop = begin();
  const int own = helper(*loop);
  const uint64_t turns = g_seat.told.turns;
  const auto theirs = send(*loop, kOffer, 2);
  // the channel's own event is not libuv's; that it has been awake is told at once
  g_kernel.waiting = [](int) { CHECK(g_seat.told.offers == 0); };
  CHECK(turn() == std::vector<int>{own});
  CHECK(g_seat.told.offers == 1 && g_seat.told.turns == turns + 4);
  g_kernel.waiting = nullptr;
  for (uint64_t i = 1; i <= 2; i++) {
    CHECK(accept(own) >= 0 && g_page.seats[kVictim].taken.connections == i);
    CHECK(turn() == std::vector<int>{own});
  }
  CHECK(accept(own) == -1 && theirs.expired() && loop->declined == 0);
}

// It goes with what is offered, and is not closed when it is empty.
void offerThatIsKept() {
  const OwnLoop loop = begin();
  const int own = helper(*loop);
  Offer kept = kOffer;
  kept.afterNs = 3;
  const auto theirs = send(*loop, kept, 1);
  CHECK(turn() == std::vector<int>{own} && accept(own) >= 0);
  CHECK(turn() == std::vector<int>{own} && accept(own) == -1);
  CHECK(!theirs.expired() && loop->keptCount == 1 && loop->kept[0].afterNs == 3);
}

// More than there is time for in one turn: the channel stays readable.
void manyMessages() {
  const OwnLoop loop = begin();
  helper(*loop);
  for (int i = 0; i < 12; i++) nudge(*loop);
  CHECK(turn().empty() && g_seat.told.offers == 8);
  CHECK(turn().empty() && g_seat.told.offers == 12 && g_seat.told.declined == 0);
}

// What cannot be an offer is closed.
void otherMessages() {
  const Offer others[] = {{0, 64, kVictim, 0, 0},
                          {kGroup, 0, kVictim, 0, 0},
                          {kGroup, 64, static_cast<uint32_t>(kMostSeats), 0, 0},
                          kOffer};
  const OwnLoop loop = begin();
  helper(*loop);
  for (int i = 0; i < 4; i++) {
    const auto theirs = send(*loop, others[i], 1, i == 3 ? sizeof(Offer) - 4 : sizeof(Offer));
    CHECK(turn().empty() && theirs.expired() && loop->lootCount == 0);
  }
  CHECK(g_seat.told.offers == 4 && loop->counters.stolen == 0);
}

// No number is left for the listener: another sibling is to be asked.
void noDescriptor() {
  const OwnLoop loop = begin();
  helper(*loop);
  const auto theirs = send(*loop, kOffer, 1);
  g_kernel.limit = g_kernel.files.size();
  CHECK(turn().empty() && theirs.expired() && g_seat.told.offers == 1 && g_seat.told.declined == 1);
}

// The number was a connection's, which somebody has closed behind our back.
void numberThatWasKnown() {
  const OwnLoop loop = begin();
  const int own = helper(*loop);
  g_kernel.at(own)->queue.push_back({true, false});
  turn();
  const int child = accept(own);
  CHECK(Handles::at(child)->kind == Kind::kAccepted);
  g_kernel.close(child);
  send(*loop, kOffer, 1);
  CHECK(turn() == std::vector<int>{own});
  CHECK(loop->loot[0].fd == child && Handles::at(child)->kind == Kind::kUnknown && loop->open == 0);
}

// The sockets of a group are to be closed: whether they are here or on their way, at once. Another group's stay.
void groupCloses() {
  const OwnLoop loop = begin();
  const int own = helper(*loop);
  const int second = listenQuietly();
  mayStealFrom(*loop, second, kGroup + 1);
  const auto here = send(*loop, kOffer, 2);
  CHECK(turn() == std::vector<int>{own} && accept(own) >= 0 && !here.expired());
  const auto unread = send(*loop, kOffer, 2);
  const auto others = send(*loop, {kGroup + 1, 64, kVictim, 0, 0}, 1);
  flushOffers(*loop, kGroup);
  CHECK(here.expired() && unread.expired() && !others.expired());
  CHECK(loop->declined == 0);
  CHECK(turn() == std::vector<int>{second} && g_seat.told.offers == 3);
  CHECK(accept(second) >= 0 && loop->counters.stolen == 2);
}

// The origin has gone, or has given the seat to another process.
void channelThatEnds() {
  const OwnLoop loop = begin();
  const int own = helper(*loop);
  const auto theirs = send(*loop, kOffer, 2);
  CHECK(turn() == std::vector<int>{own} && accept(own) >= 0);
  const int offers = loop->offers;
  const int wake = loop->wake;
  g_kernel.at(offers)->hungUp = true;
  CHECK(turn().empty() && theirs.expired());
  CHECK(loop->seat == nullptr && g_seat.told.joined == 0);
  CHECK(g_kernel.at(offers) == nullptr && g_kernel.at(wake) == nullptr);
  g_kernel.at(own)->queue.push_back({true, false});
  CHECK(turn() == std::vector<int>{own} && accept(own) >= 0);
}

// What cannot be received would wake the loop for ever.
void channelThatIsRefused() {
  for (const int error : {EPERM, ENOSYS, EINVAL}) {
    const OwnLoop loop = begin();
    const int own = helper(*loop);
    send(*loop, kOffer, 2);
    g_kernel.receivingFails = error;
    CHECK(turn().empty() && loop->seat == nullptr && g_seat.told.joined == 0);
    g_kernel.receivingFails = 0;
    g_kernel.at(own)->queue.push_back({true, false});
    CHECK(turn() == std::vector<int>{own} && accept(own) >= 0);
  }
}

// Who was excluded says once that its loop turns again, each time.
void answers() {
  const OwnLoop loop = begin();
  helper(*loop);
  const File* wake = g_kernel.at(loop->wake);
  for (int i = 1; i <= 3; i++) {
    g_seat.asked.excluded = static_cast<uint32_t>(i);
    for (int k = 0; k < 3; k++) turn();
    CHECK(wake->written == i);
    if (i == 2) g_seat.asked.excluded = 0;
    turn();
    CHECK(wake->written == i);
  }
}

}  // namespace
}  // namespace model

int main() {
  if (fastsocket::seam::Handles::map() != 0) return 2;
  model::installKernel();
  model::installCalls();
  model::oneOffer();
  model::offerThatIsKept();
  model::manyMessages();
  model::otherMessages();
  model::noDescriptor();
  model::numberThatWasKnown();
  model::groupCloses();
  model::channelThatEnds();
  model::channelThatIsRefused();
  model::answers();
  printf("all\n");
  return 0;
}
