// SPDX-License-Identifier: Apache-2.0
// The end of a connection: whether its port can be used again towards the same destination, and when.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "../refused.h"
#include "connects.h"
#include "libc.h"

namespace fastsocket::seam {

namespace {

// include/net/tcp.h, TCP_TIMEWAIT_LEN: 60 s, not to be changed. Timers of that length come up to 2 s late (kernel/time/
// timer.c: the longer they are, the coarser the wheel).
constexpr uint32_t kTimeWaitMs = 62'100;
// From when on connect() may take a port in TIME_WAIT where it may at all (net/ipv4/tcp_ipv4.c, tcp_twsk_unique: a
// later second; since 6.14 tcp_tw_reuse_delay, 1,000 ms by default).
constexpr uint32_t kReusedMs = 1'050;
constexpr uint32_t kMostAckMs = 1'000;
// Of the connections that the peer has ended, those whose round-trip time is asked for.
constexpr uint32_t kRttEvery = 16;

bool stateOf(int fd, tcp_info* state) {
  *state = {};
  socklen_t length = sizeof *state;
  if (g_libc.getsockopt(fd, IPPROTO_TCP, TCP_INFO, state, &length) == 0) return true;
  noteRefusal(kNoTcpInfo);
  return false;
}

uint32_t timeWaitOf(const Connects& connects, const Destination& destination) {
  const int reuse = connects.local.timeWaitReuse;
  return reuse == 1 || (reuse == 2 && destination.loopback) ? kReusedMs : kTimeWaitMs;
}

// Until the last ACK has come; on loopback it has when close() returns.
uint32_t lastAckOf(const Destination& destination) {
  if (destination.loopback) return 0;
  const uint32_t ms = 1 + destination.rttUs / 500;
  return ms < kMostAckMs ? ms : kMostAckMs;
}

// It is asked now and then; where it could not be read (TCP_INFO), next time.
bool knowsRtt(Destination& destination) {
  return destination.loopback || (destination.rttUs != 0 && ++destination.ends % kRttEvery != 0);
}

void learn(Steering& steering, uint16_t port, bool local) {
  steering.unknown.clear(port);
  if (steering.home.has(port) == local) return;
  if (local) {
    steering.home.set(port);
    steering.learnt++;
  } else {
    steering.home.clear(port);
    steering.turn.clear(port);
    steering.learnt--;
  }
}

// Where its packets came to. socket(7), SO_INCOMING_CPU.
void look(const Connects& connects, Destination& destination, const Handle& handle, int fd) {
  if (connects.core < 0 || destination.loopback) return;
  int cpu = -1;
  socklen_t length = sizeof cpu;
  if (g_libc.getsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &cpu, &length) < 0) {
    noteRefusal(kNoIncomingCpu);
    return;
  }
  if (cpu < 0) return;
  const bool local = cpu == connects.core;
  destination.looked++;
  if (local) destination.local++;
  if (handle.has(kSteered) && handle.flags >> kEpochShift == (destination.epoch & kEpochMask)) {
    destination.steeredLooked++;
    if (local) destination.steeredLocal++;
  }
  if (destination.steering != nullptr && destination.steering->learns) learn(*destination.steering, handle.port, local);
}

Destination* destinationOf(Loop& loop, const Handle& handle) {
  if (loop.connects == nullptr || handle.loop != loop.id) return nullptr;
  Destination* destination = loop.connects->destinations.at(handle.destination);
  // a number of an ended loop's with the same id
  return destination != nullptr && destination->ports.isUsed(handle.port) && destination->ports.taken() > 0
             ? destination
             : nullptr;
}

}  // namespace

bool ending(Loop& loop, Handle& handle, int fd) {
  Destination* destination = destinationOf(loop, handle);
  if (destination == nullptr || handle.has(kEnded)) return true;
  // what has been read says it, too
  if (handle.has(kPeerEnded) && knowsRtt(*destination)) {
    handle.set(kEnded);
    look(*loop.connects, *destination, handle, fd);
    return true;
  }
  tcp_info state;
  if (!stateOf(fd, &state)) return false;
  switch (state.tcpi_state) {
    // the latter three: a native addon has called shutdown(2)
    case TCP_ESTABLISHED:
    case TCP_FIN_WAIT1:
    case TCP_FIN_WAIT2:
    case TCP_CLOSING:
      handle.set(kEnded | kEndedFirst);
      break;
    case TCP_CLOSE_WAIT:
    case TCP_LAST_ACK:
      handle.set(kEnded);
      break;
    default:
      return true;
  }
  destination->rttUs = state.tcpi_rtt;
  look(*loop.connects, *destination, handle, fd);
  return true;
}

namespace {

// ms: until it is free towards its destination. boundMs: until nobody is bound to it, which lasts as long as TIME_WAIT
// does, whoever may use the port again before.
void letRest(Connects& connects, Destination& destination, const Handle& handle, uint32_t ms, uint32_t boundMs) {
  const uint32_t now = nowMs();
  // a number of an ended loop's may have had it
  if (handle.has(kBound) && connects.bound != nullptr && connects.bound->isOpen(handle.port))
    connects.bound->closed(handle.port, now, boundMs);
  destination.ports.rest(handle.port, now, ms, handle.has(kEndedFirst) && handle.has(kPeerEnded));
}

}  // namespace

void disconnecting(Loop& loop, Handle& handle, int fd) {
  Destination* destination = destinationOf(loop, handle);
  if (destination == nullptr) return;
  const bool known = handle.has(kEnded | kAborts) || ending(loop, handle, fd);
  uint32_t ms = 0;
  uint32_t boundMs = 0;
  if (handle.has(kEndedFirst) || !known) {
    ms = timeWaitOf(*loop.connects, *destination);
    boundMs = kTimeWaitMs;
  } else if (handle.has(kEnded)) {
    ms = boundMs = lastAckOf(*destination);
  }
  // neither: it was refused, reset, is given up, or is to be reset
  letRest(*loop.connects, *destination, handle, ms, boundMs);
}

void lost(Loop& loop, const Handle& handle) {
  Destination* destination = destinationOf(loop, handle);
  if (destination != nullptr) letRest(*loop.connects, *destination, handle, kTimeWaitMs, kTimeWaitMs);
}

void forget(Loop* loop, int fd) {
  if (loop != nullptr) lostNumber(*loop, fd);
  const Handle* handle = Handles::known(fd);
  if (loop != nullptr && handle != nullptr && handle->kind == Kind::kConnected) lost(*loop, *handle);
  if (handle != nullptr) closed(loop, *handle);
  Handles::forget(fd);
}

}  // namespace fastsocket::seam
