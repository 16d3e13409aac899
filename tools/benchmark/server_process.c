/* SPDX-License-Identifier: MIT */
#include "server_process.h"

#include "fetch.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int open_log(const scratch *where, int flags)
{
    int directory = open(where->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int log = openat(directory, "log", flags | O_CLOEXEC, 0644);
    int error = -errno;
    (void)close(directory);
    return log >= 0 ? log : error;
}

void server_process_show_log(const scratch *where)
{
    int log = open_log(where, O_RDONLY);
    char text[4096];
    for (ssize_t count; log >= 0 && (count = read(log, text, sizeof text)) > 0;)
        (void)fwrite(text, 1, (size_t)count, stderr);
    (void)close(log);
}

/* ---- starting -------------------------------------------------------------------------------- */

/* A port that nobody listens on, and hardly anybody will, so soon. @return it or negative errno. */
static int find_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int port = bind(fd, (struct sockaddr *)&address, size) == 0 &&
                       getsockname(fd, (struct sockaddr *)&address, &size) == 0
                   ? ntohs(address.sin_port)
                   : -errno;
    (void)close(fd);
    return port;
}

/* In the child, which tells the keeper itself: there is no moment at which nobody would end it. */
static _Noreturn void become(const server_process *s, const http_server *what, const char *path)
{
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int log = open_log(s->scratch, O_WRONLY | O_CREAT | O_TRUNC);
    if (setpgid(0, 0) < 0 || scratch_guard(s->scratch, getpid()) != 0 ||
        dup2(nothing, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
        dup2(log, STDERR_FILENO) < 0)
        _exit(EXIT_FAILURE);
    http_server_become(what, path, &s->site);
}

static bool has_ended(const server_process *s)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)s->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid != 0;
}

/* No server says when it is ready. */
static int await_listener(const server_process *s)
{
    enum { TRIES = 2000, NAP_NS = 5 * 1000 * 1000 }; /* ten seconds: something is wrong */
    for (int i = 0; i < TRIES && !has_ended(s); i++) {
        int fd = fetch_connect(s->site.port);
        if (fd >= 0)
            return close(fd);
        (void)nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
    }
    return -ECONNREFUSED;
}

int server_process_start(const http_server *what, const char *path, const scratch *where,
                         const site *wanted, server_process *ret_server)
{
    int port = find_port();
    if (port < 0)
        return port;
    server_process s = {.scratch = where, .site = *wanted};
    s.site.directory = where->directory;
    s.site.port = (unsigned)port;
    int error = http_server_configure(what, &s.site);
    if (error != 0)
        return error;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || (s.pid = fork()) < 0)
        return -errno;
    if (s.pid == 0)
        become(&s, what, path);
    (void)setpgid(s.pid, s.pid); /* both processes do it: one is first */
    error = await_listener(&s);
    if (error == 0)
        *ret_server = s;
    else
        (void)server_process_stop(&s);
    return error;
}

int server_process_stop(server_process *s)
{
    int error = has_ended(s) ? -ESRCH : 0;
    (void)kill(s->pid, SIGTERM);
    while (waitpid(-s->pid, NULL, 0) > 0 || errno == EINTR) {
    }
    (void)scratch_guard(s->scratch, 0);
    return error;
}

/* ---- its processor time ---------------------------------------------------------------------- */

/* What a process has used, and its children that were waited for, in clock ticks. */
static unsigned long ticks_of(const char *pid, pid_t group)
{
    char path[300], text[1024];
    (void)snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0; /* gone meanwhile: what it used is in its parent's */
    size_t length = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[length] = '\0';
    const char *after_name = strrchr(text, ')');
    pid_t its_group;
    unsigned long user, system, children_user, children_system;
    if (after_name == NULL ||
        sscanf(after_name, ") %*c %*d %d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu",
               &its_group, &user, &system, &children_user, &children_system) != 5)
        return 0;
    return its_group == group ? user + system + children_user + children_system : 0;
}

double server_process_cpu_s(const server_process *s)
{
    DIR *processes = opendir("/proc");
    if (processes == NULL)
        return 0;
    unsigned long ticks = 0;
    for (const struct dirent *entry; (entry = readdir(processes)) != NULL;)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            ticks += ticks_of(entry->d_name, s->pid);
    (void)closedir(processes);
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}
