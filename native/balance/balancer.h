// SPDX-License-Identifier: Apache-2.0
// The origin's thread: sees which worker is blocked, offers its queue to an idle one, and steers around it. It goes on
// when the origin's JavaScript blocks, and sleeps without a timer while nothing comes.
#pragma once

#include <pthread.h>
#include <time.h>

#include "budget.h"
#include "groups.h"
#include "judge.h"

namespace fastsocket::balance {

struct Figures {
  uint64_t looks;
  // Times that it has slept until something came.
  uint64_t rests;
  // Pauses that ended early because something came to a worker that is blocked.
  uint64_t woken;
  uint64_t blocked;
  uint64_t offers;
  // Programs that were attached to exclude a worker, or to take it back.
  uint64_t swaps;
};

struct Options {
  Rules rules;
  // That the workers have together.
  uint64_t cpus;
  bool steals;
  // Only where there is no worker.
  bool deadOnly;
  // The notices tell who is excluded and who is back.
  bool tells;
};

class Balancer {
 public:
  // One for the process; where it runs the judge goes by these rules, and for so many CPUs, from now on. nullptr where
  // it cannot be: *error is a negative errno, *what the call.
  static Balancer* start(const Options& options, int* error, const char** what);
  static Balancer* get();

  // Everything below is for the thread of the origin's JavaScript.

  // The descriptors that worker `index` is to get; the caller closes them. 0 or a negative errno.
  int seat(int index, int node, int fds[3]);
  void vacate(int index);
  // It is pinned to a CPU of this NUMA node from now on.
  void place(int index, int node);
  // The thread watches the queues of these sockets from now on; of a group that is watched, of those that follow the
  // ones that it has. 0 or a negative errno; where the group was watched that may be over then.
  int watch(uint32_t generation, const Buffer<int>& sockets);
  int serve(uint32_t generation, const Buffer<int>& indexes);
  // The workers have so many CPUs together from now on.
  void spread(uint64_t starvedNs, uint64_t cpus);
  int program(uint32_t generation, Buffer<sock_filter> lean, Guarded guarded);
  // Its sockets are about to be closed.
  void forget(uint32_t generation);
  // The thread says so on the notices when something comes; once.
  void notifyNext();
  // Readable: one message for each notice.
  [[nodiscard]] int notices() const { return notices_[0]; }
  // The whole page; `index` from 1 to seats() - 1.
  [[nodiscard]] const Seat& seatOf(int index) const { return page_->seats[index]; }
  [[nodiscard]] int seats() const { return seats_; }
  // CPU time of the thread in ns goes to *threadNs; what the kernel has dropped, to the page.
  void figures(Figures* figures, uint64_t* threadNs);

 private:
  static constexpr int kMostGroups = 64;

  static void* run(void* data);
  void loop();
  bool rest();
  // At most so long, in ms, -1 without an end. *came: something has. False where it cannot wait.
  bool wait(int ms, bool* came);
  void pauseFor(uint64_t ns);
  template <typename Chosen>
  bool armWhere(Chosen chosen);
  void tellUse(uint64_t now);
  // `now` by the judge's clock, and by everybody's.
  void look(uint64_t now, uint64_t real);
  void see(uint64_t now, uint64_t real, Sight* sights);
  void seeMoved(const bool* moved, Sight* sights);
  void ask(Sight* sights);
  void askIn(const Group& group, Sight* sights);
  // False where the helper could not be asked.
  bool offer(const Group& group, int victim, int helper, bool insists);
  // Whoever sleeps beside an empty queue and is taken for blocked is asked whether it is there.
  void nudge(const Sight* sights);
  int sendTo(int seat, Offer offered, int fd);
  [[nodiscard]] bool declines(int seat, const Group& group) const;
  void excludeBlocked(uint64_t now);
  void tell(int seat, uint64_t now);
  bool say(const char* text);
  void notify();
  void countDrops();
  Group* find(uint32_t generation);
  void armAll();
  int arm(int slot, int index, int operation);

  Options options_ = {};
  Page* page_ = nullptr;
  int pageFd_ = -1;
  int epoll_ = -1;
  // Workers that come back write to it.
  int wake_ = -1;
  int notices_[2] = {-1, -1};
  pthread_t thread_ = {};
  // Everything below, and every descriptor of a group.
  pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
  Group groups_[kMostGroups];
  int channels_[kMostSeats] = {};
  int nodes_[kMostSeats] = {};
  // The group of the last offer.
  uint32_t offers_[kMostSeats] = {};
  uint32_t exclusions_ = 0;
  uint64_t offered_[kMostSeats] = {};
  // When they were excluded.
  uint64_t excludedAt_[kMostSeats] = {};
  // Offers that were not made use of; and of which group the last was, as far as can be seen.
  struct Decline {
    uint64_t at;
    uint32_t generation;
  };
  uint64_t declined_[kMostSeats] = {};
  Decline declines_[kMostSeats] = {};
  // The group that is looked after first.
  int first_ = 0;
  // The judge's: it stands still while this thread does.
  uint64_t clock_ = 1;
  // One more than the highest index.
  int seats_ = 1;
  bool notify_ = false;
  Judge judge_;
  Budget budget_;
  Use use_;
  Figures figures_ = {};
  Sight sights_[kMostSeats];
  bool wanted_[kMostSeats];
  // The kernel's programs are such, of some group at least.
  bool told_[kMostSeats];
};

}  // namespace fastsocket::balance
