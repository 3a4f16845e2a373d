// SPDX-License-Identifier: Apache-2.0
// What happens to descriptors beside connect(): to other processes and from them, by addons, by accept().
#include <string.h>
#include <sys/epoll.h>

#include <algorithm>

#include "calls.h"
#include "check.h"
#include "client.h"

namespace model {

using fastsocket::seam::Handle;
using fastsocket::seam::Handles;
using HandleKind = fastsocket::seam::Kind;

// A native addon closes it by close(2).
void Client::steal(int fd) {
  const auto booking = bookings_.find(fd);
  if (booking != bookings_.end()) booking->second.lost = true;
  // the next one of its number may be closed in its place
  g_net.at(fd)->ours = false;
  g_net.close(fd);
  fds_.erase(std::find(fds_.begin(), fds_.end(), fd));
}

// To another process, by SCM_RIGHTS.
void Client::share(int fd) {
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof fd)] = {};
  msghdr message = {};
  message.msg_control = room;
  message.msg_controllen = sizeof room;
  cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(part), &fd, sizeof fd);
  const Socket& socket = *g_net.at(fd);
  const bool portless = Handles::at(fd)->has(fastsocket::seam::kPortless) && g_net.canBind(socket);
  CHECK(g_calls.sendmsg(1, &message, 0) == 1);
  // the other one finds what bind() would have left
  if (portless) CHECK(socket.port != 0 && !socket.noPort);
  forgetNumber(fd);
  const Handle* handle = Handles::known(fd);
  CHECK(handle == nullptr || handle->kind == HandleKind::kListener || handle->kind == HandleKind::kAccepted);
  shared_.push_back(g_net.files.at(fd));
  shared_.back()->numbers++;
  shared_.back()->foreign = true;
  shared_.back()->ours = false;
}

// A number that nobody saw made: from another process, or an addon's.
void Client::adopt() {
  auto made = std::make_shared<Socket>();
  const int fd = g_net.add(made);
  const HandleKind before = Handles::at(fd)->kind;
  if (before != HandleKind::kUnknown && before != HandleKind::kConnected) return g_net.close(fd);  // nobody can tell
  fds_.push_back(fd);
  if (chance(50)) {
    made->life = chance(50) ? Life::kEstablished : Life::kCloseWait;
    made->port = 1;
    made->foreign = true;
  } else if (chance(50)) {
    CHECK((g_calls.listen(fd, 511) == 0) == (made->life == Life::kListen));
    if (made->life == Life::kListen) forgetNumber(fd);
  } else {
    made->tcp = false;
    made->foreign = true;
  }
}

// As libuv does when a listener has an event.
void Client::accepts() {
  for (const int fd : fds_) {
    if (g_net.at(fd)->life != Life::kListen) continue;
    epoll_event events[1024];
    (void)g_calls.epoll_pwait(loop_.epoll, events, 1024, 0, nullptr);
    const int made = g_calls.accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(made >= 0);
    forgetNumber(made);
    fds_.push_back(made);
    return;
  }
}

}  // namespace model
