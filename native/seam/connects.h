// SPDX-License-Identifier: Apache-2.0
// connect(): from a port that is known to be free towards its destination, where the kernel would search for one.
#pragma once

#include "bound.h"
#include "destinations.h"
#include "loop.h"
#include "survey.h"

namespace fastsocket::seam {

// What an operator says of source ports (Documentation/networking/ip-sysctl.rst).
struct LocalPorts {
  // net.ipv4.ip_local_port_range without ip_local_reserved_ports.
  PortMask allowed;
  uint16_t low;
  uint16_t high;
  // net.ipv4.tcp_tw_reuse. 1: connect() may take a port that rests in TIME_WAIT; 2: on loopback.
  int timeWaitReuse;

  // Of this thread's network namespace. False where it cannot be read; nothing has changed then.
  bool read();
};

// Numbers that nobody can foretell: who could guess the port could forge packets of the connection (RFC 6056).
class Random {
 public:
  // False where the kernel has none (getrandom(2)).
  bool next(uint32_t* number);

 private:
  uint32_t pool_[32];
  int left_ = 0;
};

// Of one loop.
struct Connects {
  Destinations destinations;
  LocalPorts local;
  // Which of them are this core's.
  PortMask share;
  // The core, -1 where the thread is pinned to none.
  int core;
  Random random;
  Survey survey;
  // When the settings were last read, in ms; whether they could be.
  uint32_t readAt;
  bool wasRead;
  bool usable;
  // Why ports are not chosen here: an errno of setsockopt(IP_LOCAL_PORT_RANGE), or of reading the settings. 0: they
  // are.
  int refused;
  // The kernel has no IP_LOCAL_PORT_RANGE: ports are bound.
  bool binds;
  // nullptr until a port is bound for the first time.
  Bound* bound;
  // So many may be.
  int mostBound;

  static Connects* make();
  static void destroy(Connects* connects);
};

// In place of the calls; `handle` is of fd, in the loop's thread.
int connectFrom(Loop& loop, Handle& handle, int fd, const sockaddr* address, socklen_t length);
// Of one that has a port from here: it asks how that went, or the first was refused and it is connected anew, from a
// port of the kernel's choice.
int connectAgain(Loop& loop, Handle& handle, int fd, const sockaddr* address, socklen_t length);
int bindOn(Loop& loop, Handle& handle, int fd, const sockaddr* address, socklen_t length);
// A port, where bindOn() has left that for later. Where there is none it stays as it was.
void bindNow(Handle& handle, int fd);

// A FIN of ours is next: who has sent one first keeps the port in TIME_WAIT. False where that cannot be told.
bool ending(Loop& loop, Handle& handle, int fd);
// The socket is closed next: its port is free, or will be.
void disconnecting(Loop& loop, Handle& handle, int fd);
// The descriptor has gone to another process, or was closed where nobody saw how.
void lost(Loop& loop, const Handle& handle);
// The number is another file's, and nobody saw its last one closed.
void forget(Loop* loop, int fd);

}  // namespace fastsocket::seam
