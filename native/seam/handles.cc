// SPDX-License-Identifier: Apache-2.0
#include "handles.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

namespace fastsocket::seam {

namespace {
constexpr size_t kMost = size_t{1} << 20;
}

Handle* Handles::g_table = nullptr;
size_t Handles::g_count = 0;

int Handles::map() {
  if (g_table != nullptr) return 0;
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
  const size_t count = limit.rlim_max > kMost ? kMost : static_cast<size_t>(limit.rlim_max);
  void* table =
      mmap(nullptr, count * sizeof(Handle), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (table == MAP_FAILED) return -errno;
  g_table = static_cast<Handle*>(table);
  g_count = count;
  return 0;
}

size_t Handles::count() {
  size_t known = 0;
  for (size_t fd = 0; fd < g_count; fd++)
    if (g_table[fd].kind != Kind::kUnknown) known++;
  return known;
}

}  // namespace fastsocket::seam
