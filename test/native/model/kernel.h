// SPDX-License-Identifier: Apache-2.0
// A small kernel: descriptors, listening sockets with queues, connections,
// epoll, io_uring as far as libuv uses it. It stands where libc stands for the
// seam (native/seam/libc.h), and checks what reaches it.
#pragma once

#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/epoll.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace model {

enum class Type { kSocket, kListener, kConnection, kEpoll, kRing, kOther };

// A connection in a queue. Whether it has TCP_NODELAY is settled when it is
// made, at the end of its handshake.
struct Client {
  bool sent;
  bool noDelay;
};

// io_uring's shared memory, and the head that the kernel keeps for itself
// (io_uring/io_uring.c, io_get_sqe: ctx->cached_sq_head).
struct Ring {
  uint32_t entries = 0;
  io_uring_params params = {};
  char* memory = nullptr;
  size_t memoryLength = 0;
  io_uring_sqe* requests = nullptr;
  size_t requestsLength = 0;
  uint32_t ownHead = 0;
  uint32_t* at(uint32_t offset) const { return reinterpret_cast<uint32_t*>(memory + offset); }
  ~Ring();
};

struct File;

// One message of a channel, and the file that comes with it, if any.
struct Message {
  std::vector<char> bytes;
  std::shared_ptr<File> file;
};

// An open file description.
struct File {
  Type type = Type::kOther;
  bool tcp = true;
  bool noDelay = false;
  // listener
  std::deque<Client> queue;
  // connection: what the peer has done, and whether the send buffer is full
  bool sent = false;
  bool ended = false;
  bool reset = false;
  bool full = false;
  // channel: what has come, and whether the other end has gone; eventfd: how
  // often it has been written to
  std::deque<Message> messages;
  bool hungUp = false;
  int written = 0;
  // how many descriptors stand for it; one of them is another process's
  int numbers = 0;
  bool foreign = false;
  std::unique_ptr<Ring> ring;

  [[nodiscard]] uint32_t ready() const;
};

struct Kernel {
  std::map<int, std::shared_ptr<File>> files;
  // epoll(7), Q6: what is registered is the pair of a number and an open file
  // description
  std::map<int, std::map<std::pair<int, File*>, uint32_t>> epolls;
  size_t limit = 1024;
  uint64_t now = 1;

  // Of the loop that has the seam.
  int epoll = -1;
  // Listeners that have been told of a shortage, until something is closed or
  // time has passed.
  std::map<int, uint64_t> shortSince;
  // In this turn: since when, which listener has accepted how many, who was
  // found empty, who has told libuv of a shortage (src/unix/stream.c,
  // uv__emfile_trick: no bounds then).
  uint64_t turnBegan = 0;
  bool slowBefore = false;
  std::map<int, int> accepted;
  std::set<int> dry;
  std::set<int> loose;
  // Of rings.
  int mappings = 0;

  // Set by the rounds: what may go wrong, who looks at each wait, what a
  // listener may do in a turn.
  bool additionsMayFail = false;
  bool additionsFail = false;
  bool mappingsFail = false;
  bool ringsFail = false;
  // An errno.
  int receivingFails = 0;
  bool shedding = false;
  // Nothing goes wrong by chance.
  bool faultless = false;
  std::function<void(int timeout)> waiting;
  std::function<void()> idle;
  // A listener loses TCP_NODELAY, and nobody has said so.
  std::function<void(int fd)> turnedOff;
  // Somebody has been told of which protocol this number is, and does not know it yet.
  std::function<void(int fd)> asked;
  std::function<int(int fd)> mostAccepted;
  std::function<bool(int fd)> isKnown;
  std::function<bool(int fd)> shortageIsHidden;
  // Hidden for now, until it is known whether the loop sleeps.
  std::function<bool(int fd)> shortageIsDoubted;
  uint64_t turnNs = 0;

  [[nodiscard]] File* at(int fd) const;
  int add(std::shared_ptr<File> file);
  int add(Type type);
  // close(2) as everybody but libuv calls it: the seam sees nothing.
  void close(int fd);
  bool full() const { return files.size() >= limit; }
};

extern Kernel g_kernel;

// Puts the kernel into g_libc, at the program's start.
void installKernel();

int fail(int error);
int control(int epoll, int operation, int fd, epoll_event* event);
long setupRing(uint32_t entries, io_uring_params* params);
long enterRing(int fd, unsigned submit, unsigned complete, unsigned flags);

}  // namespace model
