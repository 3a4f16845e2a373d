// SPDX-License-Identifier: Apache-2.0
#include "napi_help.h"

#include <stdio.h>

namespace fastsocket {

namespace {
// Above every list that is passed, so that a length gone wrong is an error and not an allocation: as many descriptors
// as a process may have by default (fs/file.c, sysctl_nr_open).
constexpr uint32_t kLongestList = 1024 * 1024;

bool wholeNumber(napi_env env, napi_value value, int* out) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok) return false;
  if (!(number >= INT32_MIN && number <= INT32_MAX)) return false;
  *out = static_cast<int>(number);
  return static_cast<double>(*out) == number;
}
}  // namespace

Args::Args(napi_env env, napi_callback_info info) : env_(env) {
  size_t count = kMost;
  if (napi_get_cb_info(env, info, &count, values_, nullptr, nullptr) != napi_ok) ok_ = false;
}

void Args::fail(size_t i, const char* expected) {
  if (!ok_) return;
  ok_ = false;
  char text[80];
  snprintf(text, sizeof text, "argument %zu must be %s", i + 1, expected);
  napi_throw_type_error(env_, nullptr, text);
}

bool Args::given(size_t i) const {
  napi_valuetype type = napi_undefined;
  return napi_typeof(env_, values_[i], &type) == napi_ok && type != napi_undefined;
}

int Args::integer(size_t i) {
  int result = -1;
  if (!ok_) return result;
  if (!wholeNumber(env_, values_[i], &result)) fail(i, "a whole number");
  return result;
}

Buffer<int> Args::integers(size_t i) {
  bool isArray = false;
  uint32_t length = 0;
  if (!ok_) return {};
  if (napi_is_array(env_, values_[i], &isArray) != napi_ok || !isArray ||
      napi_get_array_length(env_, values_[i], &length) != napi_ok || length > kLongestList) {
    fail(i, "an array of whole numbers");
    return {};
  }
  Buffer<int> list(length);
  if (!list.valid()) fail(i, "smaller: out of memory");
  for (uint32_t k = 0; ok_ && k < length; k++) {
    napi_value element = nullptr;
    if (napi_get_element(env_, values_[i], k, &element) != napi_ok || !wholeNumber(env_, element, &list[k]))
      fail(i, "an array of whole numbers");
  }
  return list;
}

Buffer<char> Args::text(size_t i) {
  size_t length = 0;
  if (!ok_) return {};
  if (napi_get_value_string_utf8(env_, values_[i], nullptr, 0, &length) != napi_ok) {
    fail(i, "a string");
    return {};
  }
  Buffer<char> room(length + 1);
  if (!room.valid() || napi_get_value_string_utf8(env_, values_[i], room.data(), length + 1, &length) != napi_ok)
    fail(i, "a shorter string: out of memory");
  return room;
}

const uint8_t* Args::bytes(size_t i, size_t* length) {
  bool isTyped = false;
  napi_typedarray_type type = napi_int8_array;
  void* data = nullptr;
  *length = 0;
  if (!ok_) return nullptr;
  if (napi_is_typedarray(env_, values_[i], &isTyped) != napi_ok || !isTyped ||
      napi_get_typedarray_info(env_, values_[i], &type, length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array) {
    fail(i, "a Uint8Array");
    return nullptr;
  }
  return static_cast<const uint8_t*>(data);
}

napi_value Args::function(size_t i) {
  napi_valuetype type = napi_undefined;
  if (!ok_) return nullptr;
  if (napi_typeof(env_, values_[i], &type) != napi_ok || type != napi_function) fail(i, "a function");
  return values_[i];
}

napi_value Args::object(size_t i) {
  napi_valuetype type = napi_undefined;
  if (!ok_) return nullptr;
  if (napi_typeof(env_, values_[i], &type) != napi_ok || type != napi_object) fail(i, "an object");
  return values_[i];
}

napi_value number(napi_env env, int value) {
  napi_value result = nullptr;
  return napi_create_int32(env, value, &result) == napi_ok ? result : nullptr;
}

napi_value numbers(napi_env env, const int* values, size_t count) {
  napi_value array = nullptr;
  if (napi_create_array_with_length(env, count, &array) != napi_ok) return nullptr;
  for (size_t i = 0; i < count; i++) {
    if (napi_set_element(env, array, static_cast<uint32_t>(i), number(env, values[i])) != napi_ok) return nullptr;
  }
  return array;
}

bool defineAll(napi_env env, napi_value exports, const Export* table, size_t count) {
  for (size_t i = 0; i < count; i++) {
    napi_value function = nullptr;
    if (napi_create_function(env, table[i].name, NAPI_AUTO_LENGTH, table[i].function, nullptr, &function) != napi_ok ||
        napi_set_named_property(env, exports, table[i].name, function) != napi_ok)
      return false;
  }
  return true;
}

}  // namespace fastsocket
