// SPDX-License-Identifier: Apache-2.0
// How many accepted connections are open, over the model's kernel.
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>

#include <memory>
#include <thread>
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

// More than are looked at at once, before the ones that have gone and among them.
constexpr int kMany = 900;
constexpr int kLeft = 400;
// At what another thread writes all the time: enough to see half of it, were there halves.
constexpr int kLooks = 20'000'000;
Page g_page;
uint64_t& g_open = g_page.seats[1].told.open;

OwnLoop begin() {
  OwnLoop loop = beginQuietly(kMany);
  g_kernel.limit = 2'000;
  g_page = {};
  CHECK(join(*loop, g_page, 1, g_kernel.add(Type::kOther), g_kernel.add(Type::kOther)) == 0);
  return loop;
}

void turn() {
  epoll_event events[1024];
  g_kernel.dry.clear();
  g_kernel.accepted.clear();
  g_kernel.idle = [] {};
  g_calls.epoll_pwait(g_kernel.epoll, events, 1024, 1, nullptr);
}

// Long enough for all numbers to be looked at.
void aWhile() {
  for (int second = 0; second < 5; second++) {
    g_kernel.now += 1'000'000'000;
    for (int i = 0; i < 16; i++) turn();
  }
}

std::vector<int> connections(int listener, int count) {
  std::vector<int> fds;
  for (int i = 0; i < count; i++) {
    g_kernel.at(listener)->queue.push_back({true, false});
    turn();
    fds.push_back(g_calls.accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    CHECK(fds.back() >= 0);
  }
  turn();
  CHECK(g_open == static_cast<uint64_t>(count));
  return fds;
}

void closeAsLibuv(int fd) { CHECK(g_calls.syscall(SYS_close, fd, 0, 0, 0, 0, 0) == 0); }

// fs.close(): a thread without a loop. And one of Node's with a loop of its own.
void inOtherThreads() {
  const OwnLoop loop = begin();
  const std::vector<int> fds = connections(listenQuietly(), 5);
  std::thread([&] { closeAsLibuv(fds[1]); }).join();
  turn();
  CHECK(g_open == 4);
  std::thread([&] {
    const OwnLoop second = attachQuietly(1);
    closeAsLibuv(fds[2]);
    CHECK(second->open == 0);
  }).join();
  turn();
  CHECK(g_open == 3 && g_kernel.at(fds[2]) == nullptr);
  // the other thread's own are its own
  const OwnLoop third = attachQuietly(2);
  third->seen = true;
  const int listener = listenQuietly();
  g_kernel.at(listener)->queue.push_back({true, false});
  const int theirs = g_calls.accept4(listener, nullptr, nullptr, 0);
  CHECK(third->open == 1);
  setCurrentLoop(loop.get());
  aWhile();
  CHECK(g_open == 3 && third->open == 1 && Handles::at(theirs)->kind == Kind::kAccepted);
}

// By a native addon; the numbers stay free, become files, or are accepted anew.
void behindOurBack() {
  const OwnLoop loop = begin();
  const int listener = listenQuietly();
  const std::vector<int> fds = connections(listener, kMany);
  for (size_t i = kLeft; i < kMany; i++) g_kernel.close(fds[i]);
  g_kernel.at(g_kernel.add(Type::kOther))->tcp = false;
  turn();
  CHECK(g_open == kMany);
  g_kernel.at(listener)->queue.push_back({true, false});
  turn();
  CHECK(g_calls.accept4(listener, nullptr, nullptr, 0) == fds[kLeft + 1]);
  turn();
  CHECK(g_open == kMany);
  aWhile();
  CHECK(g_open == kLeft + 1 && loop->open == kLeft + 1);
  closeAsLibuv(fds[kLeft]);
  closeAsLibuv(fds[kLeft + 1]);
  turn();
  CHECK(g_open == kLeft);
}

// A number that was closed behind our back becomes another thread's in the moment in which the kernel has said that it
// is nobody's: what that thread knows of it stays.
void meanwhile() {
  const OwnLoop loop = begin();
  const std::vector<int> fds = connections(listenQuietly(), 5);
  const OwnLoop second = attachQuietly(1);
  second->seen = true;
  const int listener = listenQuietly();
  g_kernel.at(listener)->queue.push_back({true, false});
  setCurrentLoop(loop.get());
  int wanted = -1;
  g_kernel.asked = [&](int fd) {
    if (fd != wanted) return;
    wanted = -1;
    std::thread([&] {
      setCurrentLoop(second.get());
      CHECK((fd == fds[1] ? g_calls.accept4(listener, nullptr, nullptr, 0) : listenQuietly()) == fd);
    }).join();
  };
  for (const int fd : {fds[1], fds[3]}) {
    g_kernel.close(fd);
    wanted = fd;
    aWhile();
    CHECK(wanted == -1);
  }
  CHECK(g_open == 3 && second->open == 1);
  CHECK(Handles::at(fds[1])->kind == Kind::kAccepted && Handles::at(fds[1])->loop == 1);
  CHECK(Handles::at(fds[3])->kind == Kind::kListener && second->listenerOf(fds[3]) != nullptr);
}

// Whoever looks meanwhile never takes another loop's connection for one of the first loop's.
void inOneStep() {
  const OwnLoop second = attachQuietly(1);
  constexpr int kFd = 5;
  Handle& handle = *Handles::at(kFd);
  bool over = false;
  std::thread opens([&] {
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
      opened(*second, handle, kFd);
      Handles::forget(kFd);
    }
  });
  for (int i = 0; i < kLooks; i++) {
    const Handle seen = Handles::load(handle);
    CHECK(seen.kind == (seen.loop == 1 ? Kind::kAccepted : Kind::kUnknown));
  }
  __atomic_store_n(&over, true, __ATOMIC_RELAXED);
  opens.join();
}

// Twice at once, as far as anybody can see: counted once before long.
void twice() {
  const OwnLoop loop = begin();
  connections(listenQuietly(), 3);
  loop->open = 1;
  aWhile();
  CHECK(g_open == 3);
}

}  // namespace
}  // namespace model

int main() {
  if (fastsocket::seam::Handles::map() != 0) return 2;
  model::installKernel();
  model::installCalls();
  model::inOtherThreads();
  model::behindOurBack();
  model::meanwhile();
  model::inOneStep();
  model::twice();
  printf("all\n");
  return 0;
}
