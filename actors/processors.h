/* SPDX-License-Identifier: MIT */
/*
 * How many threads of this process can run at once: as many as there are processors in its affinity
 * mask, but no more than its control groups let it use. A container is often given "2 processors"
 * of 64 as a quota of time only; owners beyond that would wait for each other's share to be
 * refilled.
 */
#ifndef FERRY_ACTORS_PROCESSORS_H
#define FERRY_ACTORS_PROCESSORS_H

/* Any thread. At least 1. Reads files: not for where it matters how long it takes. */
unsigned ferry__usable_processors(void);

/*
 * What the control groups let the process use, rounded up to whole processors; UINT_MAX: all there
 * are, or it cannot be told. Version 2 (cpu.max) and version 1 (cpu.cfs_quota_us), each group with
 * those above it.
 * @param root "" for the system; else a folder in which a test has laid out what it wants to be
 *        found.
 */
unsigned ferry__processors_granted(const char *root);

#endif
