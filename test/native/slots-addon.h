// SPDX-License-Identifier: Apache-2.0
// What slots-host.cc asks of slots-addon.cc.
#pragma once

// Replaces the first `count` of: epoll_pwait, accept4, syscall, and a function that nobody calls. `calls`: how often
// each of the three has come. Returns what native/seam/slots.h returns.
extern "C" const char* tryReplace(const void* inside, int count, const char** name, const int** calls);
