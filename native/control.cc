// SPDX-License-Identifier: Apache-2.0
// The control channel between origin and worker: a pair of SOCK_SEQPACKET sockets, so that a message arrives whole, and
// the end of the peer is seen. unix(7), cmsg(3).
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "clock.h"
#include "message.h"
#include "napi_help.h"
#include "seam/loop.h"

namespace fastsocket {

void Message::closeFds() {
  for (size_t i = 0; i < fdCount_; i++) close(fds_[i]);
  fdCount_ = 0;
}

int Message::receive(int sock) {
  if (!text_.valid()) return -ENOMEM;
  closeFds();
  length_ = 0;
  iovec part = {text_.data(), kLongestText};
  alignas(cmsghdr) unsigned char control[CMSG_SPACE(sizeof(int) * kMostFds)] = {};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t received = 0;
  do {
    received = recvmsg(sock, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    // ECONNRESET: the peer closed with unread messages of ours. It is reported once and before what the peer has sent
    // (net/unix/af_unix.c, unix_release_sock; net/core/datagram.c), so look again: that is still to be read.
  } while (received < 0 && (errno == EINTR || errno == ECONNRESET));
  if (received < 0) return -errno;
  length_ = static_cast<size_t>(received);
  for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count && fdCount_ < kMostFds; i++)
      memcpy(&fds_[fdCount_++], CMSG_DATA(item) + i * sizeof(int), sizeof(int));
  }
  if ((header.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) == 0) return static_cast<int>(received);
  closeFds();
  return -EMSGSIZE;
}

namespace {

napi_value makePair(napi_env env, int type) {
  int ends[2] = {-1, -1};
  if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) < 0) return number(env, -errno);
  Fd first(ends[0]);
  Fd second(ends[1]);
  napi_value result = numbers(env, ends, 2);
  if (result == nullptr) return nullptr;
  first.release();
  second.release();
  return result;
}

napi_value jsPair(napi_env env, napi_callback_info info) {
  Args args(env, info);
  return args.ok() ? makePair(env, SOCK_SEQPACKET) : nullptr;
}

// For Node's channel between processes: it passes on what libuv knows, and that is streams (src/unix/core.c,
// uv__guess_handle).
napi_value jsStreamPair(napi_env env, napi_callback_info info) {
  Args args(env, info);
  return args.ok() ? makePair(env, SOCK_STREAM) : nullptr;
}

int sendMessage(int sock, Buffer<char>& text, const Buffer<int>& fds) {
  const size_t length = text.size() - 1;
  // an empty message could not be told from the end of the channel
  if (length == 0) return -EINVAL;
  if (length > kLongestText || fds.size() > kMostFds) return -EMSGSIZE;
  iovec part = {text.data(), length};
  alignas(cmsghdr) unsigned char control[CMSG_SPACE(sizeof(int) * kMostFds)] = {};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (fds.size() > 0) {
    const size_t bytes = sizeof(int) * fds.size();
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* item = CMSG_FIRSTHDR(&header);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(item), fds.data(), bytes);
  }
  seam::Loop* loop = seam::currentLoop();
  if (loop != nullptr && header.msg_control != nullptr) seam::sharing(*loop, header);
  ssize_t sent = 0;
  do {
    sent = sendmsg(sock, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  return orErrno(static_cast<int>(sent));
}

napi_value jsSend(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int sock = args.integer(0);
  Buffer<char> text = args.text(1);
  const Buffer<int> fds = args.integers(2);
  if (!args.ok()) return nullptr;
  return number(env, sendMessage(sock, text, fds));
}

int receiveWithin(Message* message, int sock, int waitMs) {
  const int64_t end = nowMs() + waitMs;
  for (;;) {
    const int result = message->receive(sock);
    const int64_t left = end - nowMs();
    if (result != -EAGAIN || left <= 0) return result;
    pollfd waiting = {sock, POLLIN, 0};
    // 0: time over, one last look. EINTR: again with what is left.
    if (poll(&waiting, 1, static_cast<int>(left)) < 0 && errno != EINTR) return -errno;
  }
}

napi_value jsReceive(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int sock = args.integer(0);
  const int waitMs = args.integer(1);
  if (!args.ok()) return nullptr;
  Message message;
  const int result = receiveWithin(&message, sock, waitMs);
  if (result <= 0) return number(env, result);
  napi_value object = nullptr;
  napi_value text = nullptr;
  napi_value fds = numbers(env, message.fds(), message.fdCount());
  if (fds == nullptr || napi_create_object(env, &object) != napi_ok ||
      napi_create_string_utf8(env, message.text(), message.length(), &text) != napi_ok ||
      napi_set_named_property(env, object, "text", text) != napi_ok ||
      napi_set_named_property(env, object, "fds", fds) != napi_ok)
    return nullptr;
  message.releaseFds();
  return object;
}

napi_value jsPeerPid(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int sock = args.integer(0);
  if (!args.ok()) return nullptr;
  ucred peer = {};
  socklen_t length = sizeof peer;
  if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return number(env, -errno);
  return number(env, peer.pid);
}

}  // namespace

bool exportControl(napi_env env, napi_value exports) {
  static const Export kTable[] = {
      {"pair", jsPair}, {"streamPair", jsStreamPair}, {"send", jsSend}, {"receive", jsReceive}, {"peerPid", jsPeerPid},
  };
  return defineAll(env, exports, kTable);
}

}  // namespace fastsocket
