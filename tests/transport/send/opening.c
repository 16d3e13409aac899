/* SPDX-License-Identifier: MIT */
/* Shared files that are opened as promises, by a thread that must not block. */
#include "tests/support.h"

enum { SIZE = 100 * 1000 };

static ferry_promise *open_on(ferry_service *service, ferry_file file)
{
    ferry_promise *promise;
    check_eq(ferry_shared_file_open_on(service, &file, NULL, &promise), 0);
    return promise;
}

/* ---- what it comes to ------------------------------------------------------------------------ */

PROMISE_BOTH(opening, value_is_the_shared_file_which_streams_of_any_kind_send)
{
    AT_END(file_remove) test_file file = file_make(SIZE, 31);
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(drop_promise) ferry_promise *opened = open_on(service, ferry_file_at(file.path));
    check_eq(ferry_promise_await(opened, -1, NULL), 0);
    ferry_shared_file *shared = ferry_promise_get_value(opened);
    check_eq(ferry_shared_file_get_size(shared), SIZE);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        stage s = stage_in(service, any_pair(is_tcp));
        stage_let_read(&s);
        check_outcome(submit_file(s.stream, ferry_file_shared(shared)), .error = 0, .sent = SIZE);
        stage_close_got_content(&s, 31, SIZE);
    }
}

PROMISE_BOTH(opening, fd_is_duplicated_given_or_lent)
{
    AT_END(file_remove) test_file file = file_make(SIZE, 32);
    const unsigned flags[] = {0, FERRY_FD_GIVE, FERRY_FD_BORROW};
    for (unsigned i = 0; i < 3; i++) {
        ferry_service *service = service_start(placement);
        ferry_file by_fd = ferry_file_fd(duplicate(file.fd));
        by_fd.flags = flags[i];
        ferry_promise *opened = open_on(service, by_fd);
        if (flags[i] == 0)
            close(by_fd.fd); /* at once */
        check_eq(ferry_promise_await(opened, -1, NULL), 0);
        check_eq(ferry_shared_file_get_size(ferry_promise_get_value(opened)), SIZE);
        ferry_promise_unref(opened);
        ferry_service_destroy(service);
        check_eq(fcntl(by_fd.fd, F_GETFD) >= 0, flags[i] == FERRY_FD_BORROW);
        if (flags[i] == FERRY_FD_BORROW)
            close(by_fd.fd);
    }
}

PROMISE_BOTH(opening, errors_of_the_file_are_outcomes_and_a_given_fd_is_closed)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_file outside = ferry_file_at("../outside");
    outside.flags = FERRY_FILE_BENEATH;
    check_outcome(open_on(service, ferry_file_at("/no/such/file")), .error = -ENOENT,
                  .phase = FERRY_PHASE_OPEN);
    check_outcome(open_on(service, ferry_file_at("/")), .error = -EISDIR);
    check_outcome(open_on(service, ferry_file_at("/dev/null")), .error = -EINVAL);
    check_outcome(open_on(service, outside), .error = -EXDEV);
    AT_END(close_ours) pair pipe = pipe_pair();
    ferry_file given = ferry_file_fd(pipe.theirs);
    given.flags = FERRY_FD_GIVE;
    ferry_promise *failed = open_on(service, given);
    check_eq(ferry_promise_await(failed, -1, NULL), 0);
    check(ferry_promise_get_value(failed) == NULL);
    check_eq(outcome(failed).error, -EINVAL);
    check_eq(fcntl(pipe.theirs, F_GETFD), -1);
}

PROMISE_BOTH(opening, file_lives_as_long_as_the_promise_or_a_reference)
{
    AT_END(file_remove) test_file file = file_make(SIZE, 33);
    ferry_service *service = service_start(placement);
    ferry_promise *opened = open_on(service, ferry_file_at(file.path));
    check_eq(ferry_promise_await(opened, -1, NULL), 0);
    AT_END(drop_shared_file)
    ferry_shared_file *shared = ferry_shared_file_ref(ferry_promise_get_value(opened));
    unsigned fds = count_fds();
    ferry_promise_unref(opened);
    check_eq(count_fds(), fds);
    ferry_service_destroy(service); /* it is no service's */
    check_eq(ferry_shared_file_get_size(shared), SIZE);
}

static ferry_promise *note_size(ferry_promise *settled, ferry_outcome *outcome, void *arg)
{
    (void)outcome;
    *(uint64_t *)arg = ferry_shared_file_get_size(ferry_promise_get_value(settled));
    return NULL;
}

PROMISE_BOTH(opening, others_are_made_of_it_and_have_its_value)
{
    AT_END(file_remove) test_file file = file_make(SIZE, 34);
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    uint64_t size = 0;
    ferry_promise *opened = open_on(service, ferry_file_at(file.path)), *timed, *told;
    check_eq(ferry_promise_timeout(opened, 1000 * 1000, &timed), 0);
    check_eq(ferry_promise_then(timed, note_size, &size, &told), 0);
    ferry_promise_unref(opened);
    ferry_promise_unref(timed);
    check_eq(ferry_promise_await(told, -1, NULL), 0);
    check_eq(size, SIZE);
    check_eq(ferry_shared_file_get_size(ferry_promise_get_value(told)), SIZE);
    ferry_promise_unref(told);
}

/* ---- what is refused ------------------------------------------------------------------------- */

PROMISE(opening, what_it_cannot_take_is_refused_and_left_alone)
{
    AT_END(file_remove) test_file file = file_make(SIZE, 35);
    ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    ferry_promise *promise = NULL;
    char endless[5000];
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    ferry_file good = ferry_file_at(file.path), bad[] = {good, good, good, good, good};
    bad[0].length = 3;
    bad[1].offset = 1;
    bad[2].flags = FERRY_FILE_FOLLOW;
    bad[3].path = NULL;
    bad[4].fd = file.fd; /* both */
    for (unsigned i = 0; i < 5; i++)
        check_eq(ferry_shared_file_open_on(service, &bad[i], NULL, &promise), -EINVAL);
    bad[0] = ferry_file_at(endless);
    check_eq(ferry_shared_file_open_on(service, &bad[0], NULL, &promise), -ENAMETOOLONG);
    check_eq(ferry_shared_file_open_on(NULL, &good, NULL, &promise), -EINVAL);
    check_eq(ferry_shared_file_open_on(service, NULL, NULL, &promise), -EINVAL);
    check_eq(ferry_shared_file_open_on(service, &good, NULL, NULL), -EINVAL);
    bad[0] = ferry_file_fd(1 << 20);
    check_eq(ferry_shared_file_open_on(service, &bad[0], NULL, &promise), -EBADF);
    ferry_file given = ferry_file_fd(file.fd);
    given.flags = FERRY_FD_GIVE;
    check_eq(ferry_service_stop(service, 0), 0);
    check_eq(ferry_shared_file_open_on(service, &given, NULL, &promise), -ESHUTDOWN);
    check(fcntl(file.fd, F_GETFD) >= 0); /* still the caller's */
    check(promise == NULL);
    ferry_service_destroy(service);
}

PROMISE(opening, service_of_the_parent_process_is_echild)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_DEDICATED);
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        ferry_promise *promise;
        const ferry_file file = ferry_file_at("/etc/passwd");
        check_eq(ferry_shared_file_open_on(service, &file, NULL, &promise), -ECHILD);
        _exit(0);
    }
    await_child(child);
}

/* ---- waiting --------------------------------------------------------------------------------- */

PROMISE_BOTH(opening, lease_is_waited_for_and_holds_up_nobody_else)
{
    AT_END(file_remove) test_file file = file_make(SIZE, 36);
    AT_END(close_fd) int leased = lease_take(file.path);
    if (leased < 0)
        return;
    AT_END(destroy_service) ferry_service *service = service_of_one_owner(placement);
    AT_END(stage_close) stage beside = stage_in(service, unix_pair(SOCK_STREAM));
    ferry_promise *opened = open_on(service, ferry_file_at(file.path));
    lease_await_break(leased);
    check_eq(outcome(submit_write(beside.stream, "beside", 6)).error, 0);
    check_eq(ferry_promise_await(opened, 0, NULL), -ETIMEDOUT);
    check_eq(fcntl(leased, F_SETLEASE, F_UNLCK), 0);
    check_eq(outcome(opened).error, 0);
}

PROMISE_BOTH(opening, cancel_ends_waiting)
{
    AT_END(file_remove) test_file file = file_make(SIZE, 37);
    AT_END(close_fd) int leased = lease_take(file.path);
    if (leased < 0)
        return;
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_promise *opened = open_on(service, ferry_file_at(file.path));
    lease_await_break(leased);
    check_eq(ferry_promise_cancel(opened), 0);
    check_outcome(opened, .error = -ECANCELED, .cause = FERRY_CAUSE_CANCEL,
                  .phase = FERRY_PHASE_OPEN);
}

PROMISE_BOTH(opening, stop_and_destroy_end_waiting)
{
    for (unsigned by_stop = 0; by_stop < 2; by_stop++) {
        AT_END(file_remove) test_file file = file_make(SIZE, 38);
        AT_END(close_fd) int leased = lease_take(file.path);
        if (leased < 0)
            return;
        ferry_service *service = service_start(placement);
        ferry_promise *opened = open_on(service, ferry_file_at(file.path));
        lease_await_break(leased);
        if (by_stop) {
            check_eq(ferry_service_stop(service, -1), 0);
            check_eq(ferry_promise_await(opened, 0, NULL), 0);
        }
        ferry_service_destroy(service);
        check_outcome(opened, .error = -ECANCELED, .cause = FERRY_CAUSE_DESTROY);
    }
}

static void find_it(const char *line, void *arg)
{
    if (strstr(line, "shared file ") != NULL && strstr(line, "is to be opened") != NULL)
        ++*(unsigned *)arg;
}

PROMISE_BOTH(opening, dump_says_what_is_to_be_opened)
{
    AT_END(file_remove) test_file file = file_make(SIZE, 39);
    AT_END(close_fd) int leased = lease_take(file.path);
    if (leased < 0)
        return;
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_promise *opened = open_on(service, ferry_file_at(file.path));
    unsigned lines = 0;
    lease_await_break(leased);
    check_eq(ferry_service_dump(service, find_it, &lines), 0);
    check_eq(lines, 1);
    check_eq(fcntl(leased, F_SETLEASE, F_UNLCK), 0);
    check_eq(outcome(opened).error, 0);
    check_eq(ferry_service_dump(service, find_it, &lines), 0);
    check_eq(lines, 1);
}

/* ---- on an owner ----------------------------------------------------------------------------- */

typedef struct errand {
    ferry_service *service;
    const char *path;
    ferry_promise *opened;
} errand;

static void open_there(ferry_promise *promise, const ferry_result *result, void *arg)
{
    errand *self = arg;
    (void)promise;
    check_eq(result->error, 0);
    self->opened = open_on(self->service, ferry_file_at(self->path));
}

PROMISE_BOTH(opening, owner_may_ask_for_it)
{
    AT_END(file_remove) test_file file = file_make(SIZE, 40);
    AT_END(destroy_service) ferry_service *service = service_of_one_owner(placement);
    AT_END(stage_close) stage s = stage_in(service, unix_pair(SOCK_STREAM));
    errand what = {.service = service, .path = file.path};
    const ferry_request_options options = {.on_owner = open_there, .on_owner_arg = &what};
    check_eq(outcome(submit_write_with(s.stream, "x", 1, &options)).error, 0);
    check_eq(outcome(what.opened).error, 0);
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

/* Opens it once through faults. @return what it was refused with, or came to. */
static int try_through(ferry_service *service, const ferry_file *file, ferry_faults *faults)
{
    const ferry_open_options options = {.faults = faults};
    ferry_promise *opened;
    int error = ferry_shared_file_open_on(service, file, &options, &opened);
    return error != 0 ? error : outcome(opened).error;
}

PROMISE_BOTH(opening, each_system_call_may_fail)
{
    AT_END(file_remove) test_file file = file_make(SIZE, 41);
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    const ferry_file files[] = {ferry_file_at(file.path), ferry_file_fd(file.fd)};
    const int errors[] = {EIO, EINTR, EMFILE};
    for (unsigned i = 0; i < 6; i++) {
        uint64_t injected = 1;
        for (uint64_t n = 1; injected > 0; n++) {
            const ferry_fault fault = {FERRY_CALL_OPEN, n, 1, FERRY_FAULT_ERROR, errors[i / 2]};
            AT_END(drop_faults) ferry_faults *faults = faults_of(fault);
            int error = try_through(service, &files[i % 2], faults);
            injected = ferry_faults_get_injected(faults);
            check_eq(error, injected == 0 || errors[i / 2] == EINTR ? 0 : -errors[i / 2]);
        }
    }
}

PROMISE(opening, without_a_thread_it_fails_with_eagain)
{
    AT_END(file_remove) test_file file = file_make(SIZE, 42);
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_DEDICATED);
    const ferry_fault script = {
        .call = FERRY_CALL_THREAD, .first = 1, .effect = FERRY_FAULT_ERROR, .error = EAGAIN};
    AT_END(drop_faults) ferry_faults *faults = faults_of(script);
    const ferry_file by_path = ferry_file_at(file.path);
    check_eq(try_through(service, &by_path, faults), -EAGAIN);
    check_eq(outcome(open_on(service, by_path)).error, 0);
}

PROMISE_BOTH(opening, without_memory_it_fails_with_enomem_and_leaks_nothing)
{
    AT_END(file_remove) test_file file = file_make(SIZE, 43);
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    const ferry_file by_path = ferry_file_at(file.path);
    check_eq(try_through(service, &by_path, NULL), 0);
    shortage all = {0};
    unsigned refused = 0;
    while (next_allocation_fails(&all)) {
        int error = try_through(service, &by_path, NULL);
        check(error == 0 || error == -ENOMEM);
        refused += error != 0;
    }
    check(refused >= 2); /* itself, and the shared file, at least */
}

enum { MANY = 300 };

static ferry_promise *promises[MANY];

static void *cancel_all(void *arg)
{
    for (unsigned i = 0; i < MANY; i++)
        (void)ferry_promise_cancel(promises[i]);
    return arg;
}

/* Pins: exactly_once. */
PROMISE_BOTH(opening, cancels_and_the_end_of_the_service_may_come_at_any_time)
{
    AT_END(file_remove) test_file file = file_make(SIZE, 44);
    for (unsigned ends = 0; ends < 2; ends++) {
        ferry_service *service = service_start(placement);
        unsigned told = 0;
        for (unsigned i = 0; i < MANY; i++) {
            promises[i] = open_on(service, ferry_file_at(file.path));
            check_eq(ferry_promise_observe(promises[i], count_up, &told, NULL), 0);
        }
        pthread_t canceller = start_thread(cancel_all, NULL);
        if (ends)
            ferry_service_destroy(service);
        check_eq(ferry_promise_await_all(promises, MANY, -1), 0);
        join_thread(&canceller);
        while (told < MANY)
            check(ferry_inbox_run(-1) >= 0);
        check_eq(told, MANY);
        for (unsigned i = 0; i < MANY; i++) {
            int error = outcome(promises[i]).error;
            check(error == 0 || error == -ECANCELED);
        }
        if (!ends)
            ferry_service_destroy(service);
    }
}
