// SPDX-License-Identifier: Apache-2.0
// What the model's parts have in common: a dice, and an end that names the
// throw.
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include <random>

namespace model {

// Of the program: one for all its parts.
inline unsigned g_seed;
inline unsigned g_round;
inline std::mt19937 g_dice;

inline bool chance(int percent) { return static_cast<int>(g_dice() % 100) < percent; }
inline int upTo(int most) { return static_cast<int>(g_dice() % static_cast<unsigned>(most + 1)); }

}  // namespace model

#define CHECK(condition)                                                                                        \
  do {                                                                                                          \
    if (!(condition)) {                                                                                         \
      fprintf(stderr, "seed %u, round %u, %s:%d: %s\n", model::g_seed, model::g_round, __FILE_NAME__, __LINE__, \
              #condition);                                                                                      \
      abort();                                                                                                  \
    }                                                                                                           \
  } while (0)
