// SPDX-License-Identifier: Apache-2.0
#include "refused.h"

#include <stdio.h>

#include "napi_help.h"

namespace fastsocket {
namespace {

// In words, those that nobody has been told of.
napi_value jsRefusals(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!args.ok()) return nullptr;
  napi_value list = nullptr;
  if (napi_create_array(env, &list) != napi_ok) return nullptr;
  uint32_t count = 0;
  for (Refusal& refusal : g_refusals) {
    const int error = __atomic_load_n(&refusal.error, __ATOMIC_ACQUIRE);
    if (error == 0 || __atomic_exchange_n(&refusal.told, true, __ATOMIC_RELAXED)) continue;
    char text[200];
    snprintf(text, sizeof text, "%s fails (errno %d)", refusal.what, error);
    napi_value line = nullptr;
    if (napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &line) != napi_ok ||
        napi_set_element(env, list, count++, line) != napi_ok)
      return nullptr;
  }
  return list;
}

}  // namespace

bool exportRefusals(napi_env env, napi_value exports) {
  static const Export kTable[] = {
      {"refusals", jsRefusals},
  };
  return defineAll(env, exports, kTable);
}

}  // namespace fastsocket
