/* SPDX-License-Identifier: MIT */
/* Files to send or to write to, all of it in the page cache. */
#ifndef BENCHMARK_PAGE_CACHED_H
#define BENCHMARK_PAGE_CACHED_H

#include <stddef.h>

/* Makes one without a name, below TMPDIR or /tmp. @return its fd, or a negative errno. */
int page_cached_file(size_t length);

#endif
