/* SPDX-License-Identifier: MIT */
/*
 * The program's subcommands. Each parses its own arguments (argv[0] is "ferry NAME"), prints its
 * own complaints, and returns the program's exit status.
 */
#ifndef TOOLS_FERRY_COMMON_COMMANDS_H
#define TOOLS_FERRY_COMMON_COMMANDS_H

/* The exit status if the command line makes no sense. A failure is EXIT_FAILURE. */
enum { EXIT_USAGE = 2 };

int command_demo(int argc, char **argv);
int command_recv(int argc, char **argv);
int command_send(int argc, char **argv);
int command_serve(int argc, char **argv);

#endif
