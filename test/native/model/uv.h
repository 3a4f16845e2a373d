// SPDX-License-Identifier: Apache-2.0
// A small libuv: the loop's turn, its watchers, streams as far as accepting,
// reading and writing goes. Follows src/unix/linux.c, core.c and stream.c; the
// versions differ in where they say EPOLL_CTL_DEL, and in their ring.
#pragma once

#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/epoll.h>

#include <deque>
#include <map>
#include <set>
#include <vector>

#include "calls.h"

namespace model {

// src/unix/core.c, uv__close
void closeNumber(int fd);

// uv_stream_t, and its uv__io_t: `wanted` is pevents, `told` is events.
struct Stream {
  int fd = -1;
  // Streams with the same number, one after the other, are told apart.
  unsigned id = 0;
  bool server = false;
  uint32_t wanted = 0;
  uint32_t told = 0;
  bool queued = false;
  int acceptedFd = -1;
  bool reading = false;
  int writes = 0;
  // the turn in which it was opened
  uint64_t since = 0;
  // its server, if it was accepted
  int from = -1;

  // What the app has said of TCP_NODELAY; for a server, what it says of each
  // connection.
  bool noDelay = false;
  bool asked = false;
  // It is nobody's business which one it has: nobody asked, and somebody has
  // meddled with its listener.
  bool anyNoDelay = false;
  // Server: nobody else accepts from it; what it says of its connections stays;
  // somebody has said something of itself; its children are to have what it
  // has.
  bool own = false;
  bool fixed = false;
  bool meddled = false;
  bool inherited = false;
};

class Uv {
 public:
  struct Kind {
    bool ring;
    // 1.46 to 1.48: while events are dealt with, EPOLL_CTL_DEL goes by the
    // ring, too (uv__platform_invalidate_fd, uv__io_poll)
    bool queuesRemovals;
    int room;
  };

  explicit Uv(Kind kind);
  virtual ~Uv() = default;
  Uv(const Uv&) = delete;
  Uv& operator=(const Uv&) = delete;

  [[nodiscard]] int epoll() const { return epoll_; }
  [[nodiscard]] bool hasRing() const { return ring_.fd != -1; }
  std::map<int, Stream> streams;
  uint64_t turn = 0;
  // A removal by the ring comes after the close, and finds no descriptor: a
  // file that others have, too, stays in the set.
  [[nodiscard]] bool losesRemovals() const { return hasRing() && kind_.queuesRemovals; }
  // Numbers of which an event may come for somebody who has gone.
  std::set<int> stale;
  // uv__emfile_trick's
  uint64_t shed = 0;

  Stream& open(int fd, bool server);
  Stream* at(int fd);
  void start(Stream& stream, uint32_t events);
  void stop(Stream& stream, uint32_t events);
  void close(int fd);
  // uv_accept; the new stream's descriptor.
  int take(Stream& server);
  // Somebody has closed it without us: the handle is forgotten, and no call is
  // made.
  void abandon(int fd);
  void poll(int timeout);
  // Of loops that have nothing to wait for: registrations only.
  void flush();
  void closeLoop();

 protected:
  // A connection is in server.acceptedFd.
  virtual void onConnection(Stream& /*server*/) {}
  // Read: 1 something, 0 the end, -1 an error.
  virtual void onRead(Stream& /*stream*/, int /*result*/) {}

 private:
  void prepare(int operation, int fd, const epoll_event& event);
  void initRing();
  void enter();
  void flushRing();
  void dispatch(int count);
  void serve(Stream& server);
  void shedLoad(int fd, int& error);
  void stream(Stream& stream, uint32_t events);
  void read(int fd);
  void remove(int fd, epoll_event& event);

  Kind kind_;
  int epoll_;
  int reserve_;
  unsigned lastId_ = 0;
  std::deque<int> queue_;
  std::vector<epoll_event> events_;
  // how many of them are being dealt with; -1 in between (uv__invalidate, inv)
  int dealt_ = -1;

  struct {
    int fd = -1;
    io_uring_params params = {};
    char* memory = nullptr;
    size_t length = 0;
    size_t requestsLength = 0;
    io_uring_sqe* requests = nullptr;
    uint32_t* at(uint32_t offset) const { return reinterpret_cast<uint32_t*>(memory + offset); }
  } ring_;
  epoll_event prepared_[256] = {};
};

}  // namespace model
