/* SPDX-License-Identifier: MIT */
/*
 * ferry recv: takes one connection, and stores what it sends, up to its end, in a file.
 *
 * The connection is closed only once the file is: a sender that waits for our end knows then that
 * everything was stored. If storing fails the connection is reset, so that the sender knows too.
 */
#include "commands.h"
#include "interrupt.h"
#include "listener.h"
#include "progress.h"
#include "units.h"

#include <argp.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_BYTES = 256 * 1024 }; /* larger leaves the processor's cache and gains nothing */

/* ---- the command line ------------------------------------------------------------------------ */

struct arguments {
    struct address at; /* where to listen */
    const char *file;  /* where to store; "-" for standard output */
};

static const char doc[] =
    "Listens on ADDRESS, takes one connection, and stores what it sends in FILE."
    "\vADDRESS is HOST:PORT, [V6]:PORT or unix:/path; with port 0 the system chooses one. "
    "The address is printed on standard error. A FILE of - is standard output.";

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    const char *wrong;
    switch (key) {
    case ARGP_KEY_ARG:
        if (state->arg_num > 1)
            argp_error(state, "there is one argument too many: '%s'", arg);
        if (state->arg_num == 1)
            arguments->file = arg;
        else if ((wrong = address_parse(arg, &arguments->at)) != NULL)
            argp_error(state, "address '%s': %s", arg, wrong);
        return 0;
    case ARGP_KEY_END:
        if (state->arg_num < 2)
            argp_error(state, "it takes an ADDRESS and a FILE");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- storing --------------------------------------------------------------------------------- */

/* What was there is kept until somebody connects. @return an fd, or -1: it has said why. */
static int open_file(const char *name)
{
    int fd = strcmp(name, "-") == 0 ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                                    : open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        warn("%s", name);
    return fd;
}

/* Standard output is left as the shell gave it: it may be appending. */
static bool empty_file(int fd, const char *name)
{
    struct stat status;
    bool is_to_be_emptied =
        strcmp(name, "-") != 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    return !is_to_be_emptied || ftruncate(fd, 0) == 0;
}

static bool write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, data, length);
        if (written < 0 && errno == EINTR && interrupt_signal() == 0)
            continue;
        if (written < 0)
            return false;
        data += written;
        length -= (size_t)written;
    }
    return true;
}

/* A read that waits longer gives EAGAIN: time to look at the clock, and at interruptions. */
static void set_tick(int connection)
{
    const struct timeval tick = {.tv_usec = PROGRESS_TICK_MS * 1000};
    (void)setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof tick);
}

/*
 * Copies all that comes. @return NULL; or the name of what failed, with errno.
 * @param ret_bytes bytes that were stored, also on failure.
 */
static const char *copy(int connection, int file, const struct arguments *arguments,
                        struct progress *progress, uint64_t *ret_bytes)
{
    static char buffer[BUFFER_BYTES];
    for (*ret_bytes = 0; interrupt_signal() == 0; progress_show(progress, *ret_bytes)) {
        ssize_t count = read(connection, buffer, sizeof buffer);
        if (count == 0)
            return NULL;
        if (count < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (count < 0)
            return arguments->at.text;
        if (!write_all(file, buffer, (size_t)count))
            return arguments->file;
        *ret_bytes += (uint64_t)count;
    }
    errno = EINTR;
    return arguments->at.text;
}

/* Closes so that the sender cannot think that all went well. */
static void close_with_reset(int connection)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(connection, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(connection);
}

/* Takes both fds. */
static bool store(int connection, int file, const struct arguments *arguments)
{
    struct progress progress;
    uint64_t bytes = 0;
    progress_start(&progress, "receiving", 0);
    set_tick(connection);
    const char *failed = arguments->file;
    if (empty_file(file, arguments->file))
        failed = copy(connection, file, arguments, &progress, &bytes);
    int error = errno;
    if (close(file) != 0 && failed == NULL) {
        failed = arguments->file;
        error = errno;
    }
    double seconds = progress_end(&progress);
    if (failed == NULL) {
        (void)close(connection);
        units_print_summary("received", bytes, seconds);
        return true;
    }
    close_with_reset(connection);
    warnx("%s: %s; only %llu bytes were stored", failed,
          error == EINTR ? "interrupted" : strerror(error), (unsigned long long)bytes);
    return false;
}

int command_recv(int argc, char **argv)
{
    static const struct argp argp = {.parser = parse, .args_doc = "ADDRESS FILE", .doc = doc};
    struct arguments arguments = {.file = NULL};
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);

    interrupt_catch();
    int file = open_file(arguments.file);
    if (file < 0)
        return EXIT_FAILURE;
    struct listener listener;
    if (!listener_open(&arguments.at, &listener))
        return EXIT_FAILURE;
    int connection = listener_accept(&listener);
    listener_close(&listener);
    if (connection < 0)
        return EXIT_FAILURE;
    return store(connection, file, &arguments) ? EXIT_SUCCESS : EXIT_FAILURE;
}
