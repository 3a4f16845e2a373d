// SPDX-License-Identifier: Apache-2.0
// The functions that take libc's place for libuv, and which slot each belongs into.
#pragma once

#include "slots.h"

namespace fastsocket::seam {

constexpr int kWrapperCount = 13;

// Names, wrappers, and where the original goes (g_libc).
const Replacement* wrappers();

}  // namespace fastsocket::seam
