/* SPDX-License-Identifier: MIT */
/*
 * Cores: where threads run. Left alone the kernel moves two threads that wake each other together
 * or apart as it likes, and the difference, several times the cost of a hand-over, hides what a
 * comparison of hand-overs is about.
 */
#ifndef BENCHMARK_CORES_H
#define BENCHMARK_CORES_H

#include <sched.h>

typedef struct cores {
    cpu_set_t usable; /* what the process was started with */
    unsigned count;   /* of them; at least 1 */
} cores;

/* Looks which cores the calling thread may use. @return 0 or a negative errno. */
int cores_look(cores *ret_cores);

/*
 * Keeps a thread on one of them: number, from 0, modulo their count. What it starts inherits that.
 * @param thread its id; 0: the calling one; a process's id: its first one.
 */
int cores_pin(const cores *all, pid_t thread, unsigned number);

/* Lets a thread go wherever it might before. */
int cores_unpin(const cores *all, pid_t thread);

#endif
