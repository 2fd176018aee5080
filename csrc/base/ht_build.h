/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ht_build: which build of the core this is.
 *
 * Layer L0.  May be called from any thread at any time.
 */
#ifndef HT_BUILD_H
#define HT_BUILD_H

#include <stdint.h>

/* Returns the first 8 bytes of the build id that the linker wrote into this program or library;
 * 0 when it wrote none. */
uint64_t ht_build_id(void);

#endif
