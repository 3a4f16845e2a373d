// SPDX-License-Identifier: Apache-2.0
// seam-model SEED ROUNDS
// The seam between a small libuv and a small kernel, driven at random, for many rounds. What has to be true at all
// times is checked at each step; an assertion that fails prints the seed. Built without Node, with the sanitizers.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "../../native/seam/libc.h"
#include "../../native/seam/loop.h"

using namespace fastsocket::seam;

namespace {

unsigned g_seed, g_round;
#define CHECK(condition)                                                                          \
  do {                                                                                            \
    if (!(condition)) {                                                                           \
      fprintf(stderr, "seed %u, round %u, line %d: %s\n", g_seed, g_round, __LINE__, #condition); \
      abort();                                                                                    \
    }                                                                                             \
  } while (0)

std::mt19937 g_dice;
bool chance(int percent) { return static_cast<int>(g_dice() % 100) < percent; }

// ----- the kernel

struct Client {
  bool hasSent;
  bool noDelay;
};

struct Kernel {
  std::map<int, std::deque<Client>> queues;  // of listeners
  std::map<int, Client> open;                // accepted connections
  std::map<int, bool> listenerNoDelay;
  std::map<int, uint32_t> epoll;
  int room = 0;  // descriptors that are left
  uint64_t now = 1;
  std::map<int, uint64_t> shortSince;  // listeners that were told so, until there is room or time has passed
  std::set<int> dry;                   // listeners that were found empty in this turn

  int lowestFree() const {
    int fd = 10;
    while (open.count(fd) != 0 || queues.count(fd) != 0) fd++;
    return fd;
  }
  bool ready(int fd) const {
    const auto queue = queues.find(fd);
    if (queue != queues.end()) return !queue->second.empty();
    const auto client = open.find(fd);
    return client != open.end() && client->second.hasSent;
  }
};
Kernel g_kernel;
constexpr int kEpoll = 3;
bool g_outOfFds;

int fail(int error) {
  errno = error;
  return -1;
}

int kernelCtl(int epoll, int operation, int fd, epoll_event* event) {
  CHECK(epoll == kEpoll);
  if (g_kernel.open.count(fd) == 0 && g_kernel.queues.count(fd) == 0) return fail(EBADF);
  const bool there = g_kernel.epoll.count(fd) != 0;
  if (operation == EPOLL_CTL_ADD && there) return fail(EEXIST);
  if (operation != EPOLL_CTL_ADD && !there) return fail(ENOENT);
  if (operation == EPOLL_CTL_DEL)
    g_kernel.epoll.erase(fd);
  else
    g_kernel.epoll[fd] = event->events;
  return 0;
}

int kernelPwait(int epoll, epoll_event* events, int most, int timeout, const sigset_t* /*mask*/) {
  CHECK(epoll == kEpoll);
  CHECK(timeout == 0 || currentLoop()->heldCount == 0);  // somebody waits for a first read
  g_kernel.dry.clear();
  if (chance(2)) return fail(EINTR);
  std::vector<int> ready;
  for (const auto& [fd, wanted] : g_kernel.epoll)
    if ((wanted & EPOLLIN) != 0 && g_kernel.ready(fd)) ready.push_back(fd);
  std::shuffle(ready.begin(), ready.end(), g_dice);
  int count = 0;
  for (const int fd : ready) {
    if (count == most) break;
    events[count] = {};
    events[count].events = EPOLLIN;
    events[count++].data.fd = fd;
  }
  if (count == 0 && timeout > 0) g_kernel.now += static_cast<uint64_t>(timeout) * 1'000'000;
  return count;
}

int kernelAccept(int fd, sockaddr* /*address*/, socklen_t* /*length*/, int /*flags*/) {
  auto& queue = g_kernel.queues.at(fd);
  g_kernel.now += 1'000;
  CHECK(g_kernel.dry.count(fd) == 0);  // not asked twice
  if (queue.empty()) {
    g_kernel.dry.insert(fd);
    return fail(EAGAIN);
  }
  const auto shortage = g_kernel.shortSince.find(fd);
  CHECK(shortage == g_kernel.shortSince.end() || g_kernel.now - shortage->second >= 49'000'000);  // no spinning
  if (g_kernel.room == 0 || chance(1)) {
    if (g_outOfFds) g_kernel.shortSince[fd] = g_kernel.now;
    return fail(g_kernel.room > 0 ? ENOBUFS : chance(50) ? EMFILE : ENFILE);
  }
  if (shortage != g_kernel.shortSince.end()) g_kernel.shortSince.erase(shortage);
  if (chance(3)) return fail(ECONNABORTED);
  Client client = queue.front();
  queue.pop_front();
  const int child = g_kernel.lowestFree();
  g_kernel.open[child] = client;
  g_kernel.room--;
  return child;
}

int kernelOption(int fd, int level, int name, const void* value, socklen_t /*length*/) {
  CHECK(level == IPPROTO_TCP && name == TCP_NODELAY);
  const bool on = *static_cast<const int*>(value) != 0;
  if (g_kernel.queues.count(fd) != 0)
    g_kernel.listenerNoDelay[fd] = on;
  else
    g_kernel.open.at(fd).noDelay = on;
  return 0;
}

int kernelInfo(int fd, int level, int name, void* value, socklen_t* /*length*/) {
  CHECK(level == IPPROTO_TCP && name == TCP_INFO);
  auto* info = static_cast<tcp_info*>(value);
  info->tcpi_unacked = static_cast<uint32_t>(g_kernel.queues.at(fd).size());
  return 0;
}

// ----- libuv, as far as it matters (src/unix/core.c, uv__io_start, uv__io_stop; src/unix/linux.c, uv__io_poll)

struct Watcher {
  uint32_t wanted = 0;
  uint32_t known = 0;  // what it has told epoll_ctl
  bool queued = false;
};

struct Connection {
  uint64_t acceptedIn;
  bool wish;  // TCP_NODELAY
  bool wished;
};

struct Uv {
  Loop* loop;
  std::map<int, Watcher> watchers;
  std::deque<int> queue;
  std::map<int, Connection> connections;
  uint64_t turn = 0;
  uint64_t served = 0, accepted = 0, dropped = 0;
  bool serverNoDelay = true;

  void start(int fd) {
    Watcher& watcher = watchers[fd];
    watcher.wanted = EPOLLIN;
    if (watcher.known == watcher.wanted || watcher.queued) return;
    watcher.queued = true;
    queue.push_back(fd);
  }

  void stop(int fd) {
    const auto found = watchers.find(fd);
    if (found == watchers.end()) return;
    // libuv forgets it; the kernel is told when an event comes
    if (found->second.queued) queue.erase(std::find(queue.begin(), queue.end(), fd));
    watchers.erase(found);
  }

  void close(int fd) {
    stop(fd);
    epoll_event none = {};
    control(*loop, EPOLL_CTL_DEL, fd, &none);  // uv__platform_invalidate_fd
    for (auto& event : pending)
      if (event.data.fd == fd) event.data.fd = -1;
    closing(loop, fd);
    CHECK(g_kernel.open.erase(fd) == 1);
    g_kernel.epoll.erase(fd);
    connections.erase(fd);
    g_kernel.room++;
    g_kernel.shortSince.clear();
  }

  void onConnection(int fd) {
    accepted++;
    Connection connection = {turn, false, false};
    if (serverNoDelay) {
      const int on = 1;
      CHECK(option(loop, fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
      connection.wish = connection.wished = true;
    }
    connections[fd] = connection;
    if (chance(5)) {  // maxConnections
      dropped++;
      return close(fd);
    }
    if (chance(5)) {
      const int off = 0;
      CHECK(option(loop, fd, IPPROTO_TCP, TCP_NODELAY, &off, sizeof off) == 0);
      connections[fd].wish = false;
    }
    if (!chance(10)) start(fd);  // else pauseOnConnect
  }

  void onReadable(int fd) {
    Connection& connection = connections.at(fd);
    CHECK(connection.acceptedIn < turn);
    Client& client = g_kernel.open.at(fd);
    if (!client.hasSent) return;  // EAGAIN
    client.hasSent = false;
    served++;
    if (chance(80))
      close(fd);
    else if (chance(30))
      stop(fd);
  }

  std::vector<epoll_event> pending;

  void poll(int timeout) {
    turn++;
    while (!queue.empty()) {
      const int fd = queue.front();
      queue.pop_front();
      Watcher& watcher = watchers.at(fd);
      watcher.queued = false;
      epoll_event event = {};
      event.events = watcher.wanted;
      event.data.fd = fd;
      const int operation = watcher.known == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
      watcher.known = watcher.wanted;
      if (control(*loop, operation, fd, &event) == 0) continue;
      CHECK(operation == EPOLL_CTL_ADD && errno == EEXIST);
      CHECK(control(*loop, EPOLL_CTL_MOD, fd, &event) == 0);
    }
    epoll_event events[1024];
    const int count = wait(*loop, events, 1024, timeout, nullptr);
    // there is room again: everybody is let in
    if (g_kernel.shortSince.empty())
      for (const auto& [fd, wanted] : g_kernel.epoll) CHECK(g_kernel.queues.count(fd) == 0 || wanted == EPOLLIN);
    for (const auto& [fd, connection] : connections)
      if (connection.acceptedIn < turn) CHECK(g_kernel.open.at(fd).noDelay == connection.wish);
    if (count < 0) {
      CHECK(errno == EINTR);
      return;
    }
    CHECK(count <= 1024);
    pending.assign(events, events + count);
    for (size_t i = 0; i < pending.size(); i++) {
      const int fd = pending[i].data.fd;
      if (fd == -1) continue;
      const auto found = watchers.find(fd);
      if (found == watchers.end()) {
        control(*loop, EPOLL_CTL_DEL, fd, &pending[i]);
        CHECK(g_kernel.epoll.count(fd) == 0);  // or it would come again and again
        continue;
      }
      if ((pending[i].events & found->second.wanted) == 0) continue;
      Listener* listener = loop->listenerOf(fd);
      if (listener == nullptr) {
        onReadable(fd);
        continue;
      }
      const int child = accept(*loop, *listener, nullptr, nullptr, 0);
      if (child >= 0)
        onConnection(child);
      else
        CHECK(errno == EAGAIN || errno == ECONNABORTED || !g_outOfFds);  // never out of descriptors
    }
    pending.clear();
  }
};

void round(unsigned seed, unsigned number) {
  g_seed = seed;
  g_round = number;
  g_dice.seed(seed * 1'000'003U + number);
  g_kernel = {};
  g_kernel.room = 3 + static_cast<int>(g_dice() % 60);
  Loop* loop = static_cast<Loop*>(calloc(1, sizeof(Loop)));
  loop->epoll = kEpoll;
  loop->ring.fd = -1;
  loop->pieces = chance(70) ? 15 : g_dice() % 16;
  g_outOfFds = (loop->pieces & kOutOfFds) != 0;
  loop->limits = {static_cast<int>(1 + g_dice() % 8), 5'000 + g_dice() % 2'000'000};
  setCurrentLoop(loop);
  Uv uv = {};
  uv.loop = loop;
  const int listeners = 1 + static_cast<int>(g_dice() % 3);
  for (int i = 0; i < listeners; i++) {
    const int fd = g_kernel.lowestFree();
    g_kernel.queues[fd] = {};
    loop->addListener(fd, chance(80));
    uv.start(fd);
  }
  uint64_t came = 0;
  const int steps = 200 + static_cast<int>(g_dice() % 200);
  for (int step = 0; step < steps; step++) {
    for (auto& [fd, queue] : g_kernel.queues)
      for (int n = static_cast<int>(g_dice() % 6); n > 0 && chance(50); n--, came++)
        // a child is made when the handshake ends, not when it is accepted
        queue.push_back({chance(70), g_kernel.listenerNoDelay[fd]});
    std::vector<int> fds;
    for (const auto& [fd, connection] : uv.connections) fds.push_back(fd);
    for (const int fd : fds) {
      if (chance(20)) g_kernel.open.at(fd).hasSent = true;
      if (chance(5)) uv.start(fd);
      if (chance(2)) uv.close(fd);
    }
    if (chance(2)) uv.serverNoDelay = !uv.serverNoDelay;
    uv.poll(chance(50) ? 0 : 10);
  }
  // nobody comes any more: everybody is served, and what libuv watches is what the kernel watches
  for (int step = 0; step < 5'000; step++) {
    std::vector<int> fds;
    for (const auto& [fd, connection] : uv.connections) fds.push_back(fd);
    for (const int fd : fds) {
      if (uv.watchers.count(fd) == 0) uv.start(fd);
      g_kernel.open.at(fd).hasSent = true;
    }
    uv.poll(60);
    if (uv.accepted == came && uv.connections.empty()) break;
  }
  CHECK(uv.accepted == came);
  CHECK(uv.connections.empty());
  CHECK(loop->heldCount == 0);
  CHECK(loop->counters.firstReads <= uv.accepted);
  uv.poll(60);
  for (const auto& [fd, watcher] : uv.watchers) CHECK(g_kernel.epoll.count(fd) == 1);
  for (const auto& [fd, wanted] : g_kernel.epoll) CHECK(g_kernel.queues.count(fd) == 1 && wanted == EPOLLIN);
  for (const auto& [fd, queue] : g_kernel.queues) closing(loop, fd);
  CHECK(loop->listenerCount == 0 && loop->disarmedCount == 0);
  setCurrentLoop(nullptr);
  free(loop);
}

}  // namespace

namespace fastsocket::seam {
uint64_t nowNs() { return g_kernel.now; }
}  // namespace fastsocket::seam

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  if (Handles::map() != 0) return 2;
  g_libc.epoll_ctl = kernelCtl;
  g_libc.epoll_pwait = kernelPwait;
  g_libc.accept4 = kernelAccept;
  g_libc.setsockopt = kernelOption;
  g_libc.getsockopt = kernelInfo;
  const auto seed = static_cast<unsigned>(atoi(argv[1]));
  const auto rounds = static_cast<unsigned>(atoi(argv[2]));
  for (unsigned i = 0; i < rounds; i++) round(seed, i);
  printf("%u rounds\n", rounds);
  return 0;
}
