// SPDX-License-Identifier: Apache-2.0
// What the seam tells of itself, and is told of source ports.
#include <arpa/inet.h>
#include <stdio.h>

#include "../napi_help.h"
#include "connects.h"
#include "libc.h"

namespace fastsocket {
namespace {

using seam::Connects;
using seam::Loop;

struct Entry {
  const char* name;
  double value;
};

bool put(napi_env env, napi_value object, const char* name, double value) {
  napi_value number = nullptr;
  return napi_create_double(env, value, &number) == napi_ok &&
         napi_set_named_property(env, object, name, number) == napi_ok;
}

template <size_t N>
bool putAll(napi_env env, napi_value object, const Entry (&entries)[N]) {
  for (const Entry& entry : entries)
    if (!put(env, object, entry.name, entry.value)) return false;
  return true;
}

double of(uint64_t count) { return static_cast<double>(count); }

// 0: ports are chosen here; an errno: they are not; -1: not asked for.
double connectState(const Connects* connects) {
  if (connects == nullptr) return -1;
  if (connects->refused != 0) return connects->refused;
  return connects->wasRead && !connects->usable ? ENOENT : 0;
}

napi_value jsStats(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!args.ok()) return nullptr;
  Loop* loop = seam::currentLoop();
  if (loop == nullptr) return number(env, -ESRCH);
  seam::settleOpen(*loop);
  napi_value object = nullptr;
  if (napi_create_object(env, &object) != napi_ok) return nullptr;
  int batch = 0;
  for (int i = 0; i < loop->listenerCount; i++)
    if (loop->listeners[i].batch > batch) batch = loop->listeners[i].batch;
  const seam::Counters& c = loop->counters;
  const Entry list[] = {
      {"pieces", loop->seen ? static_cast<double>(loop->pieces) : 0},
      {"listeners", static_cast<double>(loop->listenerCount)},
      {"known", of(seam::Handles::count())},
      {"held", static_cast<double>(loop->heldCount)},
      {"disarmed", static_cast<double>(loop->disarmedCount)},
      {"batch", static_cast<double>(batch)},
      {"turns", of(c.turns)},
      {"accepted", of(c.accepted)},
      {"empty", of(c.empty)},
      {"outOfTime", of(c.outOfTime)},
      {"putOff", of(c.putOff)},
      {"inherited", of(c.inherited)},
      {"notInherited", of(c.notInherited)},
      {"firstReads", of(c.firstReads)},
      {"registeredLate", of(c.registeredLate)},
      {"neverRegistered", of(c.neverRegistered)},
      {"outOfFds", of(c.outOfFds)},
      {"rearmed", of(c.rearmed)},
      {"rings", of(c.rings)},
      {"stolen", of(c.stolen)},
      {"open", of(loop->open)},
      {"connect", connectState(loop->connects)},
  };
  return putAll(env, object, list) ? object : nullptr;
}

bool putAddress(napi_env env, napi_value object, const char* name, const uint8_t* bytes, uint8_t family,
                uint32_t scope) {
  char text[INET6_ADDRSTRLEN + 12] = "";
  if (inet_ntop(family == 4 ? AF_INET : AF_INET6, bytes, text, INET6_ADDRSTRLEN) == nullptr) return false;
  if (scope != 0) {
    const size_t length = strlen(text);
    snprintf(text + length, sizeof text - length, "%%%u", scope);
  }
  napi_value value = nullptr;
  return napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value) == napi_ok &&
         napi_set_named_property(env, object, name, value) == napi_ok;
}

napi_value describe(napi_env env, seam::Destination& destination) {
  napi_value object = nullptr;
  if (napi_create_object(env, &object) != napi_ok) return nullptr;
  const seam::Endpoints& to = destination.to;
  if (!putAddress(env, object, "address", to.remote, to.family, to.scope)) return nullptr;
  if (!putAddress(env, object, "localAddress", to.local, to.family, 0)) return nullptr;
  const seam::Endpoints& from = destination.source;
  if (!putAddress(env, object, "source", from.remote, from.family, 0)) return nullptr;
  const Entry list[] = {
      {"id", static_cast<double>(destination.id)},
      {"loopback", destination.loopback ? 1.0 : 0.0},
      {"port", static_cast<double>(to.port)},
      {"taken", of(destination.ports.taken())},
      {"resting", of(destination.ports.resting())},
      {"chosen", of(destination.chosen)},
      {"kernels", of(destination.kernels)},
      {"misses", of(destination.misses)},
      {"surveys", of(destination.surveys)},
      {"looked", of(destination.looked)},
      {"local", of(destination.local)},
      {"steered", of(destination.steered)},
      {"steeredLooked", of(destination.steeredLooked)},
      {"steeredLocal", of(destination.steeredLocal)},
  };
  return putAll(env, object, list) ? object : nullptr;
}

// Where this thread's connections go to.
napi_value jsDestinations(napi_env env, napi_callback_info info) {
  Args args(env, info);
  if (!args.ok()) return nullptr;
  napi_value array = nullptr;
  if (napi_create_array(env, &array) != napi_ok) return nullptr;
  Loop* loop = seam::currentLoop();
  if (loop == nullptr || loop->connects == nullptr) return array;
  uint32_t count = 0;
  for (int i = 0; i < seam::kMostDestinations; i++) {
    seam::Destination* destination = loop->connects->destinations.at(i);
    if (destination == nullptr) continue;
    destination->ports.refresh(seam::nowMs());
    napi_value object = describe(env, *destination);
    if (object == nullptr || napi_set_element(env, array, count++, object) != napi_ok) return nullptr;
  }
  return array;
}

// sharePorts(mask, core): the ports that this thread's connections take first, one bit each, and its core or -1.
napi_value jsSharePorts(napi_env env, napi_callback_info info) {
  Args args(env, info);
  size_t length = 0;
  const uint8_t* mask = args.bytes(0, &length);
  const int core = args.integer(1);
  if (!args.ok()) return nullptr;
  Loop* loop = seam::currentLoop();
  if (loop == nullptr || loop->connects == nullptr) return number(env, -ESRCH);
  if (length != sizeof(seam::PortMask)) return number(env, -EINVAL);
  // the mask's words are little-endian, as every machine is that the addon is built for
  memcpy(loop->connects->share.words(), mask, length);
  loop->connects->core = core;
  return number(env, 0);
}

// steerDestination(id, ports, learn, budget): see lib/native/addon.ts.
napi_value jsSteer(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const int id = args.integer(0);
  size_t length = 0;
  const uint8_t* mask = args.bytes(1, &length);
  const int learns = args.integer(2);
  const int budget = args.integer(3);
  if (!args.ok()) return nullptr;
  Loop* loop = seam::currentLoop();
  seam::Destination* destination = loop == nullptr || loop->connects == nullptr
                                       ? nullptr
                                       : loop->connects->destinations.byId(static_cast<uint32_t>(id));
  if (destination == nullptr) return number(env, -ESRCH);
  if (length == 0 && learns == 0) {
    destination->leaveAlone();
    return number(env, 0);
  }
  if (length != 0 && length != sizeof(seam::PortMask)) return number(env, -EINVAL);
  seam::PortMask home;
  if (length != 0) memcpy(home.words(), mask, length);
  if (!destination->steer(length == 0 ? nullptr : &home, learns != 0, budget, loop->connects->share))
    return number(env, -ENOMEM);
  return number(env, 0);
}

}  // namespace

bool exportSeamStats(napi_env env, napi_value exports) {
  static const Export kTable[] = {
      {"seamStats", jsStats},
      {"destinations", jsDestinations},
      {"sharePorts", jsSharePorts},
      {"steerDestination", jsSteer},
  };
  return defineAll(env, exports, kTable);
}

}  // namespace fastsocket
