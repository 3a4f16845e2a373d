// SPDX-License-Identifier: Apache-2.0
// Who is blocked, who may help, and who gets no new connections: from what can be seen of the workers from outside.
// Calls nobody, so that it can be tested without processes.
#pragma once

#include <stdint.h>

#include "page.h"

namespace fastsocket::balance {

struct Rules {
  // A worker whose queue is not empty and who has accepted nothing for so long is blocked: if it has computed
  // meanwhile.
  uint64_t blockedNs;
  // If it has not, for so long: others have its CPU, as a rule for a few milliseconds, and its connections are better
  // off where they are; or it is stopped, or waits for a disk.
  uint64_t starvedNs;
  // And for so long: it gets no new connections.
  uint64_t excludedNs;
  // Time between two looks while connections come.
  uint64_t lookNs;
  bool excludes;
  // And for so long: also where the others have enough to do themselves. No handler takes so long all the time.
  uint64_t goneNs = 250'000'000;
};

// One worker, at one look.
struct Sight {
  // It serves a group, and its loop tells of itself.
  bool serves;
  // A queue of its own has connections in it.
  bool queued;
  uint64_t accepted;
  // Told::turns.
  uint64_t turns;
  // How long ago that began, by its own account: a worker runs the app's code.
  uint64_t turnNs;
  // It may accept from siblings' queues, and has nothing on offer that it has not looked at.
  bool helps;
  // Connections that it has open.
  uint64_t open;
  // NUMA node of its CPU.
  int node;
  // CPU time of its process in ns, 0 where it is not known.
  uint64_t cpuNs;
  // It has just accepted, and a queue of its own has connections in it all the same.
  bool behind = false;
};

class Judge {
 public:
  void setRules(const Rules& rules) { rules_ = rules; }
  // A new process has this seat.
  void begin(int seat) { minds_[seat] = {}; }

  // Nobody has looked for so long, in ns, since nothing has come.
  void rested(uint64_t ns);
  // Something has come to a queue: the next look is for that.
  void came() { came_ = true; }
  // `sights` has one for each seat up to `seats`; 0 is nobody's.
  void look(uint64_t now, const Sight* sights, int seats);
  [[nodiscard]] bool isBlocked(int seat) const { return minds_[seat].blocked; }
  [[nodiscard]] bool isExcluded(int seat) const { return minds_[seat].excluded; }
  // Blocked as soon as something comes to it, which somebody else could accept.
  [[nodiscard]] bool isHeld(int seat) const { return minds_[seat].longTurn && helpers_ > (minds_[seat].helps ? 1 : 0); }
  // Who is to be asked to help `victim`, 0 where nobody can: who sleeps comes first, then who is of the same node, then
  // who has fewest connections.
  // Of those that are `allowed`, by seat.
  // `insists`: whoever has a queue of its own will do.
  int helperFor(int victim, const Sight* sights, const bool* allowed, int seats, bool insists = false);
  // Blocked for so long that nobody counts on it.
  [[nodiscard]] bool isGone(int seat, uint64_t now) const;
  // Nothing has moved since the last look, no queue has anything in it, and nobody has been blocked for a moment only.
  [[nodiscard]] bool isQuiet() const { return quiet_; }
  // So little comes that each of it may have a look of its own: that is fewer looks than are made without.
  [[nodiscard]] bool isSparse() const { return spare_ > 0; }
  // How long until the next look, in ns.
  [[nodiscard]] uint64_t pause(uint64_t now, int seats) const;
  // Looks that are made early are at least so far apart, in ns.
  static uint64_t grain(int seats);

 private:
  struct Mind {
    uint64_t accepted;
    uint64_t turns;
    bool queued;
    // At the last look; 0: not known.
    uint64_t lastCpu;
    // When its turn began; a look before which it was not in it, or the first at which it was; and the CPU time then.
    uint64_t turnedAt;
    uint64_t seenAt;
    uint64_t seenCpu;
    // The last look before it, and the CPU time then; 0: not known.
    uint64_t beforeAt;
    uint64_t beforeCpu;
    // Since when its queue has stood still, 0: it has not; and the CPU time then.
    uint64_t stillSince;
    uint64_t stillCpu;
    uint64_t blockedAt;
    // It computes, and has for long, whatever its queue.
    bool longTurn;
    // Number of the long turn that was seen last, and when; and until when its turns are taken for long sooner.
    uint64_t longTurnOf;
    uint64_t longTurnAt;
    uint64_t soonUntil;
    // It is not blocked, and has nothing to accept.
    bool helps;
    bool blocked;
    bool excluded;
  };
  void judge(Mind& mind, const Sight& sight, uint64_t now);
  void expect(Mind& mind, uint64_t now);
  // It has been blocked for so long.
  [[nodiscard]] bool isLate(const Mind& mind, uint64_t now, uint64_t ns) const;
  // How long a turn of this one is to last, to be a long one.
  [[nodiscard]] uint64_t longNs(const Mind& mind) const;
  // Of a turn that is not over.
  [[nodiscard]] uint64_t longAt(const Mind& mind) const;
  // It has computed for that long, whatever it has done before.
  [[nodiscard]] bool hasComputed(const Mind& mind, uint64_t cpuNs, uint64_t now) const;
  [[nodiscard]] bool isInLongTurn(const Mind& mind, const Sight& sight, uint64_t now) const;

  Rules rules_ = {};
  Mind minds_[kMostSeats] = {};
  bool quiet_ = false;
  // Time in ns since the last arrivals, less kEachArrival for each of them.
  int64_t spare_ = 0;
  // This look is for something that has come; and nobody has said since the last such look that it has accepted: it
  // tells nothing of itself.
  bool came_ = false;
  bool unclaimed_ = false;
  // How many are not blocked and have an empty queue.
  int helpers_ = 0;
  uint64_t lookedAt_ = 0;
  // When the picture was last another than before: somebody has accepted, is blocked or is not any more, or a queue has
  // something in it or has not any more. Turns are no change: whoever declines what it is offered turns for that.
  // Whatever can be done about a change is done at the look that sees it, kSeldom later at most, and looks are close
  // again then.
  uint64_t changedAt_ = 0;
  int lastHelper_ = 0;
};

}  // namespace fastsocket::balance
