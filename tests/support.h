/* SPDX-License-Identifier: MIT */
/* What transport tests need again and again: sockets, files with known content, reading peers. */
#ifndef FERRY_TESTS_SUPPORT_H
#define FERRY_TESTS_SUPPORT_H

#include "tests/harness.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

/* ---- content ---- */

/* The byte at a position of the content that a seed stands for; fills as many of them. */
void fill_content(void *buffer, size_t size, uint64_t seed, uint64_t position);

/* A running hash (FNV-1a, 64 bits) of all bytes since digest_begin. */
#define DIGEST_BEGIN UINT64_C(0xcbf29ce484222325)
uint64_t digest(uint64_t so_far, const void *data, size_t size);

/* digest over content of a seed, from position on. */
uint64_t digest_content(uint64_t so_far, uint64_t seed, uint64_t position, uint64_t size);

/* digest over so many bytes of a file, from offset on; they must be there. */
uint64_t digest_file(uint64_t so_far, const char *path, uint64_t offset, uint64_t size);

/* ---- links ---- */

/* Whether the streams of this run are on links of another kind (tests/records.h). There nothing is
 * spliced, and what a record has begun is owed to the peer, who has to read for that. */
#ifdef FERRY_OVER_RECORDS
#define OVER_RECORDS true
#else
#define OVER_RECORDS false
#endif

/* Whether the kernel is to encrypt what streams send, where a test does not say itself: so it is in
 * tools/kernel-tls, which sets FERRY_KERNEL_TLS. It does so over TCP only: where that is "tcp",
 * tests of streams have TCP sockets for unix sockets. */
bool kernel_encrypts(void);

/* How a file leaves that could go by sendfile(2). */
ferry_method file_method(void);

/* Leaves a test that holds on plain links only. @param why a text. */
#define ONLY_ON_PLAIN_LINKS(why)                                                                   \
    do {                                                                                           \
        if (OVER_RECORDS) {                                                                        \
            printf("skipped over records: %s: %s\n", __func__, why);                               \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* ---- sockets ---- */

typedef struct pair {
    int ours;   /* to be adopted */
    int theirs; /* the peer's */
} pair;

pair unix_pair(int type);
pair tcp_pair(void);

/* The writing end is ours. */
pair pipe_pair(void);

/* A TCP socket that listens on a port of its own, of this host alone. */
struct sockaddr_in;
int listen_somewhere(int backlog, struct sockaddr_in *ret_address);

/* One or the other, of streams: what is about bytes is to hold for both. */
pair any_pair(int is_tcp);

/* For AT_END. */
void close_theirs(const pair *both);
void close_ours(const pair *both);
void close_pair(const pair *both);

/* Another descriptor of the same. */
int duplicate(int fd);

/* An option of a socket that is an int. */
int socket_option(int fd, int level, int name);
void set_socket_option(int fd, int level, int name, int value);

/* Reads so much, which must come, and throws it away. */
void read_away(int fd, uint64_t size);

/* Closes the fd so that a TCP peer gets a reset. */
void close_with_reset(int fd);

/* ---- files ---- */

typedef struct test_file {
    char path[64];
    int fd; /* for reading, at position 0 */
    uint64_t seed;
    uint64_t size;
} test_file;

/* A real file with content; removed and closed by file_remove. */
test_file file_make(uint64_t size, uint64_t seed);
void file_remove(test_file *file);

ferry_shared_file *shared_file_open(ferry_file file);

/* Takes a lease on a file. @return its fd; -1: the file system has none. */
int lease_take(const char *path);

/* Waits until somebody has asked for it: then it is on its way to none. */
void lease_await_break(int fd);

/* ---- peers ---- */

/* Reads an fd to its end on a thread of its own, and says what came. */
typedef struct reader {
    pthread_t thread;
    int fd;
    size_t step;         /* bytes a read; small and slow_us > 0 make a slow peer */
    atomic_uint slow_us; /* may be changed meanwhile */
    unsigned char *kept; /* what came, if keep was asked for */
    uint64_t room;       /* of kept */
    bool keep;
    uint64_t bytes;
    uint64_t digest;
    int error; /* errno that ended it, 0 at an end of file */
} reader;

/* Starts one. Takes fd. */
reader *reader_start(int fd, bool keep);
reader *reader_start_slow(int fd, size_t step, unsigned slow_us);

/* Waits for the end of file (or an error). The result is freed by reader_free. */
void reader_join(reader *peer);
void reader_free(reader *peer);
PUT_AWAY(free_reader, reader, reader_free)

/* Waits for the end, and frees it. @return how many bytes came. */
uint64_t reader_end(reader *peer);

/* The same, and checks that so many bytes came, with this digest, and then an end of file. */
void reader_check(reader *peer, uint64_t bytes, uint64_t digest);

/* The same for the first bytes of a seed's content, and for a text. */
void reader_check_content(reader *peer, uint64_t seed, uint64_t size);
void reader_check_text(reader *peer, const char *text);

/* Reads an fd to its end, which is then closed, and checks the same. */
void check_fd_content(int fd, uint64_t seed, uint64_t size);

/* For a stream's close whose peer reads nothing until then. Over records it has to read for that:
 * gives a reader of it; else NULL. And the same later: that one, or one that is started now. */
reader *reader_start_if_owed(int fd);
reader *reader_start_unless(reader *peer, int fd);

/* Sends content on a thread of its own, and then ends its direction. */
typedef struct talker {
    pthread_t thread;
    int fd;
    uint64_t seed;
    uint64_t size;
    size_t step; /* bytes a write; small and slow_us > 0 make a slow peer */
    unsigned slow_us;
} talker;

/* Starts one. fd stays the caller's. An error ends it, too: what has arrived tells. */
talker *talker_start(int fd, uint64_t seed, uint64_t size);
talker *talker_start_slow(int fd, uint64_t seed, uint64_t size, size_t step, unsigned slow_us);

/* Waits until it has sent everything, and frees it. */
void talker_join(talker *peer);
PUT_AWAY(join_talker, talker, talker_join)

/* ---- ferry ---- */

ferry_service *service_start(ferry_placement placement);
ferry_service *service_start_with(ferry_service_options options);

/* A shared one has a single owner: whatever blocks that is seen by all streams. */
ferry_service *service_of_one_owner(ferry_placement placement);

ferry_stream *stream_adopt(ferry_service *service, int fd);
ferry_stream *stream_adopt_with(ferry_service *service, int fd, ferry_stream_options options);

/* Waits, gives the reference back. */
ferry_result outcome(ferry_promise *promise);

/* The same, and checks those fields of the result that are named: check_outcome(p, .sent = 3). */
#define check_outcome(promise, ...)                                                                \
    check_fields(__FILE__, __LINE__, outcome(promise), #__VA_ARGS__, (ferry_result){__VA_ARGS__})
void check_fields(const char *file, int line, ferry_result got, const char *named,
                  ferry_result expected);

/* Waits for a close of the stream, gives the reference back. */
ferry_result close_stream(ferry_stream *stream);

ferry_promise *submit_write(ferry_stream *stream, const void *data, size_t size);
ferry_promise *submit_write_with(ferry_stream *stream, const void *data, size_t size,
                                 const ferry_request_options *options);
ferry_promise *submit_parts(ferry_stream *stream, const ferry_part parts[], size_t count,
                            const ferry_request_options *options);
ferry_promise *submit_content(ferry_stream *stream, uint64_t seed, size_t size);
ferry_promise *submit_file(ferry_stream *stream, ferry_file file);

/* Of a request whose callback runs on the owner, before anything behind it leaves; and a write with
 * these, whose outcome nobody asks for otherwise. */
ferry_request_options calling_on_owner(ferry_callback *callback, void *arg);
void write_calling(ferry_stream *stream, const void *data, size_t size, ferry_callback *callback,
                   void *arg);

ferry_promise *submit_file_with(ferry_stream *stream, ferry_file file,
                                const ferry_request_options *options);
ferry_promise *submit_read_to_file(ferry_stream *stream, ferry_file file);
ferry_promise *submit_mark(ferry_stream *stream);
ferry_promise *submit_shutdown(ferry_stream *stream);
ferry_promise *submit_close(ferry_stream *stream);

/* A thread that waits by this call, ferry_service_drain or _stop, ends meanwhile in a callback: in
 * that of a write to the stream. Something else has to hold the call up until then. */
typedef int wait_for_service(ferry_service *service, int64_t timeout_ms);
void end_thread_in(wait_for_service *wait, ferry_service *service, ferry_stream *stream);

ferry_stream_status stream_status(ferry_stream *stream);
ferry_service_status service_status(ferry_service *service);

void set_reader(ferry_stream *stream, ferry_reader wanted);

/* An on_watermark. A dedicated owner whose stream has one makes its epoll set at once. */
void ignore_watermark(ferry_stream *stream, bool is_above, void *arg);

/* What may go wrong with a call: a kind of it at the n-th call of all. No kernel answers EINTR or
 * EAGAIN for ever. */
enum { FAULT_KINDS = 21 };
ferry_fault fault_at(unsigned kind, uint64_t n);

/* Generators: without end; at its end; with nothing for now; with nothing until *arg, an
 * atomic_bool, is set, and then at its end. */
int64_t generate_zeros(void *buffer, size_t size, void *arg);
int64_t generate_nothing(void *buffer, size_t size, void *arg);
int64_t have_nothing_yet(void *buffer, size_t size, void *arg);
int64_t wait_for_the_word(void *buffer, size_t size, void *arg);

/* A release of what is never taken; a reader's on_read. */
void must_not_be_released(void *data, void *arg);
size_t take_all(ferry_stream *stream, const void *data, size_t length, bool at_end, void *arg);

ferry_limiter *limiter_make(uint64_t bytes_per_s, uint64_t burst_bytes, ferry_limiter *parent);

/* Faults of one kind, for the options of a stream. */
ferry_faults *faults_of(ferry_fault fault);

/* Nothing goes wrong: calls are only counted. */
ferry_faults *faults_none(void);

/* ---- a stage ---- */

/* What most promises are played on: a service with one stream, and the peer at its other end. */
typedef struct stage {
    ferry_service *service; /* NULL once it is destroyed, or if it is somebody else's */
    ferry_stream *stream;   /* NULL once it is dropped */
    int ours;               /* the fd that it has adopted, for whoever watches that */
    int theirs;             /* the peer's end; -1 once it is closed, or somebody else's */
    reader *peer;           /* who reads that, if it was let read */
} stage;

stage stage_open(ferry_placement placement, pair both);
stage stage_open_with(ferry_placement placement, pair both, ferry_stream_options options);

/* One whose peer reads, to its end. */
stage stage_open_to_reader(ferry_placement placement, pair both);

/* One in a service that the caller destroys. */
stage stage_in(ferry_service *service, pair both);
stage stage_in_with(ferry_service *service, pair both, ferry_stream_options options);

/* Drops the stream, destroys the service and closes the peer's end, or lets it read to the end:
 * what is left of them. */
void stage_end(stage *s);

/* The same, but first the stream is closed, which must succeed. */
void stage_close(stage *s);

/* The same, and checks that the peer, which reads now if it was not let before, gets so many bytes,
 * with this digest, and then an end of file; or the first bytes of a seed's content; or a text. */
void stage_close_got(stage *s, uint64_t bytes, uint64_t digest);
void stage_close_got_content(stage *s, uint64_t seed, uint64_t size);
void stage_close_got_text(stage *s, const char *text);

/* The same for so many bytes, whatever they are. */
void stage_close_got_bytes(stage *s, uint64_t bytes);

/* Waits for a close of the stream, and drops it. */
ferry_result stage_close_stream(stage *s);

/* Destroys the service before the rest. */
void stage_destroy(stage *s);

/* Either ends what the stream is at. */
void stage_destroy_or_abort(stage *s, bool destroys);

/* The peer reads from now on, to its end. */
void stage_let_read(stage *s);
void stage_let_read_slowly(stage *s, size_t step, unsigned slow_us);

/* The peer hangs up. */
void stage_hang_up(stage *s);

/* The peer's end, which is the caller's to close from now on. */
int stage_take(stage *s);

/*
 * A write larger than any socket takes, to a stream whose peer does not read. When this returns
 * some of it has arrived at the peer, the rest cannot leave, and the owner sleeps until it can; or,
 * if the stream has a stall timeout, it may have settled with that.
 * @return the write's promise; its length is STUCK_BYTES.
 */
#define STUCK_BYTES (UINT64_C(32) << 20)
ferry_promise *submit_stuck(ferry_stream *stream, int theirs);

/* Waits until the stream has found its sink full, or the promise has settled. */
void wait_until_full(ferry_stream *stream, ferry_promise *promise);

/* Waits until fd has something to read. */
void wait_readable(int fd);

/* Waits until some of what a stream sends has arrived at its peer's end, and the rest cannot leave:
 * its owner sleeps. */
void wait_until_stuck(int theirs);

/* Waits until every thread of ferry's sleeps in the kernel: in a blocked call, or for work. */
void wait_until_asleep(void);

/* The same, asked on one of ferry's threads of the others. */
bool are_others_asleep(void);

/* Starts a thread that wait_until_asleep looks at, too, and waits until all sleep. */
pthread_t start_sleeper(void *(*body)(void *), void *arg);

#endif
