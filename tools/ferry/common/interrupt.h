/* SPDX-License-Identifier: MIT */
/*
 * How signals end the program. SIGINT, SIGTERM and SIGHUP end it as by default, so that its parent
 * sees that a signal did. They also end it as process 1 of a container, where by default they do
 * nothing. A command that has something to clean up notes the first one instead; the next ends the
 * program.
 *
 * A signal that was ignored when the program started stays ignored: by nohup(1), or in a script's
 * background.
 */
#ifndef TOOLS_FERRY_COMMON_INTERRUPT_H
#define TOOLS_FERRY_COMMON_INTERRUPT_H

#include <stdbool.h>

/*
 * To be called first. From then on the program goes on if a reader of its messages has gone, or a
 * log has reached its limit: only the message is lost.
 */
void interrupt_begin(void);

/* Whether that signal was ignored when the program started. */
bool interrupt_is_ignored(int signal);

/* From now on the first signal is only noted. System calls that wait give EINTR. */
void interrupt_catch(void);

/* The signal that was noted, or 0. */
int interrupt_signal(void);

/* Ends the program as the signal does by default. In a handler, too. */
_Noreturn void interrupt_end(int signal);

#endif
