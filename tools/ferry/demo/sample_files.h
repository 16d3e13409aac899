/* SPDX-License-Identifier: MIT */
/*
 * The files that the demo sends: random bytes, sizes from tiny to large, each four times the one
 * before and none a multiple of a page, and a hash of each.
 *
 * They have no names: each is unlinked as soon as it is open. So nothing is left behind, however
 * the program ends.
 */
#ifndef TOOLS_FERRY_DEMO_SAMPLE_FILES_H
#define TOOLS_FERRY_DEMO_SAMPLE_FILES_H

#include <stdint.h>

enum { SAMPLE_FILES = 9 };

struct sample_file {
    int fd;        /* open for reading, from any thread, at explicit offsets */
    uint64_t size; /* bytes */
    uint64_t hash; /* XXH3_64bits of them */
};

struct sample_files {
    struct sample_file files[SAMPLE_FILES]; /* the smallest first */
};

/*
 * Makes the files in $TMPDIR, or /tmp, if there is room. Ends the program with a message if not.
 * @param largest about how many bytes the largest has; all together have a third more.
 */
void sample_files_create(struct sample_files *samples, uint64_t largest);

/* Closes the files, which frees their room. */
void sample_files_destroy(struct sample_files *samples);

#endif
