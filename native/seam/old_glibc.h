// SPDX-License-Identifier: Apache-2.0
// glibc 2.34 has moved libdl and libpthread into libc, under new symbol versions beside the old ones. The old ones are
// asked for here, so that the binary runs on glibc 2.28, too; there they are in libraries that Node itself has loaded.
#pragma once

#include <features.h>

#ifdef __GLIBC__
#if defined(__x86_64__)
#define FASTSOCKET_OLDEST "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define FASTSOCKET_OLDEST "GLIBC_2.17"
#endif
#endif

#ifdef FASTSOCKET_OLDEST
__asm__(".symver dlsym,dlsym@" FASTSOCKET_OLDEST);
__asm__(".symver pthread_key_create,pthread_key_create@" FASTSOCKET_OLDEST);
__asm__(".symver pthread_key_delete,pthread_key_delete@" FASTSOCKET_OLDEST);
__asm__(".symver pthread_setspecific,pthread_setspecific@" FASTSOCKET_OLDEST);
__asm__(".symver pthread_create,pthread_create@" FASTSOCKET_OLDEST);
__asm__(".symver pthread_join,pthread_join@" FASTSOCKET_OLDEST);
__asm__(".symver pthread_attr_setstacksize,pthread_attr_setstacksize@" FASTSOCKET_OLDEST);
__asm__(".symver pthread_getcpuclockid,pthread_getcpuclockid@" FASTSOCKET_OLDEST);
__asm__(".symver pthread_sigmask,pthread_sigmask@" FASTSOCKET_OLDEST);
#endif
