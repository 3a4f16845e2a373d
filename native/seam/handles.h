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
  // A TCP socket of libuv's, not yet bound or connected.
  kStream,
  // Connected from a port that is booked (connects.h).
  kConnected,
};

// Every flag but kRegistered holds for the turn of the accept, or until the first read: a number that has become
// another file behind our back (closed by a native addon) is not taken for the old one.
enum Flag : uint16_t {
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
  // kOwn: bound to an address, and the kernel has not chosen a port yet.
  kPortless = 128,
  // kConnected: a FIN of ours has been sent, and the peer's had not come before it.
  kEnded = 256,
  kEndedFirst = 512,
  // It is to be closed with a RST (socket(7), SO_LINGER with a time of 0).
  kAborts = 1024,
  // Its port is one of those that were said to come home.
  kSteered = 2048,
  // Its peer's FIN has been read.
  kPeerEnded = 4096,
  // Its port is bound (bound.h).
  kBound = 8192,
};
// kSteered: the last bits of Destination::epoch when it was connected, in the highest bits.
constexpr int kEpochShift = 14;
constexpr uint32_t kEpochMask = 3;

struct alignas(uint64_t) Handle {
  Kind kind;
  // kListener, kAccepted, kConnected: its loop.
  uint8_t loop;
  uint16_t flags;
  union {
    // kListener: its index in the loop.
    uint8_t listener;
    // kConnected: the number of its destination there.
    uint16_t destination;
  };
  // kConnected: its own port.
  uint16_t port;

  [[nodiscard]] bool has(uint16_t some) const { return (flags & some) != 0; }
  void set(uint16_t some) { flags = static_cast<uint16_t>(flags | some); }
  void clear(uint16_t some) { flags = static_cast<uint16_t>(flags & ~some); }
};
static_assert(sizeof(Handle) == 8, "one word for each descriptor");

// One array for the process, as large as RLIMIT_NOFILE may become, at most 2^20 handles (8 MiB of addresses); pages
// come when they are written. Each loop touches the handles of its own descriptors only; but a number of
// its own that was closed behind our back can be another thread's at any moment (recount() in open.cc).
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
    if (handle != nullptr && (handle->kind != Kind::kUnknown || handle->flags != 0)) store(*handle, {});
  }

  // In one step, whoever else looks.
  static Handle load(const Handle& handle) {
    Handle now;
    __atomic_load(&handle, &now, __ATOMIC_RELAXED);
    return now;
  }
  static void store(Handle& handle, Handle value) { __atomic_store(&handle, &value, __ATOMIC_RELAXED); }

  // Unless it has changed since it was `seen`.
  static void forgetIf(Handle& handle, Handle seen) {
    Handle nothing = {};
    (void)__atomic_compare_exchange(&handle, &seen, &nothing, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  }

  // How many are known. Looks at all of them: for diagnosis.
  static size_t count();

 private:
  static Handle* g_table;
  static size_t g_count;
};

}  // namespace fastsocket::seam
