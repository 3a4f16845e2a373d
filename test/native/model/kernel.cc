// SPDX-License-Identifier: Apache-2.0
#include "kernel.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/syscall.h>

#include <algorithm>

#include "../../../native/seam/libc.h"
#include "check.h"

namespace model {

Kernel g_kernel;

int fail(int error) {
  errno = error;
  return -1;
}

// tcp_poll (net/ipv4/tcp.c), as far as it goes.
uint32_t File::ready() const {
  if (type == Type::kListener) return queue.empty() ? 0U : EPOLLIN;
  if (type == Type::kOther) return messages.empty() && !hungUp ? 0U : EPOLLIN;
  if (type != Type::kConnection) return 0;
  uint32_t events = full ? 0U : EPOLLOUT;
  if (sent || ended || reset) events |= EPOLLIN;
  if (reset) events |= EPOLLERR | EPOLLHUP | EPOLLOUT;
  return events;
}

File* Kernel::at(int fd) const {
  const auto found = files.find(fd);
  return found == files.end() ? nullptr : found->second.get();
}

int Kernel::add(std::shared_ptr<File> file) {
  int fd = 3;
  while (files.count(fd) != 0) fd++;
  file->numbers++;
  files[fd] = std::move(file);
  return fd;
}

int Kernel::add(Type type) {
  auto file = std::make_shared<File>();
  file->type = type;
  return add(std::move(file));
}

void Kernel::close(int fd) {
  const auto found = files.find(fd);
  CHECK(found != files.end());
  File* file = found->second.get();
  if (--file->numbers == 0) {
    for (auto& [epoll, entries] : epolls)
      for (auto entry = entries.begin(); entry != entries.end();)
        entry = entry->first.second == file ? entries.erase(entry) : std::next(entry);
    if (file->type == Type::kEpoll) epolls.erase(fd);
  }
  files.erase(found);
  shortSince.erase(fd);
}

int control(int epoll, int operation, int fd, epoll_event* event) {
  const auto set = g_kernel.epolls.find(epoll);
  File* file = g_kernel.at(fd);
  if (set == g_kernel.epolls.end() || file == nullptr) return fail(EBADF);
  const std::pair<int, File*> key = {fd, file};
  const bool there = set->second.count(key) != 0;
  if (operation == EPOLL_CTL_ADD && there) return fail(EEXIST);
  if (operation != EPOLL_CTL_ADD && !there) return fail(ENOENT);
  if (operation == EPOLL_CTL_DEL) {
    set->second.erase(key);
    return 0;
  }
  if (operation == EPOLL_CTL_ADD && epoll == g_kernel.epoll && g_kernel.additionsFail && chance(5))
    return fail(chance(50) ? ENOSPC : ENOMEM);
  CHECK(event->data.fd == fd);
  set->second[key] = event->events;
  return 0;
}

namespace {

std::vector<epoll_event> readyOf(int epoll) {
  std::vector<epoll_event> list;
  for (const auto& [key, wanted] : g_kernel.epolls.at(epoll)) {
    epoll_event event = {};
    // always told, asked or not (epoll_ctl(2))
    event.events = key.second->ready() & (wanted | EPOLLERR | EPOLLHUP);
    event.data.fd = key.first;
    if (event.events != 0) list.push_back(event);
  }
  std::shuffle(list.begin(), list.end(), g_dice);
  return list;
}

int wait(int epoll, epoll_event* events, int most, int timeout, const sigset_t* /*mask*/) {
  if (g_kernel.epolls.count(epoll) == 0) return fail(EBADF);
  const bool watched = epoll == g_kernel.epoll;
  if (watched) {
    g_kernel.dry.clear();
    g_kernel.accepted.clear();
    g_kernel.loose.clear();
    g_kernel.slowBefore = g_kernel.turnBegan != 0 && g_kernel.now - g_kernel.turnBegan > g_kernel.turnNs;
    g_kernel.turnBegan = 0;
    if (g_kernel.waiting) g_kernel.waiting(timeout);
  }
  if (!g_kernel.faultless && chance(2)) return fail(chance(90) ? EINTR : EINVAL);
  std::vector<epoll_event> ready = readyOf(epoll);
  if (ready.empty() && timeout < 0 && watched && g_kernel.idle) {
    g_kernel.idle();
    ready = readyOf(epoll);
  }
  if (ready.empty() && timeout < 0) return fail(EINTR);
  const int count = std::min(most, static_cast<int>(ready.size()));
  std::copy(ready.begin(), ready.begin() + count, events);
  if (count == 0 && timeout > 0) g_kernel.now += static_cast<uint64_t>(timeout) * 1'000'000;
  g_kernel.now += 500;
  for (int i = 0; watched && i < count; i++)
    if (g_kernel.isKnown(events[i].data.fd)) g_kernel.turnBegan = g_kernel.now;
  return count;
}

// What accept4 says at random, before it has looked.
int mishap() {
  if (chance(3)) return ECONNABORTED;
  if (chance(1)) return EINTR;
  if (!chance(1)) return 0;
  static const int kErrors[] = {EPERM, EPROTO, ENOBUFS, ENOMEM, ENFILE};
  return kErrors[g_dice() % 5];
}

bool isShortage(int error) { return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS; }

int accept(int fd, sockaddr* /*address*/, socklen_t* /*length*/, int /*flags*/) {
  File* file = g_kernel.at(fd);
  if (file == nullptr) return fail(EBADF);
  if (file->type != Type::kListener) return fail(EINVAL);
  const bool checked = !g_kernel.shedding && g_kernel.loose.count(fd) == 0;
  if (checked) {
    CHECK(g_kernel.dry.count(fd) == 0);  // not asked twice
    CHECK(g_kernel.accepted[fd] < g_kernel.mostAccepted(fd));
    // what is accepted waits while others are accepted
    CHECK(g_kernel.accepted[fd] == 0 || g_kernel.now - g_kernel.turnBegan <= g_kernel.turnNs);
  }
  g_kernel.now += 1'000;
  if (file->queue.empty()) {
    if (checked) g_kernel.dry.insert(fd);
    return fail(EAGAIN);
  }
  const auto told = g_kernel.shortSince.find(fd);
  CHECK(told == g_kernel.shortSince.end() || !g_kernel.shortageIsHidden(fd) ||
        g_kernel.now - told->second >= 49'000'000);  // no spinning
  int error = g_kernel.shedding || g_kernel.faultless ? 0 : mishap();
  if (error == 0 && g_kernel.full()) error = chance(50) ? EMFILE : ENFILE;
  if (error != 0) {
    if (isShortage(error) && g_kernel.shortageIsHidden(fd))
      g_kernel.shortSince[fd] = g_kernel.now;
    else if (isShortage(error) && g_kernel.shortageIsDoubted(fd))
      g_kernel.dry.insert(fd);
    else if (isShortage(error))
      g_kernel.loose.insert(fd);
    else if (error != EINTR && error != ECONNABORTED && checked)
      g_kernel.dry.insert(fd);
    return fail(error);
  }
  if (told != g_kernel.shortSince.end()) g_kernel.shortSince.erase(told);
  if (checked) g_kernel.accepted[fd]++;
  const int child = g_kernel.add(Type::kConnection);
  File* made = g_kernel.at(child);
  made->tcp = file->tcp;
  made->sent = file->queue.front().sent;
  made->noDelay = file->queue.front().noDelay;
  file->queue.pop_front();
  return child;
}

int setOption(int fd, int level, int name, const void* value, socklen_t length) {
  File* file = g_kernel.at(fd);
  if (file == nullptr) return fail(EBADF);
  CHECK(level == IPPROTO_TCP && length == sizeof(int));
  if (!file->tcp) return fail(EOPNOTSUPP);
  if (name != TCP_NODELAY) return 0;
  file->noDelay = *static_cast<const int*>(value) != 0;
  if (file->type == Type::kListener && !file->noDelay) g_kernel.turnedOff(fd);
  return 0;
}

int getOption(int fd, int level, int name, void* value, socklen_t* /*length*/) {
  const File* file = g_kernel.at(fd);
  if (level == SOL_SOCKET && name == SO_PROTOCOL) {
    if (file != nullptr) *static_cast<int*>(value) = file->tcp ? IPPROTO_TCP : 0;
    if (g_kernel.asked) g_kernel.asked(fd);
  }
  if (file == nullptr) return fail(EBADF);
  if (level == SOL_SOCKET && name == SO_PROTOCOL) return 0;
  if (level == IPPROTO_TCP && name == TCP_NODELAY) {
    *static_cast<int*>(value) = file->noDelay ? 1 : 0;
  } else {
    CHECK(level == IPPROTO_TCP && name == TCP_INFO);
    if (chance(2)) return fail(ENOBUFS);
    static_cast<tcp_info*>(value)->tcpi_unacked = static_cast<uint32_t>(file->queue.size());
  }
  return 0;
}

int bind(int fd, const sockaddr* /*address*/, socklen_t /*length*/) {
  return g_kernel.at(fd) == nullptr ? fail(EBADF) : 0;
}

int listen(int fd, int /*backlog*/) {
  File* file = g_kernel.at(fd);
  if (file == nullptr) return fail(EBADF);
  file->type = Type::kListener;
  return 0;
}

int socket(int domain, int /*type*/, int /*protocol*/) {
  if (g_kernel.full()) return fail(EMFILE);
  const int fd = g_kernel.add(Type::kSocket);
  g_kernel.at(fd)->tcp = domain != AF_UNIX;
  return fd;
}

// Nothing connects here: the ports' model does (ports-model.cc).
int connect(int /*fd*/, const sockaddr* /*address*/, socklen_t /*length*/) { return fail(ENETUNREACH); }

int shutdown(int /*fd*/, int /*how*/) { return fail(ENOTCONN); }

int getsockname(int /*fd*/, sockaddr* /*address*/, socklen_t* /*length*/) { return fail(ENOBUFS); }

ssize_t read(int fd, void* /*buffer*/, size_t /*length*/) { return g_kernel.at(fd)->sent ? 1 : fail(EAGAIN); }

ssize_t sendmsg(int /*fd*/, const msghdr* /*message*/, int /*flags*/) { return 1; }

ssize_t recvmsg(int fd, msghdr* message, int flags) {
  CHECK(flags == (MSG_DONTWAIT | MSG_CMSG_CLOEXEC) && message->msg_iovlen == 1);
  File* channel = g_kernel.at(fd);
  if (channel == nullptr) return fail(EBADF);
  if (g_kernel.receivingFails != 0) return fail(g_kernel.receivingFails);
  if (channel->messages.empty()) return channel->hungUp ? 0 : fail(EAGAIN);
  const Message first = channel->messages.front();
  channel->messages.pop_front();
  const size_t length = std::min(first.bytes.size(), message->msg_iov->iov_len);
  memcpy(message->msg_iov->iov_base, first.bytes.data(), length);
  // no number is left for it: it is closed (unix(7), MSG_CTRUNC)
  const bool arrives = first.file != nullptr && !g_kernel.full();
  message->msg_controllen = arrives ? CMSG_SPACE(sizeof(int)) : 0;
  if (!arrives) return static_cast<ssize_t>(length);
  cmsghdr* control = CMSG_FIRSTHDR(message);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(sizeof(int));
  const int number = g_kernel.add(first.file);
  memcpy(CMSG_DATA(control), &number, sizeof number);
  return static_cast<ssize_t>(length);
}

long call(long number, long a, long b, long c, long d, long /*e*/, long /*f*/) {
  switch (number) {
    case SYS_close:
      if (g_kernel.at(static_cast<int>(a)) == nullptr) return fail(EBADF);
      g_kernel.close(static_cast<int>(a));
      return 0;
    case SYS_write:
      if (g_kernel.at(static_cast<int>(a)) == nullptr) return fail(EBADF);
      g_kernel.at(static_cast<int>(a))->written++;
      return c;
    case SYS_io_uring_setup:
      return setupRing(static_cast<uint32_t>(a), reinterpret_cast<io_uring_params*>(b));
    case SYS_io_uring_enter:
      return enterRing(static_cast<int>(a), static_cast<unsigned>(b), static_cast<unsigned>(c),
                       static_cast<unsigned>(d));
    default:
      return fail(ENOSYS);
  }
}

}  // namespace

void installKernel() {
  auto& libc = fastsocket::seam::g_libc;
  libc.epoll_pwait = wait;
  libc.epoll_ctl = control;
  libc.accept4 = accept;
  libc.setsockopt = setOption;
  libc.getsockopt = getOption;
  libc.bind = bind;
  libc.listen = listen;
  libc.socket = socket;
  libc.sendmsg = sendmsg;
  libc.recvmsg = recvmsg;
  libc.read = read;
  libc.connect = connect;
  libc.shutdown = shutdown;
  libc.getsockname = getsockname;
  libc.syscall = call;
}

}  // namespace model

// The seam's clock (native/seam/wrappers.cc); linked with --wrap.
extern "C" int __wrap_clock_gettime(clockid_t /*clock*/, timespec* time) {
  time->tv_sec = static_cast<time_t>(model::g_kernel.now / 1'000'000'000);
  time->tv_nsec = static_cast<long>(model::g_kernel.now % 1'000'000'000);
  return 0;
}
