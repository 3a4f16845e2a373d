// SPDX-License-Identifier: Apache-2.0
// Workers as the judge of who is blocked sees them.
#pragma once

#include <memory>
#include <vector>

#include "../../../native/balance/judge.h"

namespace model {

using fastsocket::balance::Judge;
using fastsocket::balance::kMostSeats;
using fastsocket::balance::Rules;
using fastsocket::balance::Sight;

constexpr uint64_t kMs = 1'000'000;
constexpr Rules kRules = {2 * kMs, 8 * kMs, 16 * kMs, 2 * kMs, true};

// Some workers and the time.
struct World {
  explicit World(int workers) : sights(static_cast<size_t>(workers) + 1), judge(new Judge) {
    judge->setRules(kRules);
    for (int i = 1; i <= workers; i++) sights[i] = {true, false, 0, 1, 0, true, 0, 0, 0};
    look();
  }
  ~World() { delete judge; }
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  World(World&&) = delete;
  World& operator=(World&&) = delete;

  [[nodiscard]] int seats() const { return static_cast<int>(sights.size()); }
  void look() { judge->look(now, sights.data(), seats()); }
  void after(uint64_t ns) {
    now += ns;
    look();
  }
  int helperFor(int victim, bool insists = false) {
    const std::unique_ptr<bool[]> allowed(new bool[sights.size()]);
    for (size_t i = 0; i < sights.size(); i++) allowed[i] = static_cast<int>(i) != barred;
    return judge->helperFor(victim, sights.data(), allowed.get(), seats(), insists);
  }
  // It turns, and sleeps.
  void turn(int i) { sights[i].turns += 2; }
  void wakeUp(int i) { sights[i].turns |= 1, sights[i].turns++; }

  std::vector<Sight> sights;
  // It serves another group.
  int barred = -1;
  Judge* judge;
  uint64_t now = 1'000 * kMs;
};

}  // namespace model
