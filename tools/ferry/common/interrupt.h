/* SPDX-License-Identifier: MIT */
/*
 * How signals end the program. SIGINT, SIGTERM and SIGHUP end it as by default, so that whoever
 * started it sees that one did; as process 1 of a container, too, where nothing is done by default.
 * A command that has something to clean up notes the first one instead; the next ends the program.
 *
 * What it was started with as ignored stays so: by nohup(1), or in a script's background.
 */
#ifndef TOOLS_FERRY_COMMON_INTERRUPT_H
#define TOOLS_FERRY_COMMON_INTERRUPT_H

#include <stdbool.h>

/*
 * To be called first. Neither a reader of messages that has gone nor a limit of a log's size ends
 * the program from then on: what is under way goes on, and the message is lost.
 */
void interrupt_begin(void);

/* Whether the program was started with that signal as ignored. */
bool interrupt_is_ignored(int signal);

/* From now on the first signal is only noted. System calls that wait give EINTR. */
void interrupt_catch(void);

/* The signal that was noted, or 0. */
int interrupt_signal(void);

/* Ends the program as the signal does by default. In a handler, too. */
_Noreturn void interrupt_end(int signal);

#endif
