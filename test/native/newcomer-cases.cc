// SPDX-License-Identifier: Apache-2.0
// Who has been accepted and has said nothing yet, and those behind it, over the model's kernel.
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
using List = std::vector<int>;

constexpr uint64_t kMs = 1'000'000;

struct Scene {
  OwnLoop loop = begin();
  int own = listenQuietly();
  explicit Scene(uint32_t group = kGroup) {
    g_kernel.now = 1'000 * kMs;
    mayStealFrom(*loop, own, group);
    loop->newcomer.skip = 0;
  }
  void comes() const { g_kernel.at(own)->queue.push_back({false, false}); }
  [[nodiscard]] size_t queued() const { return g_kernel.at(own)->queue.size(); }
  [[nodiscard]] uint32_t watched() const { return g_kernel.epolls.at(g_kernel.epoll).at({own, g_kernel.at(own)}); }
};

int read(int fd) {
  char byte;
  return static_cast<int>(g_calls.read(fd, &byte, 1));
}

// As libuv does after the accept.
void watch(int fd) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = fd;
  CHECK(g_calls.epoll_ctl(g_kernel.epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

// Accepted, its first read has found nothing, and it is in the set.
int silent(const Scene& scene) {
  scene.comes();
  CHECK(turn() == List{scene.own});
  const int fd = accept(scene.own);
  CHECK(fd >= 0);
  watch(fd);
  // fewer and fewer first reads are offered where they find nothing
  if (Handles::at(fd)->has(kHeld)) CHECK(turn() == List{fd} && read(fd) == -1);
  return fd;
}

void says(int fd) { g_kernel.at(fd)->sent = true; }

void nextWaitsForItsWord() {
  const Scene scene;
  const int first = silent(scene);
  scene.comes();
  const uint64_t before = g_kernel.now;
  // nothing else has happened: the listener is off, and libuv hears nothing
  CHECK(turn().empty() && scene.queued() == 1 && scene.watched() == 0 && scene.loop->disarmedCount == 1);
  says(first);
  CHECK(turn() == List{first} && read(first) == 1);
  // what it says is dealt with before anybody else is accepted
  g_kernel.at(first)->sent = false;
  CHECK(turn() == List{scene.own} && scene.watched() == EPOLLIN && accept(scene.own) >= 0);
  CHECK(g_kernel.now - before < kMs && scene.loop->counters.putOff == 1 && scene.loop->disarmedCount == 0);
}

// Its first read comes in the same turn: accept() itself says that there is nobody, and the kernel is not asked.
void inTheTurnOfTheFirstRead() {
  const Scene scene;
  scene.comes();
  CHECK(turn() == List{scene.own});
  const int first = accept(scene.own);
  watch(first);
  scene.comes();
  CHECK((turn() == List{first, scene.own}) && read(first) == -1);
  CHECK(accept(scene.own) == -1 && errno == EAGAIN && scene.queued() == 1 && scene.loop->counters.empty == 0);
  CHECK(turn().empty() && scene.loop->counters.putOff == 2);
  says(first);
  CHECK(turn() == List{first} && read(first) == 1);
  g_kernel.at(first)->sent = false;
  CHECK(turn() == List{scene.own} && accept(scene.own) >= 0 && scene.queued() == 0);
}

// Who has spoken at once keeps nobody waiting.
void notBehindWhoHasSpoken() {
  const Scene scene;
  g_kernel.at(scene.own)->queue.push_back({true, false});
  CHECK(turn() == List{scene.own});
  const int first = accept(scene.own);
  watch(first);
  scene.comes();
  CHECK((turn() == List{first, scene.own}) && read(first) == 1);
  CHECK(accept(scene.own) >= 0 && scene.loop->counters.putOff == 0);
}

void noLongerThanAMillisecond() {
  const Scene scene;
  silent(scene);
  scene.comes();
  const uint64_t before = g_kernel.now;
  CHECK(turn().empty());
  CHECK(turn() == List{scene.own} && accept(scene.own) >= 0);
  CHECK(g_kernel.now - before >= kMs / 2 && g_kernel.now - before < 2 * kMs);
  CHECK(scene.loop->disarmedCount == 0 && scene.watched() == EPOLLIN);
}

// Somebody who has been silent for longer keeps nobody waiting.
void notForTheOld() {
  const Scene scene;
  silent(scene);
  g_kernel.now += kMs;
  scene.comes();
  CHECK(turn() == List{scene.own} && accept(scene.own) >= 0 && scene.loop->counters.putOff == 0);
}

// Clients that speak late: fewer and fewer are waited for, and more again when it is worth while.
void notWhereItIsInVain() {
  const Scene scene;
  int waited = 0;
  constexpr int kClients = 2'000;
  for (int i = 0; i < kClients; i++) {
    const int fd = silent(scene);
    scene.comes();
    const uint64_t before = scene.loop->counters.putOff;
    while (scene.queued() > 0)
      for (const int ready : turn())
        if (ready == scene.own) CHECK(g_calls.syscall(SYS_close, accept(ready), 0, 0, 0, 0, 0) == 0);
    waited += scene.loop->counters.putOff > before ? 1 : 0;
    CHECK(g_calls.syscall(SYS_close, fd, 0, 0, 0, 0, 0) == 0);
  }
  // 1, 2, 4, ... 1,024, 1,024 of the 4,000
  CHECK(waited >= 10 && waited <= 14);
  int paid = 0;
  for (int i = 0; i < kClients; i++) {
    const int fd = silent(scene);
    scene.comes();
    if (turn().empty()) {
      paid++;
      says(fd);
      CHECK(turn() == List{fd} && read(fd) == 1);
      g_kernel.at(fd)->sent = false;
      CHECK(turn() == List{scene.own});
    }
    CHECK(g_calls.syscall(SYS_close, accept(scene.own), 0, 0, 0, 0, 0) == 0);
    CHECK(g_calls.syscall(SYS_close, fd, 0, 0, 0, 0, 0) == 0);
  }
  CHECK(paid > kClients / 4);
}

// One comes right after the other: every second is waited for.
void inARush() {
  const Scene scene;
  const int first = silent(scene);
  for (int i = 0; i < 3; i++) scene.comes();
  CHECK(turn().empty());
  says(first);
  CHECK(turn() == List{first} && read(first) == 1);
  g_kernel.at(first)->sent = false;
  CHECK(turn() == List{scene.own} && accept(scene.own) >= 0);
  CHECK(turn() == List{scene.own} && accept(scene.own) >= 0);
  CHECK(turn().empty() && scene.queued() == 1);
}

// It goes, or somebody says something else: that is not kept waiting.
void otherThingsToDo() {
  const Scene scene;
  const int first = silent(scene);
  scene.comes();
  CHECK(turn().empty());
  CHECK(g_calls.syscall(SYS_close, first, 0, 0, 0, 0, 0) == 0);
  CHECK(turn() == List{scene.own});
  const int second = accept(scene.own);
  watch(second);
  CHECK(turn() == List{second} && read(second) == -1);
  g_kernel.now += 2 * kMs;
  const int third = silent(scene);
  scene.comes();
  says(second);
  // accept() says it: no time is lost by turning the listener off
  const List told = turn();
  CHECK((told == List{second, scene.own}) && read(second) == 1 && scene.watched() == EPOLLIN);
  CHECK(accept(scene.own) == -1 && errno == EAGAIN && scene.queued() == 1);
  says(third);
  g_kernel.at(second)->sent = false;
  CHECK((turn() == List{third, scene.own}) && read(third) == 1 && accept(scene.own) >= 0);
  g_kernel.at(third)->sent = false;
  // nor for longer than where there is nothing else to do
  g_kernel.now += 2 * kMs;
  const int fourth = silent(scene);
  scene.comes();
  says(second);
  CHECK((turn() == List{second, scene.own}) && accept(scene.own) == -1);
  g_kernel.now += kMs;
  CHECK((turn() == List{second, scene.own}) && accept(scene.own) >= 0 && read(fourth) == -1);
}

// Of no group; batches; a loop that does not sleep here.
void onlyWhereItHelps() {
  for (int which = 0; which < 3; which++) {
    const Scene scene(which == 0 ? 0 : kGroup);
    if (which != 1) silent(scene);
    if (which == 1) {
      scene.comes();
      CHECK(turn() == List{scene.own});
      scene.loop->listenerOf(scene.own)->batch = 2;
      CHECK(accept(scene.own) >= 0);
      scene.loop->listenerOf(scene.own)->batch = 1;
    }
    scene.comes();
    if (which == 2) scene.loop->slept = false;
    if (which != 2) {
      CHECK(turn() == List{scene.own} && accept(scene.own) >= 0 && scene.loop->counters.putOff == 0);
      continue;
    }
    epoll_event events[1024];
    CHECK(g_calls.epoll_pwait(g_kernel.epoll, events, 1024, 0, nullptr) == 1 && scene.watched() == EPOLLIN);
    CHECK(events[0].data.fd == scene.own);
  }
}

// While it waits the worker helps others as before.
void stealsMeanwhile() {
  const Scene scene;
  silent(scene);
  scene.comes();
  CHECK(turn().empty());
  const int theirs = sibling(1);
  addLoot(*scene.loop, {theirs, kGroup, 64, false, kVictim});
  CHECK(turn() == List{scene.own} && accept(scene.own) >= 0);
  CHECK(scene.loop->counters.stolen == 1 && scene.queued() == 1);
}

}  // namespace
}  // namespace model

int main() {
  if (fastsocket::seam::Handles::map() != 0) return 2;
  model::installKernel();
  model::installCalls();
  model::nextWaitsForItsWord();
  model::inTheTurnOfTheFirstRead();
  model::notBehindWhoHasSpoken();
  model::noLongerThanAMillisecond();
  model::notForTheOld();
  model::notWhereItIsInVain();
  model::inARush();
  model::otherThingsToDo();
  model::onlyWhereItHelps();
  model::stealsMeanwhile();
  printf("all\n");
  return 0;
}
