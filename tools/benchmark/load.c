/* SPDX-License-Identifier: MIT */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void become(const load *what, unsigned port, const char *name, int out)
{
    char threads[16], connections[16], duration[16], url[256];
    (void)snprintf(threads, sizeof threads, "%u", what->threads);
    (void)snprintf(connections, sizeof connections, "%u", what->connections);
    (void)snprintf(duration, sizeof duration, "%u", what->duration_s);
    (void)snprintf(url, sizeof url, "%s://127.0.0.1:%u/%s", what->is_secure ? "https" : "http",
                   port, name);
    /* With many connections and large files an answer takes its time: slow is no error here. */
    const char *command[] = {what->program, "--threads",  threads,  "--connections",
                             connections,   "--duration", duration, "--timeout",
                             "60",          url,          NULL,     NULL,
                             NULL};
    enum { LAST = 10 };
    command[LAST] = what->script != NULL ? "--script" : NULL;
    command[LAST + 1] = what->script;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(out, STDERR_FILENO) < 0)
        _exit(EXIT_FAILURE);
    (void)execv(what->program, (char *const *)command);
    perror(what->program);
    _exit(EXIT_FAILURE);
}

/* Reads what a process prints until it ends. */
static int collect(pid_t pid, int from, char *text, size_t size)
{
    size_t length = 0;
    for (ssize_t count; (count = read(from, &text[length], size - 1 - length)) != 0;) {
        if (count < 0 && errno != EINTR)
            break;
        length += count > 0 ? (size_t)count : 0;
    }
    text[length] = '\0';
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS ? 0 : -EIO;
}

/* The number that stands before or after some words of wrk's. */
static bool find_number(const char *text, const char *words, bool before, double *ret_number)
{
    const char *at = strstr(text, words);
    if (at == NULL)
        return false;
    const char *number = at + strlen(words);
    if (before)
        for (number = at; number > text && number[-1] != '\n';)
            number--;
    char *end;
    *ret_number = strtod(number, &end);
    return end != number && *ret_number > 0;
}

static int parse(const load *what, const char *text, load_result *ret_result)
{
    load_result result;
    if (strstr(text, "Socket errors:") != NULL ||
        (strstr(text, "Non-2xx") != NULL && !what->any_status) ||
        !find_number(text, " requests in ", true, &result.requests) ||
        !find_number(text, "Requests/sec:", false, &result.requests_per_s))
        return -EBADMSG;
    *ret_result = result;
    return 0;
}

int load_run(const load *what, unsigned port, const char *name, load_result *ret_result)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    pid_t pid = fork();
    int error = pid < 0 ? -errno : 0;
    if (pid == 0)
        become(what, port, name, ends[1]);
    (void)close(ends[1]);
    char text[4096] = "";
    if (error == 0)
        error = collect(pid, ends[0], text, sizeof text);
    (void)close(ends[0]);
    if (error == 0)
        error = parse(what, text, ret_result);
    if (error != 0)
        (void)fprintf(stderr, "%s", text);
    return error;
}

int load_allow_files(size_t count)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    if (limit.rlim_max < count)
        return -EMFILE;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? 0 : -errno;
}
