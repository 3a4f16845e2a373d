// SPDX-License-Identifier: Apache-2.0
// How long the origin's thread pauses for the sake of what it has used.
#include <stdio.h>

#include "../../native/balance/budget.h"
#include "model/check.h"

namespace model {

namespace {

using fastsocket::balance::Budget;

constexpr uint64_t kUs = 1'000;
constexpr uint64_t kMs = 1'000 * kUs;
constexpr uint64_t kLongest = 4 * kMs;

struct Thread {
  Budget budget;
  uint64_t now = 0;
  uint64_t cpu = 0;
  uint64_t looks = 0;

  // One look, and what comes before the next.
  void look(uint64_t costs, uint64_t pause) {
    looks++;
    cpu += costs;
    now += costs;
    const uint64_t least = budget.pause(now, cpu, kLongest);
    CHECK(least <= kLongest);
    now += least > pause ? least : pause;
  }
};

// Cheap looks are never kept waiting.
void cheap() {
  Thread thread;
  const uint64_t cost = 2 * kMs / Budget::kPart;
  for (int i = 0; i < 10'000; i++) thread.look(cost, 2 * kMs);
  CHECK(thread.now == 10'000 * (2 * kMs + cost));
}

// Dear ones take their part and no more.
void dear() {
  Thread thread;
  thread.now = 1'000 * kMs;
  while (thread.now < 61'000 * kMs) thread.look(35 * kUs, 2 * kMs);
  // what was saved up before, and of a minute
  CHECK(thread.cpu <= 610 * kMs + 35 * kUs);
  CHECK(thread.cpu >= 590 * kMs);
}

// However dear: whoever is blocked is found.
void tooDear() {
  Thread thread;
  for (int i = 0; i < 1'000; i++) thread.look(kMs, 2 * kMs);
  CHECK(thread.now >= 1'000 * 5 * kMs - 100 * kMs && thread.now <= 1'000 * 5 * kMs);
}

// Who has rested may look closely for a while; how long it has rested makes no difference after a second.
void rested() {
  for (const uint64_t restedMs : {uint64_t{1'000}, uint64_t{1'000'000}}) {
    Thread thread;
    thread.now = restedMs * kMs;
    const uint64_t began = thread.now;
    while (thread.cpu < 10 * kMs - 25 * kUs) {
      const uint64_t before = thread.now;
      thread.look(25 * kUs, 500 * kUs);
      CHECK(thread.now - before == 525 * kUs);
    }
    CHECK(thread.now - began < 300 * kMs);
    // 35 ms in all, of which 10 were saved up
    for (int i = 0; i < 1'000; i++) thread.look(25 * kUs, 500 * kUs);
    CHECK(thread.now - began > 2'450 * kMs);
  }
}

}  // namespace
}  // namespace model

int main() {
  model::cheap();
  model::dear();
  model::tooDear();
  model::rested();
  printf("all\n");
  return 0;
}
