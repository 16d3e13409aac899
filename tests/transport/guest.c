/* SPDX-License-Identifier: MIT */
/* Invariant guest: the host process notices nothing. */
#include "tests/support.h"

#include <dirent.h>

static atomic_uint sigpipes;

static void count_sigpipe(int)
{
    atomic_fetch_add(&sigpipes, 1);
}

static void hang_up_on(ferry_service *service, pair both, const test_file *file, bool by_file)
{
    ferry_stream *stream = stream_adopt(service, both.ours);
    close(both.theirs);
    ferry_file range = ferry_file_at(file->path);
    int error = 0;
    while (error == 0) { /* TCP takes bytes until the reset has come, however long that takes */
        ferry_result result =
            outcome(by_file ? submit_file(stream, range) : submit_write(stream, "some data", 9));
        error = result.error;
        check(error == 0 || result.phase == FERRY_PHASE_SINK);
    }
    check(error == -EPIPE || error == -ECONNRESET);
    close_stream(stream);
}

/* Pins: guest. */
PROMISE_BOTH(guest, peer_hangup_is_epipe_not_sigpipe)
{
    struct sigaction counting = {.sa_handler = count_sigpipe}, before;
    sigaction(SIGPIPE, &counting, &before);
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(file_remove) test_file file = file_make(100000, 1);
    for (unsigned by_file = 0; by_file < 2; by_file++) {
        hang_up_on(service, tcp_pair(), &file, by_file);
        hang_up_on(service, unix_pair(SOCK_STREAM), &file, by_file);
        hang_up_on(service, pipe_pair(), &file, by_file);
    }
    check_eq(atomic_load(&sigpipes), 0);
    struct sigaction after;
    sigaction(SIGPIPE, &before, &after);
    check(after.sa_handler == count_sigpipe); /* and the disposition is still the host's */
}

static void each_thread(void (*look)(const char *id, const char *name))
{
    DIR *tasks = opendir("/proc/self/task");
    for (const struct dirent *task; (task = readdir(tasks)) != NULL;) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *comm = fopen(path, "re");
        if (comm == NULL)
            continue;
        check(fgets(name, sizeof name, comm) != NULL);
        fclose(comm);
        if (strncmp(name, "ferry-", 6) == 0)
            look(task->d_name, name);
    }
    closedir(tasks);
}

static unsigned threads_looked_at;

static void check_blocked_signals(const char *id, const char *)
{
    char path[300], line[256];
    unsigned long long blocked = 0;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", id);
    FILE *status = fopen(path, "re");
    check(status != NULL);
    while (fgets(line, sizeof line, status) != NULL)
        sscanf(line, "SigBlk: %llx", &blocked);
    fclose(status);
    static const int wanted[] = {SIGPIPE, SIGXFSZ, SIGTERM, SIGINT,
                                 SIGHUP,  SIGCHLD, SIGALRM, SIGUSR1};
    static const int unwanted[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    for (unsigned i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        check((blocked & (1ull << (wanted[i] - 1))) != 0);
    for (unsigned i = 0; i < sizeof unwanted / sizeof unwanted[0]; i++)
        check((blocked & (1ull << (unwanted[i] - 1))) == 0);
    threads_looked_at++;
}

/* Pins: guest. */
PROMISE_BOTH(guest, ferrys_threads_are_named_and_block_all_signals_but_faults)
{
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
    do { /* until both are named, and the front is out of pthread_create's critical part */
        wait_until_asleep();
        threads_looked_at = 0;
        each_thread(check_blocked_signals);
    } while (threads_looked_at < 2); /* the front owner and the stream's, or two shared ones */
    check_eq(threads_looked_at, 2);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int number = 1; number < 65; number++)
        check_eq(sigismember(&before, number), sigismember(&after, number));
}

/* ---- fork ------------------------------------------------------------------------------------ */

static void never_run(ferry_promise *, const ferry_result *, void *)
{
    check(false);
}

static void misuse_in_child(ferry_service *service, ferry_stream *stream, ferry_promise *pending,
                            ferry_promise *settled, int spare)
{
    ferry_promise *promise = NULL;
    ferry_stream *adopted = NULL;
    ferry_file file = ferry_file_at("/etc/passwd");
    check_eq(ferry_stream_write(stream, "x", 1, NULL, &promise), -ECHILD);
    check_eq(ferry_stream_sendfile(stream, &file, NULL, &promise), -ECHILD);
    check_eq(ferry_stream_mark(stream, &promise), -ECHILD);
    check_eq(ferry_stream_shutdown(stream, &promise), -ECHILD);
    check_eq(ferry_stream_close(stream, &promise), -ECHILD);
    check_eq(ferry_stream_adopt(service, spare, NULL, &adopted), -ECHILD);
    check_eq(ferry_service_drain(service, -1), -ECHILD);
    check_eq(ferry_promise_await(pending, -1, NULL), -ECHILD);
    check_eq(ferry_promise_await(pending, 0, NULL), -ECHILD);
    check_eq(ferry_promise_observe(pending, never_run, NULL, NULL), -ECHILD);
    check_eq(ferry_promise_await(settled, -1, NULL), 0);
    check(promise == NULL && adopted == NULL);
    ferry_stream_abort(stream);
    ferry_stream_unref(stream);
    ferry_promise_unref(pending);
    ferry_service_destroy(service);
    check_eq(ferry_inbox_run(0), 0); /* an inbox of the child's own */

    ferry_service *own; /* and ferry works in the child, from the beginning */
    check_eq(ferry_service_create(NULL, &own), 0);
    stream = stream_adopt(own, spare);
    check_eq(outcome(submit_write(stream, "child", 5)).error, 0);
    check_eq(close_stream(stream).error, 0);
    ferry_service_destroy(own);
}

/* Pins: guest. */
PROMISE_BOTH(guest, calls_in_a_forked_child_fail_at_once_and_leave_the_parent_alone)
{
    AT_END(close_theirs) pair spare = unix_pair(SOCK_STREAM);
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *settled = submit_write(s.stream, "x", 1);
    check_eq(ferry_promise_await(settled, -1, NULL), 0);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        alarm(60);
        misuse_in_child(s.service, s.stream, stuck, settled, spare.ours);
        _exit(0);
    }
    await_child(child);

    stage_let_read(&s);
    check_eq(outcome(stuck).sent, STUCK_BYTES);
    stage_close_got_bytes(&s, STUCK_BYTES + 1);
    ferry_promise_unref(settled);
    close(spare.ours);
}
