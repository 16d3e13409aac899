/* SPDX-License-Identifier: MIT */
/* Results in words. */
#include <ferry/result.h>
#include <ferry/error.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

const char *ferry_phase_name(ferry_phase phase)
{
    switch (phase) {
    case FERRY_PHASE_DONE:
        return "done";
    case FERRY_PHASE_QUEUE:
        return "queue";
    case FERRY_PHASE_OPEN:
        return "open";
    case FERRY_PHASE_SOURCE:
        return "source";
    case FERRY_PHASE_SINK:
        return "sink";
    case FERRY_PHASE_CLOSE:
        return "close";
    case FERRY_PHASE_RESOLVE:
        return "resolve";
    case FERRY_PHASE_SOCKET:
        return "socket";
    case FERRY_PHASE_BIND:
        return "bind";
    case FERRY_PHASE_LISTEN:
        return "listen";
    case FERRY_PHASE_CONNECT:
        return "connect";
    case FERRY_PHASE_SECURE:
        return "secure";
    }
    return "unknown";
}

const char *ferry_method_name(ferry_method method)
{
    switch (method) {
    case FERRY_METHOD_NONE:
        return "none";
    case FERRY_METHOD_MEMORY:
        return "memory";
    case FERRY_METHOD_SENDFILE:
        return "sendfile";
    case FERRY_METHOD_SPLICE:
        return "splice";
    case FERRY_METHOD_COPY:
        return "copy";
    }
    return "unknown";
}

/* Each cause in a word, and in the words of a sentence's end. */
static const struct {
    const char *name, *phrase;
} causes[] = {
    [FERRY_CAUSE_NONE] = {"none", ""},
    [FERRY_CAUSE_CANCEL] = {"cancel", ": cancelled"},
    [FERRY_CAUSE_CLOSE] = {"close", ": the stream was closed"},
    [FERRY_CAUSE_ABORT] = {"abort", ": the stream was aborted"},
    [FERRY_CAUSE_BROKEN] = {"broken", ": the stream had broken"},
    [FERRY_CAUSE_DESTROY] = {"destroy", ": the service was destroyed"},
    [FERRY_CAUSE_GONE] = {"gone", ": its thread has ended"},
};

static bool is_known(ferry_cause cause)
{
    return (unsigned)cause < sizeof causes / sizeof causes[0];
}

const char *ferry_cause_name(ferry_cause cause)
{
    return is_known(cause) ? causes[cause].name : "unknown";
}

static const char *phrase_of(const ferry_result *result)
{
    return is_known(result->cause) ? causes[result->cause].phrase : "";
}

int ferry_result_format(const ferry_result *result, char *buffer, size_t size)
{
    if (result == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    if (result->error == 0 && result->sent == 0)
        return snprintf(buffer, size, "done");
    if (result->error == 0 && result->method == FERRY_METHOD_NONE)
        return snprintf(buffer, size, "%" PRIu64 " bytes sent", result->sent);
    if (result->error == 0)
        return snprintf(buffer, size, "%" PRIu64 " bytes sent by %s", result->sent,
                        ferry_method_name(result->method));
    if (result->phase == FERRY_PHASE_DONE && result->sent == 0 && result->remaining == 0)
        /* a program's own failure, which has none of them */
        return snprintf(buffer, size, "%s: %s%s", ferry_error_name(result->error),
                        ferry_error_message(result->error), phrase_of(result));
    return snprintf(buffer, size, "%s in %s: %s%s (%" PRIu64 " bytes sent, %" PRIu64 " remaining)",
                    ferry_error_name(result->error), ferry_phase_name(result->phase),
                    ferry_error_message(result->error), phrase_of(result), result->sent,
                    result->remaining);
}
