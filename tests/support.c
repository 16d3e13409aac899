/* SPDX-License-Identifier: MIT */
#include "tests/support.h"

#include "tests/records_peer.h"
#include "transport/stream/stream.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <endian.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <time.h>

/* ---- content --------------------------------------------------------------------------------- */

/* Eight bytes of content at a time:
 * a hash of seed and position, so that no two places look alike. */
static uint64_t content_word(uint64_t seed, uint64_t index)
{
    uint64_t state = seed * 0x2545f4914f6cdd1d + index;
    return random_next(&state);
}

void fill_content(void *buffer, size_t size, uint64_t seed, uint64_t position)
{
    unsigned char *out = buffer;
    size_t done = 0;
    while (done < size) {
        uint64_t word = content_word(seed, (position + done) / 8);
        size_t skip = (size_t)((position + done) % 8);
        size_t count = 8 - skip < size - done ? 8 - skip : size - done;
        if (count == sizeof word)
            memcpy(out + done, &word, sizeof word); /* most of it: one store */
        else
            memcpy(out + done, (unsigned char *)&word + skip, count);
        done += count;
    }
}

static uint64_t digest_byte(uint64_t so_far, uint64_t byte)
{
    return (so_far ^ byte) * UINT64_C(0x100000001b3);
}

/* Reads a word at a time: a sanitizer checks every load. */
uint64_t digest(uint64_t so_far, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    size_t done = 0;
    for (uint64_t word; size - done >= sizeof word; done += sizeof word) {
        memcpy(&word, bytes + done, sizeof word);
        word = le64toh(word); /* the first byte is the lowest */
        for (unsigned bit = 0; bit < 64; bit += 8)
            so_far = digest_byte(so_far, word >> bit & 0xff);
    }
    while (done < size)
        so_far = digest_byte(so_far, bytes[done++]);
    return so_far;
}

uint64_t digest_content(uint64_t so_far, uint64_t seed, uint64_t position, uint64_t size)
{
    unsigned char buffer[4096];
    for (uint64_t done = 0; done < size;) {
        size_t count = size - done < sizeof buffer ? (size_t)(size - done) : sizeof buffer;
        fill_content(buffer, count, seed, position + done);
        so_far = digest(so_far, buffer, count);
        done += count;
    }
    return so_far;
}

uint64_t digest_file(uint64_t so_far, const char *path, uint64_t offset, uint64_t size)
{
    static const size_t STEP = 256 * 1024;
    unsigned char *buffer = malloc(STEP);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    check(fd >= 0);
    for (uint64_t done = 0; done < size;) {
        size_t wanted = size - done < STEP ? (size_t)(size - done) : STEP;
        ssize_t count = pread(fd, buffer, wanted, (off_t)(offset + done));
        check(count > 0);
        so_far = digest(so_far, buffer, (size_t)count);
        done += (uint64_t)count;
    }
    close(fd);
    free(buffer);
    return so_far;
}

/* ---- sockets --------------------------------------------------------------------------------- */

static pair made_of(int ours, int theirs)
{
    records_add_peers(ours, theirs);
    return (pair){ours, theirs};
}

bool kernel_encrypts(void)
{
    return getenv("FERRY_KERNEL_TLS") != NULL;
}

ferry_method file_method(void)
{
    return OVER_RECORDS && !kernel_encrypts() ? FERRY_METHOD_COPY : FERRY_METHOD_SENDFILE;
}

static bool all_is_tcp(void)
{
    return OVER_RECORDS && kernel_encrypts() && strcmp(getenv("FERRY_KERNEL_TLS"), "tcp") == 0;
}

pair unix_pair(int type)
{
    if (type == SOCK_STREAM && all_is_tcp())
        return tcp_pair();
    int fds[2];
    check_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
    return type == SOCK_STREAM ? made_of(fds[0], fds[1]) : (pair){fds[0], fds[1]};
}

int listen_somewhere(int backlog, struct sockaddr_in *ret_address)
{
    socklen_t size = sizeof *ret_address;
    *ret_address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(bind(fd, (struct sockaddr *)ret_address, size), 0);
    check_eq(listen(fd, backlog), 0);
    check_eq(getsockname(fd, (struct sockaddr *)ret_address, &size), 0);
    return fd;
}

pair tcp_pair(void)
{
    struct sockaddr_in address;
    int listener = listen_somewhere(1, &address);
    int ours = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(connect(ours, (struct sockaddr *)&address, sizeof address), 0);
    int theirs = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    check(theirs >= 0);
    close(listener);
    return made_of(ours, theirs);
}

pair pipe_pair(void)
{
    int fds[2];
    check_eq(pipe2(fds, O_CLOEXEC), 0);
    return (pair){.ours = fds[1], .theirs = fds[0]};
}

pair any_pair(int is_tcp)
{
    return is_tcp ? tcp_pair() : unix_pair(SOCK_STREAM);
}

void close_theirs(const pair *both)
{
    close(both->theirs);
}

void close_ours(const pair *both)
{
    close(both->ours);
}

void close_pair(const pair *both)
{
    close_ours(both);
    close_theirs(both);
}

int duplicate(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    check(copy >= 0);
    return copy;
}

int socket_option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    check_eq(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

void set_socket_option(int fd, int level, int name, int value)
{
    check_eq(setsockopt(fd, level, name, &value, sizeof value), 0);
}

void read_away(int fd, uint64_t size)
{
    static const size_t STEP = 64 * 1024;
    char *scrap = malloc(STEP);
    while (size > 0) {
        ssize_t count = read(fd, scrap, size < STEP ? (size_t)size : STEP);
        check(count > 0);
        size -= (uint64_t)count;
    }
    free(scrap);
}

void close_with_reset(int fd)
{
    const struct linger reset = {.l_onoff = 1};
    check_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    close(fd);
}

/* ---- files ----------------------------------------------------------------------------------- */

test_file file_make(uint64_t size, uint64_t seed)
{
    test_file file = {.path = "/tmp/ferry-test-XXXXXX", .seed = seed, .size = size};
    int out = mkostemp(file.path, O_CLOEXEC);
    check(out >= 0);
    static const size_t STEP = 1 << 20;
    unsigned char *buffer = malloc(STEP);
    for (uint64_t done = 0; done < size;) {
        size_t count = size - done < STEP ? (size_t)(size - done) : STEP;
        fill_content(buffer, count, seed, done);
        check_eq(write(out, buffer, count), count);
        done += count;
    }
    free(buffer);
    close(out);
    file.fd = open(file.path, O_RDONLY | O_CLOEXEC);
    check(file.fd >= 0);
    return file;
}

void file_remove(test_file *file)
{
    close(file->fd);
    unlink(file->path);
}

ferry_shared_file *shared_file_open(ferry_file file)
{
    ferry_shared_file *shared;
    check_eq(ferry_shared_file_open(&file, &shared), 0);
    return shared;
}

int lease_take(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    check(fd >= 0);
    check_eq(fcntl(fd, F_SETSIG, SIGURG), 0); /* which is ignored: not SIGIO, which kills */
    if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0)
        return fd;
    close(fd);
    return -1;
}

void lease_await_break(int fd)
{
    while (fcntl(fd, F_GETLEASE) == F_WRLCK)
        (void)sched_yield();
}

/* ---- peers ----------------------------------------------------------------------------------- */

/* Of a peer, whose buffer is on its stack: on the heap a sanitizer would map it anew for each. */
enum { LARGEST_STEP = 256 * 1024 };

/* Twice the room each time: AddressSanitizer's realloc moves all of it. */
static void keep(reader *peer, const unsigned char *data, size_t size)
{
    if (peer->bytes + size > peer->room) {
        peer->room = 2 * (peer->bytes + size + LARGEST_STEP);
        peer->kept = realloc(peer->kept, peer->room);
    }
    memcpy(peer->kept + peer->bytes, data, size);
}

static void take(reader *peer, const unsigned char *data, size_t size)
{
    if (peer->keep)
        keep(peer, data, size);
    peer->digest = digest(peer->digest, data, size);
    peer->bytes += size;
}

static void *read_to_end(void *arg)
{
    reader *peer = arg;
    unsigned char buffer[LARGEST_STEP];
    check(peer->step <= sizeof buffer);
    ssize_t count;
    while ((count = read(peer->fd, buffer, peer->step)) > 0) {
        take(peer, buffer, (size_t)count);
        if (peer->slow_us > 0)
            usleep(peer->slow_us);
    }
    peer->error = count < 0 ? errno : 0;
    close(peer->fd);
    return NULL;
}

static reader *start(int fd, bool keep, size_t step, unsigned slow_us)
{
    reader *peer = calloc(1, sizeof *peer);
    peer->fd = fd;
    peer->keep = keep;
    peer->step = step;
    peer->slow_us = slow_us;
    peer->digest = DIGEST_BEGIN;
    peer->thread = start_thread(read_to_end, peer);
    return peer;
}

reader *reader_start(int fd, bool keep)
{
    return start(fd, keep, LARGEST_STEP, 0);
}

reader *reader_start_slow(int fd, size_t step, unsigned slow_us)
{
    return start(fd, false, step, slow_us);
}

void reader_join(reader *peer)
{
    check_eq(pthread_join(peer->thread, NULL), 0);
}

void reader_free(reader *peer)
{
    free(peer->kept);
    free(peer);
}

uint64_t reader_end(reader *peer)
{
    reader_join(peer);
    uint64_t bytes = peer->bytes;
    reader_free(peer);
    return bytes;
}

void reader_check(reader *peer, uint64_t bytes, uint64_t digest)
{
    reader_join(peer);
    check_eq(peer->error, 0);
    check_eq(peer->bytes, bytes);
    check(peer->digest == digest);
    reader_free(peer);
}

void reader_check_content(reader *peer, uint64_t seed, uint64_t size)
{
    reader_check(peer, size, digest_content(DIGEST_BEGIN, seed, 0, size));
}

void reader_check_text(reader *peer, const char *text)
{
    size_t size = strlen(text);
    reader_check(peer, size, digest(DIGEST_BEGIN, text, size));
}

reader *reader_start_if_owed(int fd)
{
    return OVER_RECORDS ? reader_start(fd, false) : NULL;
}

reader *reader_start_unless(reader *peer, int fd)
{
    return peer != NULL ? peer : reader_start(fd, false);
}

void check_fd_content(int fd, uint64_t seed, uint64_t size)
{
    reader_check_content(reader_start(fd, false), seed, size);
}

static void *write_content(void *arg)
{
    talker *peer = arg;
    unsigned char buffer[LARGEST_STEP];
    check(peer->step <= sizeof buffer);
    ssize_t count = 0;
    for (uint64_t done = 0; done < peer->size && count >= 0; done += (uint64_t)count) {
        uint64_t left = peer->size - done;
        size_t size = left < peer->step ? (size_t)left : peer->step;
        fill_content(buffer, size, peer->seed, done);
        count = send(peer->fd, buffer, size, MSG_NOSIGNAL);
        if (peer->slow_us > 0)
            usleep(peer->slow_us);
    }
    (void)shutdown(peer->fd, SHUT_WR);
    return NULL;
}

talker *talker_start_slow(int fd, uint64_t seed, uint64_t size, size_t step, unsigned slow_us)
{
    talker *peer = calloc(1, sizeof *peer);
    *peer = (talker){.fd = fd, .seed = seed, .size = size, .step = step, .slow_us = slow_us};
    peer->thread = start_thread(write_content, peer);
    return peer;
}

talker *talker_start(int fd, uint64_t seed, uint64_t size)
{
    return talker_start_slow(fd, seed, size, LARGEST_STEP, 0);
}

void talker_join(talker *peer)
{
    check_eq(pthread_join(peer->thread, NULL), 0);
    free(peer);
}

/* ---- ferry's threads ------------------------------------------------------------------------- */

/* One look at ferry's threads. */
typedef struct look {
    unsigned count;
    unsigned awake;  /* that do not sleep */
    uint64_t slices; /* how often they have run: the sum */
} look;

/* Without stdio, whose memory a thread of ferry's might wait for just now. */
static bool read_of_task(const char *id, const char *name, char *line, size_t size)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/self/task/%s/%s", id, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, line, size - 1) : -1;
    if (fd >= 0)
        close(fd);
    line[length > 0 ? length : 0] = '\0';
    return length > 0; /* else it has ended */
}

/* Counts a thread, if it is ferry's by its name. Its state is the letter after that. */
static void look_at(const char *id, look *sum)
{
    char line[512];
    if (!read_of_task(id, "stat", line, sizeof line))
        return;
    const char *after_name = strrchr(line, ')');
    if (after_name == NULL || strstr(line, "(ferry-") == NULL)
        return;
    sum->count++;
    sum->awake += after_name[2] != 'S';
    unsigned long long slices = 0;
    if (read_of_task(id, "schedstat", line, sizeof line))
        (void)sscanf(line, "%*u %*u %llu", &slices);
    sum->slices += slices;
}

static look look_at_ferrys(void)
{
    look sum = {0};
    DIR *tasks = opendir("/proc/self/task");
    check(tasks != NULL);
    for (const struct dirent *task; (task = readdir(tasks)) != NULL;)
        if (task->d_name[0] != '.')
            look_at(task->d_name, &sum);
    closedir(tasks);
    return sum;
}

/* Whether no more than so many are awake. One that was seen asleep may have been woken by the next
 * one, before that fell asleep. So none has run between two looks, either. */
static bool are_asleep_but(unsigned awake)
{
    look before = look_at_ferrys(), now = look_at_ferrys();
    return before.awake <= awake && now.awake <= awake && now.slices == before.slices;
}

void wait_until_asleep(void)
{
    while (!are_asleep_but(0))
        sched_yield();
}

typedef struct sleeper {
    void *(*body)(void *);
    void *arg;
    atomic_bool is_named;
} sleeper;

/* By its name it is one of those that are looked at. Its maker waits for no more than that. */
static void *be_sleeper(void *arg)
{
    sleeper *self = arg;
    void *(*body)(void *) = self->body;
    void *of_body = self->arg;
    check_eq(pthread_setname_np(pthread_self(), "ferry-waiter"), 0);
    atomic_store(&self->is_named, true);
    return body(of_body);
}

pthread_t start_sleeper(void *(*body)(void *), void *arg)
{
    sleeper self = {.body = body, .arg = arg};
    pthread_t thread = start_thread(be_sleeper, &self);
    while (!atomic_load(&self.is_named))
        sched_yield();
    wait_until_asleep();
    return thread;
}

bool are_others_asleep(void)
{
    return are_asleep_but(1);
}

/* ---- ferry ----------------------------------------------------------------------------------- */

/* A thread that has not run yet has no name by which wait_until_asleep knows it. */
static void wait_for_names(unsigned count)
{
    while (look_at_ferrys().count < count)
        sched_yield();
}

ferry_service *service_start_with(ferry_service_options options)
{
    ferry_service *service;
    check_eq(ferry_service_create(&options, &service), 0);
    wait_for_names(options.placement == FERRY_PLACEMENT_SHARED ? options.shared_owners : 1);
    return service;
}

ferry_service *service_start(ferry_placement placement)
{
    return service_start_with((ferry_service_options){.placement = placement, .shared_owners = 2});
}

ferry_service *service_of_one_owner(ferry_placement placement)
{
    return service_start_with((ferry_service_options){.placement = placement, .shared_owners = 1});
}

ferry_stream *stream_adopt(ferry_service *service, int fd)
{
    ferry_stream *stream;
    check_eq(ferry_stream_adopt(service, fd, NULL, &stream), 0);
    return stream;
}

ferry_stream *stream_adopt_with(ferry_service *service, int fd, ferry_stream_options options)
{
    ferry_stream *stream;
    check_eq(ferry_stream_adopt(service, fd, &options, &stream), 0);
    return stream;
}

ferry_result outcome(ferry_promise *promise)
{
    ferry_result result;
    check_eq(ferry_promise_await(promise, -1, &result), 0);
    ferry_promise_unref(promise);
    return result;
}

/* How often a list like ".error = -EIO, .sent = 3" begins a field so. */
static unsigned count_named(const char *list, const char *beginning)
{
    unsigned count = 0;
    for (const char *at = list; (at = strstr(at, beginning)) != NULL; at++)
        count += at == list || (at[-1] == ' ' && at[-2] == ',');
    return count;
}

void check_fields(const char *file, int line, ferry_result got, const char *named,
                  ferry_result expected)
{
    const struct {
        const char *name;
        long long got, expected;
    } fields[] = {
        {".error =", got.error, expected.error},
        {".phase =", got.phase, expected.phase},
        {".method =", got.method, expected.method},
        {".cause =", got.cause, expected.cause},
        {".at_end =", got.at_end, expected.at_end},
        {".sent =", (long long)got.sent, (long long)expected.sent},
        {".remaining =", (long long)got.remaining, (long long)expected.remaining},
        {".stream_offset =", (long long)got.stream_offset, (long long)expected.stream_offset},
        {".sequence =", (long long)got.sequence, (long long)expected.sequence},
    };
    unsigned known = 0;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        unsigned count = count_named(named, fields[i].name);
        if (count > 0 && fields[i].got != fields[i].expected)
            check_eq_failed(file, line, fields[i].name, fields[i].got, fields[i].expected);
        known += count;
    }
    check_eq(known, count_named(named, "."));
}

ferry_result close_stream(ferry_stream *stream)
{
    ferry_promise *closed = submit_close(stream);
    ferry_stream_unref(stream);
    return outcome(closed);
}

ferry_promise *submit_write_with(ferry_stream *stream, const void *data, size_t size,
                                 const ferry_request_options *options)
{
    ferry_promise *promise;
    check_eq(ferry_stream_write(stream, data, size, options, &promise), 0);
    return promise;
}

ferry_promise *submit_write(ferry_stream *stream, const void *data, size_t size)
{
    return submit_write_with(stream, data, size, NULL);
}

ferry_promise *submit_parts(ferry_stream *stream, const ferry_part parts[], size_t count,
                            const ferry_request_options *options)
{
    ferry_promise *promise;
    check_eq(ferry_stream_send(stream, parts, count, options, &promise), 0);
    return promise;
}

ferry_promise *submit_content(ferry_stream *stream, uint64_t seed, size_t size)
{
    unsigned char *content = malloc(size);
    fill_content(content, size, seed, 0);
    ferry_promise *promise = submit_write(stream, content, size);
    free(content);
    return promise;
}

ferry_promise *submit_file_with(ferry_stream *stream, ferry_file file,
                                const ferry_request_options *options)
{
    ferry_promise *promise;
    check_eq(ferry_stream_sendfile(stream, &file, options, &promise), 0);
    return promise;
}

ferry_promise *submit_file(ferry_stream *stream, ferry_file file)
{
    return submit_file_with(stream, file, NULL);
}

ferry_promise *submit_read_to_file(ferry_stream *stream, ferry_file file)
{
    ferry_promise *promise;
    check_eq(ferry_stream_read_to_file(stream, &file, NULL, &promise), 0);
    return promise;
}

ferry_request_options calling_on_owner(ferry_callback *callback, void *arg)
{
    return (ferry_request_options){
        .on_owner = callback, .on_owner_holds_queue = true, .on_owner_arg = arg};
}

void write_calling(ferry_stream *stream, const void *data, size_t size, ferry_callback *callback,
                   void *arg)
{
    const ferry_request_options options = calling_on_owner(callback, arg);
    check_eq(ferry_stream_write(stream, data, size, &options, NULL), 0);
}

ferry_promise *submit_mark(ferry_stream *stream)
{
    ferry_promise *promise;
    check_eq(ferry_stream_mark(stream, &promise), 0);
    return promise;
}

ferry_promise *submit_shutdown(ferry_stream *stream)
{
    ferry_promise *promise;
    check_eq(ferry_stream_shutdown(stream, &promise), 0);
    return promise;
}

ferry_promise *submit_close(ferry_stream *stream)
{
    ferry_promise *promise;
    check_eq(ferry_stream_close(stream, &promise), 0);
    return promise;
}

typedef struct last_wait {
    wait_for_service *wait;
    ferry_service *service;
    ferry_stream *stream;
} last_wait;

static void *wait_and_end(void *arg)
{
    const last_wait *self = arg;
    ferry_promise *promise = submit_write(self->stream, "x", 1);
    check_eq(ferry_promise_observe(promise, end_thread, NULL, NULL), 0);
    ferry_promise_unref(promise);
    (void)self->wait(self->service, -1);
    abort(); /* the callback should have come */
}

void end_thread_in(wait_for_service *wait, ferry_service *service, ferry_stream *stream)
{
    run_to_its_end(wait_and_end, &(last_wait){wait, service, stream});
}

ferry_stream_status stream_status(ferry_stream *stream)
{
    ferry_stream_status status;
    check_eq(ferry_stream_get_status(stream, &status), 0);
    return status;
}

ferry_service_status service_status(ferry_service *service)
{
    ferry_service_status status;
    check_eq(ferry_service_get_status(service, &status), 0);
    return status;
}

void set_reader(ferry_stream *stream, ferry_reader wanted)
{
    check_eq(ferry_stream_set_reader(stream, &wanted), 0);
}

void ignore_watermark(ferry_stream *, bool, void *) {}

int64_t generate_zeros(void *buffer, size_t size, void *)
{
    memset(buffer, 0, size);
    return (int64_t)size;
}

int64_t generate_nothing(void *, size_t, void *)
{
    return 0;
}

int64_t have_nothing_yet(void *, size_t, void *)
{
    return -EAGAIN;
}

int64_t wait_for_the_word(void *, size_t, void *arg)
{
    return atomic_load((atomic_bool *)arg) ? 0 : -EAGAIN;
}

void must_not_be_released(void *, void *)
{
    check(false);
}

size_t take_all(ferry_stream *, const void *, size_t length, bool, void *)
{
    return length;
}

ferry_limiter *limiter_make(uint64_t bytes_per_s, uint64_t burst_bytes, ferry_limiter *parent)
{
    ferry_limiter *limiter;
    const ferry_limiter_options options = {bytes_per_s, burst_bytes, parent};
    check_eq(ferry_limiter_create(&options, &limiter), 0);
    return limiter;
}

ferry_fault fault_at(unsigned kind, uint64_t n)
{
    static const struct {
        ferry_fault_effect effect;
        int error;
        uint64_t times;
    } kinds[FAULT_KINDS] = {
        {FERRY_FAULT_SHORT, 0, 1},      {FERRY_FAULT_SHORT, 0, 20},
        {FERRY_FAULT_EOF, 0, 1},        {FERRY_FAULT_EOF, 0, UINT64_MAX},
        {FERRY_FAULT_ERROR, EINTR, 1},  {FERRY_FAULT_ERROR, EINTR, 5},
        {FERRY_FAULT_ERROR, EAGAIN, 1}, {FERRY_FAULT_ERROR, EAGAIN, 3},
        {FERRY_FAULT_ERROR, EIO, 1},    {FERRY_FAULT_ERROR, EIO, UINT64_MAX},
        {FERRY_FAULT_ERROR, EPIPE, 1},  {FERRY_FAULT_ERROR, EPIPE, UINT64_MAX},
        {FERRY_FAULT_ERROR, ENOSPC, 1}, {FERRY_FAULT_ERROR, ENOSPC, UINT64_MAX},
        {FERRY_FAULT_ERROR, EMFILE, 1}, {FERRY_FAULT_ERROR, EMFILE, UINT64_MAX},
        {FERRY_FAULT_ERROR, EINVAL, 1}, {FERRY_FAULT_ERROR, EINVAL, UINT64_MAX},
        {FERRY_FAULT_ERROR, ENOMEM, 1}, {FERRY_FAULT_ERROR, ENOMEM, UINT64_MAX},
        {FERRY_FAULT_STALL, 0, 1},
    };
    return (ferry_fault){FERRY_CALL_ANY, n, kinds[kind].times, kinds[kind].effect,
                         kinds[kind].error};
}

ferry_faults *faults_of(ferry_fault fault)
{
    ferry_faults *faults;
    check_eq(ferry_faults_create(&fault, 1, &faults), 0);
    return faults;
}

ferry_faults *faults_none(void)
{
    ferry_faults *faults;
    check_eq(ferry_faults_create(NULL, 0, &faults), 0);
    return faults;
}

/* Mapped: LeakSanitizer would look through a static array of this size after every test. */
static void *stuck_data(void)
{
    static void *data;
    if (data == NULL)
        data = mmap(NULL, STUCK_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(data != MAP_FAILED);
    return data;
}

void wait_until_full(ferry_stream *stream, ferry_promise *promise)
{
    while (atomic_load(&stream->shown_sending.what) != FERRY__WAITS_FOR_SINK &&
           ferry_promise_await(promise, 0, NULL) == -ETIMEDOUT)
        (void)poll(NULL, 0, 1);
}

ferry_promise *submit_stuck(ferry_stream *stream, int theirs)
{
    const ferry_part part = ferry_part_borrow(stuck_data(), STUCK_BYTES);
    ferry_promise *promise = submit_parts(stream, &part, 1, NULL);
    wait_readable(theirs);
    /* On a busy machine a hasty stream may have given its peer up before this thread looks. */
    wait_until_full(stream, promise);
    wait_until_asleep();
    return promise;
}

void wait_until_stuck(int theirs)
{
    wait_readable(theirs);
    wait_until_asleep();
}

void wait_readable(int fd)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    check_eq(poll(&readable, 1, -1), 1);
}

/* ---- a stage --------------------------------------------------------------------------------- */

stage stage_in_with(ferry_service *service, pair both, ferry_stream_options options)
{
    ferry_stream *stream = stream_adopt_with(service, both.ours, options);
    return (stage){NULL, stream, both.ours, both.theirs, NULL};
}

stage stage_in(ferry_service *service, pair both)
{
    return (stage){NULL, stream_adopt(service, both.ours), both.ours, both.theirs, NULL};
}

stage stage_open_with(ferry_placement placement, pair both, ferry_stream_options options)
{
    ferry_service *service = service_start(placement);
    stage s = stage_in_with(service, both, options);
    s.service = service;
    return s;
}

stage stage_open(ferry_placement placement, pair both)
{
    ferry_service *service = service_start(placement);
    stage s = stage_in(service, both);
    s.service = service;
    return s;
}

stage stage_open_to_reader(ferry_placement placement, pair both)
{
    stage s = stage_open(placement, both);
    stage_let_read(&s);
    return s;
}

void stage_end(stage *s)
{
    s->stream = ferry_stream_unref(s->stream);
    stage_destroy(s);
    if (s->theirs >= 0)
        stage_hang_up(s);
    if (s->peer != NULL)
        (void)reader_end(s->peer);
    s->peer = NULL;
}

void stage_close(stage *s)
{
    check_eq(stage_close_stream(s).error, 0);
    stage_end(s);
}

/* @return who reads the peer's end. */
static reader *close_to_reader(stage *s)
{
    check_eq(stage_close_stream(s).error, 0);
    if (s->peer == NULL)
        stage_let_read(s);
    reader *peer = s->peer;
    s->peer = NULL;
    return peer;
}

void stage_close_got(stage *s, uint64_t bytes, uint64_t expected)
{
    reader_check(close_to_reader(s), bytes, expected);
    stage_end(s);
}

void stage_close_got_bytes(stage *s, uint64_t bytes)
{
    check_eq(reader_end(close_to_reader(s)), bytes);
    stage_end(s);
}

void stage_close_got_content(stage *s, uint64_t seed, uint64_t size)
{
    stage_close_got(s, size, digest_content(DIGEST_BEGIN, seed, 0, size));
}

void stage_close_got_text(stage *s, const char *text)
{
    size_t size = strlen(text);
    stage_close_got(s, size, digest(DIGEST_BEGIN, text, size));
}

ferry_result stage_close_stream(stage *s)
{
    ferry_result result = close_stream(s->stream);
    s->stream = NULL;
    return result;
}

void stage_destroy(stage *s)
{
    ferry_service_destroy(s->service);
    s->service = NULL;
}

void stage_destroy_or_abort(stage *s, bool destroys)
{
    if (destroys)
        stage_destroy(s);
    else
        ferry_stream_abort(s->stream);
}

void stage_let_read(stage *s)
{
    s->peer = reader_start(stage_take(s), false);
}

void stage_let_read_slowly(stage *s, size_t step, unsigned slow_us)
{
    s->peer = reader_start_slow(stage_take(s), step, slow_us);
}

void stage_hang_up(stage *s)
{
    check_eq(close(stage_take(s)), 0);
}

int stage_take(stage *s)
{
    int theirs = s->theirs;
    check(theirs >= 0);
    s->theirs = -1;
    return theirs;
}
