// SPDX-License-Identifier: Apache-2.0
#include "calls.h"

#include <string.h>

#include "../../../native/seam/wrappers.h"

namespace model {

Calls g_calls;

void installCalls() {
  const auto* list = fastsocket::seam::wrappers();
  const struct {
    const char* name;
    void* place;
  } places[] = {
      {"epoll_pwait", &g_calls.epoll_pwait},
      {"epoll_ctl", &g_calls.epoll_ctl},
      {"accept4", &g_calls.accept4},
      {"setsockopt", &g_calls.setsockopt},
      {"bind", &g_calls.bind},
      {"listen", &g_calls.listen},
      {"socket", &g_calls.socket},
      {"syscall", &g_calls.syscall},
      {"sendmsg", &g_calls.sendmsg},
      {"read", &g_calls.read},
      {"connect", &g_calls.connect},
      {"shutdown", &g_calls.shutdown},
      {"getsockname", &g_calls.getsockname},
  };
  for (int i = 0; i < fastsocket::seam::kWrapperCount; i++)
    for (const auto& place : places)
      if (strcmp(place.name, list[i].name) == 0) memcpy(place.place, &list[i].function, sizeof(void*));
}

}  // namespace model
