// SPDX-License-Identifier: Apache-2.0
#include "groups.h"

#include <errno.h>
#include <sys/socket.h>

#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF 51
#endif

namespace fastsocket::balance {

namespace {

int put(int fd, const Buffer<sock_filter>& program) {
  sock_fprog whole = {static_cast<unsigned short>(program.size()), const_cast<sock_filter*>(program.data())};
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &whole, sizeof whole) < 0 ? -errno : 0;
}

}  // namespace

int Group::attachNow() {
  size_t used = 0;
  int safe = -1;
  for (size_t i = 1; i < sockets.size(); i++) {
    if (!serving[i]) continue;
    if (!excluded[i]) {
      safe = static_cast<int>(i);
    } else if (used < guarded.slots.size()) {
      guarded.program[guarded.slots[used++]].k = static_cast<uint32_t>(i);
    }
  }
  if (used == 0 || safe < 0) return put(sockets[0], lean);
  for (size_t i = used; i < guarded.slots.size(); i++) guarded.program[guarded.slots[i]].k = kNobody;
  guarded.program[guarded.safe].k = static_cast<uint32_t>(safe);
  const int error = put(sockets[0], guarded.program);
  // no room for the larger one (net/core/filter.c, __get_filter: net.core.optmem_max): nobody is excluded here
  if (error == -ENOMEM) guarded = {};
  return error == -ENOMEM ? put(sockets[0], lean) : error;
}

int Group::exclude(const bool* wanted, int seats) {
  if (guarded.slots.size() == 0) return 0;
  bool changed = false;
  for (size_t i = 1; i < excluded.size() && i < static_cast<size_t>(seats); i++) {
    const bool out = wanted[i] && serving[i];
    changed = changed || excluded[i] != out;
    excluded[i] = out;
  }
  if (!changed) return 0;
  const int error = attachNow();
  return error < 0 ? error : 1;
}

int Group::attach(Buffer<sock_filter> newLean, Guarded newGuarded) {
  Buffer<sock_filter> before = static_cast<Buffer<sock_filter>&&>(lean);
  Guarded beforeGuarded = static_cast<Guarded&&>(guarded);
  lean = static_cast<Buffer<sock_filter>&&>(newLean);
  guarded = static_cast<Guarded&&>(newGuarded);
  const int error = attachNow();
  if (error < 0) {
    lean = static_cast<Buffer<sock_filter>&&>(before);
    guarded = static_cast<Guarded&&>(beforeGuarded);
  }
  return error;
}

}  // namespace fastsocket::balance
