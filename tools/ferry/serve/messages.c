/* SPDX-License-Identifier: MIT */
#include "messages.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Held from finding room until the line is written: another thread could take the room. */
static pthread_mutex_t speaking = PTHREAD_MUTEX_INITIALIZER;

/* Whether there is room for PIPE_BUF bytes. @param until -1: it only looks. */
static bool await_room(int until)
{
    struct pollfd fds[] = {{.fd = STDERR_FILENO, .events = POLLOUT},
                           {.fd = until, .events = POLLIN}};
    int count;
    do
        count = poll(fds, 2, until >= 0 ? -1 : 0);
    while (count < 0 && errno == EINTR);
    return count > 0 && fds[0].revents != 0 && fds[1].revents == 0;
}

/* Not by stdio: a write that blocks would hold its lock. What cannot be written is lost. */
static void write_piece(const char *data, size_t length)
{
    ssize_t written = write(STDERR_FILENO, data, length);
    (void)written;
}

/* Only looks for room with the lock held: nobody waits for the lock for long. */
static bool try_write(const char *data, size_t length)
{
    (void)pthread_mutex_lock(&speaking);
    bool has_room = await_room(-1);
    if (has_room)
        write_piece(data, length);
    (void)pthread_mutex_unlock(&speaking);
    return has_room;
}

void messages_say(const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int name = snprintf(line, sizeof line, "%s: ", program_invocation_short_name);
    int length = vsnprintf(line + name, sizeof line - (size_t)name - 1, format, arguments);
    va_end(arguments);
    size_t most = sizeof line - (size_t)name - 2, words = (size_t)length;
    size_t end = (size_t)name + (words < most ? words : most);
    line[end] = '\n';
    (void)try_write(line, end + 1);
}

void messages_write(const char *line, size_t length, int until)
{
    char piece[PIPE_BUF];
    while (length >= sizeof piece) {
        if (!await_room(until))
            return;
        if (!try_write(line, sizeof piece))
            continue;
        line += sizeof piece;
        length -= sizeof piece;
    }
    memcpy(piece, line, length);
    piece[length] = '\n';
    while (await_room(until) && !try_write(piece, length + 1))
        continue;
}
