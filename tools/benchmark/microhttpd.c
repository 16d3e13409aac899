/* SPDX-License-Identifier: MIT */
/*
 * ferry-bench-microhttpd DIRECTORY PORT THREADS: the least program that serves files with GNU
 * libmicrohttpd, on 127.0.0.1, until it is killed. It is there to be compared with.
 */
#include "../number.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char not_found[] = "not found\n";

/* Takes fd. */
static enum MHD_Result answer(struct MHD_Connection *connection, int fd)
{
    struct stat status;
    bool found = fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    struct MHD_Response *response =
        found ? MHD_create_response_from_fd((size_t)status.st_size, fd)
              : MHD_create_response_from_buffer(sizeof not_found - 1, (char *)not_found,
                                                MHD_RESPMEM_PERSISTENT);
    if (fd >= 0 && (!found || response == NULL))
        (void)close(fd);
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result =
        MHD_queue_response(connection, found ? MHD_HTTP_OK : MHD_HTTP_NOT_FOUND, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result handle(void *directory, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    static char seen;
    (void)version;
    (void)upload;
    (void)upload_size;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0)
        return MHD_NO;
    if (*state == NULL) { /* only the head is there: the answer is asked for again */
        *state = &seen;
        return MHD_YES;
    }
    return answer(connection, openat(*(int *)directory, &url[1], O_RDONLY | O_CLOEXEC));
}

int main(int argc, char *argv[])
{
    enum { CONNECTIONS = 8192, BACKLOG = 4096 };
    uint64_t port, threads;
    bool is_clear = argc == 4 && number_parse(argv[2], 1, UINT16_MAX, &port) &&
                    number_parse(argv[3], 1, 1024, &threads);
    int directory = is_clear ? open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (directory < 0) {
        (void)fprintf(stderr, "usage: ferry-bench-microhttpd DIRECTORY PORT THREADS\n");
        return EXIT_FAILURE;
    }
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons((uint16_t)port),
    };
    const struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL, handle,
                         &directory, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_THREAD_POOL_SIZE,
                         (unsigned)threads, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
                         MHD_OPTION_LISTEN_BACKLOG_SIZE, (unsigned)BACKLOG, MHD_OPTION_END);
    if (daemon == NULL)
        return EXIT_FAILURE;
    for (;;)
        (void)pause();
}
