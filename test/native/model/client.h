// SPDX-License-Identifier: Apache-2.0
// An app that connects, over the seam and the small TCP; and a picture of what the seam has to know of the ports of
// each destination, made from what has happened.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "../../../native/seam/connects.h"
#include "net.h"

namespace model {

// A destination, as the seam tells them apart: the peer, and the own address where it was bound to one.
struct Key {
  Address remote;
  std::array<uint8_t, 16> local = {};
  bool operator<(const Key& o) const { return std::tie(remote, local) < std::tie(o.remote, o.local); }
  [[nodiscard]] fastsocket::seam::Endpoints endpoints() const;
};

// The port must be resting before the one time, and may be until the other (ms).
struct Rest {
  uint64_t must;
  uint64_t may;
  // For a second at most: the first ones to be tried where no other is left, in the order in which they began to rest.
  bool soon;
  uint64_t order;
  // bind() can have it.
  bool finished;
  bool operator<(const Rest& o) const { return soon != o.soon ? soon : order < o.order; }
};

// What bind() has taken: as long as a socket has it, and as long as it rests after that.
struct BoundRest {
  uint16_t port;
  uint64_t must;
  uint64_t may;
};

struct Counts {
  uint64_t looked = 0;
  uint64_t local = 0;
  uint64_t steered = 0;
  uint64_t steeredLooked = 0;
  uint64_t steeredLocal = 0;
};

struct Picture {
  // Of which descriptor's connection.
  std::map<uint16_t, int> booked;
  std::map<uint16_t, Rest> resting;
  // Ports that were found taken since strangers were last asked for, and when that was.
  unsigned misses = 0;
  bool asked = false;
  uint64_t askedAt = 0;
  uint64_t used = 0;
  // Of the connection that was last looked at, in us.
  uint32_t rtt = 0;
  unsigned ends = 0;
  std::unique_ptr<fastsocket::seam::Steering> steering;
  uint32_t epoch = 0;
  Counts counts;
};

// A connection from a port that is the seam's.
struct Booking {
  Key key;
  uint16_t port;
  bool ended = false;
  bool endedFirst = false;
  bool aborts = false;
  bool peerRead = false;
  bool bound = false;
  bool steered = false;
  uint32_t epoch = 0;
  // Nobody saw how it ended.
  bool blind = false;
  // Its descriptor was closed where nobody saw it.
  bool lost = false;
};

struct Target {
  sockaddr_storage address;
  socklen_t length;
};

class Client {
 public:
  Client(fastsocket::seam::Loop& loop, std::vector<Target> targets);

  // Where ports may be: those of every range of the round.
  int first = 0;
  int last = 0;
  // What the seam has last read, and when it has tried to.
  Settings snapshot = {};
  bool usable = false;
  uint64_t readAt = 0;
  bool everRead = false;
  // The last random number, in this call; whether one was not to be had.
  uint32_t number = 0;
  bool withoutNumber = false;
  // A survey is under way, and when it is over; there may be one.
  bool surveying = false;
  uint64_t answeredAt = 0;
  bool surveys = true;
  // How many ports may be bound.
  int mostBound = 0;
  // How many sockets the app has at most.
  size_t most = 40;

  void live();
  void check();
  // Everything is closed, and everybody is forgotten after two minutes.
  void end();

  // A survey begins; it is over.
  void asks(const fastsocket::seam::Endpoints& to, bool timeWaitCounts);
  void learns(const fastsocket::seam::Endpoints& to, const std::set<uint16_t>& ports);
  // A connect() that the kernel has looked for a port for.
  void tried(const Socket& socket, uint16_t found);
  // A bind() to a port.
  void named(const Socket& socket, uint16_t port, int error);
  // The settings have been read.
  void countMost();
  // Another program's connect() to somewhere else finds a port, where the app's own binds have left one.
  void checkStranger() const;

 private:
  struct Try {
    // 0: the kernel's own choice
    uint16_t port;
    uint16_t found;
    bool bound;
    bool steered;
  };
  struct RestTime {
    uint64_t ms;
    // Of a port that was bound.
    uint64_t bound;
  };

  int open(int domain);
  void openOther();
  void bindSomehow(int fd, const Target& target);
  void bindAndAsk();
  void connectSomewhere(bool portless);
  void connect(int fd, const Target& target);
  void connectAgain(int fd, const Target& target);
  void settle(int fd, const Key& key, int error, Socket& socket);
  void settleTries(Picture& picture, int error);
  void shutdown(int fd);
  void lingers(int fd);
  void close(int fd);
  void steal(int fd);
  void share(int fd);
  void adopt();
  void accepts();
  void connectNowhere();
  void touch(int fd);

  void setOptions(int fd);
  static void checkRenewed(const Socket& before, const Socket& after);
  void checkError(int error, int expected) const;
  void reads(int fd);
  void steers();
  void steers(Picture& picture, fastsocket::seam::Destination& destination);

  void begin(const Key& key);
  void beginTry();
  void letGo();
  static void giveBackUntried(Picture& picture);
  bool candidate(uint16_t port, bool binds);
  // That of the connect() that is under way.
  [[nodiscard]] fastsocket::seam::Destination* destination() const;
  void syncTurn(const Key& key, Picture* picture) const;
  [[nodiscard]] int mostTries() const;
  [[nodiscard]] bool wantsToLearn() const;
  bool checkChoice(uint16_t port);
  void checkRested(uint16_t port, const Rest& rest, bool binds);
  [[nodiscard]] bool mayBind(uint16_t port) const;
  [[nodiscard]] bool mayTry(uint16_t port) const;
  [[nodiscard]] std::set<uint16_t> boundInKernel(const Socket* but) const;
  void noteBound(Socket& socket, int handle);
  void checkBound();
  void checkSteering(const Picture& picture, const fastsocket::seam::Destination& destination) const;
  void noteSteered(Booking& booking, Picture& picture, uint16_t flags);
  void look(const Booking& booking, Picture& picture, const Socket& socket) const;
  // No fresh socket may be had.
  [[nodiscard]] static bool isShort() { return g_net.full || g_net.busy; }
  [[nodiscard]] bool isFree(int port, const fastsocket::seam::PortMask* wanted) const;
  [[nodiscard]] bool hasFree(const fastsocket::seam::PortMask* wanted) const;
  void checkStart(uint16_t port, const fastsocket::seam::PortMask* wanted) const;
  void checkOrder(const Rest& tried) const;
  void rest(Picture& picture, uint16_t port, uint64_t ms, bool finished = false);
  void refresh(Picture& picture) const;
  void dropForgotten();
  void book(int fd, const Key& key, uint16_t port);
  void unbook(int fd, const RestTime& time);
  void forgetNumber(int fd);
  void noteEnd(Booking& booking, const Socket& socket);
  [[nodiscard]] RestTime restOf(Booking& booking, const Socket& socket);
  void checkDestination(const Key& key, const Picture& picture);
  [[nodiscard]] const Target& target() const;
  [[nodiscard]] int anyOf() const;

  fastsocket::seam::Loop& loop_;
  fastsocket::seam::Connects& connects_;
  std::vector<Target> targets_;
  std::map<Key, Picture> pictures_;
  std::map<int, Booking> bookings_;
  std::vector<BoundRest> boundRests_;
  // What the app has open, of every kind.
  std::vector<int> fds_;
  std::vector<std::shared_ptr<Socket>> shared_;
  uint64_t clock_ = 0;
  uint64_t lastRest_ = 0;

  // Of the connect() that is under way.
  Key key_;
  Picture* picture_ = nullptr;
  std::vector<Try> tries_;
  int ownTries_ = 0;
  int restingTries_ = 0;
  int maybeResting_ = 0;
  bool gaveUpTooSoon_ = false;
  bool askedNow_ = false;
  bool bindsBefore_ = false;
  // A bind() has succeeded, and its connect() has not come yet.
  bool isNamed_ = false;
  // The last port may have been free again, or not: who knows why it was tried.
  bool isUnsure_ = false;
};

}  // namespace model
