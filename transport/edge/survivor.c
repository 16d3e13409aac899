/* SPDX-License-Identifier: MIT */
#include "transport/edge/survivor.h"

#include "core/cancel.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int ferry__survivor_mark(int fd)
{
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_PATH | O_CLOEXEC);
}

/* Giving it to its own user changes nothing, and fails with -ENOENT if the socket is gone. */
static bool is_alive(int mark, const struct stat *status)
{
    return fchownat(mark, "", status->st_uid, (gid_t)-1, AT_EMPTY_PATH) == 0 || errno != ENOENT;
}

/* Takes a duplicate of a process's fd. @param process a pidfd; -1: this process. */
static int duplicate(int process, int number)
{
    if (process < 0)
        return fcntl(number, F_DUPFD_CLOEXEC, 0);
    return (int)syscall(SYS_pidfd_getfd, process, number, 0);
}

/* @return a duplicate of the socket, found in a folder of fds; or -1. */
static int find_in(const char *folder, int process, const struct stat *wanted)
{
    DIR *numbers = opendir(folder);
    if (numbers == NULL)
        return -1;
    int found = -1;
    for (struct dirent *entry; found < 0 && (entry = readdir(numbers)) != NULL;) {
        struct stat status;
        if (!isdigit((unsigned char)entry->d_name[0]) ||
            fstatat(dirfd(numbers), entry->d_name, &status, 0) < 0 ||
            status.st_ino != wanted->st_ino || status.st_dev != wanted->st_dev)
            continue;
        found = duplicate(process, atoi(entry->d_name));
        /* The mark itself looks the same; and by now the number may be another file's. */
        if (found >= 0 && (fstat(found, &status) < 0 || status.st_ino != wanted->st_ino ||
                           (fcntl(found, F_GETFL) & O_PATH) != 0)) {
            (void)ferry__close(found);
            found = -1;
        }
    }
    (void)closedir(numbers);
    return found;
}

static int find_in_process(const char *id, const struct stat *wanted)
{
    char folder[300];
    (void)snprintf(folder, sizeof folder, "/proc/%s/fd", id);
    int process = (int)syscall(SYS_pidfd_open, atoi(id), 0);
    if (process < 0)
        return -1;
    int found = find_in(folder, process, wanted);
    (void)ferry__close(process);
    return found;
}

static int find(const struct stat *wanted)
{
    int found = find_in("/proc/self/fd", -1, wanted);
    DIR *processes = found < 0 ? opendir("/proc") : NULL;
    if (processes == NULL)
        return found;
    for (struct dirent *entry; found < 0 && (entry = readdir(processes)) != NULL;)
        if (isdigit((unsigned char)entry->d_name[0]))
            found = find_in_process(entry->d_name, wanted);
    (void)closedir(processes);
    return found;
}

void ferry__survivor_set_linger(int mark, const struct linger *before)
{
    struct stat status;
    if (mark < 0)
        return;
    bool survives = fstat(mark, &status) == 0 && is_alive(mark, &status);
    int found = survives ? find(&status) : -1;
    (void)ferry__close(mark);
    if (found < 0)
        return;
    (void)setsockopt(found, SOL_SOCKET, SO_LINGER, before, sizeof *before);
    (void)ferry__close(found);
}
