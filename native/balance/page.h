// SPDX-License-Identifier: Apache-2.0
// What the workers tell of themselves in memory that all of them and the origin share: counters without locks, written
// by one process each (Taken: added to by several). Nothing in it is a length or an address, and no reader trusts it: a
// worker runs the app's code.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace fastsocket::balance {

// Two lines of 64 bytes are fetched together (Intel's optimization manual, spatial prefetcher); others have 128.
constexpr size_t kLine = 128;

// Written by the worker alone, a plain store each.
struct alignas(kLine) Told {
  // How often the loop has come to epoll_pwait; odd: it sleeps there.
  uint64_t turns;
  // When it last came back from there, by CLOCK_MONOTONIC in ns: every process has the same one.
  uint64_t wokeNs;
  // Connections: accepted from whatever queue, and of these, from a sibling's.
  uint64_t accepted;
  uint64_t stolen;
  // Accepted and not closed yet.
  uint64_t open;
  // uv_metrics_idle_time when it last went to sleep, in ns.
  uint64_t idleNs;
  // Accepted connections by where their packets have arrived, as estimated from those that it has looked at
  // (lib/group/arrivals.ts): on the CPU that it is pinned to, and on others. 0 where it is not pinned.
  uint64_t local;
  uint64_t remote;
  // Offers of a sibling's queue: received, and of these, not made use of.
  uint64_t offers;
  uint64_t declined;
  // Listeners that may accept from a sibling's queue.
  uint32_t thieves;
  // Its loop goes through the seam.
  uint32_t joined;
  // Its process, of which the CPU time is asked for.
  uint32_t pid;
};

// Written by the origin alone.
struct alignas(kLine) Asked {
  // No new connections are steered to it: it says so when its loop turns again. Never the same number twice; 0: they
  // are.
  uint32_t excluded;
  // Connections that the kernel has dropped because one of its queues was full, of those queues that are open; as of
  // when the origin last asked.
  uint64_t drops;
};

// Added to by its siblings. A thief could count for itself whom it has taken from, but then each had a counter for
// each. An atomic addition for a stolen connection, beside the accept4 that brought it, in a line that the seat's own
// worker neither reads nor writes.
struct alignas(kLine) Taken {
  // Connections that siblings have accepted from its queues.
  uint64_t connections;
};

struct Seat {
  Told told;
  Asked asked;
  Taken taken;
};
static_assert(sizeof(Seat) == 3 * kLine, "nobody else's counters in these lines");

struct alignas(kLine) Head {
  uint32_t magic;
  uint32_t version;
};

constexpr uint32_t kMagic = 0x66736270;
// Raised when anything above changes: a worker that was started from another version of the package does not join.
constexpr uint32_t kVersion = 4;

// MAX_WORKERS of lib/config/settings.ts, and nobody.
constexpr int kMostSeats = 1025;

struct Page {
  Head head;
  // By the worker's index; 0 is nobody's.
  Seat seats[kMostSeats];
};

// A relaxed store and load: each counter stands for itself.
template <typename T>
void put(T& counter, T value) {
  __atomic_store_n(&counter, value, __ATOMIC_RELAXED);
}
template <typename T>
T get(const T& counter) {
  return __atomic_load_n(&counter, __ATOMIC_RELAXED);
}

// Told::turns: who sees a turn's number, and looks after that, sees when it began, and not when the one before did.
inline void putTurn(Told& told, uint64_t turns) { __atomic_store_n(&told.turns, turns, __ATOMIC_RELEASE); }
inline uint64_t getTurn(const Told& told) { return __atomic_load_n(&told.turns, __ATOMIC_ACQUIRE); }

// One more, whoever else adds.
inline void addOne(uint64_t& counter) { __atomic_fetch_add(&counter, 1, __ATOMIC_RELAXED); }

// New shared memory of this size, which nobody can make smaller (memfd_create(2), F_SEAL_SHRINK: a reader would get
// SIGBUS), mapped for good. *fd: its descriptor, or a negative errno where it returns nullptr; *what: the call then.
Page* makePage(int* fd, const char** what);
// Maps it, for good. *error: a negative errno where it returns nullptr; -EPROTO: not of this version.
Page* mapPage(int fd, int* error);

// What the thread hands to an idle worker, with the blocked one's listener (SCM_RIGHTS).
struct Offer {
  // The listener group's; see ListenerGroup.generation.
  uint32_t generation;
  // At most so many connections.
  uint32_t most;
  // Whose queue it is, by index.
  uint32_t victim;
  // Its worker is gone, for all that can be seen: one connection a turn is served beside the helper's own.
  uint32_t insists;
  // Not 0: the helper keeps the listener, and before it sleeps takes a connection from it by itself whenever its worker
  // has been in one turn for so long, in ns.
  uint64_t afterNs;
};

}  // namespace fastsocket::balance
