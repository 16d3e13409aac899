/* SPDX-License-Identifier: MIT */
#include "transport/stream/settings.h"

#include "core/faults.h"
#include "core/handover.h"
#include "core/hooks.h"
#include "core/reserved.h"
#include "transport/limit/limiter.h"

#include <errno.h>

#define DEFAULT_LIMIT_REQUESTS UINT32_C(65536) /* 30 to 100 MB of requests */
#define DEFAULT_LIMIT_BYTES    (UINT64_C(64) << 20)
#define DEFAULT_CLOSE_BYTES    (UINT64_C(1) << 20)
#define SECURE_CLOSE_MS        5000 /* a server that is told of the end ends soon */

/* Everybody's who wants nothing special: never freed. */
static ferry__settings defaults = {
    .options = {.limit_requests = DEFAULT_LIMIT_REQUESTS,
                .limit_bytes = DEFAULT_LIMIT_BYTES,
                .close_bytes = DEFAULT_CLOSE_BYTES},
    .limits = {.requests = DEFAULT_LIMIT_REQUESTS, .memory_bytes = DEFAULT_LIMIT_BYTES},
    .refs = 1,
};

int ferry__settings_check(const ferry_stream_options *options, const ferry__socket_sort *sort)
{
    if (options == NULL)
        return 0;
    if (FERRY__IS_NEWER(options))
        return -E2BIG;
    if (options->limiter != NULL && ferry__limiter_is_foreign(options->limiter))
        return -ECHILD;
    if (options->limit_requests > FERRY__MOST_REQUESTS ||
        options->limit_bytes > FERRY__MOST_BYTES || options->close_timeout_ms < 0 ||
        options->close_bytes > FERRY__MOST_BYTES ||
        options->low_watermark_bytes > options->high_watermark_bytes ||
        (options->on_watermark != NULL && options->high_watermark_bytes == 0) ||
        options->notsent_lowat_bytes > INT32_MAX || options->stall_timeout_ms < 0 ||
        (unsigned)options->framing > FERRY_FRAMING_CONTINUE ||
        (unsigned)options->close_mode > FERRY_CLOSE_LINGERING)
        return -EINVAL;
    int error = ferry__secure_check(options->tls);
    if (error != 0)
        return error;
    if (sort == NULL)
        return 0;
    bool needs_stream = options->framing == FERRY_FRAMING_PAD || options->tls != NULL;
    bool is_possible = !(needs_stream && sort->is_message);
    return is_possible && ferry__secure_is_for_many(options->tls) ? 0 : -EINVAL;
}

static void fill_in_defaults(ferry_stream_options *options)
{
    if (options->limit_requests == 0)
        options->limit_requests = DEFAULT_LIMIT_REQUESTS;
    if (options->limit_bytes == 0)
        options->limit_bytes = DEFAULT_LIMIT_BYTES;
    if (options->close_bytes == 0)
        options->close_bytes = DEFAULT_CLOSE_BYTES;
}

/* A server of TLS sends what no program asks for: tickets. If these come to a socket that is closed
 * its kernel answers with a reset, which takes the last bytes from the server. */
static void close_kindly(ferry__settings *settings)
{
    ferry_stream_options *options = &settings->options;
    settings->is_kindly_closed = options->close_timeout_ms == 0 && options->tls != NULL &&
                                 !ferry__secure_context_of(options->tls)->is_server;
    if (settings->is_kindly_closed)
        options->close_timeout_ms = SECURE_CLOSE_MS;
}

ferry__settings *ferry__settings_create(const ferry_stream_options *options)
{
    if (options == NULL)
        return ferry__settings_ref(&defaults);
    ferry__label *label;
    ferry__secure *secure = NULL;
    int error = ferry__label_create(options->label, &label);
    if (error == 0)
        error = ferry__secure_take(options->tls, &secure);
    ferry__settings *settings = error == 0 ? ferry__allocate(sizeof *settings) : NULL;
    if (settings == NULL) {
        ferry__secure_give_back(secure);
        ferry__label_free(label);
        return NULL;
    }
    settings->options = *options;
    settings->options.label = ferry__label_text(label);
    settings->options.tls = secure != NULL ? &secure->options : NULL;
    settings->label = label;
    settings->secure = secure;
    settings->release = NULL;
    settings->base = NULL;
    fill_in_defaults(&settings->options);
    close_kindly(settings);
    settings->limits = (ferry__limits){
        .requests = settings->options.limit_requests,
        .memory_bytes = settings->options.limit_bytes,
        .source_bytes = settings->options.limit_file_bytes,
    };
    (void)ferry_faults_ref(options->faults);
    (void)ferry_limiter_ref(options->limiter);
    atomic_init(&settings->refs, 1);
    return settings;
}

ferry__settings *ferry__settings_derive(ferry__settings *base, const ferry_stream_options *options)
{
    ferry__settings *settings = ferry__settings_create(options);
    if (settings != NULL)
        settings->base = ferry__settings_ref(base);
    return settings;
}

void ferry__settings_commit(ferry__settings *settings)
{
    if (settings != &defaults)
        settings->release = settings->options.on_watermark_release;
}

ferry__settings *ferry__settings_ref(ferry__settings *settings)
{
    atomic_fetch_add_explicit(&settings->refs, 1, memory_order_relaxed);
    return settings;
}

void ferry__settings_unref(ferry__settings *settings)
{
    if (settings == NULL || ferry__refs_drop(&settings->refs) != 1)
        return;
    (void)ferry_faults_unref(settings->options.faults);
    (void)ferry_limiter_unref(settings->options.limiter);
    ferry__label_free(settings->label);
    ferry__secure_give_back(settings->secure);
    ferry__release_arg(settings->release, settings->options.on_watermark_arg);
    ferry__settings_unref(settings->base);
    ferry__release(settings);
}
