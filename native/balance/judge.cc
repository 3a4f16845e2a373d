// SPDX-License-Identifier: Apache-2.0
#include "judge.h"

namespace fastsocket::balance {

namespace {

// While somebody is blocked, has connections, and others could help, there are close looks for so long; afterwards as
// ever.
constexpr uint64_t kCloselyFor = 50'000'000;
constexpr uint64_t kShortest = 50'000;
// A picture that stays the same for so long is looked at as seldom as this.
constexpr uint64_t kSameFor = 1'000'000'000;
constexpr uint64_t kSeldom = 20'000'000;

// Looks for the sake of one worker are at least so far apart, in ns: a look costs more where there are more.
constexpr uint64_t kGrain = 500'000;
constexpr uint64_t kGrainEach = 16'000;

// Looks that an arrival brings about take the place of those every lookNs where there are fewer of them.
constexpr int64_t kEachArrival = 3'000'000;
constexpr int64_t kMostSpare = 20'000'000;
// More are as many.
constexpr uint64_t kMostCounted = 100;

// Two long turns within this time, and the third one is expected to be long: handlers that all take a while.
constexpr uint64_t kAgainWithin = 50'000'000;
// It is taken for long after so much of T.
constexpr uint64_t kSooner = 4;

bool sleeps(uint64_t turns) { return (turns & 1) != 0; }

// For half of the time, at least.
bool computes(uint64_t cpu, uint64_t ns) { return cpu * 2 >= ns; }
// Some of that may have been before the turn.
bool computesInTurn(uint64_t cpu, uint64_t ns) { return cpu * 4 >= ns * 3; }

}  // namespace

uint64_t Judge::grain(int seats) {
  const uint64_t all = kGrainEach * static_cast<uint64_t>(seats);
  return all > kGrain ? all : kGrain;
}

uint64_t Judge::longNs(const Mind& mind) const {
  return lookedAt_ < mind.soonUntil ? rules_.blockedNs / kSooner : rules_.blockedNs;
}

// It has been in it for long; and has been seen in it for half as long: what it computes is known of that time alone.
uint64_t Judge::longAt(const Mind& mind) const {
  const uint64_t known = mind.seenAt + longNs(mind) / 2;
  const uint64_t isLong = mind.turnedAt + longNs(mind);
  return known > isLong ? known : isLong;
}

// Even if it has computed all the time from the last look before its turn until that began. Where it has several
// threads that compute, or the machine has stood still, that cannot be told.
bool Judge::hasComputed(const Mind& mind, uint64_t cpuNs, uint64_t now) const {
  if (mind.beforeCpu == 0 || cpuNs < mind.beforeCpu) return false;
  const uint64_t used = cpuNs - mind.beforeCpu;
  const uint64_t before = mind.turnedAt > mind.beforeAt ? mind.turnedAt - mind.beforeAt : 0;
  return used >= longNs(mind) + before && used <= now - mind.beforeAt + kShortest;
}

// One callback for all that time; where several share a CPU, for as much of it as it was given one.
bool Judge::isInLongTurn(const Mind& mind, const Sight& sight, uint64_t now) const {
  const uint64_t from = mind.seenAt > mind.turnedAt ? mind.seenAt : mind.turnedAt;
  const uint64_t cpu = sight.cpuNs != 0 && mind.seenCpu != 0 ? sight.cpuNs - mind.seenCpu : 0;
  if (sleeps(sight.turns)) return false;
  if (now >= mind.turnedAt + longNs(mind) && hasComputed(mind, sight.cpuNs, now)) return true;
  return now >= longAt(mind) && cpu > 0 &&
         (cpu >= longNs(mind) + (from - mind.seenAt) || computesInTurn(cpu, now - from));
}

void Judge::judge(Mind& mind, const Sight& sight, uint64_t now) {
  const bool moved = sight.accepted != mind.accepted;
  const bool turned = sight.turns != mind.turns;
  const uint64_t lastCpu = mind.lastCpu;
  mind.accepted = sight.accepted;
  mind.turns = sight.turns;
  mind.lastCpu = sight.cpuNs;
  if (turned || moved || mind.turnedAt == 0) {
    // since the last look, whatever it says; and where the machine has stood still in between, that is nobody's turn
    const uint64_t most = mind.turnedAt == 0 || !turned ? 0 : now - lookedAt_;
    mind.turnedAt = now - (sight.turnNs < most ? sight.turnNs : most);
    // what it has computed since the last look was before this turn in part: little, where that is not long ago
    const bool known = turned && lastCpu != 0 && now - lookedAt_ <= rules_.lookNs + rules_.blockedNs;
    mind.seenAt = known ? lookedAt_ : now;
    mind.seenCpu = known ? lastCpu : sight.cpuNs;
    mind.beforeAt = lookedAt_;
    mind.beforeCpu = turned ? lastCpu : 0;
  }
  if (moved || turned || !sight.serves) mind.blocked = false;
  mind.longTurn = sight.serves && isInLongTurn(mind, sight, now);
  if (mind.longTurn) expect(mind, now);
  if (!sight.serves || !sight.queued || moved) {
    mind.stillSince = 0;
    return;
  }
  if (mind.stillSince == 0) {
    mind.stillSince = now;
    mind.stillCpu = sight.cpuNs;
  }
  const bool known = sight.cpuNs != 0;
  const uint64_t still = now - mind.stillSince;
  const bool busy =
      still >= rules_.blockedNs && (!known || mind.stillCpu == 0 || computes(sight.cpuNs - mind.stillCpu, still));
  if (mind.blocked || (!mind.longTurn && !busy && still < rules_.starvedNs)) return;
  mind.blocked = true;
  mind.blockedAt = now;
}

void Judge::rested(uint64_t ns) {
  const auto most = static_cast<uint64_t>(kMostSpare);
  spare_ += static_cast<int64_t>(ns < most ? ns : most);
}

// As its last turns were.
void Judge::expect(Mind& mind, uint64_t now) {
  const bool another = mind.longTurnOf != mind.turns;
  if (another && mind.longTurnAt != 0 && now - mind.longTurnAt < kAgainWithin) mind.soonUntil = now + kAgainWithin;
  mind.longTurnOf = mind.turns;
  mind.longTurnAt = now;
}

void Judge::look(uint64_t now, const Sight* sights, int seats) {
  helpers_ = 0;
  bool lives = false;
  bool blocked = false;
  bool claimed = false;
  quiet_ = true;
  spare_ += static_cast<int64_t>(now - lookedAt_);
  if (spare_ > kMostSpare) spare_ = kMostSpare;
  for (int i = 1; i < seats; i++) {
    const Sight& sight = sights[i];
    const bool moved = sight.accepted != minds_[i].accepted;
    // of another process in its seat it may be less
    const uint64_t came = sight.accepted > minds_[i].accepted ? sight.accepted - minds_[i].accepted : 0;
    spare_ -= static_cast<int64_t>(came < kMostCounted ? came : kMostCounted) * kEachArrival;
    const bool wasQueued = minds_[i].queued;
    const bool wasBlocked = minds_[i].blocked;
    claimed = claimed || moved;
    if (moved || sight.queued) quiet_ = false;
    judge(minds_[i], sight, now);
    minds_[i].queued = sight.queued;
    if (moved || sight.queued != wasQueued || minds_[i].blocked != wasBlocked) changedAt_ = now;
    const bool goesOn = sight.serves && !minds_[i].blocked;
    lives = lives || goesOn;
    minds_[i].helps = goesOn && !sight.queued && !sight.behind;
    if (minds_[i].helps) helpers_++;
    blocked = blocked || minds_[i].blocked;
  }
  // it may come back, or be excluded, without anything having come
  if (blocked && now - changedAt_ <= kSameFor) quiet_ = false;
  for (int i = 1; i < seats; i++) {
    Mind& mind = minds_[i];
    if (!mind.blocked) mind.excluded = false;
    // where all are busy the share of each stays as it is: a machine that has too much to do is not to dance
    else if (rules_.excludes &&
             ((helpers_ > 0 && isLate(mind, now, rules_.excludedNs)) || (lives && isLate(mind, now, rules_.goneNs))))
      mind.excluded = true;
  }
  if (came_ && unclaimed_ && !claimed) spare_ -= kEachArrival;
  unclaimed_ = !claimed && (came_ || unclaimed_);
  came_ = false;
  if (spare_ < -kMostSpare) spare_ = -kMostSpare;
  lookedAt_ = now;
}

bool Judge::isLate(const Mind& mind, uint64_t now, uint64_t ns) const {
  return mind.blocked && now - mind.blockedAt + rules_.blockedNs >= ns;
}

bool Judge::isGone(int seat, uint64_t now) const { return isLate(minds_[seat], now, rules_.goneNs); }

int Judge::helperFor(int victim, const Sight* sights, const bool* allowed, int seats, bool insists) {
  const auto rank = [&](const Sight& sight) {
    const bool busy = sight.queued || sight.behind;
    return (busy ? 4 : 0) + (sleeps(sight.turns) ? 0 : 2) + (sight.node == sights[victim].node ? 0 : 1);
  };
  int best = 0;
  for (int n = 1; n < seats; n++) {
    // in turn, where there is nothing between them
    const int i = 1 + (lastHelper_ + n - 1) % (seats - 1);
    const Sight& sight = sights[i];
    if (i == victim || !allowed[i] || !sight.serves || !sight.helps || minds_[i].blocked) continue;
    if (sight.queued && !insists) continue;
    const int more = best == 0 ? -1 : rank(sight) - rank(sights[best]);
    if (more < 0 || (more == 0 && sight.open < sights[best].open)) best = i;
  }
  if (best != 0) lastHelper_ = best;
  return best;
}

uint64_t Judge::pause(uint64_t now, int seats) const {
  // a queue that nobody can take
  if (now - changedAt_ > kSameFor) return kSeldom;
  // what comes ends it
  uint64_t pause = isSparse() ? 4 * rules_.lookNs : rules_.lookNs;
  // turns begin whenever they like: each with a look of its own would be many looks where there are many workers
  const uint64_t apart = grain(seats);
  for (int i = 1; i < seats; i++) {
    const Mind& mind = minds_[i];
    if ((mind.blocked || mind.queued) && pause > rules_.lookNs) pause = rules_.lookNs;
    if (mind.blocked) {
      const uint64_t due = mind.blockedAt + rules_.excludedNs - rules_.blockedNs;
      if (rules_.excludes && !mind.excluded && due > now && due - now < pause) pause = due - now;
      if (helpers_ > 0 && mind.queued && now - mind.blockedAt < kCloselyFor && pause > apart) pause = apart;
    } else if (mind.stillSince != 0) {
      // where nobody could help there is no hurry
      uint64_t turn = helpers_ > 0 && !sleeps(mind.turns) ? longAt(mind) : 0;
      if (turn != 0 && mind.beforeCpu != 0 && mind.turnedAt + longNs(mind) > now) turn = mind.turnedAt + longNs(mind);
      if (turn > now && turn - now < apart) turn = now + apart;
      const uint64_t ends[] = {turn, mind.stillSince + rules_.blockedNs, mind.stillSince + rules_.starvedNs};
      for (const uint64_t due : ends)
        if (due > now && due - now < pause) pause = due - now;
    }
  }
  return pause < kShortest ? kShortest : pause;
}

}  // namespace fastsocket::balance
