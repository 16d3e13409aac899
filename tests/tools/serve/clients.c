/* SPDX-License-Identifier: MIT */
/*
 * Clients of a server on 127.0.0.1 that do what curl and nc cannot. usage:
 *
 *   clients say PORT            sends its input and prints what comes, without ending its direction
 *   clients trickle PORT        likewise, a byte a segment
 *   clients halves PORT         with each beginning of its input: sends it, ends its direction, and
 *                               wants the connection to end
 *   clients resets PORT         likewise, and resets the connection, before and after an answer's
 *                               first bytes; again and again, at the answer's other stages
 *   clients slow PORT TARGET FILE N
 *                               N connections that each read 1 KB a second of TARGET and compare it
 *                               with FILE; prints "reading" once all have begun; at the end of its
 *                               input prints how many are whole so far, and still have more to come
 *   clients activate COMMAND... runs it with a listening socket, as a service manager does; prints
 *                               its port first
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_INPUT = 64 * 1024 };

static struct sockaddr_in loopback(const char *port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)atoi(port)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int make_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        err(1, "socket");
    return fd;
}

static void set(int fd, int level, int name, const void *value, size_t size)
{
    if (setsockopt(fd, level, name, value, (socklen_t)size) < 0)
        err(1, "setsockopt");
}

static void dial(int fd, const char *port)
{
    const struct sockaddr_in address = loopback(port);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        err(1, "connect");
}

static int dial_new(const char *port)
{
    int fd = make_socket();
    dial(fd, port);
    return fd;
}

static size_t read_input(char *buffer)
{
    size_t length = 0;
    ssize_t count;
    while ((count = read(STDIN_FILENO, buffer + length, MOST_INPUT - length)) > 0)
        length += (size_t)count;
    return length;
}

/* As much as it takes: a server may have closed in the middle of what it refuses. */
static void say(int fd, const char *data, size_t length, size_t step)
{
    while (length > 0) {
        ssize_t count = send(fd, data, length < step ? length : step, MSG_NOSIGNAL);
        if (count < 0 && (errno == EPIPE || errno == ECONNRESET))
            return;
        if (count < 0)
            err(1, "send");
        data += count;
        length -= (size_t)count;
    }
}

/* @return whether it ended in order. */
static bool read_to_end(int fd, bool prints)
{
    char buffer[64 * 1024];
    ssize_t count;
    while ((count = read(fd, buffer, sizeof buffer)) > 0)
        if (prints)
            (void)fwrite(buffer, 1, (size_t)count, stdout);
    return count == 0;
}

static int run_say(char **arguments, size_t step)
{
    static char input[MOST_INPUT];
    const int on = 1;
    size_t length = read_input(input);
    int fd = dial_new(arguments[0]);
    set(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    say(fd, input, length, step);
    if (!read_to_end(fd, true))
        err(1, "read");
    return 0;
}

static int run_halves(char **arguments)
{
    static char input[MOST_INPUT];
    size_t length = read_input(input);
    for (size_t i = 0; i < length; i++) {
        int fd = dial_new(arguments[0]);
        say(fd, input, i, i);
        (void)shutdown(fd, SHUT_WR);
        if (!read_to_end(fd, false))
            err(1, "after %zu bytes", i);
        (void)close(fd);
    }
    return 0;
}

/* @param taken how much of the answer is read before, if there is one. */
static void reset_after(const char *port, const char *input, size_t length, size_t taken)
{
    static char buffer[1024 * 1024];
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    int fd = dial_new(port);
    say(fd, input, length, length);
    if (taken > 0)
        (void)recv(fd, buffer, taken, MSG_WAITALL);
    set(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(fd);
}

static int run_resets(char **arguments)
{
    static char input[MOST_INPUT];
    static const size_t stages[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
    size_t length = read_input(input);
    for (size_t i = 0; i <= length; i++)
        reset_after(arguments[0], input, i, 0);
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++)
        reset_after(arguments[0], input, length, stages[i]);
    return 0;
}

/* ---- slow ones ------------------------------------------------------------------------------- */

enum {
    MOST_SLOW = 1000,
    STEP_BYTES = 1024,
    TICKS = 10 /* a second: each serves a tenth of them */
};

struct file {
    const char *bytes;
    size_t size;
};

static struct file map(const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0)
        err(1, "%s", path);
    struct file file = {.size = (size_t)status.st_size};
    file.bytes = mmap(NULL, file.size, PROT_READ, MAP_SHARED, fd, 0);
    if (file.bytes == MAP_FAILED)
        err(1, "%s", path);
    (void)close(fd);
    return file;
}

/* With as small a buffer as there is: what is not read waits at the server. */
static int begin_slow(const char *port, const char *target)
{
    const int least = 1;
    char request[512], byte;
    int fd = make_socket(),
        length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target);
    set(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
    dial(fd, port);
    say(fd, request, (size_t)length, (size_t)length);
    for (int ends = 0; ends < 4;) { /* a byte at a time: nothing of the content */
        if (read(fd, &byte, 1) != 1)
            err(1, "read");
        ends = byte == "\r\n\r\n"[ends] ? ends + 1 : byte == '\r';
    }
    return fd;
}

static void read_slowly(int fd, const struct file *file, size_t *position)
{
    char buffer[STEP_BYTES];
    ssize_t count = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN)
        return;
    if (count <= 0)
        err(1, "a slow one was cut off after %zu bytes", *position);
    if (*position + (size_t)count > file->size ||
        memcmp(buffer, file->bytes + *position, (size_t)count) != 0)
        errx(1, "a slow one got something else after %zu bytes", *position);
    *position += (size_t)count;
}

static int run_slow(char **arguments)
{
    static int fds[MOST_SLOW];
    static size_t positions[MOST_SLOW];
    const struct file file = map(arguments[2]);
    int count = atoi(arguments[3]), left = 0;
    if (count > MOST_SLOW)
        errx(1, "too many");
    for (int i = 0; i < count; i++)
        fds[i] = begin_slow(arguments[0], arguments[1]);
    (void)puts("reading");
    (void)fflush(stdout);
    struct pollfd end = {.fd = STDIN_FILENO, .events = POLLIN};
    for (int tick = 0; poll(&end, 1, 1000 / TICKS) == 0; tick++)
        for (int i = tick % TICKS; i < count; i += TICKS)
            read_slowly(fds[i], &file, &positions[i]);
    for (int i = 0; i < count; i++)
        left += positions[i] < file.size;
    return printf("%d\n", left) < 0;
}

/* ---- a service manager ----------------------------------------------------------------------- */

static int run_activate(char **command)
{
    enum { FIRST_FD = 3 }; /* SD_LISTEN_FDS_START */
    struct sockaddr_in address = loopback("0");
    socklen_t size = sizeof address;
    char pid[32];
    int fd = make_socket();
    if (bind(fd, (const struct sockaddr *)&address, size) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        err(1, "listen");
    if (fd == FIRST_FD ? fcntl(fd, F_SETFD, 0) < 0 : dup2(fd, FIRST_FD) < 0)
        err(1, "dup2");
    (void)printf("%d\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    (void)setenv("LISTEN_PID", pid, 1);
    (void)setenv("LISTEN_FDS", "1", 1);
    (void)setenv("LISTEN_FDNAMES", "web", 1);
    (void)execv(command[0], command);
    err(1, "%s", command[0]);
}

static int run(const char *command, int count, char **arguments)
{
    if (strcmp(command, "say") == 0 && count == 1)
        return run_say(arguments, MOST_INPUT);
    if (strcmp(command, "trickle") == 0 && count == 1)
        return run_say(arguments, 1);
    if (strcmp(command, "halves") == 0 && count == 1)
        return run_halves(arguments);
    if (strcmp(command, "resets") == 0 && count == 1)
        return run_resets(arguments);
    if (strcmp(command, "slow") == 0 && count == 4)
        return run_slow(arguments);
    if (strcmp(command, "activate") == 0 && count > 0)
        return run_activate(arguments);
    errx(2, "what is '%s'?", command);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        errx(2, "a command is missing");
    return run(argv[1], argc - 2, argv + 2);
}
