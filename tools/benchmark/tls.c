/* SPDX-License-Identifier: MIT */
/* tls: ways to use ferry over TLS, each beside what one would write, or pick, instead. */
#include "comparisons.h"
#include "shape_table.h"
#include "shape_tls_kinds.h"

int tls_compare(const bench *settings)
{
    static const shape *const kinds[] = {shape_tls_bulk, shape_tls_small, shape_tls_idle,
                                         shape_tls_http};
    const shape_table all = {"tls", kinds, sizeof kinds / sizeof kinds[0]};
    return shape_table_run(&all, settings);
}
