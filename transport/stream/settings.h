/* SPDX-License-Identifier: MIT */
/*
 * Settings: the options that streams were made with, complete. All streams that one adopt, one
 * listener or one connect makes share one record of them: there may be thousands of idle ones.
 */
#ifndef FERRY_TRANSPORT_STREAM_SETTINGS_H
#define FERRY_TRANSPORT_STREAM_SETTINGS_H

#include "core/label.h"
#include "transport/limit/admission.h"
#include "transport/edge/link.h"
#include "transport/edge/secure.h"

#include <ferry/stream.h>

#include <stdatomic.h>

typedef struct ferry__settings {
    ferry_stream_options options; /* constant; defaults are filled in; with references */
    ferry__limits limits;         /* those of the options */
    ferry__label *label;          /* the options' copy, or NULL */
    ferry__secure *secure;        /* the options' tls, taken; or NULL */
    bool is_kindly_closed;        /* close_timeout_ms is ferry's own wish, for its peer's sake */
    ferry_release *release;       /* of on_watermark_arg, once it is taken; or NULL */
    struct ferry__settings *base; /* that they were made of: a reference. Or NULL */
    atomic_uint refs; /* behind the options: every submit reads these, and none writes this */
} ferry__settings;

/*
 * Checks options. @param options NULL: the defaults. @param sort of a listener's sockets; NULL:
 * there is no listener. @return 0, -EINVAL, -ECHILD, -E2BIG.
 */
int ferry__settings_check(const ferry_stream_options *options, const ferry__socket_sort *sort);

/* Any thread. Makes settings of options that were checked. @param options NULL: the defaults.
 * @return NULL: no memory. */
ferry__settings *ferry__settings_create(const ferry_stream_options *options);

/* The same for options that were made of others, which stay as long. NULL: no memory. */
ferry__settings *ferry__settings_derive(ferry__settings *base, const ferry_stream_options *options);

/* The thread that made them, while it has its reference. Called when the call that they are of
 * succeeds, and so takes args. */
void ferry__settings_commit(ferry__settings *settings);

/* Any thread. */
ferry__settings *ferry__settings_ref(ferry__settings *settings);
void ferry__settings_unref(ferry__settings *settings); /* NULL: nothing */

#endif
