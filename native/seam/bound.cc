// SPDX-License-Identifier: Apache-2.0
#include "bound.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/syscall.h>

#include <new>

#include "libc.h"

namespace fastsocket::seam {

namespace {

socklen_t sizeOf(int family) { return family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6); }

int set(int fd, int level, int name, int value) { return g_libc.setsockopt(fd, level, name, &value, sizeof value); }

// Those of uv_tcp_nodelay, uv_tcp_keepalive and uv__tcp_bind, and of Node's setTypeOfService.
constexpr struct {
  int level;
  int name;
} kCarried[] = {
    {IPPROTO_TCP, TCP_NODELAY},   {SOL_SOCKET, SO_KEEPALIVE},  {IPPROTO_TCP, TCP_KEEPIDLE},
    {IPPROTO_TCP, TCP_KEEPINTVL}, {IPPROTO_TCP, TCP_KEEPCNT},  {SOL_SOCKET, SO_REUSEADDR},
    {IPPROTO_IP, IP_TOS},         {IPPROTO_IPV6, IPV6_V6ONLY}, {IPPROTO_IPV6, IPV6_TCLASS},
};

void carryOver(int from, int to) {
  for (const auto& option : kCarried) {
    int value = 0;
    int fresh = 0;
    socklen_t length = sizeof value;
    // IPv6's are missing in IPv4
    if (g_libc.getsockopt(from, option.level, option.name, &value, &length) < 0) continue;
    if (g_libc.getsockopt(to, option.level, option.name, &fresh, &length) < 0 || fresh == value) continue;
    (void)set(to, option.level, option.name, value);
  }
}

}  // namespace

int Bound::g_count = 0;

Bound* Bound::make() {
  void* memory = calloc(1, sizeof(Bound));
  return memory == nullptr ? nullptr : new (memory) Bound();
}

int Bound::ofAll() { return __atomic_load_n(&g_count, __ATOMIC_RELAXED); }

void Bound::count(int difference) {
  count_ += difference;
  __atomic_add_fetch(&g_count, difference, __ATOMIC_RELAXED);
}

void Bound::destroy(Bound* bound) {
  if (bound == nullptr) return;
  bound->count(-bound->count_);
  bound->~Bound();
  free(bound);
}

void Bound::opened(uint16_t port) {
  open_[port]++;
  if (ports_.has(port)) return;
  ports_.set(port);
  count(1);
}

void Bound::dropUnused(uint16_t port) {
  if (open_[port] > 0 || rests_[port] > 0 || !ports_.has(port)) return;
  ports_.clear(port);
  count(-1);
}

void Bound::closed(uint16_t port, uint32_t now, uint32_t ms) {
  open_[port]--;
  Resting& resting = ms <= kSoonMs ? soon_ : late_;
  if (ms > 0 && rests_[port] < UINT8_MAX && resting.push(port, now + ms)) rests_[port]++;
  dropUnused(port);
}

void Bound::refresh(Resting& resting, uint32_t now) {
  for (; resting.isDue(now); resting.pop()) {
    const uint16_t port = resting.first();
    rests_[port]--;
    dropUnused(port);
  }
}

void Bound::refresh(uint32_t now) {
  refresh(soon_, now);
  refresh(late_, now);
}

int bindPort(int fd, int family, const sockaddr_storage* address, uint16_t port) {
  sockaddr_storage name = {};
  if (address != nullptr) name = *address;
  name.ss_family = static_cast<sa_family_t>(family);
  // in the same place in both
  reinterpret_cast<sockaddr_in*>(&name)->sin_port = htons(port);
  return g_libc.bind(fd, reinterpret_cast<sockaddr*>(&name), sizeOf(family)) < 0 ? errno : 0;
}

int renew(int fd, int family, const sockaddr_storage* address) {
  const int fresh = g_libc.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fresh < 0) return errno;
  if (fresh == fd) {
    // the number was nobody's, and is again
    g_libc.syscall(SYS_close, fresh, 0, 0, 0, 0, 0);
    return EBADF;
  }
  carryOver(fd, fresh);
  int error = 0;
  if (address != nullptr) {
    if (set(fresh, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1) < 0) error = errno;
    if (error == 0) error = bindPort(fresh, family, address, 0);
  }
  // it is not in the epoll set yet: libuv registers what it has connected at the end of the turn
  if (error == 0 && g_libc.dup3(fresh, fd, O_CLOEXEC) < 0) error = errno;
  g_libc.syscall(SYS_close, fresh, 0, 0, 0, 0, 0);
  return error;
}

}  // namespace fastsocket::seam
