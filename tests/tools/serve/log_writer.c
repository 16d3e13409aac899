/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/log_writer.h"

#include "tests/support.h"

#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* ---- helpers --------------------------------------------------------------------------------- */

struct logging {
    char directory[64];
    char path[128]; /* of the log, in it */
    char old[160];  /* what it is renamed to */
    struct log_writer *writer;
};

static struct logging set_up(void)
{
    struct logging logging = {.directory = "/tmp/ferry-log-XXXXXX"};
    check(mkdtemp(logging.directory) != NULL);
    snprintf(logging.path, sizeof logging.path, "%s/log", logging.directory);
    snprintf(logging.old, sizeof logging.old, "%s.1", logging.path);
    return logging;
}

static void start(struct logging *logging)
{
    check_eq(log_writer_start(logging->path, &logging->writer), 0);
}

static void remove_all(const struct logging *logging)
{
    (void)unlink(logging->path);
    check_eq(rmdir(logging->directory), 0);
}

static void add(struct logging *logging, int number)
{
    char line[128];
    int length = snprintf(line, sizeof line, "%07d %0100d\n", number, 0);
    log_writer_add(logging->writer, line, (size_t)length);
}

/* All that a file has, as a string to be freed. */
static char *read_file(const char *path)
{
    struct stat status;
    AT_END(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return strdup("");
    check_eq(fstat(fd, &status), 0);
    char *text = malloc((size_t)status.st_size + 1);
    check(text != NULL);
    ssize_t length = read(fd, text, (size_t)status.st_size);
    check(length >= 0);
    text[length] = '\0';
    return text;
}

static bool has(const char *path, const char *words)
{
    AT_END(free_memory) char *text = read_file(path);
    bool found = strstr(text, words) != NULL;
    return found;
}

static void await_line(const char *path, const char *words)
{
    while (!has(path, words)) /* a hang is the harness's to notice */
        (void)poll(NULL, 0, 1);
}

/* How many lines a line stands for. */
static long lines_in(const char *line)
{
    return *line == '#' ? strtol(line + 1, NULL, 10) : 1;
}

/* Goes through a log, whose lines have come in order, or are said to be missing. @return how many
 * are said to be; what is there, is whole and in order, and all together are as many as there
 * were. */
static long check_lines(const char *text, int count)
{
    long number = 0, missing = 0;
    for (const char *end; *text != '\0'; text = end + 1) {
        end = strchr(text, '\n');
        check(end != NULL);
        if (*text == '#') {
            long hole = lines_in(text);
            check(hole > 0);
            missing += hole;
            number += hole;
        } else {
            check_eq(end - text, 108);
            check_eq(strtol(text, NULL, 10), number);
            number++;
        }
    }
    check_eq(number, count);
    return missing;
}

/* Reads until so many lines have come, or were said to be missing. */
static char *read_lines(int pipe_end, int count)
{
    char *text = calloc(1, (size_t)count * 110);
    check(text != NULL);
    size_t length = 0, begin = 0; /* of the line that is not whole yet */
    for (long number = 0; number < count;) {
        struct pollfd pipe = {.fd = pipe_end, .events = POLLIN};
        check_eq(poll(&pipe, 1, -1), 1);
        ssize_t got = read(pipe_end, text + length, 4096);
        check(got > 0);
        length += (size_t)got;
        for (char *end; (end = strchr(text + begin, '\n')) != NULL;) {
            number += lines_in(text + begin);
            begin = (size_t)(end + 1 - text);
        }
    }
    return text;
}

/* ---- promises -------------------------------------------------------------------------------- */

PROMISE(log_writer, lines_are_appended_in_order)
{
    enum { COUNT = 20000 };
    AT_END(remove_all) struct logging logging = set_up();
    for (int i = 0; i < 2; i++) {
        start(&logging);
        for (int j = 0; j < COUNT / 2; j++) {
            add(&logging, i * COUNT / 2 + j);
            if (j % 100 == 0)
                (void)poll(NULL, 0, 1); /* no more than its desk has room for */
        }
        check_eq(log_writer_stop(logging.writer), 0);
    }
    AT_END(free_memory) char *text = read_file(logging.path);
    check_eq(check_lines(text, COUNT), 0);
}

PROMISE(log_writer, what_cannot_be_opened_is_refused_at_once)
{
    struct log_writer *writer;
    check_eq(log_writer_start("/nowhere/at/all", &writer), -ENOENT);
    check_eq(log_writer_start("/tmp", &writer), -EISDIR);
    check_eq(log_writer_stop(NULL), 0);
    log_writer_reopen(NULL);
}

PROMISE(log_writer, reopened_it_goes_on_in_a_file_of_the_old_name)
{
    AT_END(remove_all) struct logging logging = set_up();
    start(&logging);
    add(&logging, 0);
    await_line(logging.path, "0000000 ");
    check_eq(rename(logging.path, logging.old), 0);
    add(&logging, 1);
    await_line(logging.old, "0000001 ");
    log_writer_reopen(logging.writer);
    while (access(logging.path, F_OK) != 0)
        (void)poll(NULL, 0, 1);
    add(&logging, 2);
    await_line(logging.path, "0000002 ");
    check(!has(logging.path, "0000001 ") && !has(logging.old, "0000002 "));
    check_eq(log_writer_stop(logging.writer), 0);
    check_eq(unlink(logging.old), 0);
}

PROMISE(log_writer, where_it_cannot_be_reopened_the_old_file_goes_on)
{
    AT_END(remove_all) struct logging logging = set_up();
    start(&logging);
    check_eq(rename(logging.path, logging.old), 0);
    check_eq(mkdir(logging.path, 0700), 0);
    log_writer_reopen(logging.writer);
    add(&logging, 0);
    await_line(logging.old, "0000000 ");
    check_eq(log_writer_stop(logging.writer), 0);
    check_eq(rmdir(logging.path), 0);
    check_eq(rename(logging.old, logging.path), 0);
}

/* A limit for files stands for a full disk: the end of a line finds no room. */
static void limit_files(rlim_t bytes)
{
    const struct rlimit limit = {bytes, RLIM_INFINITY};
    check_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

PROMISE(log_writer, full_disk_leaves_no_half_line_and_loses_none_that_there_is_room_to_keep)
{
    enum { COUNT = 1000 };
    AT_END(remove_all) struct logging logging = set_up();
    start(&logging);
    limit_files(1000); /* nine lines, and a part of one */
    for (int i = 0; i < COUNT; i++)
        add(&logging, i);
    await_line(logging.path, "0000008 ");
    (void)poll(NULL, 0, 20); /* it may try some more: whatever it does leaves only whole lines */
    limit_files(RLIM_INFINITY);
    await_line(logging.path, "0000999 ");
    check_eq(log_writer_stop(logging.writer), 0);
    AT_END(free_memory) char *text = read_file(logging.path);
    check_eq(check_lines(text, COUNT), 0);
}

PROMISE(log_writer, what_is_missing_after_a_full_disk_is_told_in_its_place)
{
    enum { COUNT = 50000 }; /* five MiB: more than there is room to keep */
    AT_END(remove_all) struct logging logging = set_up();
    start(&logging);
    limit_files(1000);
    add(&logging, 0);
    await_line(logging.path, "0000000 ");
    for (int i = 1; i < COUNT; i++)
        add(&logging, i);
    limit_files(RLIM_INFINITY);
    await_line(logging.path, " lines are missing here");
    add(&logging, COUNT);
    uint64_t told = log_writer_stop(logging.writer);
    AT_END(free_memory) char *text = read_file(logging.path);
    long missing = check_lines(text, COUNT + 1);
    check(missing > 0);
    check_eq(told, missing);
}

PROMISE(log_writer, fifo_that_nobody_reads_yet_holds_nothing_up)
{
    AT_END(remove_all) struct logging logging = set_up();
    char lines[4096];
    check_eq(mkfifo(logging.path, 0600), 0);
    start(&logging);
    for (int i = 0; i < 3; i++)
        add(&logging, i);
    int pipe_end = open(logging.path, O_RDONLY | O_CLOEXEC); /* waits until it tries again */
    check(pipe_end >= 0);
    check_eq(read(pipe_end, lines, 109), 109);
    check_eq(strtol(lines, NULL, 10), 0);
    close(pipe_end); /* what the pipe had is gone with it; the log is not */
    pipe_end = open(logging.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    check(pipe_end >= 0);
    add(&logging, 9);
    while (read(pipe_end, lines, sizeof lines) <= 0 || strstr(lines, "0000009 ") == NULL)
        (void)poll(NULL, 0, 1);
    check_eq(log_writer_stop(logging.writer), 0);
    close(pipe_end);
}

PROMISE(log_writer, reader_that_is_slow_gets_whole_lines_and_is_told_what_is_missing)
{
    enum { COUNT = 50000 };
    AT_END(remove_all) struct logging logging = set_up();
    check_eq(mkfifo(logging.path, 0600), 0);
    int pipe_end = open(logging.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    check(pipe_end >= 0);
    start(&logging);
    for (int i = 0; i < COUNT; i++)
        add(&logging, i);
    AT_END(free_memory) char *text = read_lines(pipe_end, COUNT);
    check(check_lines(text, COUNT) > 0);
    close(pipe_end);
    check(log_writer_stop(logging.writer) > 0);
}

PROMISE(log_writer, lease_on_the_file_is_not_waited_for)
{
    AT_END(remove_all) struct logging logging = set_up();
    close(open(logging.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    AT_END(close_fd) int holder = lease_take(logging.path);
    if (holder < 0) /* not on this file system */
        return;
    start(&logging);
    add(&logging, 0);
    check_eq(fcntl(holder, F_SETLEASE, F_UNLCK), 0);
    await_line(logging.path, "0000000 ");
    check_eq(log_writer_stop(logging.writer), 0);
}

PROMISE(log_writer, stop_counts_what_nobody_will_read)
{
    AT_END(remove_all) struct logging logging = set_up();
    check_eq(mkfifo(logging.path, 0600), 0);
    start(&logging);
    for (int i = 0; i < 5; i++)
        add(&logging, i);
    check_eq(log_writer_stop(logging.writer), 5);
}
