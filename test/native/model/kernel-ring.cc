// SPDX-License-Identifier: Apache-2.0
// io_uring, as far as libuv's ring for epoll_ctl goes (src/unix/linux.c,
// uv__iou_init, uv__epoll_ctl_flush): shared memory, and requests that are done
// when it is entered.
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "kernel.h"

extern "C" void* __real_mmap(void*, size_t, int, int, int, off_t);
extern "C" int __real_munmap(void*, size_t);

namespace model {

namespace {

constexpr size_t kPage = 4096;
size_t toPages(size_t length) { return (length + kPage - 1) & ~(kPage - 1); }

// As in io_uring/io_uring.c, io_fill_cq_aux and io_allocate_scq_urings: where
// things are differs between kernels.
void layOut(Ring& ring) {
  io_uring_params& params = ring.params;
  const uint32_t shift = 64 * static_cast<uint32_t>(upTo(2));
  params.sq_entries = ring.entries;
  params.cq_entries = ring.entries * 2;
  params.features = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_RSRC_TAGS;
  params.sq_off.head = shift;
  params.sq_off.tail = shift + 4;
  params.cq_off.head = shift + 8;
  params.cq_off.tail = shift + 12;
  params.sq_off.ring_mask = shift + 16;
  params.cq_off.ring_mask = shift + 20;
  params.sq_off.flags = shift + 24;
  params.cq_off.cqes = shift + 64;
  const size_t completions = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
  // without IORING_SETUP_NO_SQARRAY there is one more array behind the
  // completions
  params.sq_off.array = chance(50) ? 0 : static_cast<uint32_t>(completions);
  const size_t array = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
  ring.memoryLength = toPages(array > completions ? array : completions);
  ring.requestsLength = toPages(params.sq_entries * sizeof(io_uring_sqe));
}

}  // namespace

Ring::~Ring() {
  free(memory);
  free(requests);
}

long setupRing(uint32_t entries, io_uring_params* params) {
  if (g_kernel.ringsFail) return fail(ENOSYS);
  if (g_kernel.full()) return fail(EMFILE);
  auto file = std::make_shared<File>();
  file->type = Type::kRing;
  file->ring = std::make_unique<Ring>();
  Ring& ring = *file->ring;
  ring.entries = entries;
  // the same for every ring of a kernel
  const std::mt19937 saved = g_dice;
  g_dice.seed(g_round);
  layOut(ring);
  g_dice = saved;
  ring.memory = static_cast<char*>(aligned_alloc(kPage, ring.memoryLength));
  ring.requests = static_cast<io_uring_sqe*>(aligned_alloc(kPage, ring.requestsLength));
  memset(ring.memory, 0, ring.memoryLength);
  memset(static_cast<void*>(ring.requests), 0, ring.requestsLength);
  *ring.at(ring.params.sq_off.ring_mask) = entries - 1;
  *ring.at(ring.params.cq_off.ring_mask) = entries * 2 - 1;
  *params = ring.params;
  return g_kernel.add(std::move(file));
}

long enterRing(int fd, unsigned submit, unsigned complete, unsigned flags) {
  File* file = g_kernel.at(fd);
  if (file == nullptr) return fail(EBADF);
  if (file->ring == nullptr) return fail(EOPNOTSUPP);
  CHECK(submit == complete && flags == IORING_ENTER_GETEVENTS);
  if (chance(2)) return fail(EINTR);
  Ring& ring = *file->ring;
  const io_uring_params& params = ring.params;
  // somebody who serves a ring in the kernel's place cannot give it back: it
  // would begin where it had stopped
  CHECK(ring.ownHead == *ring.at(params.sq_off.head));
  const uint32_t mask = ring.entries - 1;
  unsigned done = 0;
  for (; done < submit && ring.ownHead != *ring.at(params.sq_off.tail); done++) {
    const io_uring_sqe& request = ring.requests[ring.ownHead++ & mask];
    CHECK(request.opcode == IORING_OP_EPOLL_CTL);
    const int result = control(request.fd, static_cast<int>(request.len), static_cast<int>(request.off),
                               reinterpret_cast<epoll_event*>(request.addr));
    uint32_t& tail = *ring.at(params.cq_off.tail);
    auto* completions = reinterpret_cast<io_uring_cqe*>(ring.memory + params.cq_off.cqes);
    io_uring_cqe& completion = completions[tail++ & (params.cq_entries - 1)];
    completion.user_data = request.user_data;
    completion.res = result < 0 ? -errno : 0;
  }
  *ring.at(params.sq_off.head) = ring.ownHead;
  return done;
}

}  // namespace model

using model::g_kernel;

// For the seam and for libuv; linked with --wrap. Other mappings are real.
extern "C" void* __wrap_mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  const model::File* file = fd < 0 ? nullptr : g_kernel.at(fd);
  if (file == nullptr || file->ring == nullptr) return __real_mmap(address, length, protection, flags, fd, offset);
  const bool requests = offset == IORING_OFF_SQES;
  const size_t most = requests ? file->ring->requestsLength : file->ring->memoryLength;
  // io_uring/memmap.c, io_uring_validate_mmap_request
  errno = EINVAL;
  if (length > most) return MAP_FAILED;
  errno = ENOMEM;
  if (g_kernel.mappingsFail && model::chance(50)) return MAP_FAILED;
  g_kernel.mappings++;
  return requests ? static_cast<void*>(file->ring->requests) : file->ring->memory;
}

extern "C" int __wrap_munmap(void* address, size_t length) {
  for (const auto& [fd, file] : g_kernel.files) {
    if (file->ring == nullptr) continue;
    if (address != file->ring->memory && address != file->ring->requests) continue;
    g_kernel.mappings--;
    return 0;
  }
  return __real_munmap(address, length);
}
