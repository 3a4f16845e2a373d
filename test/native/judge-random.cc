// SPDX-License-Identifier: Apache-2.0
// Workers at random against what must hold of who is blocked, whatever they do.
#include <stdio.h>
#include <stdlib.h>

#include <vector>

#include "model/check.h"
#include "model/judged.h"

namespace model {

namespace {

void anything() {
  const int workers = 1 + upTo(12);
  World world(workers);
  std::vector<uint64_t> stands(static_cast<size_t>(workers) + 1);
  std::vector<uint64_t> since(static_cast<size_t>(workers) + 1);
  for (int step = 0; step < 400; step++) {
    const uint64_t pause = world.judge->pause(world.now, world.seats());
    CHECK(pause >= 50'000 && (pause <= (world.judge->isSparse() ? 4 : 1) * kRules.lookNs || pause == 20 * kMs));
    world.now += pause;
    for (int i = 1; i <= workers; i++) {
      Sight& sight = world.sights[i];
      const Sight before = sight;
      if (upTo(9) == 0) sight.serves = !sight.serves;
      if (upTo(4) == 0) sight.queued = !sight.queued;
      if (upTo(3) == 0) sight.accepted += 1U + static_cast<unsigned>(upTo(3));
      if (upTo(3) == 0) sight.turns += 1U + static_cast<unsigned>(upTo(3));
      sight.turnNs = static_cast<uint64_t>(upTo(4'000'000));
      sight.open = static_cast<uint64_t>(upTo(5));
      sight.cpuNs += upTo(2) == 0 ? static_cast<uint64_t>(upTo(2'000'000)) : 0;
      sight.behind = sight.accepted != before.accepted && upTo(2) == 0;
      const bool still = sight.serves && sight.queued && sight.accepted == before.accepted;
      stands[i] = still ? (stands[i] == 0 ? world.now : stands[i]) : 0;
    }
    std::vector<bool> out(static_cast<size_t>(workers) + 1);
    std::vector<bool> blocked(static_cast<size_t>(workers) + 1);
    for (int i = 1; i <= workers; i++) {
      out[i] = world.judge->isExcluded(i);
      blocked[i] = world.judge->isBlocked(i);
    }
    world.look();
    bool helps = false;
    bool lives = false;
    bool more = false;
    bool gone = true;
    for (int i = 1; i <= workers; i++) {
      const Sight& sight = world.sights[i];
      if (world.judge->isBlocked(i)) CHECK(sight.serves && (sight.queued || blocked[i]));
      if (world.judge->isExcluded(i)) CHECK(world.judge->isBlocked(i));
      // after the first look that found it so, at the latest
      if (stands[i] != 0 && world.now - stands[i] >= kRules.starvedNs) CHECK(world.judge->isBlocked(i));
      helps = helps || (sight.serves && !sight.queued && !sight.behind && !world.judge->isBlocked(i));
      lives = lives || (sight.serves && !world.judge->isBlocked(i));
      since[i] = world.judge->isBlocked(i) ? (since[i] == 0 ? world.now : since[i]) : 0;
      if (!world.judge->isExcluded(i) || out[i]) continue;
      more = true;
      gone = gone && world.now - since[i] + kRules.blockedNs >= kRules.goneNs;
    }
    CHECK(!more || helps || (lives && gone));
    const int victim = 1 + upTo(workers - 1);
    const int helper = world.helperFor(victim);
    if (helper != 0) {
      CHECK(helper != victim && world.sights[helper].serves && !world.sights[helper].queued);
      CHECK(!world.judge->isBlocked(helper) && !world.judge->isExcluded(helper));
    }
  }
}

}  // namespace
}  // namespace model

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  model::g_seed = static_cast<unsigned>(atoi(argv[1]));
  const auto rounds = static_cast<unsigned>(atoi(argv[2]));
  for (unsigned i = 0; i < rounds; i++) {
    model::g_round = i;
    model::g_dice.seed(model::g_seed * 1'000'003U + i);
    model::anything();
  }
  printf("%u rounds\n", rounds);
  return 0;
}
