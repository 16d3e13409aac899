/* SPDX-License-Identifier: MIT */
/* What the kernel seldom says: sendfile that refuses or ends in the middle of a request. */
#include "tests/support.h"

#include <linux/tcp.h>
#include <netinet/in.h>

/* Linked with --wrap=sendfile64. */

static atomic_uint calls_before; /* how many calls go through before the answer is ours */
static atomic_int answer = 1; /* 0: the source has ended; negative errno: that; 1: all go through */

WRAPPED(ssize_t, sendfile64, (int out, int in, off_t *offset, size_t count))
{
    if (atomic_load(&answer) == 1)
        return __real_sendfile64(out, in, offset, count);
    if (atomic_load(&calls_before) > 0) {
        atomic_fetch_sub(&calls_before, 1);
        return __real_sendfile64(out, in, offset, count < 10000 ? count : 10000);
    }
    errno = -atomic_load(&answer);
    return errno == 0 ? 0 : -1;
}

static void answer_after(unsigned calls, int error)
{
    atomic_store(&calls_before, calls);
    atomic_store(&answer, error);
}

PROMISE_BOTH(refusal, midway_goes_on_by_copy_at_the_same_byte)
{
    enum { SIZE = 300000 };
    static const int errors[] = {-EINVAL, -ENOSYS, -EOPNOTSUPP, -ESPIPE};
    AT_END(file_remove) test_file file = file_make(SIZE, 3);
    for (unsigned i = 0; i < 4; i++) {
        stage s = stage_open_to_reader(placement, tcp_pair());
        ferry_file range = ferry_file_fd(file.fd);
        range.offset = 7;
        answer_after(i, errors[i]);
        check_outcome(submit_file(s.stream, range), .error = 0, .sent = SIZE - 7,
                      .method = FERRY_METHOD_COPY);
        stage_close_got(&s, SIZE - 7, digest_content(DIGEST_BEGIN, 3, 7, SIZE - 7));
    }
}

/* Reading fails midway: /proc/self/mem is seekable, and ends where nothing is mapped. */
PROMISE_BOTH(refusal, error_while_copying_is_the_sources_with_the_exact_count)
{
    static unsigned char mapped[8192];
    fill_content(mapped, sizeof mapped, 5, 0);
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_file memory = ferry_file_at("/proc/self/mem");
    memory.offset = (int64_t)(uintptr_t)mapped;
    memory.length = 100;
    answer_after(0, -EINVAL);
    check_eq(outcome(submit_file(s.stream, memory)).sent, 100);
    memory.offset = 0; /* which is never mapped */
    check_outcome(submit_file(s.stream, memory), .error = -EIO, .phase = FERRY_PHASE_SOURCE,
                  .sent = 0, .remaining = 100);
    check_eq(outcome(submit_write(s.stream, "healthy", 7)).error, 0);
}

PROMISE_BOTH(refusal, file_that_ends_early_is_enodata_at_once_and_the_head_is_not_held_back)
{
    AT_END(file_remove) test_file file = file_make(20000, 3); /* a small one is read */
    pair both = tcp_pair();
    AT_END(close_fd) int watch = duplicate(both.ours);
    AT_END(stage_close) stage s = stage_open(placement, both);
    const ferry_part parts[] = {ferry_part_copy("head", 4),
                                ferry_part_file(ferry_file_at(file.path))};
    answer_after(0, 0);
    check_outcome(submit_parts(s.stream, parts, 2, NULL), .error = -ENODATA,
                  .phase = FERRY_PHASE_SOURCE, .sent = 4, .remaining = 20000);
    struct tcp_info info;
    socklen_t size = sizeof info;
    check_eq(getsockopt(watch, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    check_eq(info.tcpi_data_segs_out, 1); /* the kernel would hold it back for 200 ms otherwise */
}

PROMISE_BOTH(refusal, error_of_sendfile_names_the_side_it_is_about)
{
    static const struct {
        int error;
        ferry_phase phase;
    } cases[] = {{-EIO, FERRY_PHASE_SOURCE},
                 {-ESTALE, FERRY_PHASE_SOURCE},
                 {-ENOSPC, FERRY_PHASE_SINK},
                 {-ECONNRESET, FERRY_PHASE_SINK}};
    AT_END(file_remove) test_file file = file_make(20000, 3); /* a small one is read */
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        answer_after(0, cases[i].error);
        check_outcome(submit_file(s.stream, ferry_file_at(file.path)), .error = cases[i].error,
                      .phase = cases[i].phase, .sent = 0, .remaining = 20000);
    }
}
