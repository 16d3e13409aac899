/* SPDX-License-Identifier: MIT */
#include "sample_files.h"

#include "../common/units.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

enum { BLOCK_WORDS = 32 * 1024 }; /* 256 KiB at a time */

static const char *temporary_directory(void)
{
    const char *directory = getenv("TMPDIR");
    return directory != NULL && *directory != '\0' ? directory : "/tmp";
}

static void check_room(const char *directory, uint64_t needed)
{
    struct statvfs status;
    if (statvfs(directory, &status) != 0)
        err(EXIT_FAILURE, "%s", directory);
    uint64_t free_bytes = (uint64_t)status.f_bavail * status.f_frsize;
    if (free_bytes < needed)
        errx(EXIT_FAILURE, "%s has %s free, of %s needed; set TMPDIR, or --size small", directory,
             units_bytes((double)free_bytes).text, units_bytes((double)needed).text);
}

static int open_nameless(const char *directory)
{
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/ferry-demo-XXXXXX", directory);
    if (length >= (int)sizeof path)
        errx(EXIT_FAILURE, "TMPDIR is too long");
    int fd = mkstemp(path);
    if (fd < 0)
        err(EXIT_FAILURE, "cannot make a file in %s", directory);
    (void)unlink(path);
    return fd;
}

/* The next of a random sequence. Source: splitmix64, Vigna, prng.di.unimi.it. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static void write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, data, length);
        if (written < 0)
            err(EXIT_FAILURE, "cannot write the demo's files");
        data += written;
        length -= (size_t)written;
    }
}

static void fill(struct sample_file *file, uint64_t seed)
{
    static uint64_t block[BLOCK_WORDS];
    XXH3_state_t *hash = XXH3_createState();
    if (hash == NULL || XXH3_64bits_reset(hash) != XXH_OK)
        errx(EXIT_FAILURE, "out of memory");
    for (uint64_t done = 0; done < file->size;) {
        for (size_t i = 0; i < BLOCK_WORDS; i++)
            block[i] = next_random(&seed);
        uint64_t left = file->size - done;
        size_t length = left < sizeof block ? (size_t)left : sizeof block;
        (void)XXH3_64bits_update(hash, block, length);
        write_all(file->fd, (const char *)block, length);
        done += length;
    }
    file->hash = XXH3_64bits_digest(hash);
    (void)XXH3_freeState(hash);
}

void sample_files_create(struct sample_files *samples, uint64_t largest)
{
    const char *directory = temporary_directory();
    uint64_t needed = 0;
    for (unsigned i = 0; i < SAMPLE_FILES; i++) {
        samples->files[i].size = (largest >> (2 * (SAMPLE_FILES - 1 - i))) + 13; /* no whole page */
        needed += samples->files[i].size;
    }
    check_room(directory, needed);
    for (unsigned i = 0; i < SAMPLE_FILES; i++) {
        samples->files[i].fd = open_nameless(directory);
        fill(&samples->files[i], i);
    }
}

void sample_files_destroy(struct sample_files *samples)
{
    for (unsigned i = 0; i < SAMPLE_FILES; i++)
        (void)close(samples->files[i].fd);
}
