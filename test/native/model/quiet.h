// SPDX-License-Identifier: Apache-2.0
// For cases that are made by hand: a kernel in which nothing goes wrong by
// itself, and a loop on it.
#pragma once

#include <netinet/in.h>
#include <stdlib.h>

#include <memory>

#include "../../../native/seam/loop.h"
#include "calls.h"
#include "check.h"
#include "kernel.h"

namespace model {

using OwnLoop = std::unique_ptr<fastsocket::seam::Loop, void (*)(void*)>;

inline OwnLoop attachQuietly(uint8_t id = 0) {
  OwnLoop loop(static_cast<fastsocket::seam::Loop*>(calloc(1, sizeof(fastsocket::seam::Loop))), free);
  loop->epoll = g_kernel.epoll;
  loop->id = id;
  loop->ring.fd = -1;
  loop->pieces = 15;
  loop->limits = {4, 2'000'000};
  fastsocket::seam::setCurrentLoop(loop.get());
  return loop;
}

// `most`: connections that a listener may accept in one turn.
inline OwnLoop beginQuietly(int most) {
  g_kernel = {};
  for (int fd = 0; fd < 1'000; fd++) fastsocket::seam::Handles::forget(fd);
  g_kernel.mostAccepted = [most](int) { return most; };
  g_kernel.isKnown = [](int) { return true; };
  g_kernel.shortageIsHidden = [](int) { return true; };
  g_kernel.shortageIsDoubted = [](int) { return false; };
  g_kernel.turnedOff = [](int) {};
  g_kernel.turnNs = UINT64_MAX;
  g_kernel.faultless = true;
  g_kernel.epoll = g_kernel.add(Type::kEpoll);
  g_kernel.epolls[g_kernel.epoll];
  return attachQuietly();
}

// A server's socket that libuv watches.
inline int listenQuietly() {
  const int fd = g_calls.socket(AF_INET, SOCK_STREAM, 0);
  CHECK(g_calls.bind(fd, nullptr, 0) == 0 && g_calls.listen(fd, 511) == 0);
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = fd;
  CHECK(g_calls.epoll_ctl(g_kernel.epoll, EPOLL_CTL_ADD, fd, &event) == 0);
  return fd;
}

}  // namespace model
