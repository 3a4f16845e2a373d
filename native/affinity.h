// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace fastsocket {

// Gives the calling thread the mask back that the event loop had before it was pinned, if it has inherited the pin.
void unpinThisThread();

}  // namespace fastsocket
