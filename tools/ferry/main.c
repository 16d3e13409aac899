/* SPDX-License-Identifier: MIT */
/* The program `ferry`: finds the subcommand and hands it the rest of the command line. */
#include "common/commands.h"
#include "common/descriptors.h"
#include "common/interrupt.h"

#include <ferry/api.h>

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* argp_parse, in libc, is to find it: the build hides symbols by default. */
__attribute__((visibility("default"))) const char *argp_program_version = "ferry " FERRY_VERSION;

static const char doc[] =
    "Moves files over TCP and unix sockets.\v"
    "Commands:\n"
    "  send FILE... ADDRESS   connect, and send the files' bytes\n"
    "  recv ADDRESS FILE      listen for one connection, and store what it sends\n"
    "  serve DIR              serve the files in DIR over HTTP/1.1\n"
    "  demo                   send from many threads, check every byte, time it\n"
    "\n"
    "Without a command it runs the demo. `ferry COMMAND --help' says more.\n"
    "ADDRESS is HOST:PORT, [V6]:PORT, :PORT, unix:/path or unix:@name.\n"
    "\n"
    "The exit status is 0 for success, 1 for failure, 2 for a command line that makes no sense. A "
    "signal that ended a command before it was done ends the program, so that the shell knows.";

/* A subcommand. */
struct command {
    const char *name;                  /* as the user types it */
    char *title;                       /* what it calls itself in messages */
    int (*run)(int argc, char **argv); /* as commands.h says */
};

static const struct command commands[] = {
    {"demo", (char[]){"ferry demo"}, command_demo},
    {"recv", (char[]){"ferry recv"}, command_recv},
    {"send", (char[]){"ferry send"}, command_send},
    {"serve", (char[]){"ferry serve"}, command_serve},
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* What stands before the command's own arguments. */
struct selection {
    const struct command *command; /* which to run */
    int index;                     /* where it stands in argv */
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct selection *selected = state->input;
    if (key != ARGP_KEY_ARG)
        return ARGP_ERR_UNKNOWN;
    selected->command = find_command(arg);
    if (selected->command == NULL)
        argp_error(state, "there is no command '%s'", arg);
    selected->index = state->next - 1;
    state->next = state->argc; /* the rest is the command's */
    return 0;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        .parser = parse, .args_doc = "[COMMAND [ARGUMENT...]]", .doc = doc};
    descriptors_begin();
    interrupt_begin();
    (void)atexit(descriptors_end);
    argp_err_exit_status = EXIT_USAGE;
    struct selection selected = {.command = find_command("demo"), .index = argc - 1};
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &selected);
    argv += selected.index;
    argv[0] = selected.command->title;
    program_invocation_short_name = selected.command->title; /* for err(3) */
    int status = selected.command->run(argc - selected.index, argv);
    if (status != EXIT_SUCCESS && interrupt_signal() != 0)
        interrupt_end(interrupt_signal());
    return status;
}
