{
  "targets": [
    {
      "target_name": "fastsocket",
      "sources": [
        "addon.cc", "affinity.cc", "control.cc", "guard.cc", "interface.cc", "loop.cc", "napi_help.cc", "offspring.cc",
        "refused.cc", "report.cc", "balance/asking.cc", "balance/balancer.cc", "balance/face.cc", "balance/groups.cc", "balance/judge.cc",
        "balance/page.cc", "balance/thread.cc", "sockets.cc", "wait.cc", "watch.cc",
        "seam/accept.cc", "seam/bind.cc", "seam/bound.cc", "seam/candidates.cc", "seam/connect.cc", "seam/control.cc", "seam/destinations.cc", "seam/ends.cc",
        "seam/handles.cc", "seam/kept.cc", "seam/listen.cc", "seam/local_ports.cc", "seam/loop.cc", "seam/newcomer.cc", "seam/open.cc", "seam/options.cc", "seam/ports.cc",
        "seam/offers.cc", "seam/ring.cc", "seam/seam.cc", "seam/share.cc", "seam/slots.cc", "seam/stats.cc", "seam/steal.cc", "seam/survey.cc",
        "seam/wait.cc", "seam/wrappers.cc"
      ],
      "defines": ["NAPI_VERSION=8"],
      "cflags": ["-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-O2"],
      "cflags_cc": ["-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
      "ldflags": ["-Wl,-z,nodelete", "-Wl,-z,relro,-z,now", "-Wl,--as-needed"],
      "variables": { "sanitize%": 0, "failpoints%": 0 },
      "conditions": [
        ["failpoints==1", { "defines": ["FASTSOCKET_FAILPOINTS"] }],
        ["sanitize==1", {
          "cflags": ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g"],
          "ldflags": ["-fsanitize=address,undefined"]
        }]
      ]
    }
  ]
}
