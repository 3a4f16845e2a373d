// SPDX-License-Identifier: Apache-2.0
#include "destinations.h"

#include <netinet/in.h>

#include <new>

namespace fastsocket::seam {

namespace {

// RFC 4291, 2.5.5.2
constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr uint8_t kLoopback6[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

bool readAddress(const sockaddr* address, socklen_t length, uint8_t* family, uint8_t* bytes, uint16_t* port,
                 uint32_t* scope) {
  if (length < sizeof(sa_family_t)) return false;
  if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(address);
    memcpy(bytes, &in->sin_addr, 4);
    *port = ntohs(in->sin_port);
    *family = 4;
    return true;
  }
  if (address->sa_family != AF_INET6 || length < sizeof(sockaddr_in6)) return false;
  const auto* in6 = reinterpret_cast<const sockaddr_in6*>(address);
  *port = ntohs(in6->sin6_port);
  if (memcmp(&in6->sin6_addr, kMapped, sizeof kMapped) == 0) {
    memcpy(bytes, reinterpret_cast<const uint8_t*>(&in6->sin6_addr) + sizeof kMapped, 4);
    *family = 4;
    return true;
  }
  memcpy(bytes, &in6->sin6_addr, 16);
  *scope = in6->sin6_scope_id;
  *family = 6;
  return true;
}

}  // namespace

bool Endpoints::read(const sockaddr* remote, socklen_t length, const sockaddr* local, Endpoints* result) {
  *result = {};
  if (!readAddress(remote, length, &result->family, result->remote, &result->port, &result->scope)) return false;
  if (local == nullptr) return true;
  uint8_t family = 0;
  uint16_t port = 0;
  uint32_t scope = 0;
  const socklen_t size = local->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  return readAddress(local, size, &family, result->local, &port, &scope);
}

// Eight bytes at a time, by the finalizer of MurmurHash3 (public domain, fmix64): whom an app connects to is its own
// choice, so that nobody makes them meet.
uint32_t Endpoints::hash() const {
  uint64_t hash = 0;
  for (size_t i = 0; i < sizeof *this; i += sizeof(uint64_t)) {
    uint64_t word = 0;
    memcpy(&word, reinterpret_cast<const uint8_t*>(this) + i, sizeof word);
    hash = (hash ^ word) * 0xff51afd7ed558ccd;
    hash ^= hash >> 33;
  }
  return static_cast<uint32_t>(hash);
}

bool Endpoints::isLoopback() const {
  // 0.0.0.0 and :: are the loopback addresses to connect() (net/ipv4/route.c, ip_route_output_key_hash_rcu)
  if (family == 4) return remote[0] == 127 || remote[0] == 0;
  return memcmp(remote, kLoopback6, sizeof kLoopback6 - 1) == 0 && remote[15] <= 1;
}

bool Destination::steer(const PortMask* home, bool learns, int budget, const PortMask& share) {
  const bool goesOn = steering != nullptr && home == nullptr;
  if (steering == nullptr) {
    steering = static_cast<Steering*>(calloc(1, sizeof(Steering)));
    if (steering == nullptr) return false;
    epoch++;
  }
  if (!goesOn) {
    steering->home.fill(false);
    steering->unknown = share;
    steering->learnt = 0;
  }
  if (home != nullptr) {
    steering->home = *home;
    steering->learnt = static_cast<uint32_t>(home->countCommon(*home));
  }
  steering->turn = steering->home;
  steering->learns = learns;
  steering->left = budget < 0 ? UINT32_MAX : static_cast<uint32_t>(budget);
  return true;
}

void Destination::leaveAlone() {
  free(steering);
  steering = nullptr;
}

void Destinations::destroy(Destination* destination) {
  free(destination->steering);
  destination->~Destination();
  free(destination);
}

Destinations::~Destinations() {
  for (Destination* destination : list_)
    if (destination != nullptr) destroy(destination);
}

Destination* Destinations::byId(uint32_t id) {
  for (Destination* destination : list_)
    if (destination != nullptr && destination->id == id) return destination;
  return nullptr;
}

// Where it is, or the free place where it would be.
int Destinations::bucketOf(const Endpoints& to) const {
  for (uint32_t at = to.hash();; at++) {
    const uint16_t found = buckets_[at % kBuckets];
    if (found == 0 || list_[found - 1]->to.is(to)) return static_cast<int>(at % kBuckets);
  }
}

void Destinations::remove(int index) {
  uint32_t hole = static_cast<uint32_t>(bucketOf(list_[index]->to));
  destroy(list_[index]);
  list_[index] = nullptr;
  count_--;
  // what follows may have been moved on by it
  for (uint32_t at = (hole + 1) % kBuckets; buckets_[at] != 0; at = (at + 1) % kBuckets) {
    const uint32_t home = list_[buckets_[at] - 1]->to.hash() % kBuckets;
    if ((at - home) % kBuckets < (at - hole) % kBuckets) continue;
    buckets_[hole] = buckets_[at];
    hole = at;
  }
  buckets_[hole] = 0;
}

// A free place in the list, or -1.
int Destinations::room() {
  int idle = -1;
  for (int i = 0; i < kMostDestinations; i++) {
    if (list_[i] == nullptr) return i;
    if (list_[i]->ports.taken() == 0 && (idle < 0 || list_[i]->used < list_[idle]->used)) idle = i;
  }
  if (idle >= 0) remove(idle);
  return idle;
}

int Destinations::find(const Endpoints& to) {
  clock_++;
  const int found = known(to);
  if (found >= 0) {
    list_[found]->used = clock_;
    return found;
  }
  const int index = room();
  if (index < 0) return -1;
  void* memory = calloc(1, sizeof(Destination));
  if (memory == nullptr) return -1;
  auto* destination = new (memory) Destination();
  destination->to = to;
  destination->id = ++lastId_;
  destination->used = clock_;
  destination->loopback = to.isLoopback();
  list_[index] = destination;
  count_++;
  // a removal may have changed where it belongs
  buckets_[bucketOf(to)] = static_cast<uint16_t>(index + 1);
  return index;
}

}  // namespace fastsocket::seam
