// SPDX-License-Identifier: Apache-2.0
// A descriptor that goes to another process is no longer ours alone: by sendmsg (child_process's send(), cluster's
// primary), or inherited (child_process, options.stdio), of which JavaScript tells us.
#include <string.h>

#include "connects.h"
#include "libc.h"

namespace fastsocket::seam {

void share(Loop& loop, int fd) {
  Handle* handle = Handles::known(fd);
  if (handle == nullptr) return;
  Listener* listener = loop.listenerOf(fd);
  if (listener != nullptr) {
    // the other accepts, too: what it has not said of TCP_NODELAY must not come from here
    listener->own = false;
    listener->batch = 1;
    shareListener(*listener);
  } else if (handle->kind == Kind::kOwn || handle->kind == Kind::kStream) {
    if (handle->has(kPortless)) bindNow(*handle, fd);
    Handles::forget(fd);
  } else if (handle->kind == Kind::kConnected) {
    // it stays open when we close it
    lost(loop, *handle);
    Handles::forget(fd);
  } else if (handle->has(kFresh)) {
    // before the other one asks for something that the end of our turn would take back
    for (int i = loop.freshCount - 1; i >= 0; i--) {
      if (loop.fresh[i].fd != fd) continue;
      endInheritance(loop, loop.fresh[i], *handle);
      break;
    }
    handle->clear(kFresh | kKnown | kNoDelay);
  }
}

void sharing(Loop& loop, const msghdr& message) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(const_cast<msghdr*>(&message), part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd = -1;
      memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      share(loop, fd);
    }
  }
}

}  // namespace fastsocket::seam
