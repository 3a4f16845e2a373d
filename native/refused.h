// SPDX-License-Identifier: Apache-2.0
// System calls that fail where the hook goes on without them: each is named once in a process, and JavaScript tells it
// in the debug log (lib/native/refusals.ts). In any thread, and in a signal handler.
#pragma once

#include <errno.h>
#include <string.h>

namespace fastsocket {

struct Refusal {
  // What is left out, and the call; a literal.
  const char* what;
  // 0: not yet.
  int error;
  bool told;
};

constexpr int kMostRefusals = 32;
inline Refusal g_refusals[kMostRefusals];

inline void noteFailure(const char* what, int error) {
  for (Refusal& refusal : g_refusals) {
    const char* known = nullptr;
    if (__atomic_compare_exchange_n(&refusal.what, &known, what, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
      __atomic_store_n(&refusal.error, error, __ATOMIC_RELEASE);
      return;
    }
    if (strcmp(known, what) == 0) return;
  }
}

// By errno, which stays as it is; nothing where that has to do with this descriptor or this moment: a kernel that does
// not know the call, or a seccomp profile without it, says one of these. Returns whether it was one.
inline bool noteRefusal(const char* what) {
  const int error = errno;
  const bool refused = error == EPERM || error == EACCES || error == ENOSYS || error == EINVAL || error == ENOPROTOOPT;
  if (refused) noteFailure(what, error);
  return refused;
}

// Of several places each.
constexpr const char* kNoTcpInfo = "queues and the ends of connections are not looked at: getsockopt(TCP_INFO)";
constexpr const char* kNoIncomingCpu = "it is not known where packets arrive: getsockopt(SO_INCOMING_CPU)";

}  // namespace fastsocket
