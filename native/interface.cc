// SPDX-License-Identifier: Apache-2.0
// What a network interface says of where it puts packets. No privilege is needed (net/ethtool/ioctl.c, dev_ethtool:
// ETHTOOL_GRSSH and ETHTOOL_GRXFH are reads).
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "napi_help.h"

namespace fastsocket {
namespace {

// The largest table that a driver has is 2,048 (ice), the longest key 64 bytes or so.
constexpr uint32_t kMostTable = 65536;
constexpr uint32_t kMostKey = 1024;

int ask(int fd, const char* name, void* command) {
  ifreq request = {};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_data = static_cast<char*>(command);
  return orErrno(ioctl(fd, SIOCETHTOOL, &request));
}

// Which fields of a flow are hashed, or a negative errno.
int hashedFields(int fd, const char* name, uint32_t flow) {
  ethtool_rxnfc command = {};
  command.cmd = ETHTOOL_GRXFH;
  command.flow_type = flow;
  const int error = ask(fd, name, &command);
  return error < 0 ? error : static_cast<int>(command.data);
}

bool put(napi_env env, napi_value object, const char* name, napi_value value) {
  return value != nullptr && napi_set_named_property(env, object, name, value) == napi_ok;
}

napi_value listOf(napi_env env, const uint32_t* values, size_t count) {
  Buffer<int> list(count);
  if (!list.valid()) return nullptr;
  for (size_t i = 0; i < count; i++) list[i] = static_cast<int>(values[i]);
  return numbers(env, list.data(), count);
}

napi_value listOf(napi_env env, const uint8_t* values, size_t count) {
  Buffer<int> list(count);
  if (!list.valid()) return nullptr;
  for (size_t i = 0; i < count; i++) list[i] = values[i];
  return numbers(env, list.data(), count);
}

// readRss(interface): its receive-side scaling, or a negative errno.
napi_value jsReadRss(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const Buffer<char> name = args.text(0);
  if (!args.ok()) return nullptr;
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return number(env, -errno);
  // without room it says how much it needs
  ethtool_rxfh sizes = {};
  sizes.cmd = ETHTOOL_GRSSH;
  int error = ask(fd.get(), name.data(), &sizes);
  if (error < 0) return number(env, error);
  if (sizes.indir_size == 0 || sizes.key_size == 0) return number(env, -EOPNOTSUPP);
  if (sizes.indir_size > kMostTable || sizes.key_size > kMostKey) return number(env, -E2BIG);
  const size_t table = sizes.indir_size * sizeof(uint32_t);
  Buffer<uint64_t> memory((sizeof(ethtool_rxfh) + table + sizes.key_size) / sizeof(uint64_t) + 1);
  if (!memory.valid()) return number(env, -ENOMEM);
  auto* rss = reinterpret_cast<ethtool_rxfh*>(memory.data());
  rss->cmd = ETHTOOL_GRSSH;
  rss->indir_size = sizes.indir_size;
  rss->key_size = sizes.key_size;
  error = ask(fd.get(), name.data(), rss);
  if (error < 0) return number(env, error);
  const auto* words = reinterpret_cast<const uint32_t*>(rss + 1);
  const auto* key = reinterpret_cast<const uint8_t*>(words + rss->indir_size);
  napi_value object = nullptr;
  if (napi_create_object(env, &object) != napi_ok) return nullptr;
  // input_xfrm, in a byte that was reserved before 6.8: addresses and ports are xored first
  const bool complete = put(env, object, "table", listOf(env, words, rss->indir_size)) &&
                        put(env, object, "key", listOf(env, key, rss->key_size)) &&
                        put(env, object, "hashFunction", number(env, rss->hfunc)) &&
                        put(env, object, "transform", number(env, rss->rsvd8[0])) &&
                        put(env, object, "fields4", number(env, hashedFields(fd.get(), name.data(), TCP_V4_FLOW))) &&
                        put(env, object, "fields6", number(env, hashedFields(fd.get(), name.data(), TCP_V6_FLOW)));
  return complete ? object : nullptr;
}

// The value of the attribute `type` among those from `first` on, or nullptr.
const rtattr* find(const rtattr* first, size_t length, unsigned type) {
  auto left = static_cast<unsigned>(length);
  for (const rtattr* at = first; RTA_OK(at, left); at = RTA_NEXT(at, left))
    if ((at->rta_type & NLA_TYPE_MASK) == type) return at;
  return nullptr;
}

struct LinkRequest {
  nlmsghdr header;
  ifinfomsg link;
};

// 1 where an XDP program is attached (rtnetlink(7), IFLA_XDP), 0 where none is, or a negative errno.
int xdpOf(const char* name) {
  const unsigned index = if_nametoindex(name);
  if (index == 0) return -errno;
  const Fd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!netlink.valid()) return -errno;
  LinkRequest request = {};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = RTM_GETLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.link.ifi_index = static_cast<int>(index);
  if (send(netlink.get(), &request, sizeof request, 0) < 0) return -errno;
  constexpr size_t kAnswer = size_t{64} * 1024;
  Buffer<uint64_t> answer(kAnswer / sizeof(uint64_t));
  if (!answer.valid()) return -ENOMEM;
  const ssize_t got = recv(netlink.get(), answer.data(), kAnswer, MSG_DONTWAIT);
  if (got < 0) return -errno;
  const auto* header = reinterpret_cast<const nlmsghdr*>(answer.data());
  if (!NLMSG_OK(header, static_cast<unsigned>(got)) || header->nlmsg_type != RTM_NEWLINK) return -EPROTO;
  const auto* link = static_cast<const ifinfomsg*>(NLMSG_DATA(header));
  const rtattr* xdp = find(IFLA_RTA(link), IFLA_PAYLOAD(header), IFLA_XDP);
  if (xdp == nullptr) return 0;
  const auto* nested = static_cast<const rtattr*>(RTA_DATA(xdp));
  const rtattr* attached = find(nested, RTA_PAYLOAD(xdp), IFLA_XDP_ATTACHED);
  return attached != nullptr && *static_cast<const uint8_t*>(RTA_DATA(attached)) != XDP_ATTACHED_NONE ? 1 : 0;
}

napi_value jsXdpAttached(napi_env env, napi_callback_info info) {
  Args args(env, info);
  const Buffer<char> name = args.text(0);
  if (!args.ok()) return nullptr;
  return number(env, xdpOf(name.data()));
}

}  // namespace

bool exportInterface(napi_env env, napi_value exports) {
  static const Export kTable[] = {
      {"readRss", jsReadRss},
      {"xdpAttached", jsXdpAttached},
  };
  return defineAll(env, exports, kTable);
}

}  // namespace fastsocket
