/* SPDX-License-Identifier: MIT */
/*
 * Interruption from the keyboard or by kill(1), noticed instead of fatal, so that a command can
 * tell its peer and clean up. A second signal ends the program as usual.
 */
#ifndef TOOLS_FERRY_INTERRUPT_H
#define TOOLS_FERRY_INTERRUPT_H

/* From now on SIGINT, SIGTERM and SIGHUP are only noted. System calls that wait give EINTR. */
void interrupt_catch(void);

/* The signal that was noted, or 0. */
int interrupt_signal(void);

#endif
