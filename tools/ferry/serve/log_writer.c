/* SPDX-License-Identifier: MIT */
#include "log_writer.h"

#include "text.h"
#include "messages.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    DESKS = 8,                /* so many that a few threads at once do not meet at one */
    DESK_BYTES = 1024 * 1024, /* some seconds' worth on a busy server */
    GATHER_MS = 10, /* wakes it a hundred times a second at most, however many lines come */
    RETRY_MS = 200, /* somebody makes room, or opens the other end */
    OPEN_MS = 2000, /* a file system that takes longer to open a file may be dead */
    STOP_MS = 2000, /* long enough for a busy disk; a pipe that nobody reads is given up */
    NOT_YET = 1     /* no errno: nobody has tried to open it */
};

/* Where lines are left. */
struct desk {
    alignas(64) pthread_mutex_t lock; /* of what follows; a cache line for each */
    struct text lines;
    uint64_t missed; /* how many came behind these lines, and found no room */
};

struct log_writer {
    char *path;           /* NULL: standard output */
    pthread_t thread;     /* all fields without another comment are this thread's */
    int bell;             /* an eventfd, rung for lines, and for what it is asked */
    atomic_bool is_awake; /* it will look at the desks, so nobody needs to ring */
    atomic_bool is_to_reopen;
    atomic_bool is_stopping;
    pthread_mutex_t lock; /* of opened */
    pthread_cond_t has_tried;
    int opened;          /* 0 or a negative errno of the first try; NOT_YET */
    int fd;              /* -1: it could not be opened yet */
    bool is_file;        /* a regular file: it takes all that there is room for, and waits */
    struct text pending; /* lines of one desk, under way */
    size_t written;      /* bytes of them */
    int trouble;         /* the errno that was told of last; 0: none since it went on */
    uint64_t missed;     /* lines that were lost since, and nobody was told of */
    uint64_t missed_in_all;
    int64_t deadline_ns; /* once it is to stop */
    struct desk desks[DESKS];
};

/* ---- leaving lines --------------------------------------------------------------------------- */

static struct desk *find_desk(struct log_writer *writer)
{
    static atomic_uint threads;
    static _Thread_local unsigned mine; /* 0: not chosen yet */
    if (mine == 0)
        mine = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
    return &writer->desks[mine % DESKS];
}

static void ring(struct log_writer *writer)
{
    (void)eventfd_write(writer->bell, 1);
}

void log_writer_add(struct log_writer *writer, const char *line, size_t length)
{
    struct desk *desk = find_desk(writer);
    (void)pthread_mutex_lock(&desk->lock);
    /* Once one is missing those behind it are left out, too: else nobody could say where it was. */
    if (desk->missed == 0 && desk->lines.length + length <= DESK_BYTES)
        text_add(&desk->lines, line, length);
    else
        desk->missed++;
    if (desk->lines.is_cut) /* no memory */
        desk->missed++;
    desk->lines.is_cut = false;
    (void)pthread_mutex_unlock(&desk->lock);
    /*
     * The writer says that it goes to sleep, and then looks at the desks. So one of the two sees
     * the other.
     */
    if (!atomic_load(&writer->is_awake) && !atomic_exchange(&writer->is_awake, true))
        ring(writer);
}

/* Takes the lines of a desk that has any. */
static bool take_lines(struct log_writer *writer)
{
    uint64_t missed = 0;
    for (size_t i = 0; i < DESKS && writer->pending.length == 0 && missed == 0; i++) {
        struct desk *desk = &writer->desks[i];
        (void)pthread_mutex_lock(&desk->lock);
        struct text lines = desk->lines;
        desk->lines = writer->pending;
        writer->pending = lines;
        missed = desk->missed;
        desk->missed = 0;
        (void)pthread_mutex_unlock(&desk->lock);
    }
    if (missed > 0) {
        text_add_string(&writer->pending, "# ");
        text_add_number(&writer->pending, missed);
        text_add_string(&writer->pending, " lines are missing here\n");
        writer->pending.is_cut = false;
    }
    writer->missed += missed;
    writer->missed_in_all += missed;
    return writer->pending.length > 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

/*
 * A pipe or terminal that others have, too, is opened anew: O_NONBLOCK must not hit them, and this
 * thread must not wait for them.
 */
static int open_output(void)
{
    struct stat status;
    bool may_wait =
        fstat(STDOUT_FILENO, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode));
    int fd = may_wait ? open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;
    return fd >= 0 ? fd : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
}

/* @return 0, or a negative errno, with everything as it was. */
static int open_file(struct log_writer *writer)
{
    enum { FLAGS = O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC };
    struct stat status;
    int fd = writer->path != NULL ? open(writer->path, FLAGS, 0644) : open_output();
    if (fd < 0)
        return -errno;
    if (writer->fd >= 0)
        (void)close(writer->fd);
    writer->fd = fd;
    writer->is_file = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    return 0;
}

/* Whether it may well be opened later: a fifo without a reader, a file under somebody's lease. */
static bool is_passing(const struct log_writer *writer, int error)
{
    struct stat status;
    return error == -EAGAIN ||
           (error == -ENXIO && stat(writer->path, &status) == 0 && S_ISFIFO(status.st_mode));
}

static const char *name_of(const struct log_writer *writer)
{
    return writer->path != NULL ? writer->path : "standard output";
}

static void reopen(struct log_writer *writer)
{
    int error = writer->path != NULL ? open_file(writer) : 0;
    if (error != 0)
        messages_say("%s: %s; the log goes on in the old file", writer->path, strerror(-error));
}

/* ---- writing --------------------------------------------------------------------------------- */

/*
 * How much one call writes. A pipe takes whole lines at once, so that lines of other programs come
 * between lines only.
 */
static size_t choose_size(const struct log_writer *writer)
{
    const char *begin = writer->pending.data + writer->written;
    size_t left = writer->pending.length - writer->written;
    if (writer->is_file || left <= PIPE_BUF)
        return left;
    const char *end = memrchr(begin, '\n', PIPE_BUF);
    return end != NULL ? (size_t)(end + 1 - begin) : PIPE_BUF;
}

/* @return bytes, or a negative errno: -EAGAIN: it would have to wait for its reader. */
static ssize_t write_some(const struct log_writer *writer)
{
    struct pollfd sink = {.fd = writer->fd, .events = POLLOUT};
    if (!writer->is_file && poll(&sink, 1, 0) == 0)
        return -EAGAIN;
    ssize_t count = write(writer->fd, writer->pending.data + writer->written, choose_size(writer));
    return count < 0 ? -errno : count;
}

/* Takes back the part of a line that there was room for, unless somebody has written behind it.
 * Half a line would mislead the reader of the log, and the next line would continue it. */
static void take_back(struct log_writer *writer)
{
    const char *begin = writer->pending.data, *last = memrchr(begin, '\n', writer->written);
    size_t part = writer->written - (last != NULL ? (size_t)(last + 1 - begin) : 0);
    struct stat status;
    off_t end = lseek(writer->fd, 0, SEEK_CUR);
    if (writer->is_file && part > 0 && end >= (off_t)part && fstat(writer->fd, &status) == 0 &&
        status.st_size == end && ftruncate(writer->fd, end - (off_t)part) == 0)
        writer->written -= part;
}

/* Whether all that is pending could be written; else *ret_error says why not. */
static bool write_pending(struct log_writer *writer, int *ret_error)
{
    if (writer->fd < 0 && (*ret_error = open_file(writer)) != 0)
        return false;
    while (writer->written < writer->pending.length) {
        ssize_t count = write_some(writer);
        if (count == -EINTR)
            continue;
        if (count < 0) {
            take_back(writer);
            *ret_error = (int)count;
            return false;
        }
        writer->written += (size_t)count;
    }
    writer->written = writer->pending.length = 0;
    return true;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Waits until the bell rings or, if there is one, until a sink may take more. */
static void await(struct log_writer *writer, int sink, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = writer->bell, .events = POLLIN}, {.fd = sink, .events = POLLOUT}};
    eventfd_t rung;
    (void)poll(fds, 2, timeout_ms);
    (void)eventfd_read(writer->bell, &rung);
}

/* A slow reader is no trouble, unless lines are lost by it. */
static void cope(struct log_writer *writer, int error)
{
    bool is_slow = error == -EAGAIN && writer->fd >= 0;
    if (!is_slow && writer->trouble != error)
        messages_say("%s: %s; the log's lines wait", name_of(writer), strerror(-error));
    writer->trouble = is_slow ? writer->trouble : error;
    await(writer, is_slow ? writer->fd : -1, RETRY_MS);
}

static void tell_that_it_goes_on(struct log_writer *writer)
{
    if (writer->trouble != 0 || writer->missed > 0)
        messages_say("%s: the log goes on; %llu lines are missing from it", name_of(writer),
                     (unsigned long long)writer->missed);
    writer->trouble = 0;
    writer->missed = 0;
}

static bool has_lines(struct log_writer *writer)
{
    return writer->pending.length > 0 || take_lines(writer);
}

static void await_lines(struct log_writer *writer)
{
    atomic_store(&writer->is_awake, false);
    if (!has_lines(writer) && !atomic_load(&writer->is_stopping))
        await(writer, -1, -1);
    atomic_store(&writer->is_awake, true);
    if (!atomic_load(&writer->is_stopping))
        await(writer, -1, GATHER_MS);
}

static void write_lines(struct log_writer *writer)
{
    int error;
    while (has_lines(writer)) {
        if (!write_pending(writer, &error)) {
            cope(writer, error);
            return;
        }
    }
    tell_that_it_goes_on(writer);
}

static bool is_over(struct log_writer *writer)
{
    if (!atomic_load(&writer->is_stopping))
        return false;
    if (writer->deadline_ns == 0)
        writer->deadline_ns = now_ns() + (int64_t)STOP_MS * 1000000;
    return now_ns() >= writer->deadline_ns || !has_lines(writer);
}

/* Opens it. The thread that starts the writer waits for that. */
static void begin(struct log_writer *writer)
{
    int error = open_file(writer);
    (void)pthread_mutex_lock(&writer->lock);
    writer->opened = error != 0 && is_passing(writer, error) ? 0 : error;
    (void)pthread_cond_signal(&writer->has_tried);
    (void)pthread_mutex_unlock(&writer->lock);
}

static void *run(void *arg)
{
    struct log_writer *writer = arg;
    begin(writer);
    while (!is_over(writer)) {
        if (writer->pending.length == 0)
            await_lines(writer);
        if (atomic_exchange(&writer->is_to_reopen, false))
            reopen(writer);
        write_lines(writer);
    }
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void free_writer(struct log_writer *writer)
{
    for (size_t i = 0; i < DESKS; i++)
        free(writer->desks[i].lines.data);
    free(writer->pending.data);
    if (writer->fd >= 0)
        (void)close(writer->fd);
    if (writer->bell >= 0)
        (void)close(writer->bell);
    free(writer->path);
    free(writer);
}

static struct log_writer *allocate(const char *path)
{
    struct log_writer *writer = aligned_alloc(alignof(struct log_writer), sizeof *writer);
    if (writer == NULL)
        return NULL;
    memset(writer, 0, sizeof *writer);
    bool is_output = strcmp(path, "-") == 0;
    writer->path = is_output ? NULL : strdup(path);
    writer->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    writer->fd = -1;
    writer->opened = NOT_YET;
    writer->is_awake = true;
    writer->pending = text_growing();
    (void)pthread_mutex_init(&writer->lock, NULL);
    (void)pthread_cond_init(&writer->has_tried, NULL);
    for (size_t i = 0; i < DESKS; i++) {
        writer->desks[i].lines = text_growing();
        (void)pthread_mutex_init(&writer->desks[i].lock, NULL);
    }
    if ((is_output || writer->path != NULL) && writer->bell >= 0)
        return writer;
    free_writer(writer);
    return NULL;
}

/* Signals are for others. SIGXFSZ and SIGPIPE must not end the program: errors say as much. */
static int create_thread(struct log_writer *writer)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&writer->thread, NULL, run, writer);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

static struct timespec in_ms(int ms)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_REALTIME, &time);
    time.tv_sec += ms / 1000;
    return time;
}

/* @return 0, or a negative errno of opening. */
static int await_opening(struct log_writer *writer)
{
    const struct timespec deadline = in_ms(OPEN_MS);
    int error = 0;
    (void)pthread_mutex_lock(&writer->lock);
    while (writer->opened == NOT_YET && error == 0)
        error = pthread_cond_timedwait(&writer->has_tried, &writer->lock, &deadline);
    int opened = writer->opened;
    (void)pthread_mutex_unlock(&writer->lock);
    if (opened == NOT_YET)
        messages_say("%s: it does not open; the log's lines wait", name_of(writer));
    return opened == NOT_YET ? 0 : opened;
}

int log_writer_start(const char *path, struct log_writer **ret_writer)
{
    struct log_writer *writer = allocate(path);
    if (writer == NULL)
        return -ENOMEM;
    int error = create_thread(writer);
    if (error != 0) {
        free_writer(writer);
        return error;
    }
    error = await_opening(writer);
    if (error != 0)
        (void)log_writer_stop(writer);
    else
        *ret_writer = writer;
    return error;
}

void log_writer_reopen(struct log_writer *writer)
{
    if (writer == NULL)
        return;
    atomic_store(&writer->is_to_reopen, true);
    ring(writer);
}

static uint64_t count_lines(const struct text *text, size_t from)
{
    uint64_t count = 0;
    for (size_t i = from; i < text->length; i++)
        count += text->data[i] == '\n';
    return count;
}

static uint64_t count_missed(const struct log_writer *writer)
{
    uint64_t count = writer->missed_in_all + count_lines(&writer->pending, writer->written);
    for (size_t i = 0; i < DESKS; i++)
        count += writer->desks[i].missed + count_lines(&writer->desks[i].lines, 0);
    return count;
}

/* A thread that is stuck in a dead file system stays until the process ends. */
uint64_t log_writer_stop(struct log_writer *writer)
{
    if (writer == NULL)
        return 0;
    atomic_store(&writer->is_stopping, true);
    ring(writer);
    const struct timespec deadline = in_ms(2 * STOP_MS);
    if (pthread_timedjoin_np(writer->thread, NULL, &deadline) != 0)
        return 0;
    uint64_t missed = count_missed(writer);
    free_writer(writer);
    return missed;
}
