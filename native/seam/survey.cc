// SPDX-License-Identifier: Apache-2.0
#include "survey.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include "../refused.h"
#include "libc.h"
#include "old_glibc.h"

namespace fastsocket::seam {

namespace {

constexpr size_t kStack = size_t{128} * 1024;
constexpr uint32_t kFreshMs = 5'000;
constexpr int kMostFailures = 3;
constexpr size_t kAnswer = size_t{32} * 1024;
// All but listeners and closed ones (include/net/tcp_states.h: one bit for each state).
constexpr unsigned kStates = 0xfff & ~(1U << TCP_LISTEN) & ~(1U << TCP_CLOSE);

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 request;
  nlattr attribute;
  // Runs in the kernel for each socket (net/ipv4/inet_diag.c, inet_diag_bc_run): only those of the destination come.
  inet_diag_bc_op operation;
  // An inet_diag_hostcond, and its address.
  uint8_t condition[sizeof(inet_diag_hostcond) + 16];
};

Request question(const Endpoints& to, uint8_t family) {
  Request ask = {};
  const bool four = to.family == 4;
  const size_t bytes = four ? 4 : 16;
  const size_t code = sizeof ask.operation + sizeof(inet_diag_hostcond) + bytes;
  ask.header.nlmsg_len = static_cast<uint32_t>(offsetof(Request, operation) + code);
  ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  ask.request.sdiag_family = family;
  ask.request.sdiag_protocol = IPPROTO_TCP;
  ask.request.idiag_states = kStates;
  ask.attribute.nla_type = INET_DIAG_REQ_BYTECODE;
  ask.attribute.nla_len = static_cast<uint16_t>(sizeof ask.attribute + code);
  ask.operation.code = INET_DIAG_BC_D_COND;
  ask.operation.yes = static_cast<uint8_t>(code);
  // behind the end: not this one
  ask.operation.no = static_cast<uint16_t>(code + 4);
  inet_diag_hostcond condition = {};
  // an IPv4 address is found in IPv6 sockets, too (inet_diag_bc_run)
  condition.family = four ? AF_INET : AF_INET6;
  condition.prefix_len = four ? 32 : 128;
  condition.port = to.port;
  memcpy(ask.condition, &condition, sizeof condition);
  memcpy(ask.condition + sizeof condition, to.remote, bytes);
  return ask;
}

bool isNothing(const uint8_t* bytes, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (bytes[i] != 0) return false;
  return true;
}

bool concerns(const Endpoints& to, const inet_diag_msg& socket, bool timeWaitCounts) {
  if (socket.idiag_state == TCP_TIME_WAIT && !timeWaitCounts) return false;
  if (isNothing(to.local, sizeof to.local)) return true;
  // an IPv4 address is in the first word, or in the last one of a mapped address
  const auto* source = reinterpret_cast<const uint8_t*>(socket.id.idiag_src);
  if (to.family == 6) return memcmp(source, to.local, 16) == 0;
  return memcmp(source + (socket.idiag_family == AF_INET ? 0 : 12), to.local, 4) == 0;
}

// Adds to the ports what one dump says. False where it fails.
bool ask(const Endpoints& to, uint8_t family, bool timeWaitCounts, char* answer, PortMask* ports) {
  const Fd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink.valid()) return false;
  constexpr timeval kPatience = {1, 0};
  if (setsockopt(netlink.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) < 0) return false;
  const Request request = question(to, family);
  if (send(netlink.get(), &request, request.header.nlmsg_len, 0) < 0) return false;
  for (;;) {
    const ssize_t got = recv(netlink.get(), answer, kAnswer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    auto left = static_cast<unsigned>(got);
    for (auto* header = reinterpret_cast<nlmsghdr*>(answer); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type == NLMSG_DONE) return true;
      if (header->nlmsg_type == NLMSG_ERROR) errno = -static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
      if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY) return false;
      const auto* socket = static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
      if (concerns(to, *socket, timeWaitCounts)) ports->set(ntohs(socket->id.idiag_sport));
    }
  }
}

}  // namespace

void (*Survey::threadBegins)() = nullptr;

struct Survey::Task {
  Endpoints to;
  bool timeWaitCounts;
  bool failed;
  uint32_t doneAt;
  // Set last.
  bool done;
  // The loop and the thread: who comes last frees it.
  int owners;
  PortMask ports;
  char answer[kAnswer];
};

void Survey::drop(Task* task) {
  if (__atomic_sub_fetch(&task->owners, 1, __ATOMIC_ACQ_REL) == 0) free(task);
}

void* Survey::run(void* data) {
  auto* task = static_cast<Task*>(data);
  if (threadBegins != nullptr) threadBegins();
  task->ports.fill(false);
  errno = 0;
  task->failed = !ask(task->to, AF_INET, task->timeWaitCounts, task->answer, &task->ports);
  if (task->failed && errno != 0) noteFailure("other programs' source ports are learnt by trying: sock_diag", errno);
  // without IPv6 (CONFIG_IPV6) there are none
  (void)ask(task->to, AF_INET6, task->timeWaitCounts, task->answer, &task->ports);
  task->doneAt = nowMs();
  __atomic_store_n(&task->done, true, __ATOMIC_RELEASE);
  drop(task);
  return nullptr;
}

bool Survey::start(const Endpoints& to, bool timeWaitCounts) {
  if (failures_ >= kMostFailures || (task_ != nullptr && !taken_)) return false;
  abandon();
  auto* task = static_cast<Task*>(calloc(1, sizeof(Task)));
  if (task == nullptr) return false;
  task->to = to;
  task->timeWaitCounts = timeWaitCounts;
  task->owners = 2;
  pthread_attr_t attributes;
  bool started = pthread_attr_init(&attributes) == 0;
  if (started) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_t thread = {};
    // a signal of the app's is not to be handled there
    started = pthread_attr_setstacksize(&attributes, kStack) == 0 &&
              pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
              pthread_sigmask(SIG_SETMASK, &all, &before) == 0;
    if (started) {
      started = pthread_create(&thread, &attributes, run, task) == 0;
      (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    pthread_attr_destroy(&attributes);
  }
  if (!started) {
    free(task);
    return false;
  }
  task_ = task;
  taken_ = false;
  return true;
}

const PortMask* Survey::finished(Endpoints* to) {
  if (task_ == nullptr || taken_ || !__atomic_load_n(&task_->done, __ATOMIC_ACQUIRE)) return nullptr;
  taken_ = true;
  failures_ = task_->failed ? failures_ + 1 : 0;
  *to = task_->to;
  // nobody has connected since: much has changed
  return nowMs() - task_->doneAt < kFreshMs ? &task_->ports : nullptr;
}

void Survey::abandon() {
  if (task_ != nullptr) drop(task_);
  task_ = nullptr;
  taken_ = false;
}

}  // namespace fastsocket::seam
