// SPDX-License-Identifier: Apache-2.0
// Listening sockets of a group (SO_REUSEPORT), their program and their queues. socket(7), tcp(7).
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "napi_help.h"
#include "refused.h"
#include "seam/loop.h"

// Older libcs do not have all of them; the numbers are the same on every architecture that Node supports
// (include/uapi/asm-generic/socket.h).
#ifndef SO_INCOMING_CPU
#define SO_INCOMING_CPU 49
#endif
#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF 51
#endif
#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68
#endif

namespace fastsocket {
namespace {

int setOption(int fd, int level, int name, int value) {
  return orErrno(setsockopt(fd, level, name, &value, sizeof value));
}

int getOption(int fd, int level, int name, int* value) {
  socklen_t length = sizeof *value;
  return orErrno(getsockopt(fd, level, name, value, &length));
}

napi_value jsReusePort(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  return number(env, setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1));
}

napi_value jsUnsharePort(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  return number(env, setOption(fd, SOL_SOCKET, SO_REUSEPORT, 0));
}

int makeSibling(int fd, int backlog) {
  sockaddr_storage address = {};
  socklen_t length = sizeof address;
  auto* name = reinterpret_cast<sockaddr*>(&address);
  if (getsockname(fd, name, &length) < 0) return -errno;
  Fd sibling(socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!sibling.valid()) return -errno;
  int error = setOption(sibling.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (error < 0) return error;
  error = setOption(sibling.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (error < 0) return error;
  if (address.ss_family == AF_INET6) {
    // must agree within a group: a dual-stack socket would also claim the IPv4 port
    int only = 0;
    error = getOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only);
    if (error < 0) return error;
    error = setOption(sibling.get(), IPPROTO_IPV6, IPV6_V6ONLY, only);
    if (error < 0) return error;
  }
  if (bind(sibling.get(), name, length) < 0) return -errno;
  // a negative backlog: bound only, the port is held and no connection comes
  if (backlog >= 0 && listen(sibling.get(), backlog) < 0) return -errno;
  return sibling.release();
}

bool readAddress(int family, const char* text, int port, sockaddr_storage* address, socklen_t* length) {
  const auto number = htons(static_cast<uint16_t>(port));
  if (family == 4) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(address);
    v4->sin_family = AF_INET;
    v4->sin_port = number;
    *length = sizeof *v4;
    return inet_pton(AF_INET, text, &v4->sin_addr) == 1;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(address);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = number;
  *length = sizeof *v6;
  return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1;
}

int bindShared(int family, const char* text, int port, int v6only) {
  sockaddr_storage address = {};
  socklen_t length = 0;
  if (!readAddress(family, text, port, &address, &length)) return -EINVAL;
  Fd shared(socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!shared.valid()) return -errno;
  int error = setOption(shared.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (error < 0) return error;
  error = setOption(shared.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (error < 0) return error;
  if (address.ss_family == AF_INET6) error = setOption(shared.get(), IPPROTO_IPV6, IPV6_V6ONLY, v6only);
  if (error < 0) return error;
  if (bind(shared.get(), reinterpret_cast<sockaddr*>(&address), length) < 0) return -errno;
  return shared.release();
}

napi_value jsBindShared(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int family = args.integer(0);
  const Buffer<char> address = args.text(1);
  const int port = args.integer(2);
  const int v6only = args.integer(3);
  if (!args.ok()) return nullptr;
  return number(env, bindShared(family, address.data(), port, v6only));
}

napi_value jsSibling(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  const int backlog = args.integer(1);
  if (!args.ok()) return nullptr;
  return number(env, makeSibling(fd, backlog));
}

int attach(int fd, int option, const sock_filter* filter, size_t count) {
  if (count == 0 || count > UINT16_MAX) return -EINVAL;
  // the kernel copies the program and does not write to it; the struct has no const
  const sock_fprog program = {static_cast<uint16_t>(count), const_cast<sock_filter*>(filter)};
  return orErrno(setsockopt(fd, SOL_SOCKET, option, &program, sizeof program));
}

napi_value jsAttachProgram(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  size_t length = 0;
  const uint8_t* bytes = args.bytes(1, &length);
  if (!args.ok()) return nullptr;
  if (length % sizeof(sock_filter) != 0) return number(env, -EINVAL);
  const auto* filter = reinterpret_cast<const sock_filter*>(bytes);
  return number(env, attach(fd, SO_ATTACH_REUSEPORT_CBPF, filter, length / sizeof(sock_filter)));
}

napi_value jsDetachProgram(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  return number(env, setOption(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0));
}

napi_value jsDropSyn(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  // A TCP socket's filter sees the packet from the TCP header on (net/ipv4/tcp_ipv4.c, tcp_filter): byte 13 holds the
  // flags, SYN is 0x02 and ACK 0x10. What has begun its handshake may end it; data already under way passes too.
  static const sock_filter kFilter[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),          BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x12),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
  };
  const int error = attach(fd, SO_ATTACH_FILTER, kFilter, sizeof kFilter / sizeof kFilter[0]);
  if (error < 0) noteRefusal("handshakes begin up to the last moment: setsockopt(SO_ATTACH_FILTER)");
  return number(env, error);
}

int detachFilter(int fd) {
  const int error = setOption(fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
  if (error == -ENOENT) return 0;
  if (error < 0) noteRefusal("filters stay on their sockets: setsockopt(SO_DETACH_FILTER)");
  return error;
}

napi_value jsKeepSyn(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  return number(env, detachFilter(fd));
}

// A child also has its listener's TCP_NODELAY, which the seam sets for connections that ask for it: this one has not
// been asked yet.
void clearNoDelay(int fd) {
  int on = 0;
  socklen_t length = sizeof on;
  if (getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &length) < 0 || on == 0) return;
  on = 0;
  // where it cannot be taken back the connection is only quicker than it asked for
  static_cast<void>(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
}

int acceptOne(int fd) {
  for (;;) {
    Fd child(accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!child.valid()) {
      // ECONNABORTED: that client went away while it waited; the next one may be there
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return -errno;
    }
    // A child inherits the filter of its listener (net/core/sock.c, sk_clone_lock). Where dropSyn's cannot be taken off
    // it costs a few instructions a packet and drops none, for every packet of a connection has ACK: no reason to lose
    // a client.
    detachFilter(child.get());
    clearNoDelay(child.get());
    return child.release();
  }
}

napi_value jsAccept(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  return number(env, acceptOne(fd));
}

napi_value jsListen(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  const int backlog = args.integer(1);
  if (!args.ok()) return nullptr;
  return number(env, orErrno(listen(fd, backlog)));
}

napi_value jsShutdownRead(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  const int error = orErrno(shutdown(fd, SHUT_RD));
  if (error < 0) noteRefusal("a socket that nobody serves stays in its group: shutdown");
  return number(env, error);
}

napi_value jsClose(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  const int error = orErrno(close(fd));
  // close(2): on Linux the descriptor is gone by then
  return number(env, error == -EINTR ? 0 : error);
}

napi_value jsDup(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  // never 0, 1 or 2: the app may have closed its stdio, and a socket there would be written to as if it were stdout
  return number(env, orErrno(fcntl(fd, F_DUPFD_CLOEXEC, 3)));
}

int occupy(int fd, int from) { return orErrno(dup3(from, fd, O_CLOEXEC)); }

int vacate(int fd) {
  seam::closing(seam::currentLoop(), fd);
  int family = 0;
  int error = getOption(fd, SOL_SOCKET, SO_DOMAIN, &family);
  if (error < 0) return error;
  Fd fresh(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fresh.valid()) return -errno;
  error = occupy(fd, fresh.get());
  return error < 0 ? error : 0;
}

napi_value jsVacate(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  return number(env, vacate(fd));
}

napi_value jsOccupy(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  const int from = args.integer(1);
  if (!args.ok()) return nullptr;
  return number(env, occupy(fd, from));
}

napi_value jsSetCloseOnExec(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  return number(env, orErrno(fcntl(fd, F_SETFD, FD_CLOEXEC)));
}

napi_value jsIsCloseOnExec(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  const int flags = orErrno(fcntl(fd, F_GETFD));
  return number(env, flags < 0 ? flags : (flags & FD_CLOEXEC) != 0 ? 1 : 0);
}

napi_value jsIncomingCpu(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  int cpu = -1;
  const int error = getOption(fd, SOL_SOCKET, SO_INCOMING_CPU, &cpu);
  if (error < 0) noteRefusal(kNoIncomingCpu);
  return number(env, error < 0 ? error : cpu);
}

napi_value jsQueueLength(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  tcp_info state = {};
  socklen_t length = sizeof state;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &length) < 0) return number(env, -errno);
  // of a listening socket this field is the accept queue (net/ipv4/tcp.c, tcp_get_info)
  return number(env, static_cast<int>(state.tcpi_unacked));
}

// The number that a directory entry's name spells, or -1.
int numericName(const char* name) {
  int value = 0;
  if (*name == '\0') return -1;
  for (; *name != '\0'; name++) {
    if (*name < '0' || *name > '9' || value > INT32_MAX / 10 - 1) return -1;
    value = value * 10 + (*name - '0');
  }
  return value;
}

napi_value jsOpenFds(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!args.ok()) return nullptr;
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return number(env, -errno);
  const int own = dirfd(directory);
  napi_value list = nullptr;
  uint32_t count = 0;
  bool complete = napi_create_array(env, &list) == napi_ok;
  for (dirent* entry = readdir(directory); complete && entry != nullptr; entry = readdir(directory)) {
    const int fd = numericName(entry->d_name);
    if (fd >= 0 && fd != own) complete = napi_set_element(env, list, count++, number(env, fd)) == napi_ok;
  }
  closedir(directory);
  return complete ? list : nullptr;
}

}  // namespace

bool exportSockets(napi_env env, napi_value exports) {
  static const Export kTable[] = {
      {"reusePort", jsReusePort},
      {"unsharePort", jsUnsharePort},
      {"bindShared", jsBindShared},
      {"sibling", jsSibling},
      {"attachProgram", jsAttachProgram},
      {"detachProgram", jsDetachProgram},
      {"dropSyn", jsDropSyn},
      {"keepSyn", jsKeepSyn},
      {"accept", jsAccept},
      {"listen", jsListen},
      {"shutdownRead", jsShutdownRead},
      {"close", jsClose},
      {"dup", jsDup},
      {"vacate", jsVacate},
      {"occupy", jsOccupy},
      {"setCloseOnExec", jsSetCloseOnExec},
      {"isCloseOnExec", jsIsCloseOnExec},
      {"incomingCpu", jsIncomingCpu},
      {"queueLength", jsQueueLength},
      {"openFds", jsOpenFds},
  };
  return defineAll(env, exports, kTable);
}

}  // namespace fastsocket
