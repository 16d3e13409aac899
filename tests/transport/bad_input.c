/* SPDX-License-Identifier: MIT */
/* Bad input answers with the errno that the headers document, and leaves everything as it was. */
#include "tests/support.h"

#include <limits.h>
#include <netinet/in.h>
#include <sys/resource.h>

PROMISE(bad_input, null_is_einval_where_it_is_not_allowed_and_nothing_where_it_is)
{
    ferry_file file = ferry_file_at("/etc/passwd");
    ferry_stream *stream;
    ferry_stream_status status;
    check_eq(ferry_service_create(NULL, NULL), -EINVAL);
    check_eq(ferry_service_drain(NULL, 0), -EINVAL);
    ferry_service_destroy(NULL);
    AT_END(destroy_service) ferry_service *service;
    check_eq(ferry_service_create(NULL, &service), 0);
    check_eq(ferry_service_drain(service, -2), -EINVAL);
    AT_END(close_theirs) pair both = unix_pair(SOCK_STREAM);
    check_eq(ferry_stream_adopt(NULL, both.ours, NULL, &stream), -EINVAL);
    check_eq(ferry_stream_adopt(service, both.ours, NULL, NULL), -EINVAL);
    stream = stream_adopt(service, both.ours);
    check_eq(ferry_stream_write(NULL, "x", 1, NULL, NULL), -EINVAL);
    check_eq(ferry_stream_write(stream, NULL, 1, NULL, NULL), -EINVAL);
    check_eq(ferry_stream_sendfile(NULL, &file, NULL, NULL), -EINVAL);
    check_eq(ferry_stream_sendfile(stream, NULL, NULL, NULL), -EINVAL);
    check_eq(ferry_stream_send(NULL, NULL, 0, NULL, NULL), -EINVAL);
    check_eq(ferry_stream_send(stream, NULL, 1, NULL, NULL), -EINVAL);
    check_eq(ferry_stream_mark(NULL, NULL), -EINVAL);
    check_eq(ferry_stream_shutdown(NULL, NULL), -EINVAL);
    check_eq(ferry_stream_close(NULL, NULL), -EINVAL);
    check_eq(ferry_stream_expect_no_more(NULL), -EINVAL);
    check_eq(ferry_stream_get_status(NULL, &status), -EINVAL);
    check_eq(ferry_stream_get_status(stream, NULL), -EINVAL);
    ferry_stream_abort(NULL);
    check(ferry_stream_ref(NULL) == NULL && ferry_stream_unref(NULL) == NULL);
    check_eq(outcome(submit_parts(stream, NULL, 0, NULL)).error, 0); /* a marker */
    check_eq(close_stream(stream).error, 0);
}

PROMISE(bad_input, options_out_of_range_are_einval)
{
    const ferry_service_options bad_services[] = {
        {.placement = (ferry_placement)7},
        {.placement = FERRY_PLACEMENT_SHARED, .shared_owners = 1025},
        {.stack_bytes = (1u << 30) + 1},
        {.chunk_bytes = (1u << 30) + 1},
    };
    AT_END(destroy_service) ferry_service *service = NULL;
    for (unsigned i = 0; i < sizeof bad_services / sizeof bad_services[0]; i++)
        check_eq(ferry_service_create(&bad_services[i], &service), -EINVAL);
    check(service == NULL);
    check_eq(ferry_service_create(NULL, &service), 0);
    const ferry_stream_options bad_streams[] = {
        {.limit_requests = 1000001},
        {.limit_bytes = (UINT64_C(1) << 39) + 1},
        {.close_timeout_ms = -1},
        {.close_bytes = (UINT64_C(1) << 39) + 1},
        {.notsent_lowat_bytes = UINT32_C(1) << 31},
    };
    AT_END(close_theirs) pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream = NULL;
    for (unsigned i = 0; i < sizeof bad_streams / sizeof bad_streams[0]; i++)
        check_eq(ferry_stream_adopt(service, both.ours, &bad_streams[i], &stream), -EINVAL);
    check(stream == NULL);
    close(both.ours);
}

PROMISE_BOTH(bad_input, fd_that_cannot_be_a_stream_is_refused_with_its_reason)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_stream *stream = NULL;
    AT_END(close_pair) pair pipe = pipe_pair();
    AT_END(close_fd) int directory = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AT_END(close_fd) int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(listen(listener, 1), 0);
    AT_END(close_fd) int datagram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    AT_END(close_fd) int handle = open("/etc/passwd", O_PATH | O_CLOEXEC);
    const ferry_stream_options confirming = {.close_timeout_ms = 1000};
    check_eq(ferry_stream_adopt(service, -1, NULL, &stream), -EBADF);
    check_eq(ferry_stream_adopt(service, 9999, NULL, &stream), -EBADF);
    check_eq(ferry_stream_adopt(service, pipe.theirs, NULL, &stream), -EBADF);
    check_eq(ferry_stream_adopt(service, handle, NULL, &stream), -EBADF);
    check_eq(ferry_stream_adopt(service, directory, NULL, &stream), -EISDIR);
    check_eq(ferry_stream_adopt(service, listener, NULL, &stream), -EINVAL);
    check_eq(ferry_stream_adopt(service, datagram, NULL, &stream), -ESOCKTNOSUPPORT);
    check_eq(ferry_stream_adopt(service, pipe.ours, &confirming, &stream), -ENOTSOCK);
    check(stream == NULL);
}

PROMISE_BOTH(bad_input, unconnected_socket_fails_its_requests_not_its_adoption)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_stream *stream = stream_adopt(service, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ferry_result result = outcome(submit_write(stream, "x", 1));
    check(result.error == -EPIPE || result.error == -ENOTCONN);
    check_eq(result.phase, FERRY_PHASE_SINK);
    check_eq(close_stream(stream).error, 0);
}

typedef struct bad_file {
    ferry_file file;
    int error;
} bad_file;

PROMISE(bad_input, file_that_makes_no_sense_is_refused_at_submit)
{
    AT_END(stage_close) stage s = stage_open(FERRY_PLACEMENT_SHARED, unix_pair(SOCK_STREAM));
    char long_path[PATH_MAX + 1];
    memset(long_path, 'x', PATH_MAX);
    long_path[PATH_MAX] = '\0';
    const char *path = "/etc/passwd";
    const bad_file bad[] = {
        {{path, AT_FDCWD, 0, 0, 0, 1, NULL, NULL}, -EINVAL},   /* both */
        {{NULL, AT_FDCWD, -1, 0, 0, 1, NULL, NULL}, -EINVAL},  /* neither */
        {{path, AT_FDCWD, -1, 0, -2, 1, NULL, NULL}, -EINVAL}, /* a negative offset */
        {{path, AT_FDCWD, -1, 0, 0, -2, NULL, NULL}, -EINVAL}, /* a negative length */
        {{path, AT_FDCWD, -1, 64, 0, 1, NULL, NULL}, -EINVAL}, /* an unknown flag */
        {{path, AT_FDCWD, -1, FERRY_FD_GIVE, 0, 1, NULL, NULL},
         -EINVAL}, /* flags of the other kind */
        {{NULL, AT_FDCWD, s.theirs, FERRY_FILE_BENEATH, 0, 1, NULL, NULL}, -EINVAL},
        {{NULL, AT_FDCWD, s.theirs, FERRY_FD_GIVE | FERRY_FD_BORROW, 0, 1, NULL, NULL}, -EINVAL},
        {{NULL, AT_FDCWD, 9999, 0, 0, 1, NULL, NULL}, -EBADF}, /* not open */
        {{NULL, AT_FDCWD, 9999, FERRY_FD_GIVE, 0, 1, NULL, NULL}, -EBADF},
        {{NULL, AT_FDCWD, 9999, FERRY_FD_BORROW, 0, 1, NULL, NULL}, -EBADF},
        {{path, 9999, -1, 0, 0, 1, NULL, NULL}, -EBADF}, /* the directory is not */
        {{path, AT_FDCWD, -1, 0, 1, INT64_MAX, NULL, NULL}, -EOVERFLOW},
        {{long_path, AT_FDCWD, -1, 0, 0, 1, NULL, NULL}, -ENAMETOOLONG},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ferry_promise *promise = NULL;
        check_eq(ferry_stream_sendfile(s.stream, &bad[i].file, NULL, &promise), bad[i].error);
        check(promise == NULL);
    }
    const ferry_part unknown = {.kind = (ferry_part_kind)9};
    check_eq(ferry_stream_send(s.stream, &unknown, 1, NULL, NULL), -EINVAL);
}

PROMISE(bad_input, lengths_that_overflow_are_eoverflow)
{
    AT_END(stage_close) stage s = stage_open(FERRY_PLACEMENT_SHARED, unix_pair(SOCK_STREAM));
    const ferry_part halves[] = {ferry_part_borrow("x", SIZE_MAX / 2 + 1),
                                 ferry_part_borrow("x", SIZE_MAX / 2 + 1)};
    const ferry_part copy = ferry_part_copy("x", SIZE_MAX);
    const ferry_part large = ferry_part_borrow("x", (size_t)1 << 40);
    ferry_file file = ferry_file_at("/etc/passwd");
    file.length = INT64_MAX;
    const ferry_part files[] = {ferry_part_file(file), ferry_part_file(file)};
    check_eq(ferry_stream_send(s.stream, halves, 2, NULL, NULL), -EOVERFLOW);
    check_eq(ferry_stream_send(s.stream, &copy, 1, NULL, NULL), -EOVERFLOW);
    check_eq(ferry_stream_send(s.stream, &large, 1, NULL, NULL), -EOVERFLOW);
    check_eq(ferry_stream_send(s.stream, files, 2, NULL, NULL), -EOVERFLOW);
    check_eq(ferry_stream_write(s.stream, "x", SIZE_MAX, NULL, NULL), -EOVERFLOW);
    check_eq(ferry_stream_send(s.stream, files, SIZE_MAX / 8, NULL, NULL), -EOVERFLOW);
}

static void check_open_failure(ferry_stream *stream, ferry_file file, int error)
{
    check_outcome(submit_file(stream, file), .error = error, .phase = FERRY_PHASE_OPEN, .sent = 0);
}

PROMISE_BOTH(bad_input, file_that_cannot_be_read_fails_in_open_and_the_head_does_not_leave)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(file_remove) test_file file = file_make(10, 1);
    ferry_file write_only = ferry_file_fd(open(file.path, O_WRONLY | O_CLOEXEC));
    ferry_file handle = ferry_file_fd(open(file.path, O_PATH | O_CLOEXEC));
    ferry_file directory = ferry_file_at("/tmp");
    ferry_file directory_fd = ferry_file_fd(open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ferry_file below_file = ferry_file_at("/etc/passwd/nothing");
    AT_END(close_pair) pair pipe = pipe_pair();
    ferry_file pipe_at = ferry_file_fd(pipe.theirs);
    pipe_at.offset = 10;
    check_open_failure(s.stream, write_only, -EBADF);
    check_open_failure(s.stream, handle, -EBADF);
    check_open_failure(s.stream, directory, -EISDIR);
    check_open_failure(s.stream, directory_fd, -EISDIR);
    check_open_failure(s.stream, below_file, -ENOTDIR);
    check_open_failure(s.stream, pipe_at, -ESPIPE);
    const ferry_part parts[] = {ferry_part_copy("head", 4), ferry_part_file(write_only)};
    check_outcome(submit_parts(s.stream, parts, 2, NULL), .error = -EBADF, .sent = 0);
    check_eq(outcome(submit_write(s.stream, "healthy", 7)).error, 0);
    check_eq(stage_close_stream(&s).error, 0);
    char data[20];
    check_eq(recv(s.theirs, data, sizeof data, MSG_WAITALL), 7);
    close(write_only.fd);
    close(handle.fd);
    close(directory_fd.fd);
}

/* ---- out of fds ------------------------------------------------------------------------------ */

/* Takes every fd there is; gives them back. */
typedef struct fd_hoard {
    int fds[64];
    unsigned count;
    struct rlimit before;
} fd_hoard;

static void take_all_fds(fd_hoard *hoard)
{
    hoard->count = 0;
    getrlimit(RLIMIT_NOFILE, &hoard->before);
    struct rlimit few = {.rlim_cur = 48, .rlim_max = hoard->before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    for (int fd; (fd = open("/dev/null", O_WRONLY | O_CLOEXEC)) >= 0;)
        hoard->fds[hoard->count++] = fd;
    check_eq(errno, EMFILE);
}

static void give_all_back(fd_hoard *hoard)
{
    while (hoard->count > 0)
        close(hoard->fds[--hoard->count]);
    setrlimit(RLIMIT_NOFILE, &hoard->before);
}

PROMISE_BOTH(bad_input, without_fds_submits_adoptions_and_services_are_emfile_and_nothing_breaks)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(file_remove) test_file file = file_make(1000, 1);
    AT_END(close_pair) pair spare = unix_pair(SOCK_STREAM);
    ferry_stream *refused = NULL;
    check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
    ferry_file by_fd = ferry_file_fd(file.fd);
    const ferry_stream_options telling = {.high_watermark_bytes = 1,
                                          .on_watermark = ignore_watermark};
    ferry_service *other = NULL;
    fd_hoard hoard;
    take_all_fds(&hoard);
    check_eq(ferry_stream_sendfile(s.stream, &by_fd, NULL, NULL), -EMFILE);
    ferry_result opened = outcome(submit_file(s.stream, ferry_file_at(file.path)));
    check_eq(ferry_service_create(NULL, &other), -EMFILE);
    if (placement ==
        FERRY_PLACEMENT_DEDICATED) /* which needs an epoll set of its own from the start */
        check_eq(ferry_stream_adopt(s.service, spare.ours, &telling, &refused), -EMFILE);
    give_all_back(&hoard);
    check_eq(opened.error, -EMFILE);
    check_eq(opened.phase, FERRY_PHASE_OPEN);
    check(other == NULL && refused == NULL);
    check_eq(outcome(submit_file(s.stream, ferry_file_at(file.path))).error, 0);
}
