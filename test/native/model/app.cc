// SPDX-License-Identifier: Apache-2.0
#include "app.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/syscall.h>

#include "check.h"

namespace model {

using fastsocket::seam::Handle;
using fastsocket::seam::Handles;
using HandleKind = fastsocket::seam::Kind;

App::App(Uv::Kind kind, fastsocket::seam::Loop& loop)
    : Uv(kind),
      loop_(loop),
      thread_(static_cast<fastsocket::seam::Loop*>(calloc(1, sizeof(fastsocket::seam::Loop))), free) {
  thread_->epoll = -1;
  thread_->id = 1;
  thread_->ring.fd = -1;
  thread_->pieces = 15;
}

std::vector<int> App::numbers() const {
  std::vector<int> list;
  for (const auto& [fd, stream] : streams) list.push_back(fd);
  return list;
}

bool App::isEmpty() const {
  for (const auto& [fd, stream] : streams)
    if (!stream.server || stream.acceptedFd >= 0) return false;
  return true;
}

// A listening socket of every origin.
void App::listen(How how) {
  if (g_kernel.full()) return;
  int fd = -1;
  bool own = false;
  if (how == How::kBound || how == How::kUnix) {
    fd = g_calls.socket(how == How::kUnix ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
    CHECK(g_calls.bind(fd, nullptr, 0) == 0);
    own = how == How::kBound;
  } else if (how == How::kGroup) {
    // native/sockets.cc makes it, lib/ says that it is ours
    // (native/seam/seam.cc, jsOwn)
    fd = g_kernel.add(Type::kSocket);
    *Handles::at(fd) = {};
    Handles::at(fd)->kind = HandleKind::kOwn;
    own = true;
    if (chance(30)) {
      // a worker before us had it, and its children from before and after it
      // had asked for TCP_NODELAY wait
      File& file = *g_kernel.at(fd);
      file.noDelay = true;
      for (int i = upTo(20); i > 0; i--, came++) file.queue.push_back({chance(70), false});
      for (int i = upTo(20); i > 0; i--, came++) file.queue.push_back({chance(70), true});
    }
  } else {
    // by SCM_RIGHTS, or a duplicate: the number is nobody's socket(2)
    auto file = std::make_shared<File>();
    if (how == How::kShared) {
      file->noDelay = chance(50);
      file->foreign = !losesRemovals();
      file->numbers = file->foreign ? 1 : 0;
      foreign_.push_back(file);
      for (int i = chance(20) ? upTo(600) : upTo(20); i > 0; i--, came++)
        file->queue.push_back({chance(70), chance(50)});
    } else {
      if (losesRemovals()) return;
      for (auto& [number, stream] : streams)
        if (stream.server && stream.own && stream.noDelay && !stream.meddled && stream.acceptedFd < 0 && chance(50)) {
          file = g_kernel.files.at(number);
          stream.fixed = true;
          break;
        }
      if (file->numbers == 0) return;
    }
    file->type = Type::kListener;
    fd = g_kernel.add(file);
    // what an addon has closed and was our own would be taken for this one,
    // which others accept from, too: nobody can tell
    const HandleKind before = Handles::at(fd)->kind;
    if (before == HandleKind::kListener || before == HandleKind::kOwn) {
      lose(fd);
      return g_kernel.close(fd);
    }
  }
  CHECK(g_calls.listen(fd, 511) == 0);
  if (how == How::kUnix)
    CHECK(loop_.listenerOf(fd) == nullptr);
  else
    CHECK(loop_.listenerOf(fd) != nullptr || streams.size() >= fastsocket::seam::kMostListeners);
  if (chance(groups)) fastsocket::seam::mayStealFrom(loop_, fd, 1);
  Stream& server = open(fd, true);
  server.own = own;
  server.noDelay = how == How::kTwin || chance(70);
  server.fixed = how == How::kTwin || how == How::kUnix;
  if (how == How::kUnix) server.noDelay = false;
  if (own && chance(10)) {
    server.fixed = server.meddled = server.inherited = true;
    say(server, true);
    server.asked = false;
  }
  start(server, EPOLLIN);
}

void App::listenSomehow() {
  static const How kList[] = {How::kBound, How::kBound,  How::kBound, How::kGroup, How::kGroup,
                              How::kGroup, How::kShared, How::kTwin,  How::kUnix};
  listen(kList[g_dice() % 9]);
}

void App::arrive(int most) {
  for (auto& [fd, stream] : streams) {
    if (!stream.server || chance(50)) continue;
    File& file = *g_kernel.at(fd);
    for (int n = upTo(most); n > 0; n--, came++) file.queue.push_back({chance(70), file.noDelay});
  }
}

// uv_tcp_nodelay
void App::say(Stream& stream, bool on) {
  const int value = on ? 1 : 0;
  saying_ = stream.server;
  CHECK(g_calls.setsockopt(stream.fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value) == 0);
  saying_ = false;
  stream.asked = true;
  if (!stream.server) stream.noDelay = on;
}

// What plain Node would have: its own listeners never have TCP_NODELAY, so that
// a child has it if somebody said so.
void App::expect(Stream& stream, const Stream& server, bool madeWith) {
  const auto* listener = loop_.listenerOf(server.fd);
  const bool served = loop_.uses(fastsocket::seam::kInheritNoDelay) && listener != nullptr && listener->own;
  stream.noDelay = served && !server.inherited ? false : madeWith;
  stream.anyNoDelay = server.meddled && !server.inherited;
}

void App::write(Stream& stream) {
  const File& file = *g_kernel.at(stream.fd);
  if (!file.full) return;
  stream.writes++;
  start(stream, EPOLLOUT);  // src/unix/stream.c, uv_write2
}

// src/unix/stream.c, uv__try_write
void App::send(int fd) {
  const std::shared_ptr<File> file = g_kernel.files.at(fd);
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof fd)] = {};
  msghdr message = {};
  message.msg_control = room;
  message.msg_controllen = sizeof room;
  cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(part), &fd, sizeof fd);
  saying_ = true;
  CHECK(g_calls.sendmsg(1, &message, 0) == 1);
  saying_ = false;
  file->numbers++;
  file->foreign = true;
  foreign_.push_back(file);
}

// The other process says at once what it wants, if anything; that stays.
void App::sendConnection(Stream& stream) {
  send(stream.fd);
  if (chance(50)) return;
  const bool on = chance(50);
  g_kernel.at(stream.fd)->noDelay = on;
  stream.noDelay = on;
  stream.asked = true;
  stream.anyNoDelay = false;
}

// Both accept from now on, and the other one finds nothing that it has not
// said.
void App::sendServer(Stream& server) {
  send(server.fd);
  server.own = false;
  File& file = *g_kernel.at(server.fd);
  CHECK(!file.noDelay || server.meddled || loop_.listenerOf(server.fd) == nullptr);
  if (chance(50)) file.noDelay = !file.noDelay;
}

// lib/net.js, onconnection
void App::welcome(Stream& server) {
  const bool madeWith = g_kernel.at(server.acceptedFd)->noDelay;
  const bool tcp = g_kernel.at(server.fd)->tcp;
  const Stream from = server;
  Stream& stream = *at(take(server));
  const int fd = stream.fd;
  expect(stream, from, madeWith);
  if (from.noDelay && tcp) say(stream, true);
  if (calm_ || chance(2)) g_kernel.now += 1'000;
  if (chance(1) && !calm_) {
    // an addon has taken it
    robbed_[from.fd] = turn;
    abandon(fd);
    return g_kernel.close(fd);
  }
  if (chance(5)) return close(fd);  // maxConnections
  if (tcp && chance(5)) say(stream, chance(20));
  if (chance(10)) {  // pauseOnConnect
    if (tcp && !calm_ && chance(50) && !losesRemovals()) sendConnection(*at(fd));
    return;
  }
  stream.reading = true;
  start(stream, EPOLLIN);
  if (chance(5)) write(stream);
}

void App::onConnection(Stream& server) {
  accepted++;
  if (loop_.listenerOf(server.fd) == nullptr) CHECK(Handles::known(server.acceptedFd) == nullptr);
  g_kernel.now += static_cast<uint64_t>(chance(2) ? upTo(3'000'000) : upTo(100'000));
  // nobody calls uv_accept yet
  if (!calm_ && !server.fixed && chance(3)) return;
  welcome(server);
  if (calm_) return;
  if (chance(2)) closeSomebody();
  if (chance(1)) spawnSync();
}

void App::onRead(Stream& stream, int result) {
  const int fd = stream.fd;
  g_kernel.now += static_cast<uint64_t>(upTo(50'000));
  if (calm_ || result < 0 || chance(60)) return close(fd);
  if (chance(20)) write(stream);
  if (result == 1 && chance(20)) {
    stream.reading = false;  // uv_read_stop
    stop(stream, EPOLLIN);
  }
  if (chance(3)) closeSomebody();
}

// The connections that wait go with the last descriptor of their listener, or
// another process has them.
void App::lose(int fd) {
  File& file = *g_kernel.at(fd);
  if (file.type != Type::kListener) return;
  if (file.numbers > (file.foreign ? 2 : 1)) return;
  came -= file.queue.size();
  file.queue.clear();
}

void App::closeSomebody() {
  const std::vector<int> list = numbers();
  if (list.empty()) return;
  const int fd = list[g_dice() % list.size()];
  if (at(fd)->server && !chance(20)) return;
  lose(fd);
  close(fd);
}

// An addon closes somebody by close(2), and libuv never hears of its handle
// again; the number may be anybody's from now on.
void App::steal() {
  for (const int fd : numbers()) {
    const Stream& stream = *at(fd);
    const auto* listener = loop_.listenerOf(fd);
    const bool tempting = stream.wanted == 0 || (listener != nullptr && listener->disarmed);
    if (g_kernel.at(fd)->numbers > 1 || !chance(tempting ? 20 : 5)) continue;
    const int child = stream.acceptedFd;
    robbed_[stream.from] = turn;
    if (stream.server) stolenServers++;
    lose(fd);
    abandon(fd);
    // its first read is offered all the same; if the number is accepted again
    // in that turn, it is that one's
    if (Handles::at(fd)->has(fastsocket::seam::kHeld)) stale.insert(fd);
    g_kernel.close(fd);
    if (child >= 0) closeNumber(child);
    return;
  }
}

// Another thread's loop: the handles are the same for all.
void App::listenInThread() {
  fastsocket::seam::setCurrentLoop(thread_.get());
  if (threadServers_.size() > 3) {
    // this thread's listeners are not armed again by that, but in 50 ms
    const auto shortSince = g_kernel.shortSince;
    closeNumber(threadServers_.back());
    g_kernel.shortSince = shortSince;
    threadServers_.pop_back();
  } else if (!g_kernel.full()) {
    const int fd = g_calls.socket(AF_INET, SOCK_STREAM, 0);
    CHECK(g_calls.bind(fd, nullptr, 0) == 0 && g_calls.listen(fd, 511) == 0);
    threadServers_.push_back(fd);
  }
  fastsocket::seam::setCurrentLoop(&loop_);
  for (const int fd : threadServers_) {
    const auto* listener = thread_->listenerOf(fd);
    CHECK(listener != nullptr && listener->fd == fd && !listener->disarmed);
  }
}

// uv_tcp_open of a connection that has come by SCM_RIGHTS.
void App::adopt() {
  if (g_kernel.full()) return;
  const int fd = g_kernel.add(Type::kConnection);
  const Handle& handle = *Handles::at(fd);
  // An addon has closed a listener of this number, or in this very turn a
  // connection: it would be taken for those, and TCP_NODELAY answered from
  // memory. Nobody can tell.
  if (handle.has(fastsocket::seam::kFresh) || handle.kind == HandleKind::kListener) return g_kernel.close(fd);
  g_kernel.at(fd)->sent = chance(50);
  Stream& stream = open(fd, false);
  stream.anyNoDelay = true;
  if (chance(30)) say(stream, chance(50));
  stream.reading = true;
  start(stream, EPOLLIN);
}

// A loop of its own on this thread, with its own epoll set and ring: nothing of
// it is held back.
void App::spawnSync() {
  Uv other({chance(70), chance(30), 1024});
  for (int n = 1 + upTo(3); n > 0; n--) {
    const int fd = g_kernel.add(Type::kConnection);
    g_kernel.at(fd)->tcp = false;
    g_kernel.at(fd)->sent = chance(50);
    Stream& pipe = other.open(fd, false);
    pipe.reading = true;
    other.start(pipe, EPOLLIN | (chance(30) ? EPOLLOUT : 0U));
  }
  other.flush();
  for (int n = upTo(3); n > 0; n--) {
    for (const auto& [fd, stream] : other.streams) {
      const auto& set = g_kernel.epolls.at(other.epoll());
      const auto entry = set.find({fd, g_kernel.at(fd)});
      CHECK(entry != set.end() && entry->second == stream.told);
      g_kernel.at(fd)->sent = chance(50);
    }
    for (int tries = 0; tries < 9; tries++) other.poll(0);
    for (const auto& [fd, stream] : other.streams) CHECK(!g_kernel.at(fd)->sent);
    other.flush();
  }
  other.closeLoop();
}

}  // namespace model
