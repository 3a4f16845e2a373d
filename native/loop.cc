// SPDX-License-Identifier: Apache-2.0
// What we do to this environment's event loop: its epoll set and its thread pool.
#include "seam/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <uv.h>

#include "napi_help.h"

namespace fastsocket {
namespace {

// A listener of libuv's that has been shut is a level-triggered EPOLLHUP: libuv would spin on it. It is taken out of
// libuv's epoll set behind its back, and put back with the events that libuv asks for on a listening socket
// (src/unix/stream.c, uv__listen: POLLIN).
int pollControl(napi_env env, int operation, int fd) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return -ENODEV;
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = fd;
  // the seam is to know, as if libuv had called: a listener that it takes for unwatched helps nobody
  seam::Loop* known = seam::currentLoop();
  if (known != nullptr && known->epoll == uv_backend_fd(loop))
    return orErrno(seam::control(*known, operation, fd, &event));
  return orErrno(epoll_ctl(uv_backend_fd(loop), operation, fd, &event));
}

napi_value jsPollAdd(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  return number(env, pollControl(env, EPOLL_CTL_ADD, fd));
}

napi_value jsPollDelete(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  if (!args.ok()) return nullptr;
  return number(env, pollControl(env, EPOLL_CTL_DEL, fd));
}

struct PoolStart {
  napi_async_work work;
  napi_ref callback;
};

void nothing(napi_env /*env*/, void* /*data*/) {}

void poolStarted(napi_env env, napi_status /*status*/, void* data) {
  auto* start = static_cast<PoolStart*>(data);
  napi_delete_async_work(env, start->work);
  if (start->callback != nullptr) {
    napi_value callback = nullptr;
    napi_value receiver = nullptr;
    // an exception of the callback is left pending: Node makes an uncaughtException of it
    if (napi_get_reference_value(env, start->callback, &callback) == napi_ok &&
        napi_get_undefined(env, &receiver) == napi_ok)
      napi_call_function(env, receiver, callback, 0, nullptr, nullptr);
    napi_delete_reference(env, start->callback);
  }
  free(start);
}

// libuv makes all threads of its pool at the first piece of work, in the thread that queues it (src/threadpool.c,
// init_threads), and a thread inherits the affinity of its maker: when this returns they have the mask of now.
napi_value jsStartThreadPool(napi_env env, napi_callback_info info) {
  Args args(env, info);
  napi_value callback = args.given(0) ? args.function(0) : nullptr;
  if (!args.ok()) return nullptr;
  auto* start = static_cast<PoolStart*>(calloc(1, sizeof(PoolStart)));
  if (start == nullptr) return number(env, -ENOMEM);
  napi_value name = nullptr;
  bool queued = napi_create_string_utf8(env, "fastsocket", NAPI_AUTO_LENGTH, &name) == napi_ok;
  queued = queued && (callback == nullptr || napi_create_reference(env, callback, 1, &start->callback) == napi_ok);
  queued = queued && napi_create_async_work(env, nullptr, name, nothing, poolStarted, start, &start->work) == napi_ok;
  queued = queued && napi_queue_async_work(env, start->work) == napi_ok;
  if (queued) return number(env, 0);
  if (start->work != nullptr) napi_delete_async_work(env, start->work);
  if (start->callback != nullptr) napi_delete_reference(env, start->callback);
  free(start);
  return number(env, -ECANCELED);
}

}  // namespace

bool exportLoop(napi_env env, napi_value exports) {
  static const Export kTable[] = {
      {"pollAdd", jsPollAdd},
      {"pollDelete", jsPollDelete},
      {"startThreadPool", jsStartThreadPool},
  };
  return defineAll(env, exports, kTable);
}

}  // namespace fastsocket
