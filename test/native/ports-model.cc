// SPDX-License-Identifier: Apache-2.0
// ports-model SEED ROUNDS [FIRST]
// The seam's choice of source ports over a small TCP, driven at random, for many rounds: an app that connects and
// closes, peers, strangers who take ports, an operator who changes his mind. What has to be true is checked at each
// step; a check that fails prints the seed. Built without Node, with the sanitizers.
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <memory>

#include "model/calls.h"
#include "model/check.h"
#include "model/client.h"
#include "model/net.h"

namespace model {

namespace {

using fastsocket::seam::Connects;
using fastsocket::seam::Handles;
using fastsocket::seam::Loop;
using OwnLoop = std::unique_ptr<Loop, void (*)(Loop*)>;

Client* g_client;
int g_first;
int g_last;
bool g_readFails;
int g_numbersFail;
// In ms: how long a survey takes at most.
int g_patience;

uint16_t anyPort() { return static_cast<uint16_t>(g_first + upTo(g_last - g_first)); }

Target targetOf(const char* address, uint16_t port) {
  Target target = {};
  auto* in = reinterpret_cast<sockaddr_in*>(&target.address);
  auto* in6 = reinterpret_cast<sockaddr_in6*>(&target.address);
  const bool four = strchr(address, ':') == nullptr;
  target.address.ss_family = four ? AF_INET : AF_INET6;
  target.length = four ? sizeof *in : sizeof *in6;
  in->sin_port = htons(port);
  CHECK(inet_pton(target.address.ss_family, address, four ? static_cast<void*>(&in->sin_addr) : &in6->sin6_addr) == 1);
  return target;
}

Target anyTarget() {
  static const char* kAddresses[] = {
      "127.0.0.1", "127.0.0.2",   "0.0.0.0", "192.0.2.1",        "192.0.2.2",        "::1",
      "::",        "2001:db8::7", "fe80::1", "::ffff:192.0.2.1", "::ffff:127.0.0.1", "::ffff:192.0.2.9"};
  // a destination's port may be a source port, too
  Target target = targetOf(kAddresses[g_dice() % 12], chance(30) ? anyPort() : static_cast<uint16_t>(80 + upTo(2)));
  if (target.address.ss_family == AF_INET6 && chance(20))
    reinterpret_cast<sockaddr_in6*>(&target.address)->sin6_scope_id = static_cast<uint32_t>(1 + upTo(1));
  return target;
}

std::vector<Target> targets(int count) {
  std::vector<Target> list;
  for (int i = 0; i < count; i++) {
    if (count < 20) {
      list.push_back(anyTarget());
      continue;
    }
    char address[32];
    snprintf(address, sizeof address, chance(50) ? "192.0.2.%d" : "2001:db8::%x", 16 + i % 200);
    list.push_back(targetOf(address, static_cast<uint16_t>(80 + upTo(1))));
  }
  return list;
}

// ip_local_port_range, ip_local_reserved_ports, tcp_tw_reuse
void decide() {
  Settings settings = {};
  const int one = anyPort();
  const int two = anyPort();
  settings.low = static_cast<uint16_t>(std::min(one, two));
  settings.high = static_cast<uint16_t>(std::max(one, two));
  if (chance(40)) {
    settings.low = static_cast<uint16_t>(g_first);
    settings.high = static_cast<uint16_t>(g_last);
  }
  if (chance(50))
    for (int n = upTo((g_last - g_first) / 3); n > 0; n--) settings.reserved.insert(anyPort());
  settings.reuse = upTo(2);
  g_net.settings = settings;
}

void shareOut(Connects& connects) {
  connects.core = upTo(2) - 1;
  if (chance(30)) return connects.share.fill(true);
  connects.share.fill(false);
  const int parts = 1 + upTo(4);
  for (int port = upTo(parts); port < 65'536 && parts < 5; port += parts)
    connects.share.set(static_cast<uint16_t>(port));
}

// Other processes' connections, and what they bind.
void strangersLive(const std::vector<Target>& list, int most) {
  for (int n = upTo(most); n > 0; n--) {
    const Target& target = list[g_dice() % list.size()];
    const Socket socket;
    const Address to =
        Net::resolve(socket, Address::of(reinterpret_cast<const sockaddr*>(&target.address), target.length));
    Address own = Net::source(socket, to);
    own.port = anyPort();
    const bool rests = chance(20);
    const uint64_t until = rests        ? g_net.ms() + 60'000
                           : chance(50) ? 0
                                        : g_net.ms() + static_cast<uint64_t>(upTo(100'000));
    g_net.table.insert({{own, to},
                        {rests ? Life::kTimeWait : Life::kEstablished, chance(50), chance(50), chance(20), false,
                         g_net.ms(), until, g_net.ms(), nullptr}});
  }
  if (chance(5)) g_net.bound.insert(anyPort());
  if (chance(10) && !g_net.bound.empty()) g_net.bound.erase(g_net.bound.begin());
  if (!chance(5)) return;
  for (auto one = g_net.table.begin(); one != g_net.table.end();)
    one = one->second.socket == nullptr && one->second.life == Life::kEstablished && chance(50) ? g_net.table.erase(one)
                                                                                                : std::next(one);
}

void pass() {
  if (chance(70)) return g_net.advance(static_cast<uint64_t>(upTo(20)));
  if (chance(80)) return g_net.advance(static_cast<uint64_t>(upTo(1'100)));
  if (chance(80)) return g_net.advance(static_cast<uint64_t>(upTo(20'000)));
  g_net.advance(static_cast<uint64_t>(upTo(130'000)));
}

struct Kind {
  int ports;
  int targets;
  size_t sockets;
  int strangers;
  int steps;
};

// Most rounds have hardly enough ports; some have more destinations than the seam knows.
Kind kindOfRound() {
  if (chance(6)) return {60, 400, 700, 2, 1'500};
  if (chance(10)) return {1 + upTo(3), 1 + upTo(3), 12, 1, 300};
  if (chance(20)) return {1'000, 1 + upTo(2), 900, 3, 1'200};
  if (chance(30)) return {20 + upTo(200), 1 + upTo(5), 40, 12, 300};
  return {4 + upTo(80), 1 + upTo(4), 10 + static_cast<size_t>(upTo(60)), 2, 400};
}

void endLoop(Loop* loop) {
  fastsocket::seam::setCurrentLoop(nullptr);
  Connects::destroy(loop->connects);
  free(loop);
}

void round(unsigned number) {
  g_round = number;
  g_dice.seed(g_seed * 1'000'003U + number);
  g_net = {};
  for (int fd = 0; fd < 3'000; fd++) Handles::forget(fd);
  const Kind kind = kindOfRound();
  g_first = chance(20) ? 1 : chance(20) ? 65'536 - kind.ports : 1'024 + upTo(60'000);
  g_last = g_first + kind.ports - 1;
  // the clock's milliseconds begin again in some
  g_net.now = (chance(30) ? (uint64_t{1} << 32) - static_cast<uint64_t>(upTo(100'000)) : 1 + g_dice()) * 1'000'000;
  g_net.hasOption = !chance(40);
  g_readFails = chance(3);
  g_numbersFail = chance(10) ? 5 : 0;
  g_patience = chance(50) ? 20 : 5'000;
  const OwnLoop loop(static_cast<Loop*>(calloc(1, sizeof(Loop))), endLoop);
  loop->id = static_cast<uint8_t>(g_dice());
  loop->ring.fd = -1;
  loop->epoll = 0;
  loop->pieces = fastsocket::seam::kConnect;
  loop->limits = {1, UINT64_MAX};
  loop->connects = Connects::make();
  fastsocket::seam::setCurrentLoop(loop.get());
  const std::vector<Target> list = targets(kind.targets);
  Client client(*loop, list);
  g_client = &client;
  client.first = g_first;
  client.last = g_last;
  client.most = kind.sockets;
  client.surveys = !chance(10);
  g_net.tried = [&](const Socket& socket, const Address& /*to*/, uint16_t found) { client.tried(socket, found); };
  g_net.named = [&](const Socket& socket, uint16_t port, int error) { client.named(socket, port, error); };
  decide();
  const bool patient = kind.sockets > 500;
  for (int step = 0; step < kind.steps; step++) {
    client.live();
    if (chance(patient ? 3 : 30)) g_net.peersLive();
    strangersLive(list, chance(30) ? kind.strangers : 0);
    if (chance(2)) decide();
    if (chance(3)) shareOut(*loop->connects);
    if (!patient || chance(10)) pass();
    if (!patient || chance(5)) client.check();
    if (chance(patient ? 2 : 20)) client.checkStranger();
  }
  client.end();
  g_client = nullptr;
}

}  // namespace
}  // namespace model

namespace fastsocket::seam {

// In place of native/seam/local_ports.cc.
bool LocalPorts::read() {
  model::Client& client = *model::g_client;
  const uint64_t now = model::g_net.ms();
  CHECK(!client.everRead || now - client.readAt >= 1'000);
  client.everRead = true;
  client.readAt = now;
  const bool fails = model::g_readFails && model::chance(70);
  if (!fails) client.snapshot = model::g_net.settings;
  client.countMost();
  if (fails) return false;
  const model::Settings& settings = client.snapshot;
  client.usable = true;
  low = settings.low;
  high = settings.high;
  timeWaitReuse = settings.reuse;
  allowed.fill(false);
  for (int port = low; port <= high; port++)
    if (settings.allows(static_cast<uint16_t>(port))) allowed.set(static_cast<uint16_t>(port));
  return true;
}

bool Random::next(uint32_t* number) {
  if (model::chance(model::g_numbersFail)) {
    model::g_client->withoutNumber = true;
    return false;
  }
  *number = model::g_client->number = static_cast<uint32_t>(model::g_dice());
  return true;
}

// In place of native/seam/survey.cc: what it finds is what there is when it begins, known some time later.
struct Survey::Task {
  Endpoints to;
  uint64_t doneAt;
  std::set<uint16_t> ports;
  PortMask mask;
};

bool Survey::start(const Endpoints& to, bool timeWaitCounts) {
  if (!model::g_client->surveys || (task_ != nullptr && !taken_)) return false;
  abandon();
  model::g_client->asks(to, timeWaitCounts);
  task_ = new Task{to, model::g_net.ms() + static_cast<uint64_t>(model::upTo(model::g_patience)), {}, {}};
  model::g_client->answeredAt = task_->doneAt;
  for (const auto& [tuple, entry] : model::g_net.table) {
    const auto& [own, peer] = tuple;
    const bool there = peer.port == to.port && memcmp(peer.bytes.data(), to.remote, 16) == 0;
    if (there && (timeWaitCounts || entry.life != model::Life::kTimeWait)) task_->ports.insert(own.port);
  }
  task_->mask.fill(false);
  for (const uint16_t port : task_->ports) task_->mask.set(port);
  return true;
}

const PortMask* Survey::finished(Endpoints* to) {
  if (task_ == nullptr || taken_ || model::g_net.ms() < task_->doneAt) return nullptr;
  taken_ = true;
  *to = task_->to;
  model::g_client->learns(*to, task_->ports);
  return &task_->mask;
}

void Survey::abandon() {
  delete task_;
  task_ = nullptr;
  taken_ = false;
}

}  // namespace fastsocket::seam

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  if (fastsocket::seam::Handles::map() != 0) return 2;
  model::installNet();
  model::installCalls();
  model::g_seed = static_cast<unsigned>(atoi(argv[1]));
  const auto rounds = static_cast<unsigned>(atoi(argv[2]));
  const auto first = static_cast<unsigned>(argc > 3 ? atoi(argv[3]) : 0);
  for (unsigned i = first; i < first + rounds; i++) model::round(i);
  printf("%u rounds\n", rounds);
  return 0;
}
