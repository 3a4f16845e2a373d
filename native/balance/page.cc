// SPDX-License-Identifier: Apache-2.0
#include "page.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../memory.h"

// Not in the oldest glibc that Node supports (2.28 has them, its headers where the addon is built may not).
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 1U
#define MFD_ALLOW_SEALING 2U
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_SEAL_SEAL 1
#define F_SEAL_SHRINK 2
#define F_SEAL_GROW 4
#endif

namespace fastsocket::balance {

namespace {

Page* map(int fd, int* error) {
  void* address = mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (address != MAP_FAILED) return static_cast<Page*>(address);
  *error = -errno;
  return nullptr;
}

// Without a name for what is never to be executed, 6.3 and later complain in the kernel's log, or refuse
// (Documentation/userspace-api/mfd_noexec.rst); earlier ones do not know it.
int create() {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  constexpr unsigned kNoExecSeal = 8;
  const auto fd = static_cast<int>(syscall(SYS_memfd_create, "fastsocket", kFlags | kNoExecSeal));
  if (fd >= 0 || errno != EINVAL) return fd;
  return static_cast<int>(syscall(SYS_memfd_create, "fastsocket", kFlags));
}

}  // namespace

Page* makePage(int* fd, const char** what) {
  Fd file(create());
  *what = "memfd_create";
  bool made = file.valid();
  if (made) {
    *what = "fallocate";
    // room for all of it now: a page that cannot be had later would be a SIGBUS
    made = fallocate(file.get(), 0, 0, sizeof(Page)) == 0;
  }
  if (made) {
    *what = "fcntl(F_ADD_SEALS)";
    made = fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
  }
  if (!made) {
    *fd = -errno;
    return nullptr;
  }
  *what = "mmap";
  Page* page = map(file.get(), fd);
  if (page == nullptr) return nullptr;
  page->head = {kMagic, kVersion};
  *fd = file.release();
  return page;
}

Page* mapPage(int fd, int* error) {
  const off_t size = lseek(fd, 0, SEEK_END);
  *error = size < 0 ? -errno : -EPROTO;
  if (size != static_cast<off_t>(sizeof(Page))) return nullptr;
  Page* page = map(fd, error);
  if (page == nullptr) return nullptr;
  if (page->head.magic == kMagic && page->head.version == kVersion) return page;
  munmap(page, sizeof(Page));
  *error = -EPROTO;
  return nullptr;
}

}  // namespace fastsocket::balance
