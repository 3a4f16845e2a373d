// SPDX-License-Identifier: Apache-2.0
// The border to JavaScript: arguments, results, the table of exports. Native code checks the types of arguments; what a
// value means is the caller's business.
#pragma once

#include <errno.h>
#include <node_api.h>
#include <stdint.h>

#include "memory.h"

namespace fastsocket {

// The arguments of one call. A wrong type throws a TypeError and makes ok() false; the function must then return
// nullptr.
class Args {
 public:
  Args(napi_env env, napi_callback_info info);

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool given(size_t i) const;
  // A whole number of 32 bits. NaN and fractions are refused: napi_get_value_int32 would make fd 0 of them.
  int integer(size_t i);
  Buffer<int> integers(size_t i);
  // A string in UTF-8; the last byte is zero, so its length is size() - 1.
  Buffer<char> text(size_t i);
  // The bytes of a Uint8Array. They stay JavaScript's: valid until the call returns.
  const uint8_t* bytes(size_t i, size_t* length);
  napi_value function(size_t i);
  napi_value object(size_t i);

 private:
  static constexpr size_t kMost = 6;
  void fail(size_t i, const char* expected);

  napi_env env_;
  napi_value values_[kMost] = {};
  bool ok_ = true;
};

struct Export {
  const char* name;
  napi_callback function;
};

napi_value number(napi_env env, int value);
// An array of numbers, or nullptr with a pending exception.
napi_value numbers(napi_env env, const int* values, size_t count);

// What a system call returned, as the result for JavaScript: errors are negative errno numbers.
inline int orErrno(int result) { return result < 0 ? -errno : result; }

bool defineAll(napi_env env, napi_value exports, const Export* table, size_t count);

template <size_t N>
bool defineAll(napi_env env, napi_value exports, const Export (&table)[N]) {
  return defineAll(env, exports, table, N);
}

// One for each source file; false with a pending exception when a function could not be made.
bool exportSockets(napi_env env, napi_value exports);
bool exportLoop(napi_env env, napi_value exports);
bool exportControl(napi_env env, napi_value exports);
bool exportWatch(napi_env env, napi_value exports);
bool exportAffinity(napi_env env, napi_value exports);
bool exportRefusals(napi_env env, napi_value exports);
bool exportReport(napi_env env, napi_value exports);
bool exportGuard(napi_env env, napi_value exports);
bool exportWait(napi_env env, napi_value exports);
bool exportOffspring(napi_env env, napi_value exports);
bool exportInterface(napi_env env, napi_value exports);
bool exportSeam(napi_env env, napi_value exports);
bool exportBalance(napi_env env, napi_value exports);
bool exportSeamStats(napi_env env, napi_value exports);

}  // namespace fastsocket
