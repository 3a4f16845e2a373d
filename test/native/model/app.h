// SPDX-License-Identifier: Apache-2.0
// A server application over the small libuv that does everything at random, and
// a world around it: clients, other processes, a native addon that closes
// descriptors by close(2), spawnSync with a loop of its own.
#pragma once

#include <memory>
#include <vector>

#include "../../../native/seam/loop.h"
#include "kernel.h"
#include "uv.h"

namespace model {

class App : public Uv {
 public:
  App(Kind kind, fastsocket::seam::Loop& loop);

  // Connections that were made, that the app has got, that went with their
  // listener or to another process.
  uint64_t came = 0;
  uint64_t accepted = 0;
  // Servers that an addon has closed: the seam does not know.
  int stolenServers = 0;
  // How often, in percent of the steps.
  int thefts = 5;
  // Listeners whose queues a sibling could take from.
  int groups = 0;
  // How often a connection says something.
  int talk = 20;

  enum class How { kBound, kGroup, kShared, kTwin, kUnix };
  [[nodiscard]] std::vector<int> numbers() const;
  [[nodiscard]] bool isEmpty() const;
  void listen(How how);
  void listenSomehow();
  void arrive(int most);
  // One step of everything that is not libuv's turn.
  void live();
  // Nobody comes any more, everybody says something, and every connection ends.
  void calm();
  void spawnSync();
  // Numbers that an addon has closed and that are not held back any more.
  void dropStale();
  // Nothing that libuv watches is left out by everybody.
  void checkWait(int timeout);
  int mostAccepted(int fd);
  void checkTurnedOff(int fd);

 protected:
  void onConnection(Stream& server) override;
  void onRead(Stream& stream, int result) override;

 private:
  void say(Stream& stream, bool on);
  void expect(Stream& stream, const Stream& server, bool madeWith);
  void write(Stream& stream);
  // To another process, by SCM_RIGHTS.
  void send(int fd);
  void sendConnection(Stream& stream);
  void sendServer(Stream& server);
  void welcome(Stream& server);
  void closeSomebody();
  void lose(int fd);
  void steal();
  void listenInThread();
  void adopt();
  void liveServer(Stream& server);
  void liveConnection(Stream& stream);

  fastsocket::seam::Loop& loop_;
  bool calm_ = false;
  // Other processes' copies.
  std::vector<std::shared_ptr<File>> foreign_;
  // Servers of whose connections an addon has taken one in the turn of its accept, and in which.
  std::map<int, uint64_t> robbed_;
  bool saying_ = false;
  // Descriptors of an addon's own.
  std::vector<int> native_;
  // The loop of another thread, and its listeners.
  std::unique_ptr<fastsocket::seam::Loop, void (*)(void*)> thread_;
  std::vector<int> threadServers_;
};

}  // namespace model
