/* SPDX-License-Identifier: MIT */
/*
 * The shapes, one file for each kind. To add a kind: a file with such a table, its declaration
 * here, and a line in shapes.c and in CMakeLists.txt. A table ends with a shape without a name.
 */
#ifndef BENCHMARK_SHAPE_KINDS_H
#define BENCHMARK_SHAPE_KINDS_H

#include "shape.h"

extern const shape shape_adopting[];   /* sockets from elsewhere */
extern const shape shape_asking[];     /* writes that ask for something */
extern const shape shape_beside[];     /* small writes beside bulk */
extern const shape shape_bulk[];       /* a large file */
extern const shape shape_connecting[]; /* connections that ferry makes */
extern const shape shape_copies[];     /* writes of some KiB */
extern const shape shape_echo[];       /* messages that are sent back */
extern const shape shape_files[];      /* small files */
extern const shape shape_http[];       /* other servers of files */
extern const shape shape_promises[];   /* promises of the program's own */
extern const shape shape_proxy[];      /* messages through relays */
extern const shape shape_reading[];    /* bulk that is read */
extern const shape shape_relaying[];   /* one connection into another */
extern const shape shape_short[];      /* short connections */
extern const shape shape_storing[];    /* what comes, into a file */
extern const shape shape_streams[];    /* many streams at once */
extern const shape shape_waiting[];    /* what waits: streams, and writes in a queue */
extern const shape shape_writers[];    /* many writers into one stream */

#endif
