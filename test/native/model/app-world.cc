// SPDX-License-Identifier: Apache-2.0
// What happens between two turns, and what has to be true then.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/syscall.h>

#include "app.h"
#include "check.h"

namespace model {

using fastsocket::seam::Handles;

void App::liveServer(Stream& server) {
  const int fd = server.fd;
  if (server.acceptedFd >= 0 && chance(20)) {
    welcome(server);
    return;
  }
  File& file = *g_kernel.at(fd);
  if (file.numbers > 1 && !file.queue.empty() && !server.own && chance(20)) {
    file.queue.pop_front();  // another process was faster
    came--;
  }
  if (chance(1) && streams.size() > 1) {
    lose(fd);
    return close(fd);
  }
  if (server.fixed) return;
  if (server.own && chance(1) && !losesRemovals()) sendServer(server);
  if (chance(2)) server.noDelay = !server.noDelay;
  if (chance(1)) {
    server.meddled = true;
    say(server, chance(50));
  }
}

void App::liveConnection(Stream& stream) {
  File& file = *g_kernel.at(stream.fd);
  if (chance(talk)) file.sent = true;
  if (chance(3)) file.ended = true;
  if (chance(1)) file.reset = true;
  if (chance(5)) file.full = !file.full;
  if (chance(5) && !stream.reading && !file.ended && !file.reset) {
    stream.reading = true;
    start(stream, EPOLLIN);
  }
  if (chance(5)) write(stream);
  if (chance(2) && stream.reading) {
    stream.reading = false;
    stop(stream, EPOLLIN);
  }
  if (chance(2) && file.tcp) say(stream, chance(50));
  if (chance(1) && file.numbers == 1 && !losesRemovals()) {
    // sent to another process, which keeps it
    file.numbers = 2;
    foreign_.push_back(g_kernel.files.at(stream.fd));
  }
  if (chance(2)) close(stream.fd);
}

void App::live() {
  for (const int fd : numbers()) {
    Stream* stream = at(fd);
    if (stream->server)
      liveServer(*stream);
    else
      liveConnection(*stream);
  }
  if (chance(thefts)) steal();
  if (chance(2)) adopt();
  if (chance(3)) listenInThread();
  if (chance(3)) listenSomehow();
  if (chance(2)) spawnSync();
  if (chance(5) && !g_kernel.full()) native_.push_back(g_kernel.add(Type::kOther));
  if (chance(8) && !native_.empty()) {
    g_kernel.close(native_.back());
    native_.pop_back();
  }
}

void App::calm() {
  calm_ = true;
  for (const int fd : native_) g_kernel.close(fd);
  native_.clear();
  for (const int fd : numbers()) {
    Stream* stream = at(fd);
    if (stream == nullptr) continue;
    if (stream->server) {
      if (stream->acceptedFd >= 0) welcome(*stream);
      continue;
    }
    File& file = *g_kernel.at(fd);
    file.full = false;
    file.sent = true;
    if (stream->reading) continue;
    if (file.ended || file.reset) {
      close(fd);
      continue;
    }
    stream->reading = true;
    start(*stream, EPOLLIN);
  }
}

void App::dropStale() {
  for (auto fd = stale.begin(); fd != stale.end();)
    fd = Handles::at(*fd)->has(fastsocket::seam::kHeld) ? std::next(fd) : stale.erase(fd);
}

void App::checkWait(int timeout) {
  int disarmed = 0;
  for (int i = 0; i < loop_.listenerCount; i++) disarmed += loop_.listeners[i].disarmed ? 1 : 0;
  CHECK(disarmed == loop_.disarmedCount);
  const auto& set = g_kernel.epolls.at(epoll());
  for (const auto& [fd, stream] : streams) {
    if (!stream.server && !stream.anyNoDelay) CHECK(g_kernel.at(fd)->noDelay == stream.noDelay);
    if (!stream.server && stream.anyNoDelay && stream.asked) CHECK(g_kernel.at(fd)->noDelay == stream.noDelay);
    if (stream.told == 0) continue;
    const auto entry = set.find({fd, g_kernel.at(fd)});
    const auto* listener = loop_.listenerOf(fd);
    if (entry != set.end() && entry->second == stream.told) {
      // armed by libuv's ring, which is not served here: the seam has not seen it
      CHECK(listener == nullptr || !listener->disarmed || (hasRing() && loop_.ring.fd == -1));
      continue;
    }
    const auto* held = loop_.heldOf(fd);
    if (held != nullptr) {
      CHECK(Handles::at(fd)->has(fastsocket::seam::kHeld));
      CHECK(entry == set.end() && held->events == EPOLLIN && stream.told == EPOLLIN);
      CHECK(timeout == 0);  // somebody waits for a first read
      continue;
    }
    CHECK(listener != nullptr && listener->disarmed);
    CHECK(entry != set.end() && entry->second == 0);
    CHECK(timeout >= 0 && timeout <= 51);
    // armed again at a close
    CHECK(listener->leaves || !g_kernel.shortSince.empty() || stolenServers > 0);
  }
}

// A connection of which nobody has said anything is what turns its listener's
// TCP_NODELAY off.
void App::checkTurnedOff(int fd) {
  const auto robbed = robbed_.find(fd);
  if (saying_ || (robbed != robbed_.end() && robbed->second + 1 >= turn)) return;
  const Stream* server = at(fd);
  CHECK(server != nullptr);
  bool cause = server->acceptedFd >= 0;
  for (const auto& [number, stream] : streams)
    cause = cause || (stream.from == fd && !stream.asked && stream.since + 1 >= turn);
  CHECK(cause);
}

int App::mostAccepted(int fd) {
  if (g_kernel.slowBefore) return 1;
  const Stream& server = streams.at(fd);
  const bool batches = server.own && loop_.uses(fastsocket::seam::kBatch) && loop_.listenerOf(fd) != nullptr;
  return batches ? loop_.limits.batch : 1;
}

}  // namespace model
