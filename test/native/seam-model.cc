// SPDX-License-Identifier: Apache-2.0
// seam-model SEED ROUNDS [FIRST]
// The seam between a small libuv and a small kernel, driven at random, for many
// rounds. What has to be true at all times is checked at each step; a check
// that fails prints the seed. Built without Node, with the sanitizers.
#include <stdio.h>
#include <stdlib.h>

#include <memory>

#include "../../native/seam/libc.h"
#include "../../native/seam/loop.h"
#include "model/app.h"
#include "model/check.h"
#include "model/kernel.h"
#include "model/uv.h"

namespace model {

namespace {

using fastsocket::seam::Handles;
using fastsocket::seam::kMostListeners;
using fastsocket::seam::Loop;

struct Kind {
  int servers;
  int arrivals;
  int batch;
  size_t limit;
  int steps;
};

// Most rounds are short of descriptors now and then; some are crowded: more
// listeners than the seam knows, more first reads than it holds back.
Kind kindOfRound() {
  if (chance(4)) return {80, 40, 16, 6'000, 15};
  if (chance(4)) return {2, 2'000, 4, 12, 8};  // libuv sheds load, more in a turn than are remembered
  if (chance(20)) return {1, 1, 4, 40, 200};
  if (chance(30)) return {4, 4, 1 + upTo(15), 1'000, 150};
  return {1 + upTo(3), 3, 1 + upTo(7), 14 + static_cast<size_t>(upTo(60)), 200};
}

// As native/seam/seam.cc does it, jsAttach.
void attach(Loop& loop, int epoll, const Kind& kind) {
  loop.epoll = epoll;
  loop.ring.fd = -1;
  loop.pieces = chance(70) ? 15 : g_dice() % 32;
  // a crowd is accepted in full
  loop.limits = {kind.batch, kind.servers > kMostListeners ? 1'000'000'000 : 5'000 + g_dice() % 2'000'000};
  fastsocket::seam::setCurrentLoop(&loop);
}

// As endEnvironment does it there.
void endEnvironment(Loop& loop, App& app) {
  fastsocket::seam::leave(loop);
  for (auto& [fd, stream] : app.streams) stream.anyNoDelay = true;
}

// Everybody who has come is served or shed, and every descriptor that is left
// is a server's, and in the set.
void serveAll(App& app, const Loop& loop) {
  g_kernel.additionsMayFail = false;
  if (app.streams.empty()) app.listen(App::How::kBound);
  uint64_t done = 0;
  for (int idle = 0; idle < 1'000 && !(done == app.came && app.isEmpty()); idle++) {
    app.calm();
    app.poll(60);
    if (app.accepted + app.shed != done) idle = 0;
    done = app.accepted + app.shed;
  }
  CHECK(app.accepted + app.shed == app.came);
  CHECK(app.isEmpty());
  for (int step = 0; step < 3; step++) app.poll(60);
  CHECK(loop.heldCount == 0);
  CHECK(loop.counters.firstReads <= app.accepted + loop.counters.registeredLate);
  for (const auto& [fd, stream] : app.streams)
    CHECK(g_kernel.epolls.at(app.epoll()).at({fd, g_kernel.at(fd)}) == EPOLLIN);
}

void end(App& app, Loop& loop) {
  const bool closes = chance(70);
  if (closes) {
    app.closeLoop();
    CHECK(loop.epoll == -1 && loop.ring.fd == -1 && g_kernel.mappings == 0);
    CHECK(loop.listenerCount <= app.stolenServers && loop.heldCount == 0);
    // nothing is known of anybody but of what an addon has closed
    if (app.stolenServers == 0) CHECK(loop.disarmedCount == 0);
  }
  // the ring that tells where things are has gone at once
  int rings = 0;
  for (const auto& [fd, file] : g_kernel.files) rings += file->ring != nullptr ? 1 : 0;
  CHECK(rings == (closes || !app.hasRing() ? 0 : 1));
  fastsocket::seam::setCurrentLoop(nullptr);
  fastsocket::seam::dropRing(loop);
  CHECK(g_kernel.mappings == (closes || !app.hasRing() ? 0 : 2));
}

void round(unsigned number) {
  g_round = number;
  g_dice.seed(g_seed * 1'000'003U + number);
  g_kernel = {};
  for (int fd = 0; fd < 10'000; fd++) Handles::forget(fd);
  const Kind kind = kindOfRound();
  const std::unique_ptr<Loop, void (*)(void*)> loop(static_cast<Loop*>(calloc(1, sizeof(Loop))), free);
  g_kernel.limit = kind.limit;
  g_kernel.ringsFail = chance(30);
  const int room = chance(85) ? 1'024 : chance(50) ? 513 + upTo(300) : 256 + upTo(256);
  App app({chance(70), chance(40), room}, *loop);
  attach(*loop, app.epoll(), kind);
  if (kind.arrivals > 1'000) loop->pieces &= ~8U;
  g_kernel.epoll = app.epoll();
  g_kernel.turnNs = loop->limits.turnNs;
  g_kernel.mappingsFail = chance(10);
  g_kernel.additionsMayFail = chance(30);
  g_kernel.waiting = [&](int timeout) { app.checkWait(timeout); };
  g_kernel.idle = [&] { app.arrive(2); };
  g_kernel.mostAccepted = [&](int fd) { return app.mostAccepted(fd); };
  g_kernel.isKnown = [&](int fd) { return loop->listenerOf(fd) != nullptr; };
  g_kernel.turnedOff = [&](int fd) { app.checkTurnedOff(fd); };
  g_kernel.shortageIsHidden = [&](int fd) {
    return loop->uses(fastsocket::seam::kOutOfFds) && loop->slept && loop->listenerOf(fd) != nullptr;
  };
  g_kernel.shortageIsDoubted = [&](int fd) {
    return loop->uses(fastsocket::seam::kOutOfFds) && !loop->slept && loop->doubts < 16 &&
           loop->listenerOf(fd) != nullptr;
  };
  if (chance(20)) app.thefts = 50;
  if (chance(40)) app.groups = 80;
  if (chance(10)) app.talk = 90;
  for (int i = 0; i < kind.servers; i++) app.listenSomehow();
  const int leaveAt = chance(10) ? upTo(kind.steps) : -1;
  // somebody else waits for the loop's descriptor, and runs the loop when it is ready
  const bool embedded = chance(15);
  for (int step = 0; step < kind.steps; step++) {
    app.arrive(kind.arrivals);
    app.live();
    if (step == leaveAt) endEnvironment(*loop, app);
    app.poll(embedded || chance(50) ? 0 : chance(50) ? 10 : -1);
    if (embedded) CHECK(loop->heldCount == 0 && loop->disarmedCount == 0);
    app.dropStale();
  }
  serveAll(app, *loop);
  end(app, *loop);
}

}  // namespace
}  // namespace model

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  if (fastsocket::seam::Handles::map() != 0) return 2;
  model::installKernel();
  model::installCalls();
  model::g_seed = static_cast<unsigned>(atoi(argv[1]));
  const auto rounds = static_cast<unsigned>(atoi(argv[2]));
  const auto first = static_cast<unsigned>(argc > 3 ? atoi(argv[3]) : 0);
  for (unsigned i = first; i < first + rounds; i++) model::round(i);
  printf("%u rounds\n", rounds);
  return 0;
}
