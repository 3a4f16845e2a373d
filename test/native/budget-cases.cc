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
constexpr uint64_t kLongest = 8 * kMs;

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
  const uint64_t part = 60'000 * kMs / Budget::kPart;
  CHECK(thread.cpu <= part + Budget::kMost + 35 * kUs);
  CHECK(thread.cpu >= part - Budget::kMost);
}

// However dear: whoever is blocked is found.
void tooDear() {
  Thread thread;
  for (int i = 0; i < 1'000; i++) thread.look(kMs, 2 * kMs);
  CHECK(thread.now >= 1'000 * 9 * kMs - 100 * kMs && thread.now <= 1'000 * 9 * kMs);
}

// Who has rested may look closely for a while; how long it has rested makes no difference after a second.
void rested() {
  for (const uint64_t restedMs : {uint64_t{1'000}, uint64_t{1'000'000}}) {
    Thread thread;
    thread.now = restedMs * kMs;
    const uint64_t began = thread.now;
    while (thread.cpu < Budget::kMost - 25 * kUs) {
      const uint64_t before = thread.now;
      thread.look(25 * kUs, 500 * kUs);
      CHECK(thread.now - before == 525 * kUs);
    }
    CHECK(thread.now - began < 300 * kMs);
    const uint64_t before = thread.cpu;
    for (int i = 0; i < 1'000; i++) thread.look(25 * kUs, 500 * kUs);
    CHECK(thread.now - began > (thread.cpu - before) * Budget::kPart - 50 * kMs);
  }
}

// By what the one has used that has used least, of its part of the CPUs.
void use() {
  fastsocket::balance::Use use;
  CHECK(!use.isHigh(2));
  uint64_t now = 5'000 * kMs;
  uint64_t cpu[2] = {200 * kMs, 300 * kMs};
  const auto after = [&](uint64_t ms, uint64_t first, uint64_t second) {
    now += ms * kMs;
    CHECK(use.isDue(now) && !use.isDue(now - (ms - 99) * kMs));
    use.begin(now);
    use.tell(1, cpu[0] += first * kMs);
    use.tell(2, cpu[1] += second * kMs);
  };
  CHECK(use.isDue(now));
  use.begin(now);
  use.tell(1, cpu[0]);
  use.tell(2, cpu[1]);
  after(100, 31, 60);
  CHECK(use.isHigh(2) && use.isHigh(1));
  // one computes all the time, the other could help
  after(100, 100, 29);
  CHECK(!use.isHigh(2) && use.isHigh(1));
  after(100, 31, 31);
  CHECK(use.isHigh(2));
  // one is another process
  cpu[0] = 0;
  after(100, 90, 90);
  CHECK(!use.isHigh(1));
  after(100, 90, 90);
  CHECK(use.isHigh(2));
  // nothing came for a minute, and then as much as they can do
  after(60'000, 100, 100);
  CHECK(!use.isHigh(1));
}

}  // namespace
}  // namespace model

int main() {
  model::cheap();
  model::dear();
  model::tooDear();
  model::rested();
  model::use();
  printf("all\n");
  return 0;
}
