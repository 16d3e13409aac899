/* SPDX-License-Identifier: MIT */
#include "tests/harness.h"

PROMISE(status, codes_have_names_whatever_their_sign)
{
    check(strcmp(ferry_error_name(0), "OK") == 0);
    check(strcmp(ferry_error_name(-ENODATA), "ENODATA") == 0);
    check(strcmp(ferry_error_name(EPIPE), "EPIPE") == 0);
    check(strcmp(ferry_error_name(-99999), "EUNKNOWN") == 0);
}

#ifdef __GLIBC__ /* musl cannot be asked */
PROMISE(status, each_errno_has_the_name_that_the_system_gives_it)
{
    for (int error = 1; error <= 4096; error++) {
        const char *name = strerrorname_np(error);
        check(strcmp(ferry_error_name(-error), name != NULL ? name : "EUNKNOWN") == 0);
    }
}
#endif

PROMISE(status, messages_say_what_ferry_means_by_a_code)
{
    check(strcmp(ferry_error_message(-ENODATA), "the source ended before the planned length") == 0);
    check(strcmp(ferry_error_message(-ENOENT), "No such file or directory") == 0);
    check(strcmp(ferry_error_message(-99999), "unknown error") == 0);
}

PROMISE(status, phases_have_names)
{
    static const char *const names[] = {"done",    "queue",  "open", "source", "sink",   "close",
                                        "resolve", "socket", "bind", "listen", "connect"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        check(strcmp(ferry_phase_name((ferry_phase)i), names[i]) == 0);
    check(strcmp(ferry_phase_name((ferry_phase)99), "unknown") == 0);
}

PROMISE(status, result_in_words_names_error_phase_and_counts)
{
    static const struct {
        ferry_result result;
        const char *words;
    } cases[] = {
        {{.error = -ENOENT, .phase = FERRY_PHASE_OPEN, .remaining = 10},
         "ENOENT in open: No such file or directory (0 bytes sent, 10 remaining)"},
        {{.error = -EPIPE}, "EPIPE: Broken pipe"}, /* a program's, which has no phase */
        {{.error = -ECANCELED,
          .cause = FERRY_CAUSE_BROKEN,
          .phase = FERRY_PHASE_QUEUE,
          .remaining = 10},
         "ECANCELED in queue: called off before it was complete: the stream had broken "
         "(0 bytes sent, 10 remaining)"},
        {{.method = FERRY_METHOD_SENDFILE, .sent = 1024}, "1024 bytes sent by sendfile"},
        {{.sent = 1024}, "1024 bytes sent"}, /* what was added up */
        {{0}, "done"},                       /* a marker */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[200];
        ferry_result_format(&cases[i].result, line, sizeof line);
        check(strcmp(line, cases[i].words) == 0);
    }
}

PROMISE(status, result_in_words_tells_its_length_and_never_overruns)
{
    char line[8] = "0123456";
    const ferry_result done = {.method = FERRY_METHOD_COPY, .sent = 7};
    check_eq(ferry_result_format(&done, line, 5), strlen("7 bytes sent by copy"));
    check(memcmp(line,
                 "7 by\0"
                 "56",
                 8) == 0);
    check_eq(ferry_result_format(&done, NULL, 0), strlen("7 bytes sent by copy"));
    check_eq(ferry_result_format(NULL, line, 5), -EINVAL);
    check_eq(ferry_result_format(&done, NULL, 5), -EINVAL);
}

PROMISE(status, each_cause_has_a_name)
{
    check(strcmp(ferry_cause_name(FERRY_CAUSE_NONE), "none") == 0);
    check(strcmp(ferry_cause_name(FERRY_CAUSE_GONE), "gone") == 0);
    check(strcmp(ferry_cause_name((ferry_cause)(FERRY_CAUSE_GONE + 1)), "unknown") == 0);
    check(strcmp(ferry_cause_name((ferry_cause)-1), "unknown") == 0);
}

PROMISE(status, version_of_the_library_is_that_of_its_headers)
{
    check(strcmp(ferry_version(), FERRY_VERSION) == 0);
    check(FERRY_VERSION_AT_LEAST(0, 0, 9) && FERRY_VERSION_AT_LEAST(0, 1, 0));
    check(!FERRY_VERSION_AT_LEAST(0, 1, 1) && !FERRY_VERSION_AT_LEAST(1, 0, 0));
}
