/* SPDX-License-Identifier: MIT */
#include "fetch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_HEAD = 4096 };

static int set_receive_bytes(int fd, int bytes)
{
    return bytes == 0 ? 0 : setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

static int dial(unsigned port, int receive_bytes)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons((uint16_t)port),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (set_receive_bytes(fd, receive_bytes) == 0 &&
        connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = -errno;
    (void)close(fd);
    return error;
}

int fetch_connect(unsigned port)
{
    return dial(port, 0);
}

int fetch_write_request(const char *name, char ret_request[FETCH_REQUEST_BYTES])
{
    int length = snprintf(ret_request, FETCH_REQUEST_BYTES,
                          "GET /%s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", name);
    return length >= 0 && length < FETCH_REQUEST_BYTES ? length : -ENAMETOOLONG;
}

static int ask(int fd, const char *name)
{
    char request[FETCH_REQUEST_BYTES];
    int length = fetch_write_request(name, request);
    if (length < 0)
        return length;
    return send(fd, request, (size_t)length, MSG_NOSIGNAL) == length ? 0 : -errno;
}

int fetch_begin(unsigned port, const char *name, int receive_bytes)
{
    int fd = dial(port, receive_bytes);
    int error = fd < 0 ? fd : ask(fd, name);
    if (error == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return error;
}

/* Reads to the end, or until size bytes are there. @return how many, or a negative errno. */
static ssize_t read_all(int fd, char *data, size_t size)
{
    size_t total = 0;
    while (total < size) {
        ssize_t count = recv(fd, &data[total], size - total, 0);
        if (count == 0)
            break;
        if (count < 0 && errno != EINTR)
            return -errno;
        total += count > 0 ? (size_t)count : 0;
    }
    return (ssize_t)total;
}

/* @param head from its first line to its last, a string. */
static bool head_is(const char *head, size_t length)
{
    static const char status[] = "HTTP/1.1 200 ", field[] = "\r\nContent-Length:";
    const char *value = strcasestr(head, field);
    return strncmp(head, status, sizeof status - 1) == 0 && value != NULL &&
           strtoumax(&value[sizeof field - 1], NULL, 10) == length;
}

static int check(const char *name, char *answer, size_t size, const char *expected, size_t length)
{
    char *end = memmem(answer, size, "\r\n\r\n", 4);
    if (end != NULL)
        *end = '\0';
    const char *body = end != NULL ? &end[4] : "";
    if (end != NULL && head_is(answer, length) && size - (size_t)(body - answer) == length &&
        memcmp(body, expected, length) == 0)
        return 0;
    (void)fprintf(stderr, "ferry-bench: /%s, of %zu bytes, was answered with %zu, %s:\n%s\n", name,
                  length, size, end != NULL ? "which begin" : "without a head",
                  end != NULL ? answer : "");
    return -EBADMSG;
}

int fetch_check(unsigned port, const char *name, const char *expected, size_t length)
{
    size_t size = length + MOST_HEAD;
    char *answer = malloc(size);
    if (answer == NULL)
        return -ENOMEM;
    int fd = fetch_begin(port, name, 0);
    ssize_t got = fd < 0 ? fd : read_all(fd, answer, size);
    int error = got < 0 ? (int)got : check(name, answer, (size_t)got, expected, length);
    if (fd >= 0)
        (void)close(fd);
    free(answer);
    return error;
}
