/* Sends a greeting and a file over a socket; what became of the file is told by a callback. */
#include <ferry/ferry.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static void tell(ferry_promise *promise, const ferry_result *result, void *name)
{
    (void)promise;
    printf("%s: %s, %llu bytes sent\n", (const char *)name, ferry_error_name(result->error),
           (unsigned long long)result->sent);
}

int main(int argc, char **argv)
{
    int sockets[2];
    ferry_service *service;
    ferry_stream *stream;
    ferry_promise *sent;
    if (argc != 2 || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) < 0 ||
        ferry_service_create(NULL, &service) < 0 ||
        ferry_stream_adopt(service, sockets[0], NULL, &stream) < 0)
        return 1;
    ferry_file file = ferry_file_at(argv[1]);
    ferry_stream_write(stream, "hello\n", 6, NULL, NULL); /* any thread may; none of these waits */
    if (ferry_stream_sendfile(stream, &file, NULL, &sent) < 0 ||
        ferry_promise_observe(sent, tell, argv[1], NULL) < 0 ||
        ferry_stream_close(stream, NULL) < 0)
        return 1;
    char buffer[4096];
    ssize_t count, total = 0;
    while ((count = read(sockets[1], buffer, sizeof buffer)) > 0)
        total += count;
    ferry_service_stop(service, -1); /* callbacks run here, on the thread that asked for them */
    printf("the peer read %zd bytes\n", total);
    ferry_promise_unref(sent);
    ferry_stream_unref(stream);
    ferry_service_destroy(service);
}
