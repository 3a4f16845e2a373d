// SPDX-License-Identifier: Apache-2.0
// The handle cache: what is known of each descriptor, by its number.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace fastsocket::seam {

enum class Kind : uint8_t {
  kUnknown,
  // Bound here, or a socket of our own group: nobody else accepts from it.
  kOwn,
  kListener,
  kAccepted,
};

// Every flag but kRegistered holds for the turn of the accept, or until the first read: a number that has become
// another file behind our back (closed by a native addon) is not taken for the old one.
enum Flag : uint8_t {
  // Accepted in this turn of the loop.
  kFresh = 1,
  // TCP_NODELAY is set, inherited or by the app.
  kNoDelay = 2,
  // The app has said what it wants of TCP_NODELAY.
  kAsked = 4,
  // libuv believes it is in the epoll set; it is not yet.
  kHeld = 8,
  // It is in the epoll set.
  kRegistered = 16,
  // Whether TCP_NODELAY is set is known.
  kKnown = 32,
  // What it has of TCP_NODELAY is the app's will, said of the listener.
  kGiven = 64,
};

struct Handle {
  Kind kind;
  uint8_t flags;
  // kListener: its loop, and its index there.
  uint8_t loop;
  uint8_t listener;

  [[nodiscard]] bool has(uint8_t some) const { return (flags & some) != 0; }
  void set(uint8_t some) { flags = static_cast<uint8_t>(flags | some); }
  void clear(uint8_t some) { flags = static_cast<uint8_t>(flags & ~some); }
};

// One array for the process, as large as RLIMIT_NOFILE may become, at most 2^20 handles (4 MiB of addresses); pages
// come when they are written. Each loop touches the handles of its own descriptors only.
class Handles {
 public:
  // Returns 0 or a negative errno. Once for the process.
  static int map();

  // nullptr where the number is out of range, or nothing is mapped.
  static Handle* at(int fd) {
    return static_cast<size_t>(static_cast<unsigned>(fd)) < g_count ? &g_table[fd] : nullptr;
  }

  // A handle with something known of it, else nullptr.
  static Handle* known(int fd) {
    Handle* handle = at(fd);
    return handle != nullptr && handle->kind != Kind::kUnknown ? handle : nullptr;
  }

  static void forget(int fd) {
    Handle* handle = at(fd);
    if (handle != nullptr && (handle->kind != Kind::kUnknown || handle->flags != 0)) *handle = {};
  }

  // How many are known. Looks at all of them: for diagnosis.
  static size_t count();

 private:
  static Handle* g_table;
  static size_t g_count;
};

}  // namespace fastsocket::seam
