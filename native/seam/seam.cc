// SPDX-License-Identifier: Apache-2.0
// The seam's face to JavaScript: each thread opts in with its own loop.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "../affinity.h"
#include "../napi_help.h"
#include "connects.h"
#include "libc.h"
#include "old_glibc.h"
#include "wrappers.h"

namespace fastsocket {
namespace {

using seam::Loop;

pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_key_t g_threadEnd;
bool g_replaced = false;
// Why not, once that is known: nothing is tried twice.
const char* g_refused = nullptr;
const char* g_about = "";
uint8_t g_lastId = 0;

void endThread(void* data) {
  auto* loop = static_cast<Loop*>(data);
  seam::setCurrentLoop(nullptr);
  seam::dropRing(*loop);
  seam::Connects::destroy(loop->connects);
  free(loop);
}

const char* replaceAll(const char** about) {
  const int error = seam::Handles::map();
  if (error < 0) {
    *about = strerror(-error);
    return "no memory for the handle cache";
  }
  if (pthread_key_create(&g_threadEnd, endThread) != 0) return "no thread key is free";
  seam::g_libc.getsockopt = getsockopt;
  seam::g_libc.dup3 = dup3;
  seam::g_libc.recvmsg = recvmsg;
  seam::Survey::threadBegins = unpinThisThread;
  const char* reason =
      seam::replace(reinterpret_cast<const void*>(&uv_run), seam::wrappers(), seam::kWrapperCount, about);
  if (reason != nullptr) pthread_key_delete(g_threadEnd);
  return reason;
}

// The slots stay replaced for as long as the process lives: other threads call through them. Returns nullptr or why
// not.
const char* replaceOnce(const char** about) {
  pthread_mutex_lock(&g_lock);
  if (!g_replaced && g_refused == nullptr) {
    g_refused = replaceAll(&g_about);
    g_replaced = g_refused == nullptr;
  }
  const char* reason = g_refused;
  *about = g_about;
  pthread_mutex_unlock(&g_lock);
  return reason;
}

napi_value text(napi_env env, const char* reason, const char* name) {
  char buffer[200];
  snprintf(buffer, sizeof buffer, "%s%s%s", reason, *name == '\0' ? "" : ": ", name);
  napi_value value = nullptr;
  return napi_create_string_utf8(env, buffer, NAPI_AUTO_LENGTH, &value) == napi_ok ? value : nullptr;
}

// The environment ends before its loop does, and libuv's ring is ours for as long as there is one: the loop stays
// known, without a single shortcut. Its memory goes with the thread.
void endEnvironment(void* data) { seam::leave(*static_cast<Loop*>(data)); }

napi_value jsAttach(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int pieces = args.integer(0);
  const int batch = args.integer(1);
  const int turnMicros = args.integer(2);
  if (!args.ok()) return nullptr;
  uv_loop_t* own = nullptr;
  if (napi_get_uv_event_loop(env, &own) != napi_ok) return number(env, -ENODEV);
  const char* name = "";
  const Loop* known = seam::currentLoop();
  if (known != nullptr && known->epoll == uv_backend_fd(own)) return number(env, 0);
  if (known != nullptr) return text(env, "another event loop of this thread has it", name);
  const char* reason = replaceOnce(&name);
  if (reason != nullptr) return text(env, reason, name);
  auto* loop = static_cast<Loop*>(calloc(1, sizeof(Loop)));
  if (loop == nullptr) return number(env, -ENOMEM);
  loop->epoll = uv_backend_fd(own);
  loop->id = __atomic_add_fetch(&g_lastId, 1, __ATOMIC_RELAXED);
  loop->pieces = static_cast<unsigned>(pieces);
  loop->limits.batch = batch < 1 ? 1 : batch > seam::kMostBatch ? seam::kMostBatch : batch;
  loop->limits.turnNs = static_cast<uint64_t>(turnMicros) * 1000;
  loop->ring.fd = -1;
  if ((loop->pieces & seam::kConnect) != 0) loop->connects = seam::Connects::make();
  if (pthread_setspecific(g_threadEnd, loop) != 0 || napi_add_env_cleanup_hook(env, endEnvironment, loop) != napi_ok) {
    pthread_setspecific(g_threadEnd, nullptr);
    seam::Connects::destroy(loop->connects);
    free(loop);
    return number(env, -ENOMEM);
  }
  seam::setCurrentLoop(loop);
  return number(env, 0);
}

// This descriptor is a socket that no other process accepts from.
napi_value jsOwn(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  seam::Handle* handle = seam::Handles::at(fd);
  if (handle == nullptr) return number(env, -EBADF);
  // it listens already, for another server: what is known of it stays
  Loop* loop = seam::currentLoop();
  if (loop != nullptr && loop->listenerOf(fd) != nullptr) return number(env, 0);
  seam::forget(loop, fd);
  handle->kind = seam::Kind::kOwn;
  return number(env, 0);
}

// Another process has this descriptor, too.
napi_value jsShare(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  Loop* loop = seam::currentLoop();
  if (loop != nullptr) seam::share(*loop, fd);
  return number(env, 0);
}

}  // namespace

bool exportSeam(napi_env env, napi_value exports) {
  static const Export kTable[] = {
      {"seamAttach", jsAttach},
      {"seamOwn", jsOwn},
      {"seamShare", jsShare},
  };
  return defineAll(env, exports, kTable);
}

}  // namespace fastsocket
