// SPDX-License-Identifier: Apache-2.0
#include "groups.h"

#include <errno.h>
#include <sys/socket.h>

#include "../failpoint.h"

#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF 51
#endif

namespace fastsocket::balance {

namespace {

int put(int fd, const Buffer<sock_filter>& program) {
  sock_fprog whole = {static_cast<unsigned short>(program.size()), const_cast<sock_filter*>(program.data())};
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &whole, sizeof whole) < 0 ? -errno : 0;
}

template <class T>
Buffer<T> wider(const Buffer<T>& before, size_t size) {
  Buffer<T> now(size);
  for (size_t i = 0; now.valid() && i < before.size() && i < size; i++) now[i] = before[i];
  return now;
}

}  // namespace

bool Group::hold(const Buffer<int>& all) {
  const size_t size = all.size();
  Buffer<int> newSockets = wider(all, size);
  Buffer<bool> newServing = wider(serving, size);
  Buffer<bool> newArmed = wider(armed, size);
  Buffer<bool> newQueued = wider(queued, size);
  Buffer<bool> newExcluded = wider(excluded, size);
  if (!newSockets.valid() || !newServing.valid() || !newArmed.valid() || !newQueued.valid() || !newExcluded.valid())
    return false;
  sockets = static_cast<Buffer<int>&&>(newSockets);
  serving = static_cast<Buffer<bool>&&>(newServing);
  armed = static_cast<Buffer<bool>&&>(newArmed);
  queued = static_cast<Buffer<bool>&&>(newQueued);
  excluded = static_cast<Buffer<bool>&&>(newExcluded);
  return true;
}

bool Guarded::fits() const {
  if (each == 0 || slots.size() % each != 0 || safe < 0 || static_cast<size_t>(safe) >= program.size()) return false;
  for (size_t i = 0; i < slots.size(); i++)
    if (slots[i] < 0 || static_cast<size_t>(slots[i]) >= program.size()) return false;
  return true;
}

void Guarded::name(size_t slot, uint32_t index) {
  for (size_t i = slot * each; i < (slot + 1) * each; i++) program[slots[i]].k = index;
}

int Group::attachNow() {
  size_t used = 0;
  int free = -1;
  for (size_t i = 1; i < sockets.size(); i++) {
    if (!serving[i]) continue;
    if (!excluded[i])
      free = static_cast<int>(i);
    else if (used < guarded.count())
      guarded.name(used++, static_cast<uint32_t>(i));
  }
  if (used == 0 || free < 0) return put(sockets[0], lean);
  for (size_t slot = used; slot < guarded.count(); slot++) guarded.name(slot, kNobody);
  guarded.program[guarded.safe].k = static_cast<uint32_t>(free);
  return put(sockets[0], guarded.program);
}

int Group::exclude(const bool* wanted, int seats) {
  if (guarded.count() == 0) return 0;
  bool changed = false;
  for (size_t i = 1; i < excluded.size() && i < static_cast<size_t>(seats); i++) {
    const bool out = wanted[i] && serving[i];
    changed = changed || excluded[i] != out;
    excluded[i] = out;
  }
  if (!changed && !stale) return 0;
  const int error = FAILING("exclude", attachNow());
  stale = error < 0;
  return error < 0 ? error : 1;
}

int Group::attach(Buffer<sock_filter> newLean, Guarded newGuarded) {
  // whether there is room for it (net/core/filter.c, __get_filter: net.core.optmem_max; the JIT's own limit) is to be
  // known now
  const bool tooLarge = newGuarded.count() > 0 && put(sockets[0], newGuarded.program) < 0;
  Buffer<sock_filter> before = static_cast<Buffer<sock_filter>&&>(lean);
  Guarded beforeGuarded = static_cast<Guarded&&>(guarded);
  lean = static_cast<Buffer<sock_filter>&&>(newLean);
  guarded = tooLarge ? Guarded() : static_cast<Guarded&&>(newGuarded);
  const int error = attachNow();
  stale = false;
  if (error == 0) return tooLarge ? 1 : 0;
  lean = static_cast<Buffer<sock_filter>&&>(before);
  guarded = static_cast<Guarded&&>(beforeGuarded);
  if (lean.size() > 0) (void)attachNow();
  return error;
}

}  // namespace fastsocket::balance
