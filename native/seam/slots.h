// SPDX-License-Identifier: Apache-2.0
// Points slots of the global offset table at other functions: what LD_PRELOAD does, for one object of this process.
#pragma once

namespace fastsocket::seam {

struct Replacement {
  // A function of libc's.
  const char* name;
  void* function;
  // Filled in with the original, before the first slot changes.
  void** original;
};

// All or nothing, in the object that holds `inside` (an address of its code). Returns nullptr, or why nothing was
// changed; `name` is then what it is about.
const char* replace(const void* inside, const Replacement* list, int count, const char** name);

}  // namespace fastsocket::seam
