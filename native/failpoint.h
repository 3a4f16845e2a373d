// SPDX-License-Identifier: Apache-2.0
// Named places at which a test stops, delays, ends or fails whoever comes there, so that an interleaving comes every
// time. Nothing of it is in the published addon (scripts/native.mjs, checkBinary).
#pragma once

#ifndef FASTSOCKET_FAILPOINTS

#define FAILPOINT(name) static_cast<void>(0)
#define FAILING(name, call) (call)

#else

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FAILPOINT(name) static_cast<void>(::fastsocket::failpoint(name))
// The result of the call, or -1 and errno without it, where the test says so.
#define FAILING(name, call) (::fastsocket::failpoint(name) ? -1 : (call))

namespace fastsocket {

// FASTSOCKET_FAILPOINTS=<folder>:<name>=<action>@<hit>,... Whoever comes to a point that is named writes its pid into
// the folder's file of that name, once there is a file `armed` there; with a pid in it, that one alone counts. The one
// with line <hit>, counted over all processes, takes the action. note: none; stop, kill: the process gets that signal;
// hold: this thread waits until there is a file <name>.go, 20 s at most; a number: that errno. <hit> 0: whoever comes
// there takes the action, each time, armed or not, and writes nothing.
class Failpoint {
 public:
  // False where this point is not named, or nothing is armed yet.
  bool find(const char* name) {
    const char* all = getenv("FASTSOCKET_FAILPOINTS");
    const char* colon = all == nullptr ? nullptr : strchr(all, ':');
    if (colon == nullptr) return false;
    char pattern[64];
    snprintf(pattern, sizeof pattern, "%s=%%15[a-z0-9]@%%ld", name);
    const char* at = colon;
    while (at != nullptr && sscanf(at + 1, pattern, action_, &hit_) != 2) at = strchr(at + 1, ',');
    if (at == nullptr) return false;
    if (isAlways()) return true;
    const auto folder = static_cast<int>(colon - all);
    snprintf(path_, sizeof path_, "%.*s/armed", folder, all);
    if (!isMeant()) return false;
    snprintf(path_, sizeof path_, "%.*s/%s", folder, all, name);
    return true;
  }

  // Its line is the one that is meant.
  bool isHit() const {
    if (isAlways()) return true;
    char line[16];
    const int length = snprintf(line, sizeof line, "%9d\n", static_cast<int>(getpid()));
    const int fd = open(path_, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    // write(2): the offset is where the line ends, and lines of several processes do not mix
    const bool written = fd >= 0 && write(fd, line, static_cast<size_t>(length)) == length;
    const off_t end = written ? lseek(fd, 0, SEEK_CUR) : 0;
    if (fd >= 0) close(fd);
    return written && end / length == hit_;
  }

  int act() const {
    if (is("stop")) (void)raise(SIGSTOP);
    if (is("kill")) (void)raise(SIGKILL);
    if (is("hold")) hold();
    return static_cast<int>(strtol(action_, nullptr, 10));
  }

 private:
  bool isAlways() const { return hit_ == 0; }

  // It is armed, and for this process.
  bool isMeant() const {
    const int fd = open(path_, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    char pid[16] = {};
    const ssize_t length = read(fd, pid, sizeof pid - 1);
    close(fd);
    return length == 0 || strtol(pid, nullptr, 10) == getpid();
  }

  bool is(const char* action) const { return strcmp(action_, action) == 0; }

  void hold() const {
    char go[320];
    snprintf(go, sizeof go, "%s.go", path_);
    const timespec pause = {0, 500'000};
    for (int i = 0; i < 40'000 && access(go, F_OK) != 0; i++) (void)nanosleep(&pause, nullptr);
  }

  char action_[16] = {};
  long hit_ = 0;
  char path_[300] = {};
};

inline bool failpoint(const char* name) {
  const int before = errno;
  Failpoint point;
  const int error = point.find(name) && point.isHit() ? point.act() : 0;
  errno = error == 0 ? before : error;
  return error != 0;
}

}  // namespace fastsocket

#endif
