/* SPDX-License-Identifier: MIT */
/*
 * A scratch: a temporary directory, and the processes that work in it; all gone afterwards.
 *
 * A keeper, a process in a session of its own, where no signal from the terminal reaches it, waits
 * until the benchmark lets go of a pipe: by scratch_deinit, or by dying, of whatever. It then kills
 * the process group that it was told of last and removes the directory with all that is in it. So
 * there is one way to clean up, taken by every run.
 */
#ifndef BENCHMARK_SCRATCH_H
#define BENCHMARK_SCRATCH_H

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct scratch {
    char directory[PATH_MAX];
    pid_t keeper;
    int line; /* the pipe to the keeper: one pid_t for each scratch_guard */
} scratch;

/* Makes the directory. @return 0 or a negative errno. */
int scratch_init(scratch *ret_scratch);

/* Removes it. @return 0, or a negative errno: something is left. */
int scratch_deinit(scratch *s);

/* Says which process group is not to outlive the benchmark. @param group 0: none any more. */
int scratch_guard(const scratch *s, pid_t group);

/* A name below TMPDIR, or /tmp, for mkstemp or mkdtemp. @return 0 or -ENAMETOOLONG. */
int scratch_template(char *ret_path, size_t size);

#endif
