/* SPDX-License-Identifier: MIT */
#include "tests/harness.h"

#include <dirent.h>
#include <inttypes.h>
#include <malloc.h>
#include <sys/wait.h>
#include <time.h>

void check_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    abort();
}

void check_eq_failed(const char *file, int line, const char *what, long long got,
                     long long expected)
{
    fprintf(stderr, "%s:%d: not so: %s: got %lld, expected %lld\n", file, line, what, got,
            expected);
    abort();
}

/* ---- allocator and log ----------------------------------------------------------------------- */

static atomic_ulong made;
static atomic_long outstanding;
static atomic_long outstanding_bytes;
static atomic_ulong logged;
static atomic_ulong failing_at; /* 0: none fails */

static bool is_to_fail(unsigned long number)
{
    return number == atomic_load(&failing_at);
}

static void *allocate(size_t size, void *)
{
    if (is_to_fail(atomic_fetch_add(&made, 1) + 1))
        return NULL;
    void *memory = malloc(size);
    if (memory != NULL) {
        atomic_fetch_add(&outstanding, 1);
        atomic_fetch_add(&outstanding_bytes, (long)malloc_usable_size(memory));
    }
    return memory;
}

static void release(void *memory, void *)
{
    atomic_fetch_sub(&outstanding, 1);
    atomic_fetch_sub(&outstanding_bytes, (long)malloc_usable_size(memory));
    free(memory);
}

static pthread_mutex_t last_line_mutex = PTHREAD_MUTEX_INITIALIZER;
static char last_line[256];

static void keep_line(ferry_log_level, const char *message, void *)
{
    (void)pthread_mutex_lock(&last_line_mutex);
    (void)snprintf(last_line, sizeof last_line, "%s", message);
    (void)pthread_mutex_unlock(&last_line_mutex);
    atomic_fetch_add(&logged, 1);
}

void fail_allocation(unsigned long n)
{
    atomic_store(&failing_at, atomic_load(&made) + n);
}

void allow_allocations(void)
{
    atomic_store(&failing_at, 0);
}

bool next_allocation_fails(shortage *self)
{
    allow_allocations();
    if (self->failures > 0 && allocations_made() - self->before < self->failures)
        return false;
    self->before = allocations_made();
    fail_allocation(++self->failures);
    return true;
}

unsigned long allocations_made(void)
{
    return atomic_load(&made);
}

long allocations_outstanding(void)
{
    return atomic_load(&outstanding);
}

long bytes_outstanding(void)
{
    return atomic_load(&outstanding_bytes);
}

unsigned long lines_logged(void)
{
    return atomic_load(&logged);
}

const char *last_line_logged(void)
{
    return last_line;
}

/* ---- counts ---------------------------------------------------------------------------------- */

static unsigned count_entries(const char *directory)
{
    DIR *dir = opendir(directory);
    check(dir != NULL);
    unsigned count = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

unsigned count_fds(void)
{
    return count_entries("/proc/self/fd");
}

unsigned count_threads(void)
{
    return count_entries("/proc/self/task");
}

void wait_for_threads(unsigned expected)
{
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        if (count_threads() == expected)
            return;
        sched_yield();
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - begin.tv_sec < 10);
    check_eq(count_threads(), expected);
}

static char state_of(int id)
{
    char path[64], state = '?';
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", id);
    FILE *stat = fopen(path, "re");
    check(stat != NULL);
    check_eq(fscanf(stat, "%*d (%*[^)]) %c", &state), 1);
    (void)fclose(stat);
    return state;
}

void wait_until_thread_sleeps(int id)
{
    while (state_of(id) != 'S')
        sched_yield();
}

pthread_t start_thread(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    check_eq(pthread_create(&thread, NULL, body, arg), 0);
    return thread;
}

void start_threads(pthread_t ret_threads[], unsigned count, void *(*body)(void *), void *arg)
{
    for (unsigned i = 0; i < count; i++)
        ret_threads[i] = start_thread(body, arg);
}

void join_thread(const pthread_t *thread)
{
    check_eq(pthread_join(*thread, NULL), 0);
}

void join_threads(const pthread_t threads[], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        join_thread(&threads[i]);
}

void run_to_its_end(void *(*body)(void *), void *arg)
{
    AT_END(join_thread) pthread_t thread = start_thread(body, arg);
}

void await_child(pid_t child)
{
    int status;
    check_eq(waitpid(child, &status, 0), child);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void count_up(ferry_promise *, const ferry_result *, void *arg)
{
    ++*(unsigned *)arg;
}

void end_thread(ferry_promise *, const ferry_result *, void *)
{
    pthread_exit(NULL);
}

void hold_until_told(ferry_promise *, const ferry_result *, void *arg)
{
    while (!atomic_load((atomic_bool *)arg))
        sched_yield();
}

static void *run_body(void *arg)
{
    const test_body *body = arg;
    if (body->plain != NULL)
        body->plain();
    else
        body->placed(body->placement);
    return NULL;
}

static void *tell_id(void *arg)
{
    *(pid_t *)arg = gettid();
    return NULL;
}

/* ThreadSanitizer starts a thread of its own with a process's first. Ours is gone when this
 * returns, from /proc too. */
static void start_first_thread(void)
{
    pid_t id;
    char path[64];
    run_to_its_end(tell_id, &id);
    snprintf(path, sizeof path, "/proc/self/task/%d", (int)id);
    while (access(path, F_OK) == 0)
        sched_yield();
}

void harness_run(test_body body)
{
    start_first_thread();
    const ferry_hooks hooks = {.allocate = allocate, .release = release, .log = keep_line};
    check_eq(ferry_hooks_set(&hooks), 0);
    unsigned fds = count_fds();
    unsigned threads = count_threads();
    run_to_its_end(run_body, &body);
    wait_for_threads(threads);
    check_eq(count_fds(), fds);
    check_eq(atomic_load(&outstanding), 0);
}

/* ---- randomness ------------------------------------------------------------------------------ */

uint64_t random_seed(void)
{
    const char *given = getenv("FERRY_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0)
                                  : (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
    fprintf(stderr, "FERRY_SEED=%" PRIu64 "\n", seed);
    return seed;
}
