/* SPDX-License-Identifier: MIT */
/* What ferry's threads are like: how much stack they have, and which scheduling policy. */
#include "tests/support.h"

#include <sys/syscall.h>

/* ---- stacks ---------------------------------------------------------------------------------- */

/* A host with large static TLS: it comes out of every thread's stack. */
enum { STATIC_TLS = 600 * 1024, STACK = 256 * 1024 };
static _Thread_local volatile char large[STATIC_TLS];

/* Less than was asked for by what the loop has below a callback; and by what sanitizers need. */
enum { USED = STACK - 48 * 1024 };

static void use_the_stack(ferry_promise *, const ferry_result *result, void *)
{
    volatile char buffer[USED];
    for (size_t i = 0; i < sizeof buffer; i += 1024)
        buffer[i] = (char)result->error;
    large[STATIC_TLS - 1] = buffer[0];
}

/* Carries out a request on an owner of such a service. */
static void write_on(ferry_service_options options, ferry_request_options request)
{
    ferry_service *service;
    pair ends = unix_pair(SOCK_STREAM);
    options.shared_owners = 1;
    check_eq(ferry_service_create(&options, &service), 0);
    ferry_stream *stream = stream_adopt(service, ends.ours);
    check_eq(outcome(submit_write_with(stream, "x", 1, &request)).error, 0);
    check_eq(close_stream(stream).error, 0);
    ferry_service_destroy(service);
    check_eq(close(ends.theirs), 0);
}

static void use_a_stack_of(ferry_placement placement, size_t stack_bytes)
{
    write_on((ferry_service_options){.placement = placement, .stack_bytes = stack_bytes},
             (ferry_request_options){.on_owner = use_the_stack, .on_owner_holds_queue = true});
}

PROMISE_BOTH(threads, stack_that_was_asked_for_is_there_beside_the_hosts_static_tls)
{
    use_a_stack_of(placement, 0); /* 256 KiB */
    use_a_stack_of(placement, STACK);
    use_a_stack_of(placement, STACK + 1);
}

PROMISE_BOTH(threads, connecting_by_name_gets_a_stack_beside_static_tls)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_promise *connected;
    check_eq(ferry_connect(service, "localhost:1", NULL, &connected), 0);
    check(outcome(connected).error != 0); /* nobody listens: but the look-up did not crash */
}

/* ---- what the program wants done on each ----------------------------------------------------- */

typedef struct starts {
    atomic_uint front, owners, others, released;
} starts;

static void note_start(const char *name, void *arg)
{
    starts *seen = arg;
    bool is_front = strcmp(name, "ferry-front") == 0;
    bool is_shared = strncmp(name, "ferry-owner-", 12) == 0;
    atomic_fetch_add(is_front ? &seen->front : is_shared ? &seen->owners : &seen->others, 1);
    check_eq(pthread_setname_np(pthread_self(), "mine"), 0);
}

static void note_release(void *, void *arg)
{
    atomic_fetch_add(&((starts *)arg)->released, 1);
}

static void check_name(ferry_promise *, const ferry_result *, void *)
{
    char name[16];
    check_eq(pthread_getname_np(pthread_self(), name, sizeof name), 0);
    check(strcmp(name, "mine") == 0);
}

PROMISE_BOTH(threads, each_is_told_of_where_it_takes_up_its_work)
{
    starts seen = {0};
    write_on((ferry_service_options){.placement = placement,
                                     .on_thread_start = note_start,
                                     .on_thread_start_arg = &seen,
                                     .on_thread_start_release = note_release},
             (ferry_request_options){.on_owner = check_name, .on_owner_holds_queue = true});
    check_eq(atomic_load(&seen.front), placement == FERRY_PLACEMENT_DEDICATED);
    check_eq(atomic_load(&seen.owners), placement == FERRY_PLACEMENT_SHARED);
    check_eq(atomic_load(&seen.others), placement == FERRY_PLACEMENT_DEDICATED);
    check_eq(atomic_load(&seen.released), 1);
}

/* ---- scheduling ------------------------------------------------------------------------------ */

static void tell_policy(ferry_promise *, const ferry_result *, void *arg)
{
    *(int *)arg = (int)syscall(SYS_sched_getscheduler, 0); /* musl does not answer */
}

/* The policy of the thread that carries out a stream's requests. */
static int policy_of_owner(ferry_placement placement, bool inherits)
{
    int policy = -1;
    write_on((ferry_service_options){.placement = placement, .inherit_scheduling = inherits},
             (ferry_request_options){
                 .on_owner = tell_policy, .on_owner_holds_queue = true, .on_owner_arg = &policy});
    return policy;
}

/* Whether it is allowed here. */
static bool take_policy(int policy, int priority)
{
    struct sched_param parameter = {.sched_priority = priority};
    int error = pthread_setschedparam(pthread_self(), policy, &parameter);
    check(error == 0 || error == EPERM);
    return error == 0;
}

PROMISE_BOTH(threads, real_time_policy_is_not_inherited_unless_asked_for)
{
    static const int policies[] = {SCHED_FIFO, SCHED_RR};
    for (int i = 0; i < 2; i++) {
        if (!take_policy(policies[i], 5))
            return; /* not privileged */
        check_eq(policy_of_owner(placement, false), SCHED_OTHER);
        check_eq(policy_of_owner(placement, true), policies[i]);
    }
}

PROMISE_BOTH(threads, policies_for_the_background_are_inherited)
{
    check(take_policy(SCHED_BATCH, 0));
    check_eq(policy_of_owner(placement, false), SCHED_BATCH);
    check(take_policy(SCHED_IDLE, 0));
    check_eq(policy_of_owner(placement, false), SCHED_IDLE);
}
