// SPDX-License-Identifier: Apache-2.0
// What the seam knows of one event loop. Each thread has at most one; other loops of the thread (spawnSync has its own)
// are told apart by their epoll descriptor.
#pragma once

#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "../balance/page.h"
#include "handles.h"

namespace fastsocket::seam {

// Parts that can be switched off one by one.
enum Piece : unsigned {
  kBatch = 1,
  kInheritNoDelay = 2,
  kNextTurnRead = 4,
  kOutOfFds = 8,
  kDeferAccept = 16,
  // connect() takes its port from connects.h.
  kConnect = 32,
};

struct Connects;

constexpr int kMostListeners = 64;
constexpr int kMostFresh = 1024;
constexpr int kMostHeld = 128;
constexpr int kMostBatch = 16;

struct Counters {
  uint64_t turns;
  uint64_t accepted;
  // accept4 calls that found the queue empty.
  uint64_t empty;
  // accept4 calls that were answered without a system call, because the batch had taken its time.
  uint64_t outOfTime;
  // setsockopt calls answered here.
  uint64_t inherited;
  uint64_t notInherited;
  // First reads offered before a registration, and registrations that followed all the same.
  uint64_t firstReads;
  uint64_t registeredLate;
  // Removals of what had never been registered.
  uint64_t neverRegistered;
  uint64_t outOfFds;
  uint64_t rearmed;
  // Rounds of libuv's ring that were served here.
  uint64_t rings;
  // Connections that were taken from a sibling's queue.
  uint64_t stolen;
  // How often who came was left in the queue, because the last one had said nothing yet.
  uint64_t putOff;
};

struct Listener {
  int fd;
  // Nobody else accepts from it: a batch starves nobody.
  bool own;
  bool disarmed;
  // Because of the newcomer: there is no shortage.
  bool leaves;
  // Its children inherit TCP_NODELAY.
  bool noDelay;
  // So the app has said itself, of the listener: children of which it says nothing keep it.
  bool given;
  // So many of the next children may have been made before noDelay became what it is.
  int unsure;
  // How often noDelay has changed because of the children.
  int flips;
  // The listener group whose other sockets it may accept from; 0: none.
  uint32_t group;
  // In this turn: its next connection comes from a sibling's queue.
  bool steals;
  // In this turn: it had an event, its queue ran dry.
  bool fired;
  bool dry;
  // It was not the only one who had something to do in this turn.
  bool crowded;
  // It had no descriptors left, and libuv is to deal with it.
  bool shortage;
  int accepted;
  // Adaptation; see adapt.h.
  int batch;
  int streak;
  int patience;
};

struct Fresh {
  int fd;
  // Descriptor of its listener.
  int listener;
};

struct Held {
  int fd;
  uint32_t events;
  // libuv has been told that it can read.
  bool offered;
};

// The queue of a sibling that cannot serve it.
struct Loot {
  // Ours, a duplicate of its listener.
  int fd;
  uint32_t group;
  // At most so many more connections.
  uint32_t left;
  bool used;
  // Index of that sibling.
  uint32_t victim;
  // Whoever has a queue of its own takes from it all the same.
  bool insists = false;
  // Offer::afterNs: what is not made use of now is kept.
  uint64_t afterNs = 0;
};
constexpr int kMostLoot = 8;
constexpr int kMostKept = 8;

// How the first reads go; see adapt.h.
struct FirstReads {
  int offered;
  int empty;
  // So many connections are registered at once: of the last sample's answer, how many are left.
  int without;
  int skip;
};

// See newcomer.cc.
struct Newcomer {
  // When the turn began in which it was accepted; 0: nobody.
  uint64_t since;
  int fd;
  // Somebody has been left in the queue meanwhile.
  bool awaited;
  // The next one is not waited for.
  bool rests;
  // So many are not waited for: of the last answer, how many are left.
  int without;
  int skip;
};

struct Ring {
  int fd = -1;
  uint32_t* head = nullptr;
  uint32_t* tail = nullptr;
  uint32_t mask = 0;
  io_uring_sqe* entries = nullptr;
  // Our own mappings of it.
  void* mapped[2] = {};
  size_t lengths[2] = {};
};

struct Limits {
  int batch;
  // How long a turn may go on accepting, and how long it may have been for the next one to have a batch.
  uint64_t turnNs;
};

struct Loop {
  int epoll = -1;
  // Of this thread's; several may have the same one where there are more than 256.
  uint8_t id = 0;
  unsigned pieces = 0;
  Limits limits = {};
  // epoll_pwait has come here: the slots work.
  bool seen = false;
  // It comes back by itself for what is held back: libuv sleeps in epoll_pwait. Who embeds it sleeps elsewhere, on its
  // epoll descriptor (uv_backend_fd), and sees only what is registered.
  bool sleeps = false;
  // It has, not long ago: it comes back for a listener that is to be armed again.
  bool slept = false;
  // So many calls in a row did not sleep, and there was nothing.
  int idle = 0;
  // So many shortages in a row were kept from it before it has slept, and it is to be asked whether it does.
  int doubts = 0;
  bool ask = false;

  Listener listeners[kMostListeners] = {};
  int listenerCount = 0;
  int disarmedCount = 0;
  uint64_t rearmAt = 0;

  Fresh fresh[kMostFresh] = {};
  int freshCount = 0;
  Held held[kMostHeld] = {};
  int heldCount = 0;
  FirstReads firstReads = {};
  Newcomer newcomer = {};

  // In the shared page, and all seats there by index; nullptr: nobody balances.
  balance::Seat* seat = nullptr;
  balance::Seat* seats = nullptr;
  // With a seat: where siblings' queues are offered, and who is told that the loop turns again.
  int offers = 0;
  int wake = 0;
  // The last exclusion that was answered.
  uint32_t answered = 0;
  // What is told of this process: another one may have had the seat, and still be there.
  uint64_t turns = 0;
  uint64_t offered = 0;
  uint64_t declined = 0;
  uint64_t local = 0;
  uint64_t remote = 0;
  Loot loot[kMostLoot] = {};
  int lootCount = 0;
  // Queues that were offered before; see kept.cc.
  Loot kept[kMostKept] = {};
  int keptCount = 0;
  // Something has come since they were looked at last.
  bool worked = false;
  // Accepted connections that are open; see open.cc.
  uint64_t open = 0;
  // The highest number that one of them may have, when they were counted last, and which number is looked at next.
  int highest = 0;
  uint64_t recountedAt = 0;
  int askNext = 0;
  // uv_metrics_idle_time of this loop.
  uint64_t (*idleNs)(void* of) = nullptr;
  // Whether the server of this listener takes whatever comes (net.Server.maxConnections counts in each process).
  bool (*takesAll)(void* of, int listener) = nullptr;
  void* of = nullptr;

  // When epoll_pwait last returned with a listener's event; 0 where it did not.
  uint64_t turnSince = 0;
  Ring ring = {};
  Counters counters = {};
  // With kConnect: nullptr where there is none.
  Connects* connects = nullptr;

  [[nodiscard]] bool uses(unsigned piece) const { return seen && (pieces & piece) != 0; }
  Listener* listenerOf(int fd);
  void addListener(int fd, bool own);
  void removeListener(int fd);
  Held* heldOf(int fd);
  void dropHeld(int fd);

 private:
  void dropStrangers();
  void moveLast(int to);
};

// This thread's loop, or nullptr.
Loop* currentLoop();
void setCurrentLoop(Loop* loop);

// The calls, as the wrappers make them; `loop` is the current thread's.
int wait(Loop& loop, epoll_event* events, int most, int timeout, const sigset_t* mask);
int control(Loop& loop, int operation, int fd, epoll_event* event);
int accept(Loop& loop, Listener& listener, sockaddr* address, socklen_t* length, int flags);
// A listener's TCP_NODELAY becomes what the app has said of it.
void shareListener(Listener& listener);
// What a child has of TCP_NODELAY.
void inherit(Loop& loop, Listener& listener, int fd, Handle& handle);
// The same where its listener was a sibling's.
void inheritElsewhere(Loop& loop, const Listener& listener, int fd, Handle& handle);
int option(Loop* loop, int fd, int level, int name, const void* value, socklen_t length);
// How many of the next children of a listener may have been made before its TCP_NODELAY is what it is now.
int mostUnsure(int fd);
bool isTcp(int fd);
// Whether a socket has TCP_NODELAY; -1 where it cannot be told.
int noDelayOf(int fd);
// How many connections wait to be accepted; many where that is not known.
int queueLength(int fd);
void endInheritance(Loop& loop, const Fresh& fresh, Handle& handle);
int listenOn(Loop& loop, int fd, int backlog);
long enterRing(Loop& loop, int ring, unsigned submit, unsigned complete, unsigned flags, long argument, long size);
void closing(Loop* loop, int fd);
// These descriptors of the message go to another process, too.
void sharing(Loop& loop, const msghdr& message);
void share(Loop& loop, int fd);
// A read has found nothing.
void foundNothing(Loop& loop, int fd);
// libuv closes its ring, or the loop's thread ends.
void dropRing(Loop& loop);

// A connection has been accepted: what it has inherited, and what is to be seen to at the end of the turn.
void remember(Loop& loop, Listener& listener, int fd, bool stolen);

// `fd` has come by the listener's own queue.
void welcome(Loop& loop, const Listener& listener, int fd);
// `fd` has said something, or has gone.
void hasSpoken(Loop& loop, int fd);
// Whether the next one stays in the queue for now.
bool putsOff(Loop& loop, const Listener& listener);
// From when on others are accepted.
uint64_t newcomerUntil(const Loop& loop);
// Turns listeners off until the newcomer has spoken, where nothing else has happened. Returns how many events are left.
int awaitNewcomer(Loop& loop, const epoll_event* events, int count);

// `fd` is an accepted connection from now on.
void opened(Loop& loop, Handle& handle, int fd);
// Before a handle is forgotten, in whatever thread (`loop` is its own, or nullptr): an accepted connection is not open
// any more.
void closed(Loop* loop, const Handle& handle);
// What other threads have closed, and from time to time what nobody has seen.
void settleOpen(Loop& loop);

// Takes part in the balancing with seat `index`. 0 or a negative errno; the descriptors are the loop's then.
int join(Loop& loop, balance::Page& page, int index, int offers, int wake);
// Takes part no longer. `gone`: a descriptor that is not ours any more.
void part(Loop& loop, int gone = -1);
// Somebody closes this number, or has: where it was one of ours it is not.
void lostNumber(Loop& loop, int fd);
// The listener may accept from its siblings' queues of this group; 0: it may not.
void mayStealFrom(Loop& loop, int fd, uint32_t group);
// Told at each turn: before the loop waits, and after it.
void tellBefore(Loop& loop, int timeout);
void tellAfter(Loop& loop, int timeout);
// Takes the event of the offers out of the list, and what is offered in. Returns how many events are left. Who was
// asked whether it is there has answered.
int takeOffers(Loop& loop, epoll_event* events, int count);
// Adds an event for each listener that may steal now.
int offerLoot(Loop& loop, epoll_event* events, int count, int most);
void addLoot(Loop& loop, const Loot& loot);
// It is not made use of any more: kept for later, or closed.
void keepLoot(Loop& loop, const Loot& loot);
// Of this group; 0: of all.
void dropKeptOf(Loop& loop, uint32_t group);
// Somebody else has this number.
void lostKept(Loop& loop, int fd);
// Before the loop sleeps: takes up again what is kept of a sibling whose turn is long and whose queue is not empty.
void lookForLoot(Loop& loop);
void dropLootOf(Loop& loop, uint32_t group);
// Nothing of this group is kept or on its way here any more: its sockets are to be closed.
void flushOffers(Loop& loop, uint32_t group);
int steal(Loop& loop, Listener& listener, sockaddr* address, socklen_t* length, int flags);

// Arms and disarms a listener in the epoll set.
void arm(Loop& loop, Listener& listener, bool on);
// Puts into the epoll set what has been held back, and takes every shortcut back, for good.
void leave(Loop& loop);

}  // namespace fastsocket::seam
