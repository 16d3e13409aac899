/* SPDX-License-Identifier: MIT */
/*
 * shapes: ways to use ferry in which it once was slow, each beside what a good engineer would write
 * or pick, so that none becomes slow again.
 */
#include "comparisons.h"
#include "shape_kinds.h"
#include "shape_table.h"

int shapes_compare(const bench *settings)
{
    static const shape *const kinds[] = {
        shape_bulk,     shape_short,   shape_connecting, shape_adopting, shape_writers,
        shape_asking,   shape_copies,  shape_beside,     shape_files,    shape_storing,
        shape_streams,  shape_reading, shape_echo,       shape_relaying, shape_proxy,
        shape_promises, shape_waiting, shape_http,
    };
    const shape_table all = {"shapes", kinds, sizeof kinds / sizeof kinds[0]};
    return shape_table_run(&all, settings);
}
