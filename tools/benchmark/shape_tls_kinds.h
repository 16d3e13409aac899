/* SPDX-License-Identifier: MIT */
/* The shapes of tls, as shape_kinds.h has the others. */
#ifndef BENCHMARK_SHAPE_TLS_KINDS_H
#define BENCHMARK_SHAPE_TLS_KINDS_H

#include "shape.h"

extern const shape shape_tls_bulk[];  /* a large file */
extern const shape shape_tls_http[];  /* other servers of files */
extern const shape shape_tls_idle[];  /* connections that do nothing */
extern const shape shape_tls_small[]; /* small writes */

#endif
