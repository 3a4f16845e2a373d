// SPDX-License-Identifier: Apache-2.0
// The system calls.
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/syscall.h>

#include "../../../native/seam/libc.h"
#include "check.h"
#include "net.h"

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif

namespace model {

namespace {

int fail(int error) {
  errno = error;
  return -1;
}

struct Range {
  int low;
  int high;
};

// net/ipv4/inet_connection_sock.c, inet_sk_get_local_port_range: each bound counts only inside the namespace's.
Range rangeOf(const Socket& socket) {
  Range range = {g_net.settings.low, g_net.settings.high};
  const int low = static_cast<int>(socket.range & 0xffff);
  const int high = static_cast<int>(socket.range >> 16);
  if (socket.range == 0) return range;
  const Range whole = range;
  if (whole.low <= low && low <= whole.high) range.low = low;
  if (whole.low <= high && high <= whole.high) range.high = high;
  return range;
}

template <typename Test>
uint16_t search(const Socket& socket, Test isFree) {
  const Range range = rangeOf(socket);
  const int count = range.high - range.low + 1;
  const int start = upTo(count - 1);
  for (int i = 0; i < count; i++) {
    const auto port = static_cast<uint16_t>(range.low + (start + i) % count);
    if (isFree(port)) return port;
  }
  return 0;
}

// net/ipv4/inet_hashtables.c, __inet_hash_connect
uint16_t portFor(const Socket& socket, const Address& to) {
  if (socket.port != 0) return g_net.isFree(socket, to, socket.port) ? socket.port : 0;
  const std::set<uint16_t> passed = g_net.namedPorts();
  return search(socket, [&](uint16_t port) {
    return !g_net.settings.reserves(port) && passed.count(port) == 0 && g_net.isFree(socket, to, port);
  });
}

int connect(int fd, const sockaddr* address, socklen_t length) {
  Socket* socket = g_net.at(fd);
  if (socket == nullptr) return fail(EBADF);
  if (!socket->tcp) return 0;
  if (address->sa_family == AF_UNSPEC) {
    g_net.fail(*socket);
    socket->life = Life::kClosed;
    return 0;
  }
  const Address to = Net::resolve(*socket, Address::of(address, length));
  if (socket->life != Life::kClosed) {
    const int error = g_net.predict(*socket, to);
    if (socket->life == Life::kFailed) socket->life = Life::kClosed;
    return fail(error);
  }
  if (g_net.noRoute != 0) {
    g_net.tried(*socket, to, 0);
    return fail(g_net.noRoute);
  }
  const uint16_t port = portFor(*socket, to);
  g_net.tried(*socket, to, port);
  // Linux says the former; other kernels that Linux programs run on may say the latter
  if (port == 0) return fail(socket->range != 0 && chance(10) ? EADDRINUSE : EADDRNOTAVAIL);
  const int fate = g_net.fate;
  if (fate != 0 && fate != EINPROGRESS && fate != EINTR) return fail(fate);
  socket->port = port;
  socket->remote = to;
  socket->life = fate == 0 ? Life::kEstablished : Life::kSynSent;
  socket->rtt = Net::rttOf(to);
  Address own = Net::source(*socket, to);
  own.port = port;
  g_net.table[{own, to}] = {socket->life, chance(90), false, socket->named, socket->ours, 0, 0, 0, socket};
  return fate == 0 ? 0 : fail(fate);
}

bool isOurs(const Address& address) {
  if (address.isAny()) return true;
  return address.bytes[0] == 127 || address.bytes[0] == 10 || address.bytes[15] == 1;
}

int bind(int fd, const sockaddr* address, socklen_t length) {
  Socket* socket = g_net.at(fd);
  if (socket == nullptr) return fail(EBADF);
  if (!socket->tcp) return 0;
  const Address own = Address::of(address, length);
  if (own.family == 0) return fail(EAFNOSUPPORT);
  if (socket->life != Life::kClosed || socket->port != 0) return fail(EINVAL);
  if (!isOurs(own)) return fail(EADDRNOTAVAIL);
  socket->local = own;
  socket->local.port = 0;
  if (own.port == 0 && socket->noPort) return 0;
  uint16_t port = own.port;
  if (port == 0)
    port =
        search(*socket, [&](uint16_t one) { return !g_net.settings.reserves(one) && !g_net.conflicts(*socket, one); });
  else if (g_net.conflicts(*socket, port))
    port = 0;
  if (own.port != 0) g_net.named(*socket, own.port, port == 0 ? EADDRINUSE : 0);
  if (port == 0) {
    socket->local = {};
    return fail(EADDRINUSE);
  }
  socket->port = port;
  socket->named = true;
  return 0;
}

int listen(int fd, int /*backlog*/) {
  Socket* socket = g_net.at(fd);
  if (socket == nullptr) return fail(EBADF);
  if (!socket->tcp) return 0;
  if (socket->life != Life::kClosed && socket->life != Life::kListen) return fail(EINVAL);
  if (socket->port == 0) {
    // inet_csk_listen_start asks for one
    socket->port = search(
        *socket, [&](uint16_t port) { return !g_net.settings.reserves(port) && !g_net.conflicts(*socket, port); });
    if (socket->port == 0) return fail(EADDRINUSE);
    socket->named = true;
  }
  socket->life = Life::kListen;
  return 0;
}

int makeSocket(int domain, int type, int protocol) {
  if (g_net.full) return fail(EMFILE);
  auto made = std::make_shared<Socket>();
  made->domain = domain;
  made->tcp = domain != AF_UNIX && (type & SOCK_STREAM) != 0;
  made->foreign = !made->tcp || type != (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC) || protocol != 0;
  return g_net.add(std::move(made));
}

int acceptOne(int fd, sockaddr* /*address*/, socklen_t* /*length*/, int /*flags*/) {
  const Socket* socket = g_net.at(fd);
  if (socket == nullptr || socket->life != Life::kListen) return fail(EINVAL);
  auto made = std::make_shared<Socket>();
  made->foreign = true;
  made->life = Life::kEstablished;
  made->port = socket->port;
  made->named = true;
  return g_net.add(std::move(made));
}

int shutdown(int fd, int how) {
  Socket* socket = g_net.at(fd);
  if (socket == nullptr) return fail(EBADF);
  if (socket->life != Life::kEstablished && socket->life != Life::kCloseWait) return fail(ENOTCONN);
  if (how == SHUT_RD) return 0;
  Entry* entry = g_net.entryOf(*socket);
  socket->life = socket->life == Life::kEstablished ? Life::kFinWait2 : Life::kLastAck;
  if (entry == nullptr) return 0;
  entry->life = socket->life;
  if (socket->life == Life::kLastAck && Net::isLocal(*socket)) g_net.fail(*socket);
  return 0;
}

int getsockname(int fd, sockaddr* address, socklen_t* length) {
  const Socket* socket = g_net.at(fd);
  if (socket == nullptr) return fail(EBADF);
  if (!socket->tcp) return fail(ENOBUFS);
  const Address own = socket->remote.family == 0 ? socket->local : Net::source(*socket, socket->remote);
  if (socket->domain == AF_INET) {
    sockaddr_in in = {};
    in.sin_family = AF_INET;
    in.sin_port = htons(socket->port);
    memcpy(&in.sin_addr, own.bytes.data(), 4);
    memcpy(address, &in, sizeof in);
    *length = sizeof in;
    return 0;
  }
  sockaddr_in6 in6 = {};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(socket->port);
  if (own.family == 4) {
    in6.sin6_addr.s6_addr[10] = in6.sin6_addr.s6_addr[11] = 0xff;
    memcpy(in6.sin6_addr.s6_addr + 12, own.bytes.data(), 4);
  } else {
    memcpy(&in6.sin6_addr, own.bytes.data(), 16);
  }
  memcpy(address, &in6, sizeof in6);
  *length = sizeof in6;
  return 0;
}

// Those that nothing but the app's own wishes hang on.
bool isPlain(int level, int name) {
  return level == IPPROTO_TCP || level == IPPROTO_IPV6 || (level == IPPROTO_IP && name == IP_TOS) ||
         (level == SOL_SOCKET && name == SO_KEEPALIVE);
}

int setOption(int fd, int level, int name, const void* value, socklen_t length) {
  Socket* socket = g_net.at(fd);
  if (socket == nullptr) return fail(EBADF);
  if (level == SOL_SOCKET && name == SO_LINGER) {
    CHECK(length == sizeof(linger));
    const auto* asked = static_cast<const linger*>(value);
    socket->aborts = asked->l_onoff != 0 && asked->l_linger == 0;
    return 0;
  }
  if (isPlain(level, name)) {
    CHECK(length == sizeof(int));
    if (level == IPPROTO_IPV6 && socket->domain != AF_INET6) return fail(EOPNOTSUPP);
    // net/ipv6/ipv6_sockglue.c, do_ipv6_setsockopt
    if (name == IPV6_V6ONLY && level == IPPROTO_IPV6 && socket->port != 0) return fail(EINVAL);
    socket->options[{level, name}] = *static_cast<const int*>(value);
    return 0;
  }
  CHECK(!socket->foreign);  // whoever made it is the only one to say anything of it
  CHECK(length == sizeof(int));
  const uint32_t number = *static_cast<const uint32_t*>(value);
  if (level == SOL_SOCKET && name == SO_REUSEADDR) {
    socket->reuse = number != 0;
  } else if (level == IPPROTO_IP && name == IP_BIND_ADDRESS_NO_PORT) {
    socket->noPort = number != 0;
  } else {
    CHECK(level == IPPROTO_IP && name == IP_LOCAL_PORT_RANGE);
    if (!g_net.hasOption) return fail(ENOPROTOOPT);
    CHECK((number & 0xffff) <= number >> 16);
    socket->range = number;
  }
  return 0;
}

int defaultOf(int level, int name) { return level == IPPROTO_TCP && name == TCP_KEEPIDLE ? 7'200 : 0; }

uint8_t stateOf(Life life) {
  switch (life) {
    case Life::kSynSent:
      return TCP_SYN_SENT;
    case Life::kEstablished:
      return TCP_ESTABLISHED;
    case Life::kFinWait2:
      return chance(50) ? TCP_FIN_WAIT1 : TCP_FIN_WAIT2;
    case Life::kCloseWait:
      return TCP_CLOSE_WAIT;
    case Life::kLastAck:
      return TCP_LAST_ACK;
    case Life::kListen:
      return TCP_LISTEN;
    default:
      return TCP_CLOSE;
  }
}

int getOption(int fd, int level, int name, void* value, socklen_t* length) {
  const Socket* socket = g_net.at(fd);
  if (socket == nullptr) return fail(EBADF);
  if (level == SOL_SOCKET && name == SO_PROTOCOL) {
    *static_cast<int*>(value) = socket->tcp ? IPPROTO_TCP : 0;
  } else if (level == SOL_SOCKET && name == SO_INCOMING_CPU) {
    *static_cast<int*>(value) = Net::cpuOf(*socket);
  } else if (level == IPPROTO_TCP && name == TCP_INFO) {
    if (!socket->tcp || g_net.infoFails) return fail(EOPNOTSUPP);
    auto* info = static_cast<tcp_info*>(value);
    info->tcpi_state = stateOf(socket->life);
    info->tcpi_rtt = socket->life == Life::kSynSent ? 0 : socket->rtt;
  } else {
    CHECK(*length == sizeof(int));
    if (level == IPPROTO_IPV6 && socket->domain != AF_INET6) return fail(EOPNOTSUPP);
    const bool reuse = level == SOL_SOCKET && name == SO_REUSEADDR;
    CHECK(reuse || isPlain(level, name));
    const auto found = socket->options.find({level, name});
    // keepalive's times have a default that is not 0
    *static_cast<int*>(value) = reuse                            ? socket->reuse
                                : found != socket->options.end() ? found->second
                                                                 : defaultOf(level, name);
  }
  return 0;
}

long call(long number, long a, long /*b*/, long /*c*/, long /*d*/, long /*e*/, long /*f*/) {
  if (number != SYS_close) return fail(ENOSYS);
  if (g_net.at(static_cast<int>(a)) == nullptr) return fail(EBADF);
  g_net.close(static_cast<int>(a));
  return 0;
}

int sleep(int /*epoll*/, epoll_event* /*events*/, int /*most*/, int /*timeout*/, const sigset_t* /*mask*/) { return 0; }
int control(int /*epoll*/, int /*operation*/, int /*fd*/, epoll_event* /*event*/) { return 0; }
ssize_t sendmsg(int /*fd*/, const msghdr* /*message*/, int /*flags*/) { return 1; }
// 0: the peer's FIN.
ssize_t read(int fd, void* /*buffer*/, size_t /*length*/) {
  const Socket* socket = g_net.at(fd);
  if (socket == nullptr) return fail(EBADF);
  const bool ended =
      socket->life == Life::kCloseWait || socket->life == Life::kLastAck || socket->life == Life::kTimeWait;
  return ended ? 0 : chance(50) ? 1 : fail(EAGAIN);
}

int dup3(int from, int to, int flags) {
  CHECK(flags == O_CLOEXEC && from != to);
  if (g_net.at(from) == nullptr) return fail(EBADF);
  if (g_net.busy) return fail(EBUSY);
  const std::shared_ptr<Socket> socket = g_net.files.at(from);
  CHECK(g_net.at(to) != nullptr);
  g_net.close(to);
  g_net.files[to] = socket;
  socket->numbers++;
  return to;
}

}  // namespace

void installNet() {
  auto& libc = fastsocket::seam::g_libc;
  libc.epoll_pwait = sleep;
  libc.epoll_ctl = control;
  libc.accept4 = acceptOne;
  libc.setsockopt = setOption;
  libc.getsockopt = getOption;
  libc.dup3 = dup3;
  libc.bind = bind;
  libc.listen = listen;
  libc.socket = makeSocket;
  libc.sendmsg = sendmsg;
  libc.read = read;
  libc.connect = connect;
  libc.shutdown = shutdown;
  libc.getsockname = getsockname;
  libc.syscall = call;
}

}  // namespace model
