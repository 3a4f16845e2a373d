// SPDX-License-Identifier: Apache-2.0
// One message of the control channel: text and file descriptors.
#pragma once

#include <stddef.h>

#include "memory.h"

namespace fastsocket {

constexpr size_t kLongestText = 65536;
// The kernel takes 253 in one message (include/net/scm.h, SCM_MAX_FD).
constexpr size_t kMostFds = 253;

// Owns the descriptors that came with it until releaseFds().
class Message {
 public:
  Message() = default;
  ~Message() { closeFds(); }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  Message(Message&&) = delete;
  Message& operator=(Message&&) = delete;

  // Takes the next message without waiting: the length of its text, 0 when the peer has closed, or -EAGAIN and other
  // negative errno numbers. -EMSGSIZE: it came incomplete (no room for its descriptors below RLIMIT_NOFILE, or longer
  // than kLongestText); what came of the descriptors is closed, the text can be read.
  int receive(int sock);

  [[nodiscard]] const char* text() const { return text_.data(); }
  [[nodiscard]] size_t length() const { return length_; }
  [[nodiscard]] const int* fds() const { return fds_; }
  [[nodiscard]] size_t fdCount() const { return fdCount_; }
  void releaseFds() { fdCount_ = 0; }
  void closeFds();

 private:
  Buffer<char> text_{kLongestText};
  size_t length_ = 0;
  int fds_[kMostFds] = {};
  size_t fdCount_ = 0;
};

}  // namespace fastsocket
