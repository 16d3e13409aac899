/* SPDX-License-Identifier: MIT */
/*
 * Settings: the options that streams were made with, complete, and shared by all that one adopt,
 * one listener or one connect makes. Thousands of idle streams have one record of them.
 */
#ifndef FERRY_TRANSPORT_STREAM_SETTINGS_H
#define FERRY_TRANSPORT_STREAM_SETTINGS_H

#include "core/label.h"
#include "transport/limit/admission.h"
#include "transport/edge/link.h"

#include <ferry/stream.h>

#include <stdatomic.h>

typedef struct ferry__settings {
    ferry_stream_options options; /* constant; defaults are filled in; with references */
    ferry__limits limits;         /* those of the options */
    ferry__label *label;          /* the options' copy, or NULL */
    ferry_release *release;       /* of on_watermark_arg, once it is taken; or NULL */
    atomic_uint refs; /* behind them: every submit reads those, and no submit writes this */
} ferry__settings;

/* Checks options, NULL for the defaults; the sort of socket, if it is known. @return 0, -EINVAL,
 * -ECHILD. */
int ferry__settings_check(const ferry_stream_options *options, const ferry__socket_sort *sort);

/* Any thread. Makes settings of options that were checked, NULL for the defaults. NULL: no
 * memory. */
ferry__settings *ferry__settings_create(const ferry_stream_options *options);

/* Whoever made them, while it has its reference: the call succeeds that they are of, and takes
 * args. */
void ferry__settings_commit(ferry__settings *settings);

/* Any thread. */
ferry__settings *ferry__settings_ref(ferry__settings *settings);
void ferry__settings_unref(ferry__settings *settings); /* NULL: nothing */

#endif
