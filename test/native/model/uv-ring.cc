// SPDX-License-Identifier: Apache-2.0
// libuv's ring for epoll_ctl (src/unix/linux.c, 1.46 and later).
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "check.h"
#include "kernel.h"
#include "uv.h"

namespace model {

// uv__iou_init
void Uv::initRing() {
  const long fd = g_calls.syscall(SYS_io_uring_setup, 256, reinterpret_cast<long>(&ring_.params), 0, 0, 0, 0);
  if (fd < 0) return;
  const io_uring_params& params = ring_.params;
  const bool fails = g_kernel.mappingsFail;
  g_kernel.mappingsFail = false;
  ring_.length = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
  ring_.requestsLength = params.sq_entries * sizeof(io_uring_sqe);
  ring_.fd = static_cast<int>(fd);
  const int both = PROT_READ | PROT_WRITE;
  const int how = MAP_SHARED | MAP_POPULATE;
  void* memory = mmap(nullptr, ring_.length, both, how, ring_.fd, 0);
  void* requests = mmap(nullptr, ring_.requestsLength, both, how, ring_.fd, 0x10000000);
  CHECK(memory != MAP_FAILED && requests != MAP_FAILED);
  ring_.memory = static_cast<char*>(memory);
  ring_.requests = static_cast<io_uring_sqe*>(requests);
  g_kernel.mappingsFail = fails;
}

// uv__epoll_ctl_prep; without a ring as the head of uv__io_poll does it
void Uv::prepare(int operation, int fd, const epoll_event& given) {
  epoll_event event = given;
  if (ring_.fd == -1) {
    if (g_calls.epoll_ctl(epoll_, operation, fd, &event) == 0 || operation == EPOLL_CTL_DEL) return;
    CHECK(operation == EPOLL_CTL_ADD && errno == EEXIST);  // or abort()
    CHECK(g_calls.epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) == 0);
    return;
  }
  uint32_t& tail = *ring_.at(ring_.params.sq_off.tail);
  const uint32_t& head = *ring_.at(ring_.params.sq_off.head);
  const uint32_t slot = tail++ & 255;
  prepared_[slot] = event;
  io_uring_sqe& request = ring_.requests[slot];
  memset(&request, 0, sizeof request);
  request.addr = reinterpret_cast<uint64_t>(&prepared_[slot]);
  request.fd = epoll_;
  request.len = static_cast<uint32_t>(operation);
  request.off = static_cast<uint64_t>(fd);
  request.opcode = IORING_OP_EPOLL_CTL;
  request.user_data = static_cast<uint64_t>(operation) | slot << 2 | static_cast<uint64_t>(fd) << 32;
  if ((head & 255) == (tail & 255)) enter();
}

void Uv::flushRing() {
  if (ring_.fd == -1) return;
  while (*ring_.at(ring_.params.sq_off.head) != *ring_.at(ring_.params.sq_off.tail)) enter();
}

// uv__epoll_ctl_flush
void Uv::enter() {
  const uint32_t& tail = *ring_.at(ring_.params.sq_off.tail);
  const uint32_t& head = *ring_.at(ring_.params.sq_off.head);
  const uint32_t count = tail - head;
  CHECK(count != 0 && count <= 256);
  long result;
  do result = g_calls.syscall(SYS_io_uring_enter, ring_.fd, count, count, IORING_ENTER_GETEVENTS, 0, 0);
  while (result == -1 && errno == EINTR);
  CHECK(result == static_cast<long>(count));  // or abort()
  CHECK(head == tail);
  epoll_event before[256];
  memcpy(before, prepared_, sizeof before);
  uint32_t& done = *ring_.at(ring_.params.cq_off.head);
  const auto* completions = reinterpret_cast<const io_uring_cqe*>(ring_.memory + ring_.params.cq_off.cqes);
  while (done != *ring_.at(ring_.params.cq_off.tail)) {
    const io_uring_cqe& completion = completions[done++ & *ring_.at(ring_.params.cq_off.ring_mask)];
    if (completion.res == 0) continue;
    const auto operation = static_cast<int>(completion.user_data & 3);
    if (operation == EPOLL_CTL_DEL) continue;
    CHECK(operation == EPOLL_CTL_ADD && completion.res == -EEXIST);  // or abort()
    prepare(EPOLL_CTL_MOD, static_cast<int>(completion.user_data >> 32), before[completion.user_data >> 2 & 255]);
  }
}

// src/uv-common.c, uv_loop_close; src/unix/loop.c, uv__loop_close;
// uv__iou_delete
void Uv::closeLoop() {
  while (!streams.empty()) close(streams.begin()->first);
  if (ring_.fd != -1) {
    munmap(ring_.memory, ring_.length);
    munmap(ring_.requests, ring_.requestsLength);
    closeNumber(ring_.fd);
    ring_.fd = -1;
  }
  if (reserve_ >= 0) closeNumber(reserve_);
  closeNumber(epoll_);
}

}  // namespace model
