/* SPDX-License-Identifier: MIT */
/*
 * Dumps: what a service says it is at, above all when it hangs.
 *
 * Linked with --wrap of sendfile64 and writev, so that a call on a file can block as one on a dead
 * disk does.
 */
#include "tests/support.h"

#include <semaphore.h>
#include <sys/uio.h>
#include <sys/un.h>

/* ---- a dead disk ----------------------------------------------------------------------------- */

static atomic_bool is_dead; /* the disk */
static sem_t revived;
static sem_t go_on; /* what holds up an owner in a call of the program's */

__attribute__((constructor)) static void make_semaphores(void)
{
    sem_init(&revived, 0, 0);
    sem_init(&go_on, 0, 0);
}

WRAPPED(ssize_t, sendfile64, (int out, int in, off_t *offset, size_t count))
{
    if (atomic_load(&is_dead))
        sem_wait(&revived);
    return __real_sendfile64(out, in, offset, count);
}

WRAPPED(ssize_t, writev, (int fd, const struct iovec pieces[], int count))
{
    if (atomic_load(&is_dead))
        sem_wait(&revived);
    return __real_writev(fd, pieces, count);
}

/* ---- looking --------------------------------------------------------------------------------- */

/* A dump, kept. */
typedef struct text {
    unsigned count;
    char lines[64][512];
} text;

static void keep(const char *line, void *arg)
{
    text *all = arg;
    check(all->count < 64 && strlen(line) < 512);
    strcpy(all->lines[all->count++], line);
}

static void look(ferry_service *service, text *ret_text)
{
    ret_text->count = 0;
    check_eq(ferry_service_dump(service, keep, ret_text), 0);
}

/* The line that begins so; NULL: there is none. */
static const char *find(const text *all, const char *beginning)
{
    for (unsigned i = 0; i < all->count; i++)
        if (strncmp(all->lines[i], beginning, strlen(beginning)) == 0)
            return all->lines[i];
    return NULL;
}

/* Dumps until the line that begins so has all of these, in this order. */
static void wait_for_line(ferry_service *service, const char *beginning, const char *const parts[])
{
    text all;
    for (bool is_seen = false; !is_seen; sched_yield()) {
        look(service, &all);
        const char *place = find(&all, beginning);
        for (unsigned i = 0; place != NULL && parts[i] != NULL; i++)
            place = strstr(place, parts[i]);
        is_seen = place != NULL;
    }
}

/* Whether the line that begins so has this. */
static bool is_there(ferry_service *service, const char *beginning, const char *part)
{
    text all;
    look(service, &all);
    const char *line = find(&all, beginning);
    return line != NULL && strstr(line, part) != NULL;
}

#define wait_for(service, beginning, ...)                                                          \
    wait_for_line(service, beginning, (const char *const[]){__VA_ARGS__, NULL})

/* How a stream's line begins, whose fd that is. */
static const char *stream_of(int fd)
{
    static char name[32];
    snprintf(name, sizeof name, "stream fd %d,", fd);
    return name;
}

/* The owner that has the turn says so: its line begins with its name, which differs. */
static void wait_for_owner(ferry_service *service, const char *turn_of, const char *step)
{
    text all;
    for (bool is_seen = false; !is_seen; sched_yield()) {
        look(service, &all);
        for (unsigned i = 0; i < all.count && !is_seen; i++) {
            const char *turn = strstr(all.lines[i], "in a turn of ");
            is_seen = strncmp(all.lines[i], "owner ferry-", 12) == 0 && turn != NULL &&
                      strstr(turn, turn_of) != NULL && strstr(turn, step) != NULL;
        }
    }
}

/* Dumps until what a line says after a phrase has lasted for some milliseconds. */
static void wait_for_age(ferry_service *service, const char *beginning, const char *phrase)
{
    text all;
    for (long age = 0; age < 3; sched_yield()) {
        look(service, &all);
        const char *line = find(&all, beginning);
        const char *place = line != NULL ? strstr(line, phrase) : NULL;
        const char *lasts = place != NULL ? strstr(place, ", for ") : NULL;
        age = lasts != NULL ? strtol(lasts + 6, NULL, 10) : 0;
    }
}

/* An abstract address, as the kernel has it and in text. */
typedef struct local_address {
    struct sockaddr_un name;
    socklen_t size;
    char text[64];
} local_address;

static local_address local_address_of(const char *what)
{
    local_address made = {.name.sun_family = AF_UNIX};
    int length =
        snprintf(made.text, sizeof made.text, "unix:@ferry-dump-%s-%d", what, (int)getpid());
    size_t begin = strlen("unix:@");
    memcpy(made.name.sun_path + 1, made.text + begin, (size_t)length - begin);
    made.size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length - begin);
    return made;
}

/* @return a socket that listens there. */
static int listen_at(const local_address *address, int backlog)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(bind(fd, (const struct sockaddr *)&address->name, address->size), 0);
    check_eq(listen(fd, backlog), 0);
    return fd;
}

static ferry_promise *write_labelled(ferry_stream *stream, const void *data, size_t size,
                                     const char *label)
{
    const ferry_request_options options = {.label = label};
    return submit_write_with(stream, data, size, &options);
}

/* ---- what streams are at --------------------------------------------------------------------- */

/* Ends a label that was given: what was copied of it is as it was. */
static void end_label(char *label)
{
    memset(label, 'Z', strlen(label));
    free(label);
}

PROMISE_BOTH(dump, labels_of_streams_and_requests_are_copied)
{
    char *label = strdup("short-lived");
    const ferry_stream_options labelled = {.label = label};
    AT_END(stage_close) stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), labelled);
    ferry_promise *head = submit_stuck(s.stream, s.theirs);
    ferry_promise *behind = write_labelled(s.stream, "x", 1, label);
    end_label(label);
    wait_for(s.service, stream_of(s.ours), " 'short-lived': 2 requests", "sends request 0, for");
    label = strdup("and another");
    check_eq(ferry_promise_set_label(head, label), 0);
    end_label(label);
    ferry_promise_unref(head); /* nobody's but the owner's any more */
    ferry_promise_unref(behind);
    stage_let_read(&s);
}

PROMISE_BOTH(dump, names_each_stream_with_its_queue_offset_and_age)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM), idle = tcp_pair();
    ferry_stream *quiet = stream_adopt(service, idle.ours);
    ferry_stream *stream =
        stream_adopt_with(service, both.ours, (ferry_stream_options){.label = "backup"});
    check_eq(outcome(submit_write(stream, "hello", 5)).error, 0);
    ferry_promise *stuck = submit_stuck(stream, both.theirs);
    ferry_promise *marker = write_labelled(stream, NULL, 0, "marker");
    wait_for(service, stream_of(both.ours),
             " unix: 'backup': 2 requests queued, 33554432 bytes and 0", "sends request 1, for ");
    text all;
    look(service, &all);
    ferry_stream_status status = stream_status(stream);
    char sent[64], peer[64];
    snprintf(sent, sizeof sent, "; %llu bytes sent", (unsigned long long)status.sent_bytes);
    check(strstr(find(&all, stream_of(both.ours)), sent) != NULL);
    check_eq(ferry_stream_get_peer(quiet, peer, sizeof peer) > 0, 1);
    check(strstr(find(&all, stream_of(idle.ours)), peer) != NULL);
    check(strstr(find(&all, stream_of(idle.ours)), ": 0 requests queued, 0 bytes") != NULL);
    check(strstr(find(&all, stream_of(idle.ours)), "sends request") == NULL);
    const char *older = find(&all, stream_of(idle.ours)), *newer = find(&all, stream_of(both.ours));
    bool is_dedicated =
        placement == FERRY_PLACEMENT_DEDICATED; /* each has an owner, and one a thread */
    check(newer == older + sizeof all.lines[0]);
    check_eq(strncmp(all.lines[all.count - 1], "owner ferry-1: ", 15) == 0, is_dedicated);
    check(strncmp(all.lines[0],
                  placement == FERRY_PLACEMENT_SHARED ? "service: shared, 2 streams; 2"
                                                      : "service: dedicated, 2 streams; 2",
                  25) == 0);
    wait_for_age(service, stream_of(both.ours), "sends request 1");
    reader *peer_of_stream = reader_start(both.theirs, false);
    check_eq(outcome(stuck).error, 0);
    check_eq(outcome(marker).error, 0);
    wait_for(service, stream_of(both.ours),
             ": 0 requests queued, 0 bytes and 0 of files; 33554437");
    close_stream(stream);
    (void)reader_end(peer_of_stream);
    close_stream(quiet);
    close(idle.theirs);
    look(service, &all);
    check(find(&all, "stream") == NULL);
}

PROMISE_BOTH(dump, stalled_peer_is_seen_as_a_wait_for_the_sink_and_moving_on_begins_it_anew)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    unsigned char *data = calloc(1, STUCK_BYTES);
    ferry_promise *stuck = write_labelled(s.stream, data, STUCK_BYTES, "the film");
    free(data);
    wait_for(s.service, stream_of(s.ours), "sends request 0 'the film', for ",
             "; waits for its sink, for ");
    wait_for_age(s.service, stream_of(s.ours), "waits for its sink");
    char some[64 * 1024];
    text all;
    long age = 3; /* now it comes down: the peer reads, and bytes leave */
    while (age >= 3) {
        (void)recv(s.theirs, some, sizeof some, MSG_DONTWAIT);
        look(s.service, &all);
        const char *wait = strstr(find(&all, stream_of(s.ours)), "waits for its sink, for ");
        age = wait != NULL ? strtol(wait + 24, NULL, 10) : 0;
    }
    ferry_stream_abort(s.stream);
    check_eq(outcome(stuck).error, -ECANCELED);
}

PROMISE_BOTH(dump, stream_whose_source_is_dry_is_seen_so)
{
    int fds[2];
    check_eq(pipe(fds), 0);
    AT_END(file_remove) test_file file = file_make(10, 1);
    ferry_file growing = ferry_file_at(file.path), piped = ferry_file_fd(fds[0]);
    growing.flags = FERRY_FILE_FOLLOW;
    piped.flags = FERRY_FD_BORROW;
    const ferry_part parts[] = {ferry_part_file(piped), ferry_part_file(growing),
                                ferry_part_generate(have_nothing_yet, NULL, FERRY_TO_END, NULL)};
    for (unsigned i = 0; i < 3; i++) {
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        check_eq(ferry_stream_send(s.stream, &parts[i], 1, NULL, NULL), 0);
        wait_for(s.service, stream_of(s.ours), "sends request 0", "; waits for its source, for ");
        wait_for_age(s.service, stream_of(s.ours), "waits for its source");
        /* What has no label is called by the end of its path. */
        if (i == 1)
            wait_for(s.service, stream_of(s.ours), "sends request 0 '", file.path);
        ferry_stream_abort(s.stream);
    }
    close(fds[0]);
    close(fds[1]);
}

/* Reads at the peer's end, without waiting for more. */
static void take_some(int theirs)
{
    char some[64 * 1024];
    for (int i = 0; i < 100 && recv(theirs, some, sizeof some, MSG_DONTWAIT) > 0; i++)
        sched_yield();
}

PROMISE_BOTH(dump, request_without_a_label_is_called_by_the_file_that_is_sent_or_comes_next)
{
    AT_END(file_remove) test_file one = file_make(10, 1), two = file_make(STUCK_BYTES, 2);
    AT_END(free_memory) unsigned char *head = calloc(1, STUCK_BYTES);
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    const ferry_part answer[] = {ferry_part_borrow(head, STUCK_BYTES),
                                 ferry_part_file(ferry_file_at(one.path))};
    ferry_promise *promise = submit_parts(s.stream, answer, 2, NULL);
    wait_for(s.service, stream_of(s.ours), "sends request 0 '", one.path, "', for ");
    check_eq(ferry_promise_set_label(promise, "named later"), 0);
    do /* bytes leave, and it has turns */
        take_some(s.theirs);
    while (!is_there(s.service, stream_of(s.ours), "sends request 0 'named later', for "));
    ferry_stream_abort(s.stream);
    check_eq(outcome(promise).error, -ECANCELED);

    AT_END(stage_end) stage other = stage_open(placement, unix_pair(SOCK_STREAM));
    const ferry_part files[] = {ferry_part_file(ferry_file_at(one.path)),
                                ferry_part_file(ferry_file_at(two.path))};
    check_eq(ferry_stream_send(other.stream, files, 2, NULL, NULL), 0);
    wait_for(other.service, stream_of(other.ours), "sends request 0 '", two.path, "', for ");
    ferry_stream_abort(other.stream);
}

PROMISE_BOTH(dump, relay_that_has_waited_for_its_source_is_seen_to_wait_for_a_full_sink)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(close_theirs) pair in = unix_pair(SOCK_STREAM);
    AT_END(drop_stream) ferry_stream *from = stream_adopt(s.service, in.ours);
    ferry_promise *relayed;
    check_eq(ferry_stream_relay(from, s.stream, FERRY_TO_END, 0, NULL, &relayed), 0);
    wait_for(s.service, stream_of(s.ours), "waits for its source, for ");
    static const char some[64 * 1024];
    do
        (void)send(in.theirs, some, sizeof some, MSG_DONTWAIT);
    while (!is_there(s.service, stream_of(s.ours), "waits for its sink, for "));
    ferry_stream_abort(s.stream);
    (void)outcome(relayed);
    ferry_stream_abort(from);
}

PROMISE_BOTH(dump, limiter_confirmation_and_a_peer_that_does_not_end_are_waited_for_by_name)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1, 0, NULL);
    const ferry_stream_options options = {.limiter = limiter, .close_timeout_ms = 100000};
    AT_END(stage_end) stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), options);
    check_eq(ferry_stream_write(s.stream, "much more than a byte", 21, NULL, NULL), 0);
    wait_for(s.service, stream_of(s.ours), "waits for its limiter, for ");
    check_eq(ferry_limiter_set_rate(limiter, 1 << 20, 1 << 20), 0);

    const ferry_request_options acked = {.completion = FERRY_COMPLETION_ACKED};
    check_eq(ferry_stream_write(s.stream, "x", 1, &acked, NULL), 0);
    wait_for(s.service, stream_of(s.ours), "waits for confirmation, for ");
    char some[64];
    check(recv(s.theirs, some, 22, MSG_WAITALL) == 22);

    check_eq(ferry_stream_close(s.stream, NULL), 0);
    wait_for(s.service, stream_of(s.ours), "22 bytes sent; closing",
             "waits for its peer's end, for ");
    ferry_stream_abort(s.stream);
}

PROMISE_BOTH(dump, reading_that_waits_for_the_peer_or_for_a_reader_elsewhere_or_a_relay_is_seen_so)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(close_theirs) pair other = unix_pair(SOCK_STREAM);
    AT_END(drop_stream) ferry_stream *onward = stream_adopt(s.service, other.ours);
    set_reader(s.stream, (ferry_reader){.on_read = take_all});
    wait_for(s.service, stream_of(s.ours), "; 0 bytes received; reading waits for its peer, for ");
    check_eq(send(s.theirs, "hello", 5, 0), 5);
    wait_for(s.service, stream_of(s.ours),
             "; 5 bytes received; reading waits for its reader, for ");
    while (ferry_inbox_run(0) == 0)
        sched_yield();
    wait_for(s.service, stream_of(s.ours), "; 5 bytes received; reading waits for its peer, for ");
    wait_for_age(s.service, stream_of(s.ours), "reading waits for its peer");
    check_eq(ferry_stream_set_reader(s.stream, NULL), 0);
    check_eq(ferry_stream_relay(s.stream, onward, FERRY_TO_END, 0, NULL, NULL), 0);
    wait_for(s.service, stream_of(s.ours), "reading waits for a relay, for ");
    wait_for(s.service, stream_of(other.ours), "waits for its source, for ");
    ferry_stream_abort(s.stream);
    ferry_stream_abort(onward);
}

PROMISE_BOTH(dump, poisoned_stream_says_by_what)
{
    const ferry_fault script[] = {{FERRY_CALL_WRITE, 1, 1, FERRY_FAULT_SHORT, 0},
                                  {FERRY_CALL_WRITE, 2, 1, FERRY_FAULT_ERROR, EIO}};
    AT_END(drop_faults) ferry_faults *faults;
    check_eq(ferry_faults_create(script, 2, &faults), 0);
    const ferry_stream_options faulty = {.faults = faults};
    AT_END(stage_close) stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), faulty);
    check_eq(outcome(submit_write(s.stream, "hello", 5)).error, -EIO);
    wait_for(s.service, stream_of(s.ours), "; 1 byte sent; poisoned by EIO");
}

PROMISE(dump, label_is_printable_and_cut_and_may_be_gone_once_its_request_has_settled)
{
    AT_END(stage_end)
    stage s = stage_open_with(
        FERRY_PLACEMENT_SHARED, unix_pair(SOCK_STREAM),
        (ferry_stream_options){.label = "a\nb\x1b[1m and quite a lot more, which is too much for it"
                                        " as well as for you"});
    const char *line = " 'a?b?[1m and quite a lot more, which is too much for it as we':";
    wait_for(s.service, stream_of(s.ours), line);
    char *label = strdup("a label of more than 31 bytes in all");
    unsigned char *data = calloc(1, STUCK_BYTES);
    ferry_promise *stuck = write_labelled(s.stream, data, STUCK_BYTES, label);
    free(data);
    wait_for(s.service, stream_of(s.ours),
             "sends request 0 'a label of more than 31 bytes i', for");
    ferry_stream_abort(s.stream);
    check_eq(outcome(stuck).error, -ECANCELED);
    free(label);
    text all;
    look(s.service, &all);
}

PROMISE(dump, is_utf8_that_controls_no_terminal_and_whose_names_look_like_nothing_else)
{
    static const struct {
        const char *label, *shown;
    } labels[] = {
        {"x'; closing; 'y", "x?; closing; ?y"},
        {"\xc2\x9b"
         "31m|\x9b"
         "31m|\u202e|\u2066|\u2069",
         "?31m|?31m|?|?|?"},
        {"\xc0\xaf|\xed\xa0\x80|\xf4\x90\x80\x80|\xf8|\xe2\x82|\xc3", "??|???|????|?|??|?"},
        {"\u00e4\u20ac\U0001f600\u00a0", "\u00e4\u20ac\U0001f600\u00a0"},
        {"\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac",
         "\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac"},
    };
    AT_END(free_memory) unsigned char *data = calloc(1, STUCK_BYTES);
    for (unsigned i = 0; i < sizeof labels / sizeof *labels; i++) {
        AT_END(stage_end) stage s = stage_open(FERRY_PLACEMENT_SHARED, unix_pair(SOCK_STREAM));
        ferry_promise *stuck = write_labelled(s.stream, data, STUCK_BYTES, labels[i].label);
        char shown[128];
        snprintf(shown, sizeof shown, "sends request 0 '%s', for ", labels[i].shown);
        wait_for(s.service, stream_of(s.ours), shown);
        ferry_stream_abort(s.stream);
        check_eq(outcome(stuck).error, -ECANCELED);
    }
}

PROMISE(dump, peers_name_is_one_word)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    local_address odd = {.name.sun_family = AF_UNIX}; /* short: a long one is not kept */
    int length = snprintf(odd.name.sun_path + 1, 24, "a', 9 ms; b%d", (int)getpid());
    odd.size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    AT_END(close_fd) int listening = listen_at(&odd, 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(connect(fd, (const struct sockaddr *)&odd.name, odd.size), 0);
    ferry_stream *stream = stream_adopt(service, fd);
    wait_for(service, stream_of(fd), " unix:@a?,?9?ms;?b");
    close_stream(stream);
}

/* ---- what owners are at ---------------------------------------------------------------------- */

/* Pins: told_when_it_hangs. */
PROMISE_BOTH(dump, owner_that_is_blocked_in_a_system_call_delays_nothing_and_is_named_with_how_long)
{
    AT_END(file_remove) test_file file = file_make(100000, 1);
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    atomic_store(&is_dead, true);
    ferry_promise *blocked = submit_file(s.stream, ferry_file_at(file.path));
    ferry_promise *behind = submit_write(s.stream, "x", 1);
    char name[64];
    snprintf(name, sizeof name, "stream fd %d, unix:, for ", s.ours);
    wait_for_owner(s.service, name, " ms: moving a source's bytes");
    wait_for(s.service, stream_of(s.ours), ": 2 requests queued, 1 byte and 100000 of files",
             "sends request 0 '", file.path, "', for ");
    wait_for_age(s.service, stream_of(s.ours), "sends request 0");
    text all;
    const char *turn = NULL;
    for (long age = 0; age < 3; sched_yield()) {
        look(s.service, &all);
        for (unsigned i = 0; i < all.count; i++)
            if ((turn = strstr(all.lines[i], name)) != NULL)
                break;
        check(turn != NULL);
        age = strtol(turn + strlen(name), NULL, 10);
    }
    atomic_store(&is_dead, false);
    sem_post(&revived);
    stage_let_read(&s);
    check_eq(outcome(blocked).error, 0);
    check_eq(outcome(behind).error, 0);
}

PROMISE_BOTH(dump, stream_to_a_file_whose_disk_is_dead_names_the_request_that_is_written)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    char path[] = "/tmp/ferry-dump-XXXXXX", name[64];
    int fd = mkstemp(path);
    ferry_stream *stream = stream_adopt(service, fd);
    atomic_store(&is_dead, true);
    ferry_promise *blocked = write_labelled(stream, "a line", 6, "the log");
    snprintf(name, sizeof name, "stream fd %d", fd);
    wait_for_owner(service, name, " ms: writing");
    wait_for(service, name, ": 1 request queued, 6 bytes", "sends request 0 'the log', for ");
    atomic_store(&is_dead, false);
    sem_post(&revived);
    check_eq(outcome(blocked).error, 0);
    close_stream(stream);
    unlink(path);
}

static void wait_in_callback(ferry_promise *, const ferry_result *, void *arg)
{
    sem_wait(arg);
}

/* Pins: told_when_it_hangs. */
PROMISE_BOTH(dump, owner_that_is_held_up_in_a_callback_says_in_which)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    const ferry_request_options options = calling_on_owner(wait_in_callback, &go_on);
    ferry_promise *promise = submit_write_with(s.stream, "x", 1, &options);
    wait_for_owner(s.service, stream_of(s.ours), " ms: calling on_owner");
    /* It is sent: no request is under way any more. */
    check(!is_there(s.service, stream_of(s.ours), "sends request"));
    sem_post(&go_on);
    check_eq(outcome(promise).error, 0);
    wait_for(s.service,
             placement == FERRY_PLACEMENT_SHARED ? "owner ferry-owner-0: " : "owner ferry-0: ",
             "asleep; its last turn began ");
}

static void wait_to_release(void *, void *arg)
{
    sem_wait(arg);
}

PROMISE_BOTH(dump, owner_that_is_held_up_by_what_a_request_lets_go_of_as_it_is_called_off_says_so)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    for (int by_deadline = 0; by_deadline < 2; by_deadline++) {
        const ferry_part given = ferry_part_give("x", 1, wait_to_release, &go_on);
        const ferry_request_options options = {.timeout_ms = by_deadline};
        ferry_promise *promise = submit_parts(s.stream, &given, 1, &options);
        if (!by_deadline)
            check_eq(ferry_promise_cancel(promise), 0);
        wait_for_owner(s.service, stream_of(s.ours), " ms: releasing memory");
        sem_post(&go_on);
        check_eq(outcome(promise).error, by_deadline ? -ETIMEDOUT : -ECANCELED);
    }
    ferry_stream_abort(s.stream);
    check_eq(outcome(stuck).error, -ECANCELED);
}

PROMISE_BOTH(dump, owner_that_is_held_up_by_what_a_connect_calls_says_so)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    const local_address address = local_address_of("callee");
    AT_END(close_fd) int listening = listen_at(&address, 1);
    const ferry_connect_options options = {
        .on_owner = wait_in_callback, .on_owner_arg = &go_on, .on_owner_release = wait_to_release};
    ferry_promise *promise;
    check_eq(ferry_connect(service, address.text, &options, &promise), 0);
    wait_for_owner(service, "connect unix:@", " ms: calling on_owner");
    sem_post(&go_on);
    wait_for_owner(service, "connect unix:@", " ms: calling a release");
    sem_post(&go_on);
    check_eq(outcome(promise).error, 0);
}

static void wait_at_end(ferry_stream *, int, void *arg)
{
    sem_wait(arg);
}

PROMISE_BOTH(dump, owner_that_is_held_up_by_an_end_that_time_has_brought_says_so)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    set_reader(s.stream,
               (ferry_reader){
                   .on_read = take_all, .on_end = wait_at_end, .arg = &go_on, .on_owner = true});
    check_eq(ferry_stream_read_within(s.stream, 1), 0);
    wait_for_owner(s.service, stream_of(s.ours), " ms: calling on_end");
    sem_post(&go_on);
}

/* What is released there, as an arg: of a request that is sent, of a reader that is replaced, of a
 * generator that has ended. */
PROMISE_BOTH(dump, owner_that_is_held_up_by_the_release_of_an_arg_says_so)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    const ferry_request_options options = {.on_owner_arg = &go_on,
                                           .on_owner_release = wait_to_release};
    const ferry_part nothing =
        ferry_part_generate(generate_nothing, &go_on, FERRY_TO_END, wait_to_release);
    for (unsigned i = 0; i < 3; i++) {
        if (i == 0)
            check_eq(ferry_stream_write(s.stream, "x", 1, &options, NULL), 0);
        else if (i == 1)
            set_reader(s.stream, (ferry_reader){.on_read = take_all,
                                                .arg = &go_on,
                                                .on_owner = true,
                                                .release = wait_to_release});
        else
            check_eq(ferry_stream_send(s.stream, &nothing, 1, NULL, NULL), 0);
        if (i == 1) { /* else it is never the owner's, and released here */
            wait_for(s.service, stream_of(s.ours), "reading waits for its peer");
            check_eq(ferry_stream_set_reader(s.stream, NULL), 0);
        }
        wait_for_owner(s.service, stream_of(s.ours), " ms: calling a release");
        sem_post(&go_on);
    }
}

static void wait_with_stream(ferry_listener *, ferry_stream *, void *arg)
{
    sem_wait(arg);
}

PROMISE_BOTH(dump,
             listener_is_named_with_what_it_accepted_and_an_owner_that_hands_on_to_the_program)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    const local_address address = local_address_of("gate");
    char line[128];
    snprintf(line, sizeof line, "listener %s: ", address.text);
    const ferry_listen_options options = {.on_stream = wait_with_stream,
                                          .on_stream_arg = &go_on,
                                          .on_owner = true,
                                          .limit_streams = 7};
    AT_END(drop_listener) ferry_listener *listener;
    check_eq(ferry_listen(service, address.text, &options, &listener), 0);
    wait_for(service, line, "0 accepted, 0 of 7 open");
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(connect(client, (const struct sockaddr *)&address.name, address.size), 0);
    wait_for_owner(service, placement == FERRY_PLACEMENT_SHARED ? "listener unix:@" : "stream fd ",
                   " ms: calling on_stream");
    sem_post(&go_on);
    wait_for(service, line, "1 accepted, ");
    close(client);
    ferry_promise *closed;
    check_eq(ferry_listener_close(listener, &closed), 0);
    check_eq(outcome(closed).error, 0);
    text all;
    look(service, &all);
    check(find(&all, "listener") == NULL);
}

PROMISE_BOTH(dump, connect_under_way_is_named_with_its_step_and_how_long)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    const local_address address = local_address_of("full");
    AT_END(close_fd) int full = listen_at(&address, 0);
    int waiting[3];
    for (unsigned i = 0; i < 3; i++) { /* until there is no room */
        waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(waiting[i], (const struct sockaddr *)&address.name, address.size);
    }
    char line[128];
    snprintf(line, sizeof line, "connect %s: ", address.text);
    ferry_promise *promise;
    check_eq(ferry_connect(service, address.text, NULL, &promise), 0);
    wait_for(service, line, "connects, for ");
    wait_for_age(service, line, "connects");
    check_eq(ferry_promise_cancel(promise), 0);
    check_eq(outcome(promise).error, -ECANCELED);
    text all;
    look(service, &all);
    check(find(&all, "connect") == NULL);
    for (unsigned i = 0; i < 3; i++)
        close(waiting[i]);
}

/* ---- when, and from where -------------------------------------------------------------------- */

PROMISE(dump, bad_arguments_are_einval_and_without_memory_it_is_enomem_and_tells_nothing)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    text all = {0};
    check_eq(ferry_service_dump(NULL, keep, &all), -EINVAL);
    check_eq(ferry_service_dump(service, NULL, &all), -EINVAL);
    fail_allocation(1);
    check_eq(ferry_service_dump(service, keep, &all), -ENOMEM);
    allow_allocations();
    check_eq(all.count, 0);
}

PROMISE_BOTH(dump, after_fork_it_is_echild)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    pid_t child = fork();
    if (child == 0) {
        text all = {0};
        alarm(60);
        check_eq(ferry_service_dump(service, keep, &all), -ECHILD);
        check_eq(all.count, 0);
        _exit(0);
    }
    await_child(child);
}

static void look_again(const char *line, void *service)
{
    text all;
    look(service, &all);
    check(strlen(line) > 0 && all.count > 0);
}

static atomic_uint looks;

static void look_in_callback(ferry_promise *, const ferry_result *, void *arg)
{
    text all;
    look(arg, &all);
    check(find(&all, "stream fd ") != NULL);
    atomic_fetch_add(&looks, 1);
}

PROMISE_BOTH(dump, works_in_callbacks_its_own_too_and_on_owners_and_there_while_it_is_destroyed)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    const ferry_request_options options = calling_on_owner(look_in_callback, s.service);
    check_eq(ferry_service_dump(s.service, look_again, s.service), 0);
    ferry_promise *promise = submit_write_with(s.stream, "x", 1, &options);
    check_eq(ferry_promise_observe(promise, look_in_callback, s.service, NULL), 0);
    check_eq(ferry_promise_await(promise, -1, NULL), 0);
    ferry_promise_unref(promise);
    promise = submit_mark(s.stream);
    check_eq(outcome(promise).error, 0); /* on_owner has run before this */
    (void)ferry_inbox_run(0);
    check_eq(atomic_load(&looks), 2);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    check_eq(ferry_stream_write(s.stream, "x", 1, &options, NULL), 0);
    stage_destroy(&s); /* the write is called off, and its callback looks */
    check_eq(atomic_load(&looks), 3);
    check_eq(outcome(stuck).error, -ECANCELED);
}

struct closer {
    ferry_stream *stream; /* NULL: it is closed */
    text all;
};

static void close_and_keep(const char *line, void *arg)
{
    struct closer *self = arg;
    if (self->stream != NULL)
        close_stream(self->stream);
    self->stream = NULL;
    keep(line, &self->all);
}

PROMISE_BOTH(dump, leaves_out_what_ends_while_it_is_written)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(close_theirs) pair both = unix_pair(SOCK_STREAM);
    struct closer closer = {.stream = stream_adopt(service, both.ours)};
    check_eq(ferry_service_dump(service, close_and_keep, &closer), 0);
    check(find(&closer.all, "service: ") != NULL && find(&closer.all, "stream") == NULL);
}

static void end_looking_thread(const char *, void *)
{
    pthread_exit(NULL);
}

static void *look_and_end(void *arg)
{
    (void)ferry_service_dump(arg, end_looking_thread, NULL);
    return NULL;
}

PROMISE_BOTH(dump, may_end_its_thread_midway_and_leaves_nothing_behind)
{
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    run_to_its_end(look_and_end, s.service);
    stage_close_stream(&s);
    stage_end(&s); /* the census would miss the stream */
}

typedef struct watcher {
    ferry_service *service;
    atomic_bool is_over;
    unsigned long lines;
} watcher;

static void count_line(const char *line, void *arg)
{
    check(strncmp(line, "service: ", 9) == 0 || strncmp(line, "owner ferry-", 12) == 0 ||
          strncmp(line, "stream fd ", 10) == 0);
    ((watcher *)arg)->lines++;
}

static void *watch(void *arg)
{
    watcher *self = arg;
    while (!atomic_load(&self->is_over))
        check_eq(ferry_service_dump(self->service, count_line, self), 0);
    return NULL;
}

static void live_and_die(ferry_service *service, unsigned number, const test_file *file)
{
    static const char *const labels[] = {"short", "one that is rather longer than it need be",
                                         NULL};
    pair both = unix_pair(SOCK_STREAM);
    reader *peer = number % 3 != 0 ? reader_start(both.theirs, false) : NULL;
    ferry_stream *stream = stream_adopt(service, both.ours);
    set_reader(stream, (ferry_reader){.on_read = take_all, .on_owner = true});
    for (unsigned i = 0; i < 20; i++) {
        const ferry_request_options options = {.label = labels[(number + i) % 3]};
        const ferry_file range = ferry_file_at(file->path);
        check_eq(ferry_stream_write(stream, "some bytes", 10, &options, NULL), 0);
        check_eq(ferry_stream_sendfile(stream, &range, &options, NULL), 0);
    }
    if (peer == NULL || number % 2 == 0)
        ferry_stream_abort(stream);
    close_stream(stream);
    if (peer == NULL) {
        close(both.theirs);
        return;
    }
    (void)reader_end(peer);
}

/* Pins: told_when_it_hangs. */
PROMISE_BOTH(dump, may_be_made_while_streams_begin_submit_close_and_abort)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(file_remove) test_file file = file_make(50000, 1);
    watcher watchers[2] = {{.service = service}, {.service = service}};
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++)
        threads[i] = start_thread(watch, &watchers[i]);
    for (unsigned i = 0; i < 60; i++)
        live_and_die(service, i, &file);
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&watchers[i].is_over, true);
        check_eq(pthread_join(threads[i], NULL), 0);
        check(watchers[i].lines > 0);
    }
}
