/* SPDX-License-Identifier: MIT */
/*
 * ferry recv: takes one connection, and stores what it sends, up to its end, in a file; or any
 * number of them, each in a file of its own.
 *
 * A connection is closed only once its file is. So a sender that waits for our end knows that
 * everything was stored. If storing fails the connection is reset, so that the sender knows that.
 *
 * Everything but the storing happens on this thread, in callbacks while it runs its inbox.
 */
#include "../common/commands.h"
#include "../common/descriptors.h"
#include "../common/encryption.h"
#include "../common/interrupt.h"
#include "../common/progress.h"
#include "../common/units.h"

#include <ferry/ferry.h>

#include <argp.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the command line ------------------------------------------------------------------------ */

struct arguments {
    const char *address; /* where to listen */
    const char *file;    /* where to store; "-" for standard output */
    bool keep;           /* take many connections, into FILE.1, FILE.2, ... */
    bool append;         /* store behind what is there */
    struct encryption encryption;
};

static const struct argp_option options[] = {
    {"append", 'a', NULL, 0, "store behind what FILE has already, as for ferry send --resume", 0},
    {"keep", 'k', NULL, 0,
     "take any number of connections, at once if need be, and store them in FILE.1, FILE.2, ...; "
     "until interrupted",
     0},
    {"tls-cert", ENCRYPTION_CERT, "FILE", 0,
     "speak TLS, and show FILE: a certificate, and those that it was signed with", 1},
    {"tls-key", ENCRYPTION_KEY, "FILE", 0, "the certificate's key (default: in the same FILE)", 1},
    {"tls-client-ca", ENCRYPTION_CA, "FILE", 0,
     "let in only senders whose certificate FILE's have signed", 1},
    {0},
};

static const char doc[] =
    "Listens on ADDRESS, takes one connection, and stores what it sends in FILE."
    "\vADDRESS is HOST:PORT, [V6]:PORT, :PORT, unix:/path or unix:@name; with port 0 the system "
    "chooses one. "
    "The address is printed on standard error. A FILE of - is standard output.";

static void check(const struct arguments *arguments, const struct argp_state *state)
{
    if (state->arg_num < 2)
        argp_error(state, "it takes an ADDRESS and a FILE");
    if (strcmp(arguments->file, "-") == 0 && arguments->keep)
        argp_error(state, "--keep stores in files, not in standard output");
    (void)encryption_is_wanted(&arguments->encryption, state);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'a':
        arguments->append = true;
        return 0;
    case 'k':
        arguments->keep = true;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 1)
            argp_error(state, "there is one argument too many: '%s'", arg);
        *(state->arg_num == 1 ? &arguments->file : &arguments->address) = arg;
        return 0;
    case ARGP_KEY_END:
        check(arguments, state);
        return 0;
    default:
        return encryption_parse(&arguments->encryption, key, arg, state);
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool is_stdout(const char *name)
{
    return strcmp(name, "-") == 0;
}

/* What was there is kept until somebody connects. @return an fd, or -1: it has said why. */
static int open_file(const char *name)
{
    int fd = is_stdout(name) ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                             : open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0 && descriptors_may(fd, true))
        return fd;
    warn("%s", name);
    return -1; /* there is one at most that is left open: standard output's */
}

/* Standard output is left as the shell gave it: it may be appending. */
static bool set_beginning(int fd, const char *name, bool append)
{
    struct stat status;
    if (is_stdout(name) || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return true;
    return append ? lseek(fd, 0, SEEK_END) >= 0 : ftruncate(fd, 0) == 0;
}

/* Whether it is what bytes can be received into; else it is a stream, to be relayed to. */
static bool is_file(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && !S_ISFIFO(status.st_mode) && !S_ISSOCK(status.st_mode) &&
           !isatty(fd);
}

/* ---- storing --------------------------------------------------------------------------------- */

/* All that goes on. */
struct reception {
    const struct arguments *arguments;
    ferry_service *service;
    ferry_tls_context *tls;   /* NULL: not encrypted */
    ferry_listener *listener; /* NULL once nobody else is to come */
    char address[160];        /* where it listens */
    int file;                 /* opened for the first connection; -1 once that has it */
    unsigned arrivals;        /* connections so far */
    unsigned under_way;       /* being stored */
    struct arrival *first;    /* these */
    bool has_failed;
    struct progress progress;
    uint64_t bytes; /* stored so far, of all of them */
};

/* One connection. */
struct arrival {
    struct reception *reception;
    struct arrival *next;
    char *name; /* of its file */
    int fd;
    ferry_stream *stream;
    uint64_t bytes;
    double began_at;
};

static void forget(struct arrival *arrival)
{
    struct arrival **link = &arrival->reception->first;
    while (*link != arrival)
        link = &(*link)->next;
    *link = arrival->next;
    arrival->reception->under_way--;
    (void)ferry_stream_unref(arrival->stream);
    free(arrival->name);
    free(arrival);
}

/* @param what failed. */
static void fail(struct arrival *arrival, const char *what, const char *why)
{
    struct reception *reception = arrival->reception;
    (void)progress_end(&reception->progress);
    warnx("%s: %s; only %llu bytes were stored", what, why, (unsigned long long)arrival->bytes);
    reception->has_failed = true;
    ferry_stream_abort(arrival->stream);
}

static void on_progress(ferry_promise *promise, uint64_t bytes, void *arg)
{
    struct arrival *arrival = arg;
    (void)promise;
    arrival->reception->bytes += bytes - arrival->bytes;
    arrival->bytes = bytes;
}

/* Everything was stored, or as much as was possible. */
static void on_stored(ferry_promise *promise, const ferry_result *result, void *arg)
{
    struct arrival *arrival = arg;
    struct reception *reception = arrival->reception;
    on_progress(promise, result->sent, arrival);
    bool is_closed = close(arrival->fd) == 0;
    int close_error = errno;
    bool is_files_doing = result->phase == FERRY_PHASE_SINK || result->phase == FERRY_PHASE_OPEN;
    if (result->error != 0 && interrupt_signal() != 0)
        fail(arrival, reception->address, "interrupted");
    else if (result->error != 0)
        fail(arrival, is_files_doing ? arrival->name : reception->address,
             ferry_error_message(result->error));
    else if (!is_closed)
        fail(arrival, arrival->name, strerror(close_error));
    else {
        double seconds = units_now() - arrival->began_at;
        (void)progress_end(&reception->progress);
        if (reception->arguments->keep)
            (void)fprintf(stderr, "%s: ", arrival->name);
        units_print_summary("received", arrival->bytes, seconds);
        (void)ferry_stream_close(arrival->stream, NULL);
    }
    forget(arrival);
}

/* Stores it in a file; if that is a pipe, a socket or a terminal, through a stream of its own. */
static int store(struct arrival *arrival, ferry_promise **ret_stored)
{
    const ferry_request_options progress = {.on_progress = on_progress,
                                            .on_progress_arg = arrival,
                                            .progress_interval_ms = PROGRESS_TICK_MS};
    if (is_file(arrival->fd)) {
        ferry_file file = ferry_file_fd(arrival->fd);
        file.flags = FERRY_FD_BORROW;
        return ferry_stream_read_to_file(arrival->stream, &file, &progress, ret_stored);
    }
    ferry_stream *sink;
    int fd = fcntl(arrival->fd, F_DUPFD_CLOEXEC, 0);
    int error = fd < 0 ? -errno : ferry_stream_adopt(arrival->reception->service, fd, NULL, &sink);
    if (error != 0)
        return error;
    error = ferry_stream_relay(arrival->stream, sink, FERRY_TO_END, FERRY_RELAY_KEEP_OPEN,
                               &progress, ret_stored);
    (void)ferry_stream_unref(sink); /* the relay keeps it open */
    return error;
}

/* @return NULL: it has said why. */
static struct arrival *arrive(struct reception *reception, ferry_stream *stream)
{
    struct arrival *arrival = calloc(1, sizeof *arrival);
    const char *file = reception->arguments->file;
    reception->arrivals++;
    if (arrival == NULL)
        err(EXIT_FAILURE, NULL);
    if (!reception->arguments->keep)
        arrival->name = strdup(file);
    else if (asprintf(&arrival->name, "%s.%u", file, reception->arrivals) < 0)
        arrival->name = NULL;
    if (arrival->name == NULL)
        err(EXIT_FAILURE, NULL);
    arrival->fd = reception->file >= 0 ? reception->file : open_file(arrival->name);
    reception->file = -1;
    if (arrival->fd < 0) {
        free(arrival->name);
        free(arrival);
        return NULL;
    }
    arrival->reception = reception;
    arrival->stream = ferry_stream_ref(stream);
    arrival->began_at = units_now();
    arrival->next = reception->first;
    reception->first = arrival;
    reception->under_way++;
    return arrival;
}

static void close_listener(struct reception *reception)
{
    (void)ferry_listener_close(reception->listener, NULL);
    reception->listener = ferry_listener_unref(reception->listener);
}

static void on_stream(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    struct reception *reception = arg;
    (void)listener;
    bool is_too_many = !reception->arguments->keep && reception->arrivals > 0;
    struct arrival *arrival = is_too_many ? NULL : arrive(reception, stream);
    if (arrival == NULL) {
        reception->has_failed |= !is_too_many;
        ferry_stream_abort(stream);
        return;
    }
    if (!reception->arguments->keep)
        close_listener(reception);
    ferry_promise *stored;
    int error =
        set_beginning(arrival->fd, arrival->name, reception->arguments->append) ? 0 : -errno;
    if (error == 0)
        error = store(arrival, &stored);
    if (error == 0) {
        error = ferry_promise_observe(stored, on_stored, arrival, NULL);
        (void)ferry_promise_unref(stored);
    }
    if (error == 0)
        return;
    fail(arrival, arrival->name, ferry_error_message(error));
    (void)close(arrival->fd);
    forget(arrival);
}

/* ---- running --------------------------------------------------------------------------------- */

/* Whether anything is still to come. */
static bool is_at_work(const struct reception *reception)
{
    return reception->listener != NULL || reception->under_way > 0;
}

static void serve(struct reception *reception)
{
    while (is_at_work(reception) && interrupt_signal() == 0) {
        (void)ferry_inbox_run(PROGRESS_TICK_MS);
        if (reception->under_way > 0)
            progress_show(&reception->progress, reception->bytes);
    }
    (void)progress_end(&reception->progress);
}

/* If the program is interrupted its peers are told. */
static void give_up(struct reception *reception)
{
    if (reception->arrivals == 0)
        warnx("interrupted before anybody connected");
    if (reception->listener != NULL)
        close_listener(reception);
    for (struct arrival *arrival = reception->first; arrival != NULL; arrival = arrival->next)
        ferry_stream_abort(arrival->stream);
    while (reception->under_way > 0)
        (void)ferry_inbox_run(-1);
}

/* @return an exit status. */
static int listen_at(struct reception *reception)
{
    const char *address = reception->arguments->address;
    ferry_phase phase = FERRY_PHASE_DONE;
    const ferry_tls_options tls = {.context = reception->tls};
    const ferry_stream_options stream = {.tls = reception->tls != NULL ? &tls : NULL};
    const ferry_listen_options listen_options = {
        .on_stream = on_stream, .on_stream_arg = reception, .stream = &stream, .ret_phase = &phase};
    int error = ferry_listen(reception->service, address, &listen_options, &reception->listener);
    if (error != 0) {
        warnx("cannot listen on %s: %s (%s)", address, ferry_error_message(error),
              ferry_phase_name(phase));
        return error == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
    }
    (void)ferry_listener_get_address(reception->listener, reception->address,
                                     sizeof reception->address);
    if (!reception->arguments->keep &&
        (reception->file = open_file(reception->arguments->file)) < 0) {
        close_listener(reception);
        return EXIT_FAILURE;
    }
    encryption_say_listening(reception->tls, reception->address);
    return EXIT_SUCCESS;
}

static int receive(struct reception *reception)
{
    int status = listen_at(reception);
    if (status != EXIT_SUCCESS)
        return status;
    serve(reception);
    if (interrupt_signal() != 0)
        give_up(reception);
    bool is_whole =
        !reception->has_failed && (reception->arguments->keep || reception->arrivals > 0);
    return is_whole ? EXIT_SUCCESS : EXIT_FAILURE;
}

int command_recv(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "ADDRESS FILE", doc, NULL, NULL, NULL};
    struct arguments arguments = {.file = NULL};
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);

    interrupt_catch();
    struct reception reception = {.arguments = &arguments, .file = -1};
    if (arguments.encryption.count > 0) {
        const struct encryption_server server = {.tells_failures = true};
        reception.tls = encryption_create_server(&arguments.encryption, &server);
        if (reception.tls == NULL)
            return EXIT_FAILURE;
    }
    int error = ferry_service_create(NULL, &reception.service);
    if (error != 0)
        errx(EXIT_FAILURE, "cannot start: %s", ferry_error_message(error));
    progress_start(&reception.progress, "receiving", 0);
    int status = receive(&reception);
    (void)ferry_service_stop(reception.service, -1); /* what was closed ends in order */
    ferry_service_destroy(reception.service);
    encryption_free(reception.tls);
    if (reception.file >= 0)
        (void)close(reception.file);
    return status;
}
