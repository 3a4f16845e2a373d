// SPDX-License-Identifier: Apache-2.0
// Control sockets watched by the event loop. Each environment (main thread, worker threads) has its own watches; its
// cleanup hook closes them.
#include <errno.h>
#include <uv.h>

#include "message.h"
#include "napi_help.h"

namespace fastsocket {
namespace {

// Messages taken in one turn: a talkative peer must not hold up the loop. What is left wakes it again
// (level-triggered).
constexpr int kMostPerTurn = 32;

struct Watch;

struct Watches {
  napi_env env;
  uv_loop_t* loop;
  Watch* first;
  int nextId;
  int closing;  // handles whose close callback has not run yet
  napi_async_cleanup_hook_handle cleanup;
  bool ending;
};

struct Watch {
  uv_poll_t handle;
  Watches* owner;
  Watch* next;
  int id;
  bool calling;  // JavaScript runs in the async context of this watch: it cannot be destroyed now
  bool stopped;
  napi_ref callback;
  napi_async_context context;
};

void endIfDone(Watches* all) {
  if (!all->ending || all->closing > 0) return;
  napi_remove_async_cleanup_hook(all->cleanup);
  free(all);
}

void closed(uv_handle_t* handle) {
  auto* watch = static_cast<Watch*>(handle->data);
  Watches* all = watch->owner;
  free(watch);
  all->closing--;
  endIfDone(all);
}

void forget(Watch* watch) {
  if (watch->callback != nullptr) napi_delete_reference(watch->owner->env, watch->callback);
  if (watch->context != nullptr) napi_async_destroy(watch->owner->env, watch->context);
  watch->callback = nullptr;
  watch->context = nullptr;
}

// Ends a watch. uv_close takes the socket out of epoll at once, so that the caller may close it right after; the memory
// lives until libuv calls back.
void stop(Watch* watch) {
  if (watch->stopped) return;
  watch->stopped = true;
  Watches* all = watch->owner;
  for (Watch** link = &all->first; *link != nullptr; link = &(*link)->next) {
    if (*link != watch) continue;
    *link = watch->next;
    break;
  }
  if (!watch->calling) forget(watch);
  all->closing++;
  uv_close(reinterpret_cast<uv_handle_t*>(&watch->handle), closed);
}

// Calls back with a message, or with (null, []) for the end of the channel.
void deliver(Watch* watch, Message* message) {
  napi_env env = watch->owner->env;
  napi_value callback = nullptr;
  napi_value global = nullptr;
  napi_value text = nullptr;
  napi_value fds = message == nullptr ? numbers(env, nullptr, 0) : numbers(env, message->fds(), message->fdCount());
  const napi_status made = message == nullptr ? napi_get_null(env, &text)
                                              : napi_create_string_utf8(env, message->text(), message->length(), &text);
  if (made != napi_ok || fds == nullptr || napi_get_global(env, &global) != napi_ok ||
      napi_get_reference_value(env, watch->callback, &callback) != napi_ok)
    return;
  napi_value arguments[] = {text, fds};
  watch->calling = true;
  // the end stops the watch before the callback, which may close the socket
  if (message == nullptr) stop(watch);
  const napi_status status = napi_make_callback(env, watch->context, global, callback, 2, arguments, nullptr);
  watch->calling = false;
  if (watch->stopped) forget(watch);
  // a callback that threw has had its descriptors; one that could not run (the thread is being terminated) has not
  if (message != nullptr && (status == napi_ok || status == napi_pending_exception)) message->releaseFds();
  if (status != napi_pending_exception) return;
  napi_value error = nullptr;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
}

// Takes one message. False when there is no more.
bool takeOne(Watch* watch, int sock) {
  Message message;
  const int result = message.receive(sock);
  if (result == -EAGAIN || result == -ENOMEM) return false;
  // without its descriptors the text still says what was to come
  if (result > 0 || result == -EMSGSIZE) {
    deliver(watch, &message);
    return true;
  }
  deliver(watch, nullptr);
  return false;
}

void readable(uv_poll_t* handle, int status, int /*events*/) {
  auto* watch = static_cast<Watch*>(handle->data);
  napi_env env = watch->owner->env;
  uv_os_fd_t sock = -1;
  if (uv_fileno(reinterpret_cast<uv_handle_t*>(handle), &sock) < 0) return;
  // status < 0: EPOLLERR, which is how the peer's close with unread messages looks. libuv has stopped polling, so this
  // is the last chance to read what the peer sent before.
  bool more = true;
  for (int taken = 0; more && !watch->stopped && (status < 0 || taken < kMostPerTurn); taken++) {
    napi_handle_scope scope = nullptr;
    if (napi_open_handle_scope(env, &scope) != napi_ok) return;
    more = takeOne(watch, sock);
    napi_close_handle_scope(env, scope);
  }
}

void cleanUp(napi_async_cleanup_hook_handle /*handle*/, void* data) {
  auto* all = static_cast<Watches*>(data);
  all->ending = true;
  while (all->first != nullptr) stop(all->first);
  endIfDone(all);
}

int start(Watches* all, int sock, napi_value callback, Watch* watch) {
  watch->owner = all;
  watch->handle.data = watch;
  const int error = uv_poll_init(all->loop, &watch->handle, sock);
  if (error < 0) {
    free(watch);
    return error;
  }
  watch->next = all->first;
  all->first = watch;
  napi_value name = nullptr;
  const bool ready = napi_create_string_utf8(all->env, "FASTSOCKET", NAPI_AUTO_LENGTH, &name) == napi_ok &&
                     napi_async_init(all->env, nullptr, name, &watch->context) == napi_ok &&
                     napi_create_reference(all->env, callback, 1, &watch->callback) == napi_ok;
  const int started = ready ? uv_poll_start(&watch->handle, UV_READABLE, readable) : -ENOMEM;
  if (started < 0) {
    stop(watch);
    return started;
  }
  // the channel alone keeps no program alive
  uv_unref(reinterpret_cast<uv_handle_t*>(&watch->handle));
  watch->id = all->nextId++;
  return watch->id;
}

Watches* watchesOf(napi_env env) {
  void* data = nullptr;
  return napi_get_instance_data(env, &data) == napi_ok ? static_cast<Watches*>(data) : nullptr;
}

napi_value jsWatch(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int sock = args.integer(0);
  napi_value callback = args.function(1);
  if (!args.ok()) return nullptr;
  Watches* all = watchesOf(env);
  if (all == nullptr || all->ending) return number(env, -ECANCELED);
  auto* watch = static_cast<Watch*>(calloc(1, sizeof(Watch)));
  if (watch == nullptr) return number(env, -ENOMEM);
  return number(env, start(all, sock, callback, watch));
}

napi_value jsUnwatch(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int id = args.integer(0);
  if (!args.ok()) return nullptr;
  Watches* all = watchesOf(env);
  for (Watch* watch = all == nullptr ? nullptr : all->first; watch != nullptr; watch = watch->next) {
    if (watch->id != id) continue;
    stop(watch);
    return number(env, 0);
  }
  return number(env, -ENOENT);
}

}  // namespace

bool exportWatch(napi_env env, napi_value exports) {
  static const Export kTable[] = {
      {"watch", jsWatch},
      {"unwatch", jsUnwatch},
  };
  auto* all = static_cast<Watches*>(calloc(1, sizeof(Watches)));
  if (all == nullptr) return false;
  all->env = env;
  // the async form of the hook: Node runs the loop on until it is removed, so libuv can call back for closed handles
  if (napi_get_uv_event_loop(env, &all->loop) != napi_ok ||
      napi_add_async_cleanup_hook(env, cleanUp, all, &all->cleanup) != napi_ok) {
    free(all);
    return false;
  }
  return napi_set_instance_data(env, all, nullptr, nullptr) == napi_ok && defineAll(env, exports, kTable);
}

}  // namespace fastsocket
