// SPDX-License-Identifier: Apache-2.0
// Cases of the seam that chance finds too seldom, over the model's kernel, and libuv's ring over the real io_uring.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "../../native/seam/libc.h"
#include "../../native/seam/loop.h"
#include "model/check.h"
#include "model/kernel.h"
#include "model/quiet.h"
#include "model/uv.h"

namespace model {

namespace {

using namespace fastsocket::seam;
void turn() {
  epoll_event events[1024];
  for (int i = 0; i < 5; i++) g_calls.epoll_pwait(g_kernel.epoll, events, 1024, 0, nullptr);
}

// A listener that found no descriptor left.
int disarmed(Loop& loop) {
  const int fd = listenQuietly();
  turn();
  loop.slept = true;
  for (int i = 0; i < 100; i++) g_kernel.at(fd)->queue.push_back({true, false});
  g_kernel.limit = g_kernel.files.size();
  while (loop.disarmedCount == 0) {
    g_kernel.shortSince.clear();
    g_kernel.dry.clear();
    g_kernel.accepted.clear();
    loop.listenerOf(fd)->dry = false;
    CHECK(g_calls.accept4(fd, nullptr, nullptr, 0) == -1);
  }
  g_kernel.limit = 1'000;
  return fd;
}

// An addon closes it, and the number is a connection's that libuv wants to write to.
void stolenAndArmed() {
  const OwnLoop loop = beginQuietly(4);
  const int fd = disarmed(*loop);
  g_kernel.close(fd);
  CHECK(g_calls.socket(AF_INET, SOCK_STREAM, 0) == fd);
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLOUT;
  event.data.fd = fd;
  CHECK(g_calls.epoll_ctl(g_kernel.epoll, EPOLL_CTL_ADD, fd, &event) == 0);
  g_kernel.now += 60'000'000;
  turn();
  CHECK(g_kernel.epolls.at(g_kernel.epoll).at({fd, g_kernel.at(fd)}) == (EPOLLIN | EPOLLOUT));
  CHECK(loop->disarmedCount == 0);
}

// The number is a listener's again: there is one of it.
void stolenAndListening() {
  const OwnLoop loop = beginQuietly(4);
  const int fd = disarmed(*loop);
  g_kernel.close(fd);
  CHECK(listenQuietly() == fd);
  CHECK(loop->listenerCount == 1 && loop->disarmedCount == 0);
}

// As many as the seam knows, all closed by an addon and their numbers used by others: there is room for new ones.
void strangers() {
  const OwnLoop loop = beginQuietly(4);
  std::vector<int> fds;
  for (int i = 0; i < kMostListeners; i++) fds.push_back(listenQuietly());
  CHECK(loop->listenerCount == kMostListeners);
  const int one = listenQuietly();
  CHECK(loop->listenerOf(one) == nullptr && loop->listenerOf(fds[63]) == &loop->listeners[63]);
  for (const int fd : fds) g_kernel.close(fd);
  for (size_t i = 0; i < fds.size(); i++) g_calls.socket(AF_INET, SOCK_STREAM, 0);
  const int last = listenQuietly();
  CHECK(loop->listenerOf(last) != nullptr && loop->listenerCount == 1);
}

// Two threads: neither takes the other's listener for its own, at the same index, of the same number, or with the same
// id (the 257th thread).
void otherThreads() {
  const OwnLoop loop = beginQuietly(4);
  const int fd = listenQuietly();
  g_kernel.close(fd);
  const OwnLoop second = attachQuietly(1);
  CHECK(listenQuietly() == fd);
  CHECK(second->listenerOf(fd) != nullptr && loop->listenerOf(fd) == nullptr);
  const OwnLoop third = attachQuietly(0);
  const int other = listenQuietly();
  CHECK(third->listenerOf(other) != nullptr && loop->listenerOf(other) == nullptr);
}

// A listener that is closed for accepting by shutdown(2) says EPOLLHUP alone, and stands for no batch.
void hungUp() {
  const OwnLoop loop = beginQuietly(4);
  const int fd = listenQuietly();
  turn();
  loop->listenerOf(fd)->batch = 4;
  g_libc.epoll_pwait = [](int, epoll_event* events, int, int, const sigset_t*) {
    events[0].events = EPOLLHUP;
    return 1;
  };
  epoll_event events[1024] = {};
  events[0].data.fd = fd;
  const int count = g_calls.epoll_pwait(g_kernel.epoll, events, 1024, 0, nullptr);
  installKernel();
  CHECK(count == 1);
}

// ----- the real io_uring

long realCall(long number, long a, long b, long c, long d, long e, long f) { return syscall(number, a, b, c, d, e, f); }

bool isWatched(int epoll, int fd) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", epoll);
  FILE* file = fopen(path, "r");
  CHECK(file != nullptr);
  char line[200];
  bool found = false;
  int number = 0;
  while (fgets(line, sizeof line, file) != nullptr)
    if (sscanf(line, "tfd: %d", &number) == 1 && number == fd) found = true;
  fclose(file);
  return found;
}

struct RealRing {
  explicit RealRing(unsigned entries) {
    fd = static_cast<int>(syscall(SYS_io_uring_setup, entries, &params));
    if (fd < 0) return;
    const size_t length = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
    memory = static_cast<char*>(mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING));
    requests = static_cast<io_uring_sqe*>(
        mmap(nullptr, entries * sizeof(io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES));
    CHECK(memory != MAP_FAILED && requests != MAP_FAILED);
    auto* array = at(params.sq_off.array);
    for (unsigned i = 0; i < entries; i++) array[i] = i;
  }
  uint32_t* at(uint32_t offset) const { return reinterpret_cast<uint32_t*>(memory + offset); }
  // One EPOLL_CTL_ADD by the wrapper of syscall(2); the kernel's own completions, if it was the kernel.
  unsigned add(int epoll, int watched, epoll_event* event) {
    uint32_t& tail = *at(params.sq_off.tail);
    io_uring_sqe& request = requests[tail & (params.sq_entries - 1)];
    memset(&request, 0, sizeof request);
    request.opcode = IORING_OP_EPOLL_CTL;
    request.fd = epoll;
    request.len = EPOLL_CTL_ADD;
    request.off = static_cast<uint64_t>(watched);
    request.addr = reinterpret_cast<uint64_t>(event);
    __atomic_store_n(&tail, tail + 1, __ATOMIC_RELEASE);
    const uint32_t before = *at(params.cq_off.tail);
    CHECK(g_calls.syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, 0, 0) == 1);
    CHECK(*at(params.sq_off.head) == tail);
    return __atomic_load_n(at(params.cq_off.tail), __ATOMIC_ACQUIRE) - before;
  }

  int fd;
  io_uring_params params = {};
  char* memory = nullptr;
  io_uring_sqe* requests = nullptr;
};

const char* realRings() {
  g_kernel = {};
  for (int fd = 0; fd < 1'000; fd++) Handles::forget(fd);
  g_libc.syscall = realCall;
  g_libc.epoll_ctl = epoll_ctl;
  RealRing own(256);
  if (own.fd < 0) return strerror(errno);
  g_kernel.epoll = epoll_create1(EPOLL_CLOEXEC);
  const OwnLoop loop = attachQuietly();
  loop->seen = loop->sleeps = true;
  int pipes[4];
  CHECK(pipe2(pipes, O_NONBLOCK) == 0 && pipe2(pipes + 2, O_NONBLOCK) == 0);
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = pipes[0];
  const int lowest = dup(0);
  close(lowest);

  // another loop's ring goes to the kernel, and so does one that is made otherwise; nothing of it is kept
  RealRing other(256);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  CHECK(other.add(epoll, pipes[0], &event) == 1 && loop->ring.fd == -1 && isWatched(epoll, pipes[0]));
  CHECK(loop->uses(kNextTurnRead));

  // our own is served here: the kernel sees nothing of it
  CHECK(own.add(g_kernel.epoll, pipes[0], &event) == 0 && isWatched(g_kernel.epoll, pipes[0]));
  CHECK(loop->ring.fd == own.fd && loop->counters.rings == 1);
  // a connection that is fresh is held back
  Handle* handle = Handles::at(pipes[2]);
  handle->kind = fastsocket::seam::Kind::kAccepted;
  handle->set(kFresh);
  event.data.fd = pipes[2];
  CHECK(own.add(g_kernel.epoll, pipes[2], &event) == 0 && !isWatched(g_kernel.epoll, pipes[2]));
  CHECK(loop->heldCount == 1 && loop->counters.rings == 2);
  leave(*loop);
  CHECK(loop->heldCount == 0 && isWatched(g_kernel.epoll, pipes[2]));
  // and served until it is closed
  event.data.fd = pipes[1];
  CHECK(own.add(g_kernel.epoll, pipes[1], &event) == 0 && isWatched(g_kernel.epoll, pipes[1]));
  CHECK(g_calls.syscall(SYS_close, own.fd, 0, 0, 0, 0, 0) == 0 && loop->ring.fd == -1);

  // a smaller one (libuv's second, for files): it cannot be looked into, and nothing is held back from here on
  loop->pieces = 15;
  RealRing small(64);
  CHECK(small.add(g_kernel.epoll, pipes[3], &event) == 1 && loop->ring.fd == -1 && !loop->uses(kNextTurnRead));
  return nullptr;
}

}  // namespace
}  // namespace model

int main() {
  if (fastsocket::seam::Handles::map() != 0) return 2;
  model::installKernel();
  model::installCalls();
  model::stolenAndArmed();
  model::stolenAndListening();
  model::strangers();
  model::otherThreads();
  model::hungUp();
  const char* reason = model::realRings();
  printf("%s%s\n", reason == nullptr ? "all" : "without the real io_uring: ", reason == nullptr ? "" : reason);
  return 0;
}
