/* SPDX-License-Identifier: MIT */
/*
 * A server with sockets and a protocol of its own, on plain calls; only the files are ferry's. Each
 * client names files, one a line, and gets each behind a line of ours, with another one behind it.
 *
 *     protocol /tmp/protocol.socket &
 *     printf 'a.txt\nb.txt\n' | nc -N -U /tmp/protocol.socket
 */
#include <ferry/ferry.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Lends the connection to ferry for one file. @return it, to go on with; or a negative errno. */
static int send_file(ferry_service *service, int fd, const char *path, ferry_result *ret_result)
{
    const ferry_file file = ferry_file_at(path);
    ferry_stream *stream;
    ferry_promise *sent = NULL, *detached = NULL;
    int error = ferry_stream_adopt(service, fd, NULL, &stream);
    if (error != 0)
        return error;
    if (ferry_stream_sendfile(stream, &file, NULL, &sent) == 0 &&
        ferry_stream_detach(stream, &detached) == 0) { /* behind the file */
        (void)ferry_promise_await(sent, -1, ret_result);
        (void)ferry_promise_await(detached, -1, NULL);
    }
    error = ferry_promise_get_fd(detached);
    (void)ferry_promise_unref(sent), (void)ferry_promise_unref(detached);
    (void)ferry_stream_unref(stream);
    return error;
}

/* The client's end is where its reading and our writing meet: both are ours, before and after. */
static int serve(ferry_service *service, int fd)
{
    FILE *names = fdopen(dup(fd), "r");
    char name[256], line[512];
    while (fd >= 0 && names != NULL && fgets(name, sizeof name, names) != NULL) {
        ferry_result result = {0};
        name[strcspn(name, "\n")] = '\0';
        (void)send(fd, line, (size_t)snprintf(line, sizeof line, "[%s]\n", name), MSG_NOSIGNAL);
        fd = send_file(service, fd, name, &result);
        const char *how = result.error == 0 ? "whole" : ferry_error_name(result.error);
        if (fd >= 0)
            (void)send(fd, line, (size_t)snprintf(line, sizeof line, "\n[%s]\n", how),
                       MSG_NOSIGNAL);
    }
    return (names != NULL && fclose(names) != 0) || (fd >= 0 && close(fd) != 0) ? -1 : 0;
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    ferry_service *service;
    if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path)
        return 1;
    memcpy(address.sun_path, argv[1], strlen(argv[1]));
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, 8) < 0 || ferry_service_create(NULL, &service) < 0)
        return 1;
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;)
        if (serve(service, fd) < 0)
            perror("protocol");
    ferry_service_destroy(service);
    return 1;
}
