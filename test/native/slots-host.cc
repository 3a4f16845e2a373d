// SPDX-License-Identifier: Apache-2.0
// slots-host ADDON
// Stands for a program that holds libuv: calls libc as libuv does, has the addon (test/native/slots-addon.cc) point the
// slots elsewhere, and looks whether the calls arrive. Says `replaced`, or why not; anything else is a fault. No C++
// library: musl has none. -DSTATIC: the addon is linked in.
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slots-addon.h"

// libuv's part: in this program, or in a library beside it (-DSHARED)
extern "C" int uv_run();
extern "C" int accepted;

namespace {

int fail(const char* what) {
  printf("%s: %s\n", what, strerror(errno));
  exit(1);
}

// What may be written and what may not, of everything that is mapped from a file.
void protections(char* buffer, size_t size) {
  FILE* file = fopen("/proc/self/maps", "r");
  if (file == nullptr) fail("maps");
  size_t used = 0;
  char line[600];
  while (fgets(line, sizeof line, file) != nullptr) {
    if (strstr(line, "slots-") == nullptr) continue;
    const size_t length = strlen(line);
    if (used + length + 1 > size) fail("room for maps");
    memcpy(buffer + used, line, length + 1);
    used += length;
  }
  fclose(file);
}

}  // namespace

int main(int argc, char** argv) {
  decltype(&tryReplace) replace = nullptr;
#ifdef STATIC
  (void)argc;
  (void)argv;
  replace = tryReplace;
#else
  if (argc < 2) return 2;
  void* addon = dlopen(argv[1], RTLD_NOW);
  if (addon == nullptr) {
    printf("%s\n", dlerror());
    return 1;
  }
  replace = reinterpret_cast<decltype(&tryReplace)>(dlsym(addon, "tryReplace"));
#endif
  static char before[1 << 16];
  static char after[1 << 16];
  // otherwise nobody has called yet, and slots that are bound lazily are not bound
  const bool called = getenv("CALLED") != nullptr;
  if (called && uv_run() != 0) return fail("the first call");
  protections(before, sizeof before);
  const char* name = "";
  const void* inside = reinterpret_cast<const void*>(&uv_run);
  const int* calls = nullptr;
  // all or nothing: the last one of the four is called by nobody
  const char* reason = called ? replace(inside, 4, &name, &calls) : "";
  if (reason == nullptr) return fail("a slot of nobody");
  if (called && (uv_run() != 0 || calls[0] + calls[1] + calls[2] != 0)) return fail("something was replaced after all");
  reason = replace(inside, 3, &name, &calls);
  if (reason != nullptr) {
    printf("%s: %s\n", reason, name);
    return 0;
  }
  protections(after, sizeof after);
  if (strcmp(before, after) != 0) {
    printf("other protections:\n%s\n%s\n", before, after);
    return 1;
  }
  const int was = accepted;
  if (uv_run() != 0) return fail("a call");
  if (calls[0] != 1 || calls[1] != 1 || calls[2] != 1) {
    printf("%d, %d, %d calls instead of one each\n", calls[0], calls[1], calls[2]);
    return 1;
  }
  if (accepted != was + 1) return fail("the original");
  reason = replace(inside, 3, &name, &calls);
  if (reason == nullptr || strcmp(reason, "somebody else has taken the place of a function") != 0 ||
      strcmp(name, "epoll_pwait") != 0)
    return fail("replaced twice");
  printf("replaced\n");
  return 0;
}
