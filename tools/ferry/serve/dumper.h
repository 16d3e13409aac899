/* SPDX-License-Identifier: MIT */
/*
 * A dumper: a thread that tells on standard error what a service is at, whenever SIGUSR1 comes. It
 * is a thread of its own, so that it can also tell why a stop lasts.
 */
#ifndef TOOLS_FERRY_SERVE_DUMPER_H
#define TOOLS_FERRY_SERVE_DUMPER_H

#include <ferry/service.h>

struct dumper;

/* Starts one. SIGUSR1 has to be blocked in all threads. @return 0, or a negative errno. */
int dumper_start(ferry_service *service, struct dumper **ret_dumper);

/* Ends it, even amid a dump; before the service is destroyed. Takes NULL. */
void dumper_stop(struct dumper *dumper);

#endif
