// SPDX-License-Identifier: Apache-2.0
// The table of contents: every file of the addon exports its own functions. lib/native/addon.ts is the typed face of
// it.
#include "napi_help.h"

NAPI_MODULE_INIT() {
  using namespace fastsocket;
  napi_value version = number(env, 13);
  if (version == nullptr || napi_set_named_property(env, exports, "version", version) != napi_ok) return nullptr;
  const bool complete = exportSockets(env, exports) && exportLoop(env, exports) && exportControl(env, exports) &&
                        exportWatch(env, exports) && exportAffinity(env, exports) && exportReport(env, exports) &&
                        exportGuard(env, exports) && exportWait(env, exports) && exportOffspring(env, exports) &&
                        exportInterface(env, exports) && exportSeam(env, exports) && exportSeamStats(env, exports) &&
                        exportBalance(env, exports) && exportRefusals(env, exports);
  return complete ? exports : nullptr;
}
