// SPDX-License-Identifier: Apache-2.0
// Which ports are in use towards a destination, whoever holds them: asked of the kernel (sock_diag(7)) by a short-lived
// thread, for it walks over all sockets of the network namespace, 1 to 4 ms.
#pragma once

#include "destinations.h"

namespace fastsocket::seam {

class Survey {
 public:
  // False where one is under way, or cannot be.
  bool start(const Endpoints& to, bool timeWaitCounts);
  // Not nullptr once, when it is done: the ports, valid until the next start(); `to` is then what was asked for.
  const PortMask* finished(Endpoints* to);
  // Nobody waits for it any more.
  void abandon();

  // What a thread does first that the pinned one has started.
  static void (*threadBegins)();

 private:
  struct Task;
  static void* run(void* task);
  static void drop(Task* task);

  Task* task_ = nullptr;
  bool taken_ = false;
  // So often in a row it has failed: a sandbox without netlink, if not a thread that had no time.
  int failures_ = 0;
};

}  // namespace fastsocket::seam
