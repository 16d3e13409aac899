/* SPDX-License-Identifier: MIT */
/*
 * ferry send: sends the bytes of files, one after the other, to an address at which somebody
 * listens.
 *
 * All files are opened before anything is connected, so that a missing one costs the receiver
 * nothing. They are sent one at a time. If one fails the stream is aborted: a TCP receiver sees a
 * reset, and cannot take it for the end. At the end the receiver is given time to end, too: only
 * then it has surely read everything.
 *
 * A file that broke off can be taken up again. The receiver knows how much it has stored. The token
 * that we print says which file it was.
 */
#include "../common/commands.h"
#include "../common/descriptors.h"
#include "../common/encryption.h"
#include "../common/interrupt.h"
#include "../common/option.h"
#include "../common/progress.h"
#include "../common/units.h"
#include "../../number.h"

#include <ferry/ferry.h>

#include <argp.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    DEFAULT_WAIT_S = 10, /* most end at once; some have slow disks */
    LONGEST_WAIT_S = 7 * 24 * 3600,
    MOST_INPUT = 64 << 20, /* bytes from the receiver that are read away; it should send none */
};

/* ---- the command line ------------------------------------------------------------------------ */

struct arguments {
    char **files;              /* their names, "-" for standard input */
    size_t count;              /* how many */
    const char *to;            /* where to connect */
    int64_t wait_ms;           /* for the receiver to end */
    bool resumes;              /* the only file, */
    ferry_resume_token resume; /* from there on */
    bool is_encrypted;         /* by TLS, */
    const char *name;          /* with a peer of that name; NULL: the address's */
    struct encryption encryption;
};

enum { KEY_TLS = 256, KEY_NAME };

static const struct argp_option options[] = {
    {"wait", 'w', "SECONDS", 0,
     "wait at most so long for the receiver to end after the last byte (default 10; 0: do not "
     "wait; with --tls 5 at most)",
     0},
    {"resume", 'r', "TOKEN", 0,
     "take a single FILE up again, at byte STORED: TOKEN is what a send that failed has printed, "
     "with "
     "the number that the receiver has stored in place of STORED; fails if the file has changed",
     0},
    {"tls", KEY_TLS, NULL, 0,
     "speak TLS; the receiver must have a certificate for the HOST in ADDRESS", 1},
    {"ca", ENCRYPTION_CA, "FILE", 0,
     "speak TLS, if FILE's have signed the receiver's certificate (default: whom the system "
     "trusts)",
     1},
    {"name", KEY_NAME, "NAME", 0,
     "speak TLS, if the receiver's certificate has that name (default: HOST)", 1},
    {"tls-cert", ENCRYPTION_CERT, "FILE", 0,
     "speak TLS, and show FILE's certificate if the receiver asks", 1},
    {"tls-key", ENCRYPTION_KEY, "FILE", 0, "that certificate's key (default: in the same FILE)", 1},
    {0},
};

static const char doc[] =
    "Connects to ADDRESS and sends the bytes of the FILEs, in order, with nothing between them."
    "\vADDRESS is HOST:PORT, [V6]:PORT, unix:/path or unix:@name. A FILE of - is standard input.\n"
    "If a file fails half-way the connection is reset, so that the receiver cannot take what it "
    "got for the whole; a unix socket has no reset, there the exit status alone tells.";

static void parse_names(int count, char **names, struct arguments *arguments,
                        struct argp_state *state)
{
    if (count < 2)
        argp_error(state, "it takes at least one FILE, and an ADDRESS");
    arguments->files = names;
    arguments->count = (size_t)count - 1;
    arguments->to = names[count - 1];
    if (arguments->resumes && count != 2)
        argp_error(state, "--resume takes up a single FILE");
    bool has_host = strncmp(arguments->to, "unix:", 5) != 0;
    if (arguments->is_encrypted && !has_host && arguments->name == NULL)
        argp_error(state, "--tls over a unix socket needs a --name");
}

/* What print_token prints, STORED being a number. */
static bool read_token(const char *text, ferry_resume_token *ret_token)
{
    enum { FIELDS = 5 };
    uint64_t fields[FIELDS];
    for (unsigned i = 0; i < FIELDS; i++) {
        bool is_last = i == FIELDS - 1;
        text = number_read(text, is_last ? 10 : 16, is_last ? INT64_MAX : UINT64_MAX, &fields[i]);
        if (text == NULL || *text++ != (is_last ? '\0' : ':'))
            return false;
    }
    *ret_token = (ferry_resume_token){.device = fields[0],
                                      .inode = fields[1],
                                      .size = fields[2],
                                      .changed_ns = (int64_t)fields[3],
                                      .offset = (int64_t)fields[4]};
    return true;
}

static void parse_token(const char *text, struct arguments *arguments,
                        const struct argp_state *state)
{
    if (!read_token(text, &arguments->resume))
        argp_error(state, "--resume takes a token with a number of bytes, not '%s'", text);
    arguments->resumes = true;
}

static error_t parse_encryption(int key, char *arg, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    if (key == ENCRYPTION_CERT && arguments->encryption.count > 0)
        argp_error(state, "there is one certificate at most");
    error_t error = 0;
    if (key == KEY_NAME)
        arguments->name = arg;
    else if (key != KEY_TLS)
        error = encryption_parse(&arguments->encryption, key, arg, state);
    arguments->is_encrypted |= error == 0;
    return error;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'w':
        arguments->wait_ms = option_seconds("wait", arg, 0, LONGEST_WAIT_S, state);
        return 0;
    case 'r':
        parse_token(arg, arguments, state);
        return 0;
    case ARGP_KEY_ARGS:
        parse_names(state->argc - state->next, state->argv + state->next, arguments, state);
        return 0;
    case ARGP_KEY_NO_ARGS:
        parse_names(0, NULL, arguments, state);
        return 0;
    default:
        return parse_encryption(key, arg, state);
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

/* An open file that is to be sent. */
struct cargo {
    const char *name;
    int fd;
    uint64_t size; /* from its position on; 0: unknown */
};

static bool open_cargo(const char *name, struct cargo *ret_cargo)
{
    bool is_stdin = strcmp(name, "-") == 0;
    int fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : open(name, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || !descriptors_may(fd, false) || fstat(fd, &status) != 0) {
        warn("%s", name);
        return false;
    }
    if (S_ISDIR(status.st_mode)) {
        warnx("%s: %s", name, strerror(EISDIR));
        return false;
    }
    off_t position = S_ISREG(status.st_mode) ? lseek(fd, 0, SEEK_CUR) : -1;
    bool has_size = position >= 0 && position < status.st_size;
    *ret_cargo = (struct cargo){name, fd, has_size ? (uint64_t)(status.st_size - position) : 0};
    return true;
}

/* @return as many as arguments->count, for the rest of the program's life; NULL: it said why. */
static struct cargo *open_all(const struct arguments *arguments, uint64_t *ret_total)
{
    struct cargo *all = calloc(arguments->count, sizeof *all);
    if (all == NULL)
        err(EXIT_FAILURE, NULL);
    *ret_total = 0;
    for (size_t i = 0; i < arguments->count; i++) {
        if (!open_cargo(arguments->files[i], &all[i])) {
            free(all);
            return NULL;
        }
        *ret_total += all[i].size;
    }
    return all;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

/* Says which file can be taken up again. The receiver knows from where on. */
static void print_token(const char *name, const ferry_resume_token *token)
{
    (void)fprintf(stderr,
                  "%s: to take it up again: --resume=%" PRIx64 ":%" PRIx64 ":%" PRIx64 ":%" PRIx64
                  ":STORED\n(STORED: how many bytes the receiver has stored)\n",
                  name, token->device, token->inode, token->size, (uint64_t)token->changed_ns);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* One connection at work. */
struct voyage {
    const struct arguments *arguments;
    ferry_tls_context *tls; /* NULL: not encrypted */
    ferry_stream *stream;   /* NULL: not connected yet */
    ferry_promise
        *refusal; /* what a receiver says that speaks TLS is not heard otherwise; or NULL */
    struct progress progress;
};

/* A status in words. */
static const char *words(int error)
{
    return error == -EINTR ? "interrupted" : ferry_error_message(error);
}

/* Awaits an outcome, showing progress. @return 0, or a negative errno. */
static int await(struct voyage *voyage, ferry_promise *promise, ferry_result *ret_result)
{
    int error;
    ferry_stream_status status = {0};
    while ((error = ferry_promise_await(promise, PROGRESS_TICK_MS, ret_result)) == -ETIMEDOUT) {
        if (interrupt_signal() != 0) {
            error = -EINTR;
            break;
        }
        if (ferry_stream_get_status(voyage->stream, &status) == 0)
            progress_show(&voyage->progress, status.sent_bytes);
    }
    return error;
}

/* Takes the progress line away, and says what failed. @return false. */
static bool complain(struct voyage *voyage, const char *what, const char *why)
{
    (void)progress_end(&voyage->progress);
    warnx("%s: %s", what, why);
    return false;
}

/* Begins to listen whether the receiver refuses: with TLS it may do so behind the handshake. */
static void heed_refusal(struct voyage *voyage)
{
    static char byte;
    const ferry_read read = {.data = &byte, .size = 1};
    if (voyage->tls != NULL)
        (void)ferry_stream_read(voyage->stream, &read, NULL, &voyage->refusal);
}

/* Whether it has said so: what has come by now has been heard soon. */
static bool is_refused(struct voyage *voyage, char why[ENCRYPTION_TEXT_BYTES])
{
    enum { SOON_MS = 1000 };
    if (voyage->refusal != NULL)
        (void)ferry_promise_await(voyage->refusal, SOON_MS, NULL);
    return encryption_explain_end(voyage->stream, why);
}

static bool send_one(struct voyage *voyage, const struct cargo *cargo)
{
    ferry_file file = ferry_file_fd(cargo->fd);
    file.flags = FERRY_FD_GIVE;
    file.resume = voyage->arguments->resumes ? &voyage->arguments->resume : NULL;
    ferry_promise *promise;
    ferry_result result;
    int error = ferry_stream_sendfile(voyage->stream, &file, NULL, &promise);
    if (error != 0)
        return complain(voyage, cargo->name, words(error));
    error = await(voyage, promise, &result);
    bool is_sent = error == 0 && result.error == 0;
    if (error != 0) {
        (void)complain(voyage, cargo->name, words(error));
    } else if (!is_sent) {
        char why[ENCRYPTION_TEXT_BYTES];
        bool is_receivers_doing = result.phase == FERRY_PHASE_SINK;
        if (!is_receivers_doing || !is_refused(voyage, why))
            (void)ferry_result_format(&result, why, sizeof why);
        (void)complain(voyage, is_receivers_doing ? voyage->arguments->to : cargo->name, why);
    }
    ferry_resume_token token;
    if (voyage->arguments->count == 1 && ferry_promise_get_resume_token(promise, &token) == 0)
        print_token(cargo->name, &token);
    (void)ferry_promise_unref(promise);
    return is_sent;
}

/* Ends our direction, and waits until the receiver ends too. */
static bool finish(struct voyage *voyage)
{
    const char *receiver = voyage->arguments->to;
    ferry_promise *closed;
    ferry_result result;
    int error = ferry_stream_close(voyage->stream, &closed);
    if (error == 0) {
        error = await(voyage, closed, &result);
        (void)ferry_promise_unref(closed);
    }
    if (error != 0)
        return complain(voyage, receiver, words(error));
    if (result.error == -ETIMEDOUT) { /* some receivers never end: that is no failure */
        (void)complain(voyage, receiver, "everything was sent, but the receiver has not ended");
        return true;
    }
    char why[ENCRYPTION_TEXT_BYTES] = "it broke the connection and may not have everything";
    if (result.error != 0) {
        (void)encryption_explain_end(voyage->stream, why);
        return complain(voyage, receiver, why);
    }
    return true;
}

static bool send_all(struct voyage *voyage, const struct cargo cargo[])
{
    for (size_t i = 0; i < voyage->arguments->count; i++)
        if (!send_one(voyage, &cargo[i]))
            return false;
    return finish(voyage);
}

/* Says why a connect has failed. */
static void explain(const struct voyage *voyage, ferry_promise *connected, int error)
{
    char why[ENCRYPTION_TEXT_BYTES];
    bool is_encryptions = encryption_explain(connected, why);
    warnx("%s: %s", voyage->arguments->to, is_encryptions ? why : words(error));
}

/* @return an exit status: it has said why. */
static int connect_to(struct voyage *voyage, ferry_service *service)
{
    const struct arguments *arguments = voyage->arguments;
    const ferry_tls_options tls = {.context = voyage->tls, .name = arguments->name};
    const ferry_stream_options stream_options = {
        .close_timeout_ms = arguments->wait_ms,
        .close_bytes = MOST_INPUT,
        .tls = voyage->tls != NULL ? &tls : NULL,
    };
    const ferry_connect_options connect_options = {.stream = &stream_options};
    ferry_promise *connected;
    ferry_result result;
    int error = ferry_connect(service, arguments->to, &connect_options, &connected);
    if (error != 0) {
        warnx("address '%s': %s", arguments->to, ferry_error_message(error));
        return error == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
    }
    error = await(voyage, connected, &result);
    if (error == 0)
        error = result.error;
    if (error == 0)
        error = ferry_promise_get_stream(connected, &voyage->stream);
    if (error != 0)
        explain(voyage, connected, error);
    (void)ferry_promise_unref(connected);
    return error != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run(const struct arguments *arguments, ferry_service *service, ferry_tls_context *tls,
               const struct cargo cargo[], uint64_t total)
{
    struct voyage voyage = {.arguments = arguments, .tls = tls};
    int status = connect_to(&voyage, service);
    if (status != EXIT_SUCCESS)
        return status;
    heed_refusal(&voyage);
    progress_start(&voyage.progress, "sending", total);
    bool is_whole = send_all(&voyage, cargo);
    if (!is_whole)
        ferry_stream_abort(voyage.stream);
    double seconds = progress_end(&voyage.progress);
    ferry_stream_status sent;
    (void)ferry_stream_get_status(voyage.stream, &sent);
    if (is_whole)
        units_print_summary("sent", sent.sent_bytes, seconds);
    (void)ferry_promise_unref(voyage.refusal);
    (void)ferry_stream_unref(voyage.stream);
    return is_whole ? EXIT_SUCCESS : EXIT_FAILURE;
}

int command_send(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "FILE... ADDRESS", doc, NULL, NULL, NULL};
    struct arguments arguments = {.wait_ms = DEFAULT_WAIT_S * 1000};
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);

    interrupt_catch();
    uint64_t total;
    ferry_tls_context *tls =
        arguments.is_encrypted ? encryption_create_client(&arguments.encryption) : NULL;
    struct cargo *cargo =
        arguments.is_encrypted && tls == NULL ? NULL : open_all(&arguments, &total);
    ferry_service *service;
    if (cargo == NULL) {
        encryption_free(tls);
        return EXIT_FAILURE;
    }
    /* Progress is told once a chunk: on a slow connection a megabyte would take long. */
    const ferry_service_options service_options = {.chunk_bytes = 256 * 1024};
    int error = ferry_service_create(&service_options, &service);
    if (error != 0)
        errx(EXIT_FAILURE, "cannot start: %s", ferry_error_message(error));
    int status = run(&arguments, service, tls, cargo, total);
    (void)ferry_service_stop(service, 1000); /* its stream has been closed, or aborted */
    ferry_service_destroy(service);
    encryption_free(tls);
    free(cargo);
    return status;
}
