// SPDX-License-Identifier: Apache-2.0
// The balancing's face to JavaScript: the origin's part, and a worker's.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "../napi_help.h"
#include "../seam/loop.h"
#include "balancer.h"

namespace fastsocket {
namespace {

using balance::Balancer;
using balance::Guarded;

constexpr uint64_t kUs = 1'000;

// T, T of who has no CPU, the time between looks, the time to exclusion, all in us; the workers' CPUs; bits: 1 steals,
// 2 excludes, 4 from the dead only, 8 tells.
napi_value jsStart(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int blocked = args.integer(0);
  const int starved = args.integer(1);
  const int look = args.integer(2);
  const int excluded = args.integer(3);
  const int cpus = args.integer(4);
  const int bits = args.integer(5);
  if (!args.ok()) return nullptr;
  balance::Options options = {};
  options.rules = {blocked * kUs, starved * kUs, excluded * kUs, look * kUs, (bits & 2) != 0};
  options.cpus = static_cast<uint64_t>(cpus);
  options.steals = (bits & 1) != 0;
  options.deadOnly = (bits & 4) != 0;
  options.tells = (bits & 8) != 0;
  int error = 0;
  const char* what = "";
  const Balancer* balancer = Balancer::start(options, &error, &what);
  if (balancer != nullptr) return number(env, balancer->notices());
  char text[100];
  snprintf(text, sizeof text, "%s fails (errno %d)", what, -error);
  napi_value reason = nullptr;
  return napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &reason) == napi_ok ? reason : nullptr;
}

napi_value jsSeat(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int index = args.integer(0);
  const int node = args.integer(1);
  if (!args.ok()) return nullptr;
  Balancer* balancer = Balancer::get();
  int fds[3] = {-1, -1, -1};
  const int error = balancer == nullptr ? -ESRCH : balancer->seat(index, node, fds);
  return error < 0 ? number(env, error) : numbers(env, fds, 3);
}

napi_value jsVacate(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int index = args.integer(0);
  if (!args.ok()) return nullptr;
  Balancer* balancer = Balancer::get();
  if (balancer != nullptr) balancer->vacate(index);
  return number(env, balancer == nullptr ? -ESRCH : 0);
}

napi_value jsPlace(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int index = args.integer(0);
  const int node = args.integer(1);
  if (!args.ok()) return nullptr;
  Balancer* balancer = Balancer::get();
  if (balancer != nullptr) balancer->place(index, node);
  return number(env, balancer == nullptr ? -ESRCH : 0);
}

napi_value jsWatch(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int generation = args.integer(0);
  const Buffer<int> sockets = args.integers(1);
  if (!args.ok()) return nullptr;
  Balancer* balancer = Balancer::get();
  if (balancer == nullptr || !sockets.valid()) return number(env, balancer == nullptr ? -ESRCH : -ENOMEM);
  return number(env, balancer->watch(static_cast<uint32_t>(generation), sockets));
}

napi_value jsServe(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int generation = args.integer(0);
  const Buffer<int> indexes = args.integers(1);
  if (!args.ok()) return nullptr;
  Balancer* balancer = Balancer::get();
  if (balancer == nullptr) return number(env, -ESRCH);
  return number(env, balancer->serve(static_cast<uint32_t>(generation), indexes));
}

napi_value jsSpread(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int starved = args.integer(0);
  const int cpus = args.integer(1);
  if (!args.ok()) return nullptr;
  Balancer* balancer = Balancer::get();
  if (balancer != nullptr) balancer->spread(static_cast<uint64_t>(starved) * kUs, static_cast<uint64_t>(cpus));
  return number(env, balancer == nullptr ? -ESRCH : 0);
}

// Packed struct sock_filter.
Buffer<sock_filter> programOf(const uint8_t* bytes, size_t length) {
  Buffer<sock_filter> program(length / sizeof(sock_filter));
  if (program.size() > 0) memcpy(program.data(), bytes, program.size() * sizeof(sock_filter));
  return program;
}

// The places in the guarded program: of the safe socket, how many there are for each that may be excluded, and those.
napi_value jsProgram(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int generation = args.integer(0);
  size_t leanLength = 0;
  size_t guardedLength = 0;
  const uint8_t* lean = args.bytes(1, &leanLength);
  const uint8_t* guarded = args.bytes(2, &guardedLength);
  const Buffer<int> places = args.integers(3);
  if (!args.ok()) return nullptr;
  Balancer* balancer = Balancer::get();
  if (balancer == nullptr) return number(env, -ESRCH);
  Guarded whole;
  whole.program = programOf(guarded, guardedLength);
  if (places.size() > 2) {
    whole.safe = places[0];
    whole.each = static_cast<size_t>(places[1]);
    whole.slots = Buffer<int>(places.size() - 2);
    for (size_t i = 0; i < whole.slots.size(); i++) whole.slots[i] = places[i + 2];
    if (!whole.fits()) return number(env, -EINVAL);
  }
  Buffer<sock_filter> plain = programOf(lean, leanLength);
  if (!plain.valid()) return number(env, -ENOMEM);
  return number(env, balancer->program(static_cast<uint32_t>(generation), static_cast<Buffer<sock_filter>&&>(plain),
                                       static_cast<Guarded&&>(whole)));
}

napi_value jsForget(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int generation = args.integer(0);
  if (!args.ok()) return nullptr;
  Balancer* balancer = Balancer::get();
  if (balancer != nullptr) balancer->forget(static_cast<uint32_t>(generation));
  return number(env, 0);
}

napi_value jsNotify(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!args.ok()) return nullptr;
  Balancer* balancer = Balancer::get();
  if (balancer != nullptr) balancer->notifyNext();
  return number(env, balancer == nullptr ? -ESRCH : 0);
}

bool put(napi_env env, napi_value list, uint32_t* at, uint64_t value) {
  napi_value number = nullptr;
  return napi_create_double(env, static_cast<double>(value), &number) == napi_ok &&
         napi_set_element(env, list, (*at)++, number) == napi_ok;
}

// So many numbers for each seat, from 1 on (lib/group/pulse.ts); before them seven of the whole.
napi_value jsFigures(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!args.ok()) return nullptr;
  Balancer* balancer = Balancer::get();
  if (balancer == nullptr) return number(env, -ESRCH);
  napi_value list = nullptr;
  if (napi_create_array(env, &list) != napi_ok) return nullptr;
  balance::Figures figures = {};
  uint64_t threadNs = 0;
  balancer->figures(&figures, &threadNs);
  uint32_t at = 0;
  const uint64_t whole[] = {figures.looks,  figures.rests, figures.woken, figures.blocked,
                            figures.offers, figures.swaps, threadNs};
  for (const uint64_t value : whole)
    if (!put(env, list, &at, value)) return nullptr;
  for (int i = 1; i < balancer->seats(); i++) {
    const balance::Seat& seat = balancer->seatOf(i);
    const balance::Told& told = seat.told;
    const uint64_t row[] = {balance::get(told.joined),     balance::get(told.turns),
                            balance::get(told.accepted),   balance::get(told.stolen),
                            balance::get(told.open),       balance::get(told.idleNs),
                            balance::get(told.declined),   balance::get(seat.taken.connections),
                            balance::get(told.local),      balance::get(told.remote),
                            balance::get(seat.asked.drops)};
    for (const uint64_t value : row)
      if (!put(env, list, &at, value)) return nullptr;
  }
  return list;
}

// A worker's part in it: its servers, by their listeners.
struct Part {
  napi_env env;
  uv_loop_t* loop;
  // Function of a server: whether it takes whatever comes.
  napi_ref takesAll;
  struct {
    int fd;
    // Weak.
    napi_ref server;
  } servers[seam::kMostListeners];
};

uint64_t idleNs(void* of) { return uv_metrics_idle_time(static_cast<Part*>(of)->loop); }

// JavaScript in the middle of polling: lib/worker/limits.ts runs nothing of the app's, which a look at the server's
// property from here might.
bool says(napi_env env, napi_ref question, napi_ref about) {
  napi_value ask = nullptr;
  napi_value server = nullptr;
  napi_value receiver = nullptr;
  napi_value answer = nullptr;
  bool yes = false;
  if (napi_get_reference_value(env, about, &server) == napi_ok && server != nullptr &&
      napi_get_reference_value(env, question, &ask) == napi_ok && napi_get_undefined(env, &receiver) == napi_ok &&
      napi_call_function(env, receiver, ask, 1, &server, &answer) == napi_ok &&
      napi_get_value_bool(env, answer, &yes) == napi_ok)
    return yes;
  napi_value error = nullptr;
  napi_get_and_clear_last_exception(env, &error);
  return false;
}

bool takesAll(void* of, int listener) {
  const auto* part = static_cast<Part*>(of);
  for (const auto& one : part->servers) {
    if (one.server == nullptr || one.fd != listener) continue;
    napi_handle_scope scope = nullptr;
    if (napi_open_handle_scope(part->env, &scope) != napi_ok) return false;
    const bool all = says(part->env, part->takesAll, one.server);
    napi_close_handle_scope(part->env, scope);
    return all;
  }
  return false;
}

// A worker takes its seat. The descriptors are the addon's from now on, whatever becomes of it.
napi_value jsJoin(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int index = args.integer(0);
  const Fd page(args.integer(1));
  Fd offers(args.integer(2));
  Fd wake(args.integer(3));
  if (!args.ok()) return nullptr;
  seam::Loop* loop = seam::currentLoop();
  uv_loop_t* own = nullptr;
  if (loop == nullptr || loop->seat != nullptr || napi_get_uv_event_loop(env, &own) != napi_ok ||
      uv_backend_fd(own) != loop->epoll)
    return number(env, -ESRCH);
  if (index < 1 || index >= balance::kMostSeats) return number(env, -EINVAL);
  int error = 0;
  balance::Page* mapped = balance::mapPage(page.get(), &error);
  if (mapped == nullptr) return number(env, error);
  // for as long as the process lives: the loop calls it until its thread ends
  auto* part = static_cast<Part*>(calloc(1, sizeof(Part)));
  if (part == nullptr) return number(env, -ENOMEM);
  part->env = env;
  part->loop = own;
  error = seam::join(*loop, *mapped, index, offers.get(), wake.get());
  if (error < 0) {
    free(part);
    return number(env, error);
  }
  offers.release();
  wake.release();
  loop->of = part;
  loop->idleNs = idleNs;
  loop->takesAll = takesAll;
  return number(env, 0);
}

// So many more of its connections have come to the worker's own CPU, and to others.
napi_value jsArrived(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int local = args.integer(0);
  const int remote = args.integer(1);
  if (!args.ok()) return nullptr;
  seam::Loop* loop = seam::currentLoop();
  if (loop == nullptr || loop->seat == nullptr) return number(env, -ESRCH);
  if (local < 0 || remote < 0) return number(env, -EINVAL);
  // the page has it at the loop's next turn
  loop->local += static_cast<uint64_t>(local);
  loop->remote += static_cast<uint64_t>(remote);
  return number(env, 0);
}

// The listener may accept from its siblings' queues, for this server.
napi_value jsHelp(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int fd = args.integer(0);
  const int generation = args.integer(1);
  napi_value server = args.object(2);
  napi_value question = args.function(3);
  if (!args.ok()) return nullptr;
  seam::Loop* loop = seam::currentLoop();
  if (loop == nullptr || loop->seat == nullptr) return number(env, -ESRCH);
  auto* part = static_cast<Part*>(loop->of);
  if (part->takesAll == nullptr && napi_create_reference(env, question, 1, &part->takesAll) != napi_ok)
    return number(env, -ENOMEM);
  for (auto& one : part->servers) {
    if (one.server != nullptr && one.fd != fd && loop->listenerOf(one.fd) != nullptr) continue;
    if (one.server != nullptr) napi_delete_reference(env, one.server);
    one.server = nullptr;
    one.fd = fd;
    if (napi_create_reference(env, server, 0, &one.server) != napi_ok) return number(env, -ENOMEM);
    seam::mayStealFrom(*loop, fd, static_cast<uint32_t>(generation));
    return number(env, 0);
  }
  return number(env, -ENOSPC);
}

// The group's sockets are to be closed: none of them is kept here, or on its way here.
napi_value jsFlush(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int generation = args.integer(0);
  if (!args.ok()) return nullptr;
  seam::Loop* loop = seam::currentLoop();
  if (loop == nullptr || loop->seat == nullptr) return number(env, -ESRCH);
  seam::flushOffers(*loop, static_cast<uint32_t>(generation));
  return number(env, 0);
}

}  // namespace

bool exportBalance(napi_env env, napi_value exports) {
  static const Export kTable[] = {
      {"balanceStart", jsStart},     {"balanceSeat", jsSeat},     {"balanceVacate", jsVacate},
      {"balanceWatch", jsWatch},     {"balanceServe", jsServe},   {"balanceProgram", jsProgram},
      {"balanceForget", jsForget},   {"balanceNotify", jsNotify}, {"balanceFigures", jsFigures},
      {"balanceJoin", jsJoin},       {"balanceHelp", jsHelp},     {"balanceFlush", jsFlush},
      {"balanceArrived", jsArrived}, {"balanceSpread", jsSpread}, {"balancePlace", jsPlace},
  };
  return defineAll(env, exports, kTable);
}

}  // namespace fastsocket
