// SPDX-License-Identifier: Apache-2.0
#include "uv.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include <algorithm>

#include "../../../native/seam/handles.h"
#include "check.h"
#include "kernel.h"

namespace model {

void closeNumber(int fd) {
  CHECK(g_calls.syscall(SYS_close, fd, 0, 0, 0, 0, 0) == 0);
  CHECK(fastsocket::seam::Handles::known(fd) == nullptr);
  // there is room again
  g_kernel.shortSince.clear();
}

Uv::Uv(Kind kind) : kind_(kind), events_(static_cast<size_t>(kind.room)) {
  epoll_ = g_kernel.add(Type::kEpoll);
  g_kernel.epolls[epoll_];
  if (kind.ring) initRing();
  reserve_ = g_kernel.add(Type::kOther);
}

Stream* Uv::at(int fd) {
  const auto found = streams.find(fd);
  return found == streams.end() ? nullptr : &found->second;
}

Stream& Uv::open(int fd, bool server) {
  CHECK(at(fd) == nullptr);
  Stream& stream = streams[fd];
  stream.fd = fd;
  stream.id = ++lastId_;
  stream.server = server;
  stream.since = turn;
  return stream;
}

// src/unix/core.c, uv__io_start
void Uv::start(Stream& stream, uint32_t events) {
  stream.wanted |= events;
  if (stream.told == stream.wanted || stream.queued) return;
  stream.queued = true;
  queue_.push_back(stream.fd);
}

// src/unix/core.c, uv__io_stop: nobody is told; the kernel is when an event
// comes for nobody
void Uv::stop(Stream& stream, uint32_t events) {
  stream.wanted &= ~events;
  if (stream.wanted == 0) {
    if (stream.queued) queue_.erase(std::find(queue_.begin(), queue_.end(), stream.fd));
    stream.queued = false;
    stream.told = 0;
  } else if (!stream.queued) {
    stream.queued = true;
    queue_.push_back(stream.fd);
  }
}

// src/unix/linux.c, uv__platform_invalidate_fd: since 1.49 at once
void Uv::remove(int fd, epoll_event& event) {
  if (kind_.queuesRemovals && dealt_ >= 0)
    prepare(EPOLL_CTL_DEL, fd, event);
  else
    g_calls.epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, &event);
}

// src/unix/stream.c, uv__stream_close; src/unix/core.c, uv__io_close, uv__close
void Uv::close(int fd) {
  Stream& stream = streams.at(fd);
  stop(stream, EPOLLIN | EPOLLOUT);
  for (int i = 0; i < dealt_; i++)
    if (events_[static_cast<size_t>(i)].data.fd == fd) events_[static_cast<size_t>(i)].data.fd = -1;
  epoll_event none = {};
  none.data.fd = 0;
  remove(fd, none);
  // a copy of it that somebody else has would bring events for ever
  const std::pair<int, File*> key = {fd, g_kernel.at(fd)};
  CHECK(key.second->numbers == 1 || g_kernel.epolls.at(epoll_).count(key) == 0);
  closeNumber(fd);
  if (stream.acceptedFd >= 0) closeNumber(stream.acceptedFd);
  streams.erase(fd);
}

void Uv::abandon(int fd) {
  stop(streams.at(fd), EPOLLIN | EPOLLOUT);
  for (int i = 0; i < dealt_; i++)
    if (events_[static_cast<size_t>(i)].data.fd == fd) events_[static_cast<size_t>(i)].data.fd = -1;
  streams.erase(fd);
}

int Uv::take(Stream& server) {
  const int fd = server.acceptedFd;
  CHECK(fd >= 0);
  server.acceptedFd = -1;
  start(server, EPOLLIN);
  open(fd, false).from = server.fd;
  return fd;
}

// src/unix/linux.c, the head of uv__io_poll
void Uv::flush() {
  while (!queue_.empty()) {
    const int fd = queue_.front();
    queue_.pop_front();
    Stream& stream = streams.at(fd);
    stream.queued = false;
    const int operation = stream.told == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    stream.told = stream.wanted;
    epoll_event event = {};
    event.events = stream.wanted;
    event.data.fd = fd;
    prepare(operation, fd, event);
  }
  flushRing();
}

// src/unix/linux.c, uv__io_poll
void Uv::poll(int timeout) {
  turn++;
  flush();
  const uint64_t base = g_kernel.now;
  // UV_METRICS_IDLE_TIME: without sleeping first
  int left = 0;
  bool first = true;
  int interrupted = 0;
  for (int polls = 48;;) {
    flushRing();
    const int room = static_cast<int>(events_.size());
    g_kernel.additionsFail = g_kernel.additionsMayFail && epoll_ == g_kernel.epoll && room > 512;
    const int count = g_calls.epoll_pwait(epoll_, events_.data(), room, left, nullptr);
    const int error = errno;
    g_kernel.additionsFail = false;
    CHECK(count <= room);
    if (count < 0) CHECK(error == EINTR || error == EINVAL);
    CHECK(count != 0 || left != -1);  // uv__io_poll: unlimited timeout should
                                      // only return with events or signal
    if (count <= 0 && first && timeout != 0) {
      first = false;
      left = timeout;
      continue;
    }
    if (count == 0) return;
    if (count > 0) {
      dispatch(count);
      if (count < room || --polls == 0) return;
      left = 0;
      continue;
    }
    if (left == 0 || ++interrupted == 8) return;
    if (left < 0) continue;
    left = timeout - static_cast<int>((g_kernel.now - base) / 1'000'000);
    if (left <= 0) return;
  }
}

void Uv::dispatch(int count) {
  dealt_ = count;
  for (int i = 0; i < count; i++) {
    epoll_event& event = events_[static_cast<size_t>(i)];
    const int fd = event.data.fd;
    if (fd == -1) continue;
    Stream* found = at(fd);
    if (found == nullptr || found->wanted == 0) {
      if (kind_.queuesRemovals)
        prepare(EPOLL_CTL_DEL, fd, event);
      else
        g_calls.epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, &event);
      // or it would come again and again
      CHECK(losesRemovals() || g_kernel.epolls.at(epoll_).count({fd, g_kernel.at(fd)}) == 0);
      continue;
    }
    event.events &= found->wanted | EPOLLERR | EPOLLHUP;
    if (event.events == 0) continue;
    if (found->server)
      serve(*found);
    else
      stream(*found, event.events);
  }
  dealt_ = -1;
  flushRing();
}

// src/unix/stream.c, uv__server_io; src/unix/core.c, uv__accept
void Uv::serve(Stream& server) {
  CHECK(server.acceptedFd == -1);
  const int fd = server.fd;
  const unsigned id = server.id;
  int child;
  int error;
  do {
    child = g_calls.accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    error = errno;
  } while (child < 0 && error == EINTR);
  const bool isShort = error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
  // never out of descriptors
  if (child < 0 && isShort) CHECK(!g_kernel.shortageIsHidden(fd) && !g_kernel.shortageIsDoubted(fd));
  if (child < 0 && (error == EMFILE || error == ENFILE)) shedLoad(fd, error);
  if (child < 0) return;
  server.acceptedFd = child;
  onConnection(server);
  Stream* after = at(fd);
  if (after != nullptr && after->id == id && after->acceptedFd != -1) stop(*after, EPOLLIN);
}

// src/unix/stream.c, uv__emfile_trick
void Uv::shedLoad(int fd, int& error) {
  if (reserve_ < 0) return;
  closeNumber(reserve_);
  g_kernel.shedding = true;
  int child;
  do {
    child = g_calls.accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    error = errno;
    if (child < 0) continue;
    shed++;
    closeNumber(child);
  } while (child >= 0 || error == EINTR);
  g_kernel.shedding = false;
  reserve_ = g_kernel.full() ? -1 : g_kernel.add(Type::kOther);
}

// src/unix/stream.c, uv__stream_io
void Uv::stream(Stream& stream, uint32_t events) {
  const int fd = stream.fd;
  const unsigned id = stream.id;
  if ((events & (EPOLLIN | EPOLLERR)) != 0) read(fd);
  Stream* after = at(fd);
  if (after == nullptr || after->id != id) return;
  if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
  // uv__write, uv__drain
  if (!g_kernel.at(fd)->full || g_kernel.at(fd)->reset) after->writes = 0;
  if (after->writes == 0) stop(*after, EPOLLOUT);
}

// src/unix/stream.c, uv__read: the buffer is never full
void Uv::read(int fd) {
  Stream& stream = streams.at(fd);
  if (!stream.reading) return;
  CHECK(stream.since < turn || stale.count(fd) != 0);  // never in the turn of the accept
  File& file = *g_kernel.at(fd);
  if (file.reset || (!file.sent && file.ended)) {
    stream.reading = false;
    stop(stream, EPOLLIN);
    return onRead(stream, file.reset ? -1 : 0);
  }
  char byte;
  if (g_calls.read(fd, &byte, 1) < 0) return start(stream, EPOLLIN);  // EAGAIN
  file.sent = false;
  onRead(stream, 1);
}

}  // namespace model
