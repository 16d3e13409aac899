/* SPDX-License-Identifier: MIT */
/*
 * How a test is written. PROMISE(suite, name) is a test whose name says what a user may rely on;
 * PROMISE_BOTH runs it once with each placement. PROMISE_EITHER is for what does not know where it
 * is placed: it runs with one of them, and half of such tests with the other.
 *
 * Each test is a process of its own, run by Criterion, and its body runs on a thread of its own:
 * when that has ended, inbox and all, the census must be what it was before: as many fds, threads
 * and allocations of ferry's. A failed check ends the process, on whatever thread it fails.
 *
 * With a sanitizer the same sources get a small main of our own (FERRY_PLAIN_TESTS,
 * tests/plain_main.c), which also forks for each test. Criterion dies under ThreadSanitizer (its
 * issue 274), and starts AddressSanitizer anew for each test.
 */
#ifndef FERRY_TESTS_HARNESS_H
#define FERRY_TESTS_HARNESS_H

#include <ferry/ferry.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* A hang fails, too. No test takes 20 s alone; a sanitized one beside 20 processes takes 300. */
#define TEST_TIMEOUT_S 900

#ifdef FERRY_PLAIN_TESTS
typedef struct plain_test {
    const char *suite;
    const char *name;
    void (*body)(void);
    struct plain_test *next;
    pid_t process; /* that it runs in; 0: not yet */
} plain_test;
void plain_test_register(plain_test *test);
#define HARNESS_TEST(suite_, name_)                                                                \
    static void suite_##_##name_##_run(void);                                                      \
    __attribute__((constructor)) static void suite_##_##name_##_register(void)                     \
    {                                                                                              \
        static plain_test test = {#suite_, #name_, suite_##_##name_##_run, NULL, 0};               \
        plain_test_register(&test);                                                                \
    }                                                                                              \
    static void suite_##_##name_##_run(void)
#else
#include <criterion/criterion.h>
#define HARNESS_TEST(suite_, name_) Test(suite_, name_, .timeout = TEST_TIMEOUT_S)
#endif

typedef struct test_body {
    void (*plain)(void);
    void (*placed)(ferry_placement placement);
    ferry_placement placement;
} test_body;

/* Runs a body on a thread of its own, between two censuses. */
void harness_run(test_body body);

#define PROMISE(suite, name)                                                                       \
    static void name##_body(void);                                                                 \
    HARNESS_TEST(suite, name)                                                                      \
    {                                                                                              \
        harness_run((test_body){.plain = name##_body});                                            \
    }                                                                                              \
    static void name##_body(void)

#define PROMISE_BOTH(suite, name)                                                                  \
    static void name##_body(ferry_placement placement);                                            \
    HARNESS_TEST(suite, name##_dedicated)                                                          \
    {                                                                                              \
        harness_run((test_body){.placed = name##_body, .placement = FERRY_PLACEMENT_DEDICATED});   \
    }                                                                                              \
    HARNESS_TEST(suite, name##_shared)                                                             \
    {                                                                                              \
        harness_run((test_body){.placed = name##_body, .placement = FERRY_PLACEMENT_SHARED});      \
    }                                                                                              \
    static void name##_body(ferry_placement placement)

#define PROMISE_EITHER(suite, name)                                                                \
    static void name##_body(ferry_placement placement);                                            \
    HARNESS_TEST(suite, name)                                                                      \
    {                                                                                              \
        harness_run((test_body){.placed = name##_body,                                             \
                                .placement = sizeof #name % 2 ? FERRY_PLACEMENT_DEDICATED          \
                                                              : FERRY_PLACEMENT_SHARED});          \
    }                                                                                              \
    static void name##_body(ferry_placement placement)

/*
 * A variable declared with AT_END(put_away) is put away when its block ends, by put_away(&it):
 *
 *     AT_END(stage_close) stage s = stage_open(placement, tcp_pair());
 *
 * The last one goes first. What put_away checks is checked then. What may still be used until then,
 * as by a callback, is declared before: whatever was declared later is gone.
 */
#define AT_END(put_away) __attribute__((cleanup(put_away), unused))

/* Such a function, of a pointer: name(type **). */
#define PUT_AWAY(name, type, function)                                                             \
    static inline void name(type **it)                                                             \
    {                                                                                              \
        (void)(function)(*it);                                                                     \
    }

PUT_AWAY(destroy_service, ferry_service, ferry_service_destroy)
PUT_AWAY(drop_stream, ferry_stream, ferry_stream_unref)
PUT_AWAY(drop_promise, ferry_promise, ferry_promise_unref)
PUT_AWAY(drop_listener, ferry_listener, ferry_listener_unref)
PUT_AWAY(drop_limiter, ferry_limiter, ferry_limiter_unref)
PUT_AWAY(drop_shared_file, ferry_shared_file, ferry_shared_file_unref)
PUT_AWAY(drop_faults, ferry_faults, ferry_faults_unref)

/* Of any malloc'd memory. */
static inline void free_memory(void *pointer)
{
    void *memory;
    memcpy(&memory, pointer, sizeof memory);
    free(memory);
}

static inline void close_fd(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* A function that is called in the place of another, which it may call as __real_NAME (the linker's
 * --wrap). */
#define WRAPPED(type, name, parameters)                                                            \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters

/* On any thread. */
_Noreturn void check_failed(const char *file, int line, const char *what);
_Noreturn void check_eq_failed(const char *file, int line, const char *what, long long got,
                               long long expected);

#define check(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))

#define check_eq(got, expected)                                                                    \
    do {                                                                                           \
        long long got_ = (long long)(got), expected_ = (long long)(expected);                      \
        if (got_ != expected_)                                                                     \
            check_eq_failed(__FILE__, __LINE__, #got " == " #expected, got_, expected_);           \
    } while (0)

/* ---- the allocator that the census counts by ---- */

/* From now on, the n-th allocation of ferry's fails (1: the next). */
void fail_allocation(unsigned long n);
void allow_allocations(void);

/*
 * Has the first allocation of what follows fail, then the second, and so on, until none was left to
 * fail: while (next_allocation_fails(&shortage)) ... Zero-initialised, it begins.
 */
typedef struct shortage {
    unsigned long failures, before;
} shortage;
bool next_allocation_fails(shortage *self);

/* How many allocations ferry made so far, how many of them and of their bytes it still has, how
 * many lines it logged. */
unsigned long allocations_made(void);
long allocations_outstanding(void);
long bytes_outstanding(void);
unsigned long lines_logged(void);

/* The last of these lines, while no other is logged. */
const char *last_line_logged(void);

/* ---- counts ---- */

unsigned count_fds(void);
unsigned count_threads(void);

/* Waits until so many threads are left. A joined one may stand in /proc for a moment longer: the
 * kernel tells the joiner first. */
void wait_for_threads(unsigned expected);

/* Waits until a thread of this process sleeps in the kernel, by its id. */
void wait_until_thread_sleeps(int id);

/* Starts a thread, or so many with the same argument; waits until they have ended. */
pthread_t start_thread(void *(*body)(void *), void *arg);
void start_threads(pthread_t ret_threads[], unsigned count, void *(*body)(void *), void *arg);
void join_thread(const pthread_t *thread);
void join_threads(const pthread_t threads[], unsigned count);

/* Callbacks of promises: one counts its runs in *arg, an unsigned; one ends its thread; one goes on
 * once *arg, an atomic_bool, is set. */
void count_up(ferry_promise *promise, const ferry_result *result, void *arg);
void end_thread(ferry_promise *promise, const ferry_result *result, void *arg);
void hold_until_told(ferry_promise *promise, const ferry_result *result, void *arg);

/* Runs a body on a thread of its own, which has ended when this returns. */
void run_to_its_end(void *(*body)(void *), void *arg);

/* Waits for the end of a process that was forked, which must be in order: all its checks held. */
void await_child(pid_t child);

/* The seed of this run's randomness: FERRY_SEED, or the clock. Printed. */
uint64_t random_seed(void);

/* The next number of a sequence (splitmix64). */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

#endif
