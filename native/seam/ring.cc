// SPDX-License-Identifier: Apache-2.0
// libuv hands its epoll_ctl calls to the kernel through an io_uring of its own where it may (since 1.46,
// src/unix/linux.c: uv__epoll_ctl_prep, uv__epoll_ctl_flush). To hold a registration back, that ring is served here.
// All or nothing: the kernel has a head of its own, and would serve again what it has not seen served.
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../refused.h"
#include "libc.h"
#include "loop.h"

namespace fastsocket::seam {

namespace {

constexpr unsigned kEntries = 256;

struct Mapping {
  void* address;
  size_t length;

  Mapping(size_t size, int fd, off_t offset) : address(MAP_FAILED), length(size) {
    address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);
  }
  ~Mapping() {
    if (address != MAP_FAILED) munmap(address, length);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  Mapping(Mapping&&) = delete;
  Mapping& operator=(Mapping&&) = delete;

  [[nodiscard]] bool valid() const { return address != MAP_FAILED; }
  [[nodiscard]] char* at(unsigned offset) const { return static_cast<char*>(address) + offset; }
  // It stays.
  void keep() { address = MAP_FAILED; }
};

// A ring made like libuv's tells where this kernel has its heads and tails (io_uring_setup(2)).
bool offsets(io_uring_params* params) {
  const long twin = g_libc.syscall(SYS_io_uring_setup, kEntries, reinterpret_cast<long>(params), 0, 0, 0, 0);
  if (twin < 0) {
    noteRefusal("connections are registered before their first read: io_uring_setup");
    return false;
  }
  g_libc.syscall(SYS_close, twin, 0, 0, 0, 0, 0);
  return params->sq_entries == kEntries;
}

// Where the ring cannot be served here, its registrations pass unseen: nothing can be held back.
bool refuse(Loop& loop) {
  loop.pieces &= ~static_cast<unsigned>(kNextTurnRead);
  return false;
}

bool takeOver(Loop& loop, int fd) {
  io_uring_params params = {};
  if (!offsets(&params)) return refuse(loop);
  size_t length = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
  const size_t completions = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
  if (completions > length) length = completions;
  Mapping rings(length, fd, IORING_OFF_SQ_RING);
  Mapping entries(params.sq_entries * sizeof(io_uring_sqe), fd, IORING_OFF_SQES);
  if (!rings.valid() || !entries.valid()) {
    noteRefusal("connections are registered before their first read: mmap");
    return refuse(loop);
  }
  auto* head = reinterpret_cast<uint32_t*>(rings.at(params.sq_off.head));
  auto* tail = reinterpret_cast<uint32_t*>(rings.at(params.sq_off.tail));
  const uint32_t mask = *reinterpret_cast<uint32_t*>(rings.at(params.sq_off.ring_mask));
  auto* list = static_cast<io_uring_sqe*>(entries.address);
  if (mask >= kEntries) return refuse(loop);
  // another loop of this thread (spawnSync): its requests name another epoll descriptor
  const io_uring_sqe& first = list[*head & mask];
  if (first.opcode != IORING_OP_EPOLL_CTL || first.fd != loop.epoll) return false;
  if (mask != kEntries - 1) return refuse(loop);
  loop.ring = {fd, head, tail, mask, list, {rings.address, entries.address}, {rings.length, entries.length}};
  rings.keep();
  entries.keep();
  return true;
}

}  // namespace

void dropRing(Loop& loop) {
  for (int i = 0; i < 2; i++)
    if (loop.ring.mapped[i] != nullptr) munmap(loop.ring.mapped[i], loop.ring.lengths[i]);
  loop.ring = {};
}

long enterRing(Loop& loop, int ring, unsigned submit, unsigned complete, unsigned flags, long argument, long size) {
  // submitting nothing, libuv drains an overflow of its other ring
  const bool ours = submit == complete && submit > 0 && flags == IORING_ENTER_GETEVENTS &&
                    (loop.ring.fd == ring || (loop.ring.fd < 0 && loop.uses(kNextTurnRead) && takeOver(loop, ring)));
  if (!ours) return g_libc.syscall(SYS_io_uring_enter, ring, submit, complete, flags, argument, size);
  loop.counters.rings++;
  uint32_t head = *loop.ring.head;
  const uint32_t tail = __atomic_load_n(loop.ring.tail, __ATOMIC_ACQUIRE);
  for (; head != tail; head++) {
    const io_uring_sqe& entry = loop.ring.entries[head & loop.ring.mask];
    auto* event = reinterpret_cast<epoll_event*>(entry.addr);
    const int fd = static_cast<int>(entry.off);
    // as libuv does with a completion that failed (uv__epoll_ctl_flush)
    const int operation = static_cast<int>(entry.len);
    if (control(loop, operation, fd, event) == 0 || operation == EPOLL_CTL_DEL) continue;
    // no memory, no watches left: libuv ends the process at the completion of such a call
    if (errno != EEXIST || control(loop, EPOLL_CTL_MOD, fd, event) < 0) return -1;
  }
  __atomic_store_n(loop.ring.head, head, __ATOMIC_RELEASE);
  return submit;
}

}  // namespace fastsocket::seam
