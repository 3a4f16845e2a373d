// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../refused.h"
#include "connects.h"

namespace fastsocket::seam {

namespace {

// Reads numbers out of a file of /proc.
class Numbers {
 public:
  explicit Numbers(const char* path) : file_(open(path, O_RDONLY | O_CLOEXEC)) {}

  [[nodiscard]] bool valid() const { return file_.valid(); }
  // The next number, and the character behind it; false at the end.
  bool next(int* number, char* behind) {
    int c = character();
    while (c >= 0 && (c < '0' || c > '9')) c = character();
    if (c < 0) return false;
    *number = 0;
    for (; c >= '0' && c <= '9'; c = character())
      if (*number <= 65535) *number = *number * 10 + (c - '0');
    *behind = c < 0 ? '\n' : static_cast<char>(c);
    return true;
  }

 private:
  int character() {
    if (at_ == length_) {
      length_ = ::read(file_.get(), buffer_, sizeof buffer_);
      at_ = 0;
      if (length_ <= 0) {
        length_ = 0;
        return -1;
      }
    }
    return static_cast<unsigned char>(buffer_[at_++]);
  }

  Fd file_;
  char buffer_[512] = {};
  ssize_t length_ = 0;
  ssize_t at_ = 0;
};

bool isPort(int number) { return number > 0 && number <= 65535; }

}  // namespace

// "32768 60999"; "" or "8080,9148-9150"; "2".
bool LocalPorts::read() {
  Numbers range("/proc/sys/net/ipv4/ip_local_port_range");
  int first = 0;
  int last = 0;
  char behind = 0;
  if (range.valid()) errno = EINVAL;  // what is in it makes no sense, unless reading fails
  if (!range.valid() || !range.next(&first, &behind) || !range.next(&last, &behind)) return false;
  if (!isPort(first) || !isPort(last) || first > last) return false;
  low = static_cast<uint16_t>(first);
  high = static_cast<uint16_t>(last);
  allowed.fill(false);
  for (int port = first; port <= last; port++) allowed.set(static_cast<uint16_t>(port));
  // a kernel without it has none (3.8 and later have it)
  Numbers reserved("/proc/sys/net/ipv4/ip_local_reserved_ports");
  while (reserved.valid() && reserved.next(&first, &behind)) {
    last = first;
    if (behind == '-' && !reserved.next(&last, &behind)) break;
    for (int port = first; port <= last && isPort(port); port++) allowed.clear(static_cast<uint16_t>(port));
  }
  Numbers reuse("/proc/sys/net/ipv4/tcp_tw_reuse");
  timeWaitReuse = 0;
  if (reuse.valid()) (void)reuse.next(&timeWaitReuse, &behind);
  return true;
}

bool Random::next(uint32_t* number) {
  if (left_ == 0) {
    // getrandom() has a wrapper only since glibc 2.25 and musl 1.1.20; GRND_NONBLOCK: early at boot there is none yet
    constexpr unsigned kNonBlocking = 1;
    if (syscall(SYS_getrandom, pool_, sizeof pool_, kNonBlocking) != static_cast<long>(sizeof pool_)) {
      noteRefusal("source ports are the kernel's: getrandom");
      return false;
    }
    left_ = static_cast<int>(sizeof pool_ / sizeof pool_[0]);
  }
  *number = pool_[--left_];
  return true;
}

}  // namespace fastsocket::seam
