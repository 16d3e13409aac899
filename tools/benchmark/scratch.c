/* SPDX-License-Identifier: MIT */
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- in the keeper --------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

/* @return 0 or a negative errno. */
static int remove_all(const char *directory)
{
    enum { OPEN_DIRECTORIES = 8 };
    while (nftw(directory, remove_one, OPEN_DIRECTORIES, FTW_DEPTH | FTW_PHYS) != 0)
        if (errno != ENOTEMPTY &&
            errno != ENOENT) /* what was just killed had made, or removed, one */
            return -errno;
    return 0;
}

static _Noreturn void keep(const char *directory, int line)
{
    pid_t group = 0;
    while (read(line, &group, sizeof group) == (ssize_t)sizeof group) {
    }
    if (group > 0)
        (void)kill(-group, SIGKILL);
    _exit(remove_all(directory) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* ---- in the benchmark ------------------------------------------------------------------------ */

int scratch_template(char *ret_path, size_t size)
{
    const char *directory = getenv("TMPDIR");
    int length = snprintf(ret_path, size, "%s/ferry-bench-XXXXXX",
                          directory != NULL && directory[0] != '\0' ? directory : "/tmp");
    return length >= 0 && (size_t)length < size ? 0 : -ENAMETOOLONG;
}

static int make_directory(scratch *s)
{
    int error = scratch_template(s->directory, sizeof s->directory);
    if (error != 0)
        return error;
    return mkdtemp(s->directory) != NULL ? 0 : -errno;
}

/* @return the end of a pipe that the keeper reads, or a negative errno. */
static int fork_keeper(scratch *s)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    /* Signals that are meant for the benchmark do not end the keeper, also before it has run: it
     * has them blocked, and a group of its own. */
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    s->keeper = fork();
    int error = -errno;
    if (s->keeper == 0) {
        (void)close(ends[1]);
        keep(s->directory, ends[0]);
    }
    if (s->keeper > 0)
        (void)setpgid(s->keeper, s->keeper);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    (void)close(ends[0]);
    if (s->keeper > 0)
        return ends[1];
    (void)close(ends[1]);
    return error;
}

int scratch_init(scratch *ret_scratch)
{
    int error = make_directory(ret_scratch);
    if (error != 0)
        return error;
    ret_scratch->line = fork_keeper(ret_scratch);
    if (ret_scratch->line >= 0)
        return 0;
    (void)rmdir(ret_scratch->directory);
    return ret_scratch->line;
}

int scratch_deinit(scratch *s)
{
    (void)close(s->line);
    int status;
    while (waitpid(s->keeper, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS ? 0 : -ENOTEMPTY;
}

int scratch_guard(const scratch *s, pid_t group)
{
    return write(s->line, &group, sizeof group) == (ssize_t)sizeof group ? 0 : -errno;
}
