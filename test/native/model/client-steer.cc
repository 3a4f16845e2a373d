// SPDX-License-Identifier: Apache-2.0
// The picture of steering: which ports come first, and what was seen of them.
#include <string.h>

#include "check.h"
#include "client.h"

namespace model {

using fastsocket::seam::Destination;
using fastsocket::seam::PortMask;
using fastsocket::seam::Steering;

namespace {

// Ports that are tried by one connect().
constexpr int kMostTries = 8;

PortMask anyMask() {
  PortMask mask;
  mask.fill(false);
  const int parts = 1 + upTo(5);
  for (int port = upTo(parts); port < 65'536; port += parts) mask.set(static_cast<uint16_t>(port));
  return mask;
}

}  // namespace

void Client::steers() {
  if (pictures_.empty()) return;
  auto one = pictures_.begin();
  std::advance(one, upTo(static_cast<int>(pictures_.size()) - 1));
  Destination* destination = connects_.destinations.at(connects_.destinations.known(one->first.endpoints()));
  if (destination != nullptr) steers(one->second, *destination);
}

void Client::steers(Picture& picture, Destination& destination) {
  if (chance(20)) {
    destination.leaveAlone();
    picture.steering.reset();
    return;
  }
  const PortMask mask = anyMask();
  const bool named = chance(60);
  const bool learns = !named || chance(30);
  const int budget = chance(30) ? -1 : upTo(20);
  CHECK(destination.steer(named ? &mask : nullptr, learns, budget, connects_.share));
  const bool begins = picture.steering == nullptr;
  if (begins) picture.epoch++;
  if (begins) picture.steering = std::make_unique<Steering>();
  Steering& steering = *picture.steering;
  if (begins || named) {
    steering.home.fill(false);
    steering.unknown = connects_.share;
    steering.learnt = 0;
  }
  if (named) {
    steering.home = mask;
    steering.learnt = static_cast<uint32_t>(mask.countCommon(mask));
  }
  steering.turn = steering.home;
  steering.learns = learns;
  steering.left = budget < 0 ? UINT32_MAX : static_cast<uint32_t>(budget);
}

// Its connection is one of those that may still be made from home.
void Client::noteSteered(Booking& booking, Picture& picture, uint16_t flags) {
  const bool is = (flags & fastsocket::seam::kSteered) != 0;
  // without a random number the next best is as good
  if (!withoutNumber && !isUnsure_) CHECK(is == (!tries_.empty() && tries_.back().steered));
  const uint32_t epoch = static_cast<uint32_t>(flags) >> fastsocket::seam::kEpochShift;
  CHECK(epoch == (is ? picture.epoch & fastsocket::seam::kEpochMask : 0));
  CHECK((flags & 0x3fff & ~(fastsocket::seam::kSteered | fastsocket::seam::kBound)) == 0);
  if (!is) return;
  Steering& steering = *picture.steering;
  CHECK(steering.left > 0 && steering.home.has(booking.port));
  if (steering.left != UINT32_MAX) steering.left--;
  booking.steered = true;
  booking.epoch = picture.epoch;
  picture.counts.steered++;
}

void Client::look(const Booking& booking, Picture& picture, const Socket& socket) const {
  const int cpu = Net::cpuOf(socket);
  if (connects_.core < 0 || booking.key.remote.isLoopback() || cpu < 0) return;
  const uint64_t local = cpu == connects_.core ? 1 : 0;
  picture.counts.looked++;
  picture.counts.local += local;
  // two bits tell the epochs apart
  if (booking.steered && (booking.epoch - picture.epoch) % 4 == 0) {
    picture.counts.steeredLooked++;
    picture.counts.steeredLocal += local;
  }
  Steering* steering = picture.steering.get();
  if (steering == nullptr || !steering->learns) return;
  steering->unknown.clear(booking.port);
  if (steering->home.has(booking.port) == (local != 0)) return;
  if (local != 0) {
    steering->home.set(booking.port);
    steering->learnt++;
  } else {
    steering->home.clear(booking.port);
    steering->turn.clear(booking.port);
    steering->learnt--;
  }
}

void Client::checkSteering(const Picture& picture, const Destination& destination) const {
  const Counts& counts = picture.counts;
  CHECK(destination.looked == counts.looked && destination.local == counts.local);
  CHECK(destination.steered == counts.steered);
  CHECK(destination.steeredLooked == counts.steeredLooked && destination.steeredLocal == counts.steeredLocal);
  CHECK((destination.steering == nullptr) == (picture.steering == nullptr));
  if (picture.steering == nullptr) return;
  const Steering& is = *destination.steering;
  const Steering& should = *picture.steering;
  CHECK(is.left == should.left && is.learns == should.learns && is.learnt == should.learnt);
  CHECK(memcmp(&is.home, &should.home, sizeof is.home) == 0);
  CHECK(memcmp(&is.unknown, &should.unknown, sizeof is.unknown) == 0);
  for (int i = 0; i < PortMask::kWords; i++) CHECK((is.turn.word(i) & ~is.home.word(i)) == 0);
}

fastsocket::seam::Destination* Client::destination() const {
  return connects_.destinations.at(connects_.destinations.known(key_.endpoints()));
}

// Where nobody has connected to yet it may be the address: one is enough.
int Client::mostTries() const {
  const Destination* known = destination();
  return known != nullptr && known->chosen + known->kernels == 0 ? 1 : kMostTries;
}

// Where nothing has been learnt, or half of the connections once that is known to be right.
bool Client::wantsToLearn() const {
  const fastsocket::seam::Steering* steering = picture_->steering.get();
  if (steering == nullptr || !steering->learns || !hasFree(&steering->unknown)) return false;
  const bool onTrial = steering->left != UINT32_MAX;
  if (steering->learnt >= destination()->ports.taken() - 1 + (onTrial ? 64 : 128)) return false;
  return onTrial || destination()->chosen % 2 == 1;
}

// Its choices have been checked; some were not to be seen, for the socket could not be told.
void Client::syncTurn(const Key& key, Picture* picture) const {
  const Destination* destination = connects_.destinations.at(connects_.destinations.known(key.endpoints()));
  if (picture == nullptr || picture->steering == nullptr || destination == nullptr) return;
  if (destination->steering != nullptr) picture->steering->turn = destination->steering->turn;
}

}  // namespace model
