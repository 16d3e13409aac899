/* SPDX-License-Identifier: MIT */
/*
 * ferry serve: the files of a directory, over HTTP/1.1. Here are its command line and its signals.
 */
#include "addresses.h"
#include "dumper.h"
#include "entrance.h"
#include "server.h"
#include "tree.h"
#include "messages.h"
#include "../common/commands.h"
#include "../common/encryption.h"
#include "../common/interrupt.h"
#include "../common/option.h"

#include <ferry/ferry.h>

#include <argp.h>
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    HEAD_S = 10,              /* a head fits in one packet or a few */
    IDLE_S = 60,              /* what browsers keep a connection for, about */
    STOP_S = 30,              /* for downloads under way */
    LONGEST_S = 24 * 60 * 60, /* so that milliseconds cannot overflow */
    CACHED_FILES = 8192,      /* by each thread: of 1 KiB so many fit into these bytes */
    CACHED_BYTES = 16 << 20,  /* by each thread: a thousand small files at their largest */
    MOST_OPEN_FILES = 1024    /* by each thread, of the large ones */
};

/* ---- the command line ------------------------------------------------------------------------ */

struct arguments {
    const char *directory;
    struct addresses addresses;
    unsigned limit;   /* of connections, at each; 0: as many as fds allow */
    const char *log;  /* NULL: none */
    int64_t stop_ms;  /* how long a stop may take */
    sigset_t signals; /* that ask for it */
    struct server_options server;
};

/* Options without a letter of their own. */
enum { KEY_HIDDEN = 256, KEY_HEAD, KEY_IDLE, KEY_STOP, KEY_CONNECTIONS, KEY_RATE, KEY_LOG };

static const struct argp_option options[] = {
    {"listen", 'l', "ADDRESS", 0, "Listen there; may be repeated. Default: 127.0.0.1:8080", 0},
    {"tls-cert", ENCRYPTION_CERT, "FILE", 0,
     "Speak TLS there, and show FILE: a certificate, and those that it was signed with. Before "
     "any --listen: everywhere. May be repeated: a client gets the one that has the name it asks "
     "for",
     0},
    {"tls-key", ENCRYPTION_KEY, "FILE", 0, "The certificate's key. Default: in the same FILE", 0},
    {"tls-client-ca", ENCRYPTION_CA, "FILE", 0,
     "Let in only clients whose certificate FILE's have signed. Before any --listen: everywhere",
     0},
    {"threads", 't', "N", 0, "Threads that serve. Default: one for each processor", 0},
    {"list", 'i', NULL, 0, "Show what is in directories that have no index.html", 1},
    {"hidden", KEY_HIDDEN, NULL, 0, "Serve names that begin with a dot, too", 1},
    {"log", KEY_LOG, "FILE", 0, "Write a line for each answer to FILE; -: standard output", 1},
    {"rate", KEY_RATE, "BYTES", 0, "Send at most that many bytes a second, all in all", 2},
    {"max-connections", KEY_CONNECTIONS, "N", 0,
     "At most so many at a time, at each address; idle ones leave for others", 2},
    {"head-timeout", KEY_HEAD, "S", 0, "How long a request may take to come. Default: 10", 2},
    {"idle-timeout", KEY_IDLE, "S", 0, "How long a client may do nothing. Default: 60", 2},
    {"stop-timeout", KEY_STOP, "S", 0, "How long a stop waits for downloads. Default: 30", 2},
    {0},
};

static const char doc[] =
    "Serves the files in DIR over HTTP/1.1, until SIGINT or SIGTERM."
    "\vADDRESS is HOST:PORT, [V6]:PORT, unix:/path, or systemd:N for a socket that the service "
    "manager passes; with port 0 the system chooses one. The addresses are printed on standard "
    "error. At SIGHUP the log's FILE is opened anew, and certificates and keys are read again; "
    "without a log and certificates it stops, as at SIGTERM. What "
    "is under way when it is to stop is finished; a "
    "second signal ends it at once. At SIGUSR1 it tells on standard error what each thread "
    "and each connection is at.";

static int64_t parse_seconds(const char *name, const char *text, uint64_t least,
                             const struct argp_state *state)
{
    return option_seconds(name, text, least, LONGEST_S, state);
}

static error_t parse_limit(int key, char *arg, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct server_options *server = &arguments->server;
    switch (key) {
    case KEY_HEAD:
        server->times.head_ms = parse_seconds("head-timeout", arg, 1, state);
        return 0;
    case KEY_IDLE:
        server->times.idle_ms = parse_seconds("idle-timeout", arg, 1, state);
        return 0;
    case KEY_STOP:
        arguments->stop_ms = parse_seconds("stop-timeout", arg, 0, state);
        return 0;
    case KEY_CONNECTIONS:
        arguments->limit = (unsigned)option_number("max-connections", arg, 1, 1000000, state);
        return 0;
    case KEY_RATE:
        server->rate_bytes_per_s = option_number("rate", arg, 1, UINT64_C(1) << 50, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* What is said of TLS is said of the address before. */
static error_t parse_address(int key, char *arg, struct argp_state *state)
{
    struct addresses *addresses = &((struct arguments *)state->input)->addresses;
    struct encryption *encryption = addresses_encryption(addresses);
    switch (key) {
    case 'l':
        (void)encryption_is_wanted(encryption, state);
        addresses_add(addresses, arg, state);
        return 0;
    case ARGP_KEY_END:
        (void)encryption_is_wanted(encryption, state);
        return 0;
    default:
        break;
    }
    error_t error = encryption_parse(encryption, key, arg, state);
    return error == ARGP_ERR_UNKNOWN ? parse_limit(key, arg, state) : error;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 't':
        arguments->server.owners = (unsigned)option_number("threads", arg, 1, 1024, state);
        return 0;
    case 'i':
        arguments->server.site.lists = true;
        return 0;
    case KEY_HIDDEN:
        arguments->server.site.shows_hidden = true;
        return 0;
    case KEY_LOG:
        arguments->log = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0)
            argp_error(state, "there is one argument too many: '%s'", arg);
        arguments->directory = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "it takes a DIR");
        return 0;
    default:
        return parse_address(key, arg, state);
    }
}

/* ---- serving --------------------------------------------------------------------------------- */

/* A quarter of all fds is for files that the threads keep open; the rest for connections. */
static struct cache_limits choose_limits(unsigned owners, size_t fds)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t threads = owners > 0 ? owners : processors > 0 ? (size_t)processors : 1;
    size_t files = fds / 4 / threads;
    return (struct cache_limits){
        .entries = CACHED_FILES,
        .bytes = CACHED_BYTES,
        .files = files < 1                 ? 1
                 : files < MOST_OPEN_FILES ? files
                                           : MOST_OPEN_FILES,
    };
}

/* A signal that is blocked would come even if it is ignored. */
static void add_unless_ignored(sigset_t *signals, int signal)
{
    if (!interrupt_is_ignored(signal))
        (void)sigaddset(signals, signal);
}

/*
 * So many connections, at each address, that they do not use up the fds: a client that comes when
 * all are taken must still be accepted.
 */
static unsigned choose_limit(const struct arguments *arguments, size_t fds)
{
    enum { OWN_FDS = 16, OWNER_FDS = 4, MOST = 1000000 };
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t threads = arguments->server.owners > 0 ? arguments->server.owners : (size_t)processors;
    size_t others =
        fds / 4 + OWN_FDS + threads * OWNER_FDS + arguments->addresses.count * (1 + PLACES_WAITING);
    size_t most = fds > others ? (fds - others) / arguments->addresses.count : 0;
    return most < 1 ? 1 : most < MOST ? (unsigned)most : MOST;
}

/* Signals are waited for, not handled. They are blocked before there are threads, and before
 * anything takes long, so that none of them ends a server that has just begun. @param ret_stop the
 * signals that ask for a stop; SIGHUP is another matter. */
static void block_signals(sigset_t *ret_stop)
{
    (void)sigemptyset(ret_stop);
    add_unless_ignored(ret_stop, SIGINT);
    add_unless_ignored(ret_stop, SIGTERM);
    sigset_t all = *ret_stop;
    (void)sigaddset(&all, SIGHUP);
    (void)sigaddset(&all, SIGUSR1); /* the dumper's */
    (void)sigprocmask(SIG_BLOCK, &all, NULL);
}

static bool listen_at(struct server *server, const struct entrance_options *entrance,
                      ferry_listener **ret_entrance)
{
    char bound[256];
    ferry_phase phase;
    int error = entrance_open(server, entrance, bound, sizeof bound, &phase, ret_entrance);
    if (error == 0)
        encryption_say_listening(entrance->tls, bound);
    else
        warnx("cannot listen on %s: %s: %s", entrance->address, ferry_phase_name(phase),
              ferry_error_message(error));
    return error == 0;
}

/*
 * With a log, or certificates, SIGHUP means that these have changed, also if nohup(1) has it
 * ignored. Without them it means that the terminal is gone.
 */
static void await_stop(const struct arguments *arguments)
{
    struct log_writer *log = arguments->server.log;
    bool has_files = log != NULL || addresses_are_encrypted(&arguments->addresses);
    sigset_t signals = arguments->signals;
    if (has_files)
        (void)sigaddset(&signals, SIGHUP);
    else
        add_unless_ignored(&signals, SIGHUP);
    for (int signal;;) {
        if (sigwait(&signals, &signal) != 0)
            continue;
        if (signal != SIGHUP || !has_files)
            return;
        if (log != NULL)
            log_writer_reopen(log);
        addresses_reload(&arguments->addresses);
    }
}

/* Waits for a signal, and ends in order. The next signal ends the program, as it does by default.
 * @return how many connections were not finished in time. */
static size_t serve_until_signal(struct server *server, const struct arguments *arguments)
{
    await_stop(arguments);
    (void)sigprocmask(SIG_UNBLOCK, &arguments->signals, NULL);
    return server_stop(server, arguments->stop_ms);
}

/*
 * @param ret_left how many connections were not finished in time; untouched if it did not get so
 * far.
 */
static int serve(struct server *server, const struct arguments *arguments, size_t *ret_left)
{
    const struct addresses *addresses = &arguments->addresses;
    ferry_listener *entrances[SERVER_PLACES];
    size_t count = 0;
    bool is_everywhere = true;
    while (is_everywhere && count < addresses->count) {
        const struct entrance_options entrance = {.address = addresses->list[count].text,
                                                  .limit = arguments->limit,
                                                  .tls = addresses_context(addresses, count)};
        is_everywhere = listen_at(server, &entrance, &entrances[count]);
        count += is_everywhere;
    }
    if (is_everywhere)
        *ret_left = serve_until_signal(server, arguments);
    for (size_t i = 0; i < count; i++)
        (void)ferry_listener_unref(entrances[i]);
    return is_everywhere && *ret_left == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int complain(const char *what, int error)
{
    warnx("%s: %s", what, ferry_error_message(error));
    return EXIT_FAILURE;
}

static int run(struct arguments *arguments)
{
    struct log_writer **log = &arguments->server.log;
    struct server *server = NULL;
    struct dumper *dumper = NULL;
    int error = arguments->log != NULL ? log_writer_start(arguments->log, log) : 0;
    if (error != 0)
        return complain(arguments->log, error);
    error = server_create(&arguments->server, &server);
    if (error == 0)
        error = dumper_start(server_service(server), &dumper);
    size_t left = 0;
    int status = error != 0 ? complain("it cannot begin", error) : serve(server, arguments, &left);
    dumper_stop(dumper);
    if (left > 0)
        messages_say("not all answers could be finished in time: %zu connections are cut off",
                     left);
    server_destroy(server);
    uint64_t missed = log_writer_stop(*log);
    if (missed > 0)
        messages_say("%llu lines are missing from the log", (unsigned long long)missed);
    return status;
}

/* A relative path means what it means in the shell that started the program: it leads through the
 * same links, also when these are moved on. An empty one stays empty: there is no such directory.
 * @return to be freed; NULL: no memory. */
static char *make_absolute(const char *directory)
{
    bool is_relative = *directory != '/' && *directory != '\0';
    char *path, *here = is_relative ? get_current_dir_name() : NULL;
    int length =
        here != NULL ? asprintf(&path, "%s/%s", here, directory) : asprintf(&path, "%s", directory);
    free(here);
    return length >= 0 ? path : NULL;
}

/* Finds the directory's whole name, and serves it. @return the exit status. */
static int serve_directory(struct arguments *arguments, const char *directory)
{
    struct site *site = &arguments->server.site;
    site->directory = directory;
    site->root = tree_open_root(directory);
    if (site->root < 0)
        return complain(arguments->directory, site->root);
    site->own_fds = tree_open_own_fds();
    struct media_types *types = media_types_load(MEDIA_TYPES_PATH);
    site->types = types;
    size_t fds = (size_t)sysconf(_SC_OPEN_MAX);
    arguments->server.cache = choose_limits(arguments->server.owners, fds);
    if (arguments->limit == 0)
        arguments->limit = choose_limit(arguments, fds);
    int status = types == NULL                              ? complain("types", -ENOMEM)
                 : addresses_prepare(&arguments->addresses) ? run(arguments)
                                                            : EXIT_FAILURE;
    addresses_free(&arguments->addresses);
    media_types_free(types);
    (void)close(site->root);
    if (site->own_fds >= 0)
        (void)close(site->own_fds);
    return status;
}

int command_serve(int argc, char **argv)
{
    static const struct argp argp = {
        .options = options, .parser = parse, .args_doc = "DIR", .doc = doc};
    struct arguments arguments = {
        .stop_ms = STOP_S * 1000,
        .server.times = {.head_ms = HEAD_S * 1000, .idle_ms = IDLE_S * 1000},
    };
    block_signals(&arguments.signals);
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    if (arguments.addresses.count == 0)
        addresses_add(&arguments.addresses, "127.0.0.1:8080", NULL);

    char *directory = make_absolute(arguments.directory);
    if (directory == NULL)
        return complain(arguments.directory, -ENOMEM);
    int status = serve_directory(&arguments, directory);
    free(directory);
    return status;
}
