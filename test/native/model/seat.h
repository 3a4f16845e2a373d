// SPDX-License-Identifier: Apache-2.0
// A loop with a seat in the balancing, over the model's kernel.
#pragma once

#include <sys/socket.h>

#include <vector>

#include "quiet.h"

namespace model {

constexpr uint32_t kGroup = 7;
inline fastsocket::balance::Page g_page;
constexpr int kIndex = 2;
constexpr uint32_t kVictim = 5;
inline fastsocket::balance::Seat& g_seat = g_page.seats[kIndex];
inline bool g_takesAll = true;

inline OwnLoop begin() {
  OwnLoop loop = beginQuietly(100);
  g_page = {};
  g_takesAll = true;
  CHECK(fastsocket::seam::join(*loop, g_page, kIndex, g_kernel.add(Type::kOther), g_kernel.add(Type::kOther)) == 0);
  // newcomer-cases.cc has them
  loop->newcomer.skip = INT32_MAX;
  loop->takesAll = [](void*, int) { return g_takesAll; };
  return loop;
}

// Our duplicate of a sibling's listener.
inline int sibling(int clients, bool noDelay = false) {
  const int fd = g_kernel.add(Type::kListener);
  for (int i = 0; i < clients; i++) g_kernel.at(fd)->queue.push_back({true, noDelay});
  return fd;
}

// What libuv is told in one turn of the loop that would sleep.
inline std::vector<int> turn() {
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

inline int accept(int fd) { return g_calls.accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); }

// The number may be a connection's by now.
inline bool isOpen(int fd) { return g_kernel.at(fd) != nullptr && g_kernel.at(fd)->type == Type::kListener; }

}  // namespace model
