// SPDX-License-Identifier: Apache-2.0
#include "slots.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../refused.h"
#include "old_glibc.h"

namespace fastsocket::seam {

namespace {

// What a call through the table is relocated by (the psABIs of x86-64 and AArch64).
#if defined(__x86_64__)
constexpr unsigned kSlot = R_X86_64_JUMP_SLOT;
constexpr unsigned kData = R_X86_64_GLOB_DAT;
#elif defined(__aarch64__)
constexpr unsigned kSlot = R_AARCH64_JUMP_SLOT;
constexpr unsigned kData = R_AARCH64_GLOB_DAT;
#else
constexpr unsigned kSlot = ~0U;
constexpr unsigned kData = ~0U;
#endif

struct Object {
  const void* inside;
  uintptr_t base;
  // Its code and data.
  uintptr_t begin;
  uintptr_t end;
  // Made read-only by the dynamic linker after relocation (PT_GNU_RELRO).
  uintptr_t sealedBegin;
  uintptr_t sealedEnd;
  const ElfW(Dyn) * dynamic;
  bool found;
};

int look(dl_phdr_info* info, size_t /*size*/, void* data) {
  auto* object = static_cast<Object*>(data);
  Object seen = {};
  seen.inside = object->inside;
  seen.base = info->dlpi_addr;
  seen.begin = UINTPTR_MAX;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr)& header = info->dlpi_phdr[i];
    const uintptr_t begin = info->dlpi_addr + header.p_vaddr;
    const uintptr_t end = begin + header.p_memsz;
    if (header.p_type == PT_LOAD) {
      if (begin < seen.begin) seen.begin = begin;
      if (end > seen.end) seen.end = end;
    } else if (header.p_type == PT_DYNAMIC) {
      seen.dynamic = reinterpret_cast<const ElfW(Dyn)*>(begin);
    } else if (header.p_type == PT_GNU_RELRO) {
      seen.sealedBegin = begin;
      seen.sealedEnd = end;
    }
  }
  const auto inside = reinterpret_cast<uintptr_t>(object->inside);
  if (inside < seen.begin || inside >= seen.end) return 0;
  *object = seen;
  object->found = true;
  return 1;
}

struct Tables {
  const char* strings;
  const ElfW(Sym) * symbols;
  struct {
    const ElfW(Rela) * list;
    size_t bytes;
  } relocations[2];
};

// glibc relocates the addresses in the dynamic section in place, musl does not (elf/get-dynamic-info.h;
// ldso/dynlink.c).
template <typename T>
const T* pointer(const Object& object, ElfW(Addr) value) {
  return reinterpret_cast<const T*>(value < object.base ? object.base + value : value);
}

Tables tablesOf(const Object& object) {
  Tables tables = {};
  for (const ElfW(Dyn)* entry = object.dynamic; entry != nullptr && entry->d_tag != DT_NULL; entry++) {
    switch (entry->d_tag) {
      case DT_STRTAB:
        tables.strings = pointer<char>(object, entry->d_un.d_ptr);
        break;
      case DT_SYMTAB:
        tables.symbols = pointer<ElfW(Sym)>(object, entry->d_un.d_ptr);
        break;
      case DT_JMPREL:
        tables.relocations[0].list = pointer<ElfW(Rela)>(object, entry->d_un.d_ptr);
        break;
      case DT_PLTRELSZ:
        tables.relocations[0].bytes = entry->d_un.d_val;
        break;
      case DT_RELA:
        tables.relocations[1].list = pointer<ElfW(Rela)>(object, entry->d_un.d_ptr);
        break;
      case DT_RELASZ:
        tables.relocations[1].bytes = entry->d_un.d_val;
        break;
      default:
        break;
    }
  }
  return tables;
}

struct Slot {
  void** address;
  int replacement;
};

// A program has at most two of each name: for calls, and for the function's address.
constexpr int kMostSlots = 64;

struct Slots {
  Slot list[kMostSlots];
  int count;
};

bool find(const Object& object, const Replacement* list, int count, Slots* slots) {
  const Tables tables = tablesOf(object);
  if (tables.strings == nullptr || tables.symbols == nullptr) return false;
  for (const auto& relocations : tables.relocations) {
    const size_t entries = relocations.list == nullptr ? 0 : relocations.bytes / sizeof(ElfW(Rela));
    for (size_t i = 0; i < entries; i++) {
      const ElfW(Rela)& entry = relocations.list[i];
      const auto type = static_cast<unsigned>(ELF64_R_TYPE(entry.r_info));
      if (type != kSlot && type != kData) continue;
      const char* name = tables.strings + tables.symbols[ELF64_R_SYM(entry.r_info)].st_name;
      for (int k = 0; k < count; k++) {
        if (strcmp(name, list[k].name) != 0) continue;
        if (slots->count == kMostSlots) return false;
        slots->list[slots->count++] = {reinterpret_cast<void**>(object.base + entry.r_offset), k};
      }
    }
  }
  return true;
}

bool isWithin(const Object& object, const void* address) {
  const auto value = reinterpret_cast<uintptr_t>(address);
  return value >= object.begin && value < object.end;
}

// What the slot stands for. Bound lazily it still points into its own object (the procedure linkage table); a program
// that takes the function's address may make that entry the function's address for everybody.
void* originalOf(const Object& object, const Slot& slot, const char* name) {
  void* resolved = dlsym(RTLD_DEFAULT, name);
  void* next = dlsym(RTLD_NEXT, name);
  void* held = *slot.address;
  if (isWithin(object, held)) held = isWithin(object, resolved) ? next : resolved;
  if (held == nullptr || isWithin(object, held)) return nullptr;
  return held == resolved || held == next ? held : nullptr;
}

bool write(const Object& object, void** slot, void* function) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(slot);
  const uintptr_t begin = address & ~(page - 1);
  // both ends rounded down to a page, as the dynamic linker does (elf/dl-reloc.c, _dl_protect_relro)
  const bool sealed = begin >= (object.sealedBegin & ~(page - 1)) && begin < (object.sealedEnd & ~(page - 1));
  // other slots of the page may be called meanwhile: it stays readable
  if (sealed && mprotect(reinterpret_cast<void*>(begin), page, PROT_READ | PROT_WRITE) != 0) return false;
  __atomic_store_n(slot, function, __ATOMIC_RELEASE);
  if (sealed && mprotect(reinterpret_cast<void*>(begin), page, PROT_READ) != 0)
    noteRefusal("libuv's table stays writable: mprotect");
  return true;
}

}  // namespace

const char* replace(const void* inside, const Replacement* list, int count, const char** name) {
  *name = "";
  if (kSlot == ~0U) return "not this processor";
  Object object = {};
  object.inside = inside;
  dl_iterate_phdr(look, &object);
  if (!object.found || object.dynamic == nullptr) return "the object that holds libuv has no dynamic section";
  Slots slots = {};
  if (!find(object, list, count, &slots)) return "the relocations could not be read";
  for (int k = 0; k < count; k++) {
    *name = list[k].name;
    void* original = nullptr;
    for (int i = 0; i < slots.count; i++) {
      if (slots.list[i].replacement != k) continue;
      void* found = originalOf(object, slots.list[i], list[k].name);
      if (found == nullptr || (original != nullptr && found != original))
        return "somebody else has taken the place of a function";
      original = found;
    }
    if (original == nullptr) return "a function is not called through a slot";
    *list[k].original = original;
  }
  for (int i = 0; i < slots.count; i++) {
    const Replacement& wanted = list[slots.list[i].replacement];
    *name = wanted.name;
    if (write(object, slots.list[i].address, wanted.function)) continue;
    while (i-- > 0) (void)write(object, slots.list[i].address, *list[slots.list[i].replacement].original);
    return "the table is write-protected for good";
  }
  *name = "";
  return nullptr;
}

}  // namespace fastsocket::seam
