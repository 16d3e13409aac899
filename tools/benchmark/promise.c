/* SPDX-License-Identifier: MIT */
/*
 * promise: one thread makes a promise, asks to be called back, settles it and runs the callback,
 * again and again: what the bookkeeping costs, without a hop to another thread. Against the least
 * that says "done" between threads, a mutex and a condition variable; and, where GLib was there
 * when this was built, its GTask (glib_task.c).
 */
#include "comparisons.h"
#include "glib_task.h"
#include "measure.h"
#include "promise.h"

#include <ferry/ferry.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    PROMISES = 500 * 1000, /* a fraction of a second */
    QUICK_PROMISES = PROMISES / 8,
};

/* What so many promises took, as figures. */
static void give_figures(size_t count, lap taken, double ret_figures[FIGURES])
{
    ret_figures[0] = taken.wall_s * 1e9 / (double)count;
    ret_figures[1] = taken.cpu_s * 1e9 / (double)count;
}

/* ---- a second thread ------------------------------------------------------------------------- */

static void *stay(void *arg)
{
    for (;;)
        (void)pause();
    return arg;
}

/* glibc's mutexes take no atomic step in a process with one thread. Who needs promises has more. */
static void have_company(void)
{
    static bool is_there;
    pthread_t thread;
    if (!is_there && pthread_create(&thread, NULL, stay, NULL) == 0)
        is_there = pthread_detach(thread) == 0;
}

/* ---- a mutex and a condition variable -------------------------------------------------------- */

typedef struct flag {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool is_done;
} flag;

static flag *flag_create(void)
{
    flag *f = malloc(sizeof *f);
    if (f == NULL)
        return NULL;
    (void)pthread_mutex_init(&f->mutex, NULL);
    (void)pthread_cond_init(&f->changed, NULL);
    f->is_done = false;
    return f;
}

static void flag_settle(flag *f)
{
    (void)pthread_mutex_lock(&f->mutex);
    f->is_done = true;
    (void)pthread_cond_broadcast(&f->changed);
    (void)pthread_mutex_unlock(&f->mutex);
}

static void flag_await_and_destroy(flag *f)
{
    (void)pthread_mutex_lock(&f->mutex);
    while (!f->is_done)
        (void)pthread_cond_wait(&f->changed, &f->mutex);
    (void)pthread_mutex_unlock(&f->mutex);
    (void)pthread_cond_destroy(&f->changed);
    (void)pthread_mutex_destroy(&f->mutex);
    free(f);
}

int promise_run_flags(size_t count, double ret_figures[FIGURES])
{
    have_company();
    stopwatch watch = stopwatch_start();
    for (size_t i = 0; i < count; i++) {
        flag *f = flag_create();
        if (f == NULL)
            return -ENOMEM;
        flag_settle(f);
        flag_await_and_destroy(f);
    }
    give_figures(count, stopwatch_read(&watch), ret_figures);
    return 0;
}

/* ---- ferry ----------------------------------------------------------------------------------- */

static void count_up(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)promise;
    (void)result;
    ++*(size_t *)arg;
}

static int run_one(size_t *told)
{
    ferry_promise *promise;
    int error = ferry_promise_create(&promise);
    if (error != 0)
        return error;
    error = ferry_promise_observe(promise, count_up, told, NULL);
    if (error == 0)
        error = ferry_promise_settle(promise, NULL);
    (void)ferry_promise_unref(promise);
    int count = error == 0 ? ferry_inbox_run(0) : error;
    return count < 0 ? count : 0;
}

int promise_run_ferry(size_t count, double ret_figures[FIGURES])
{
    size_t told = 0;
    int error = 0;
    have_company();
    stopwatch watch = stopwatch_start();
    for (size_t i = 0; i < count && error == 0; i++)
        error = run_one(&told);
    give_figures(count, stopwatch_read(&watch), ret_figures);
    return error != 0 ? error : told == count ? 0 : -EBADMSG;
}

static int await_one(void)
{
    ferry_promise *promise;
    int error = ferry_promise_create(&promise);
    if (error != 0)
        return error;
    error = ferry_promise_settle(promise, NULL);
    if (error == 0)
        error = ferry_promise_await(promise, -1, NULL);
    (void)ferry_promise_unref(promise);
    return error;
}

int promise_run_awaited(size_t count, double ret_figures[FIGURES])
{
    int error = 0;
    have_company();
    stopwatch watch = stopwatch_start();
    for (size_t i = 0; i < count && error == 0; i++)
        error = await_one();
    give_figures(count, stopwatch_read(&watch), ret_figures);
    return error;
}

/* ---- GLib ------------------------------------------------------------------------------------ */

static int run_glib(void *context, double ret_figures[FIGURES])
{
    size_t count = *(const size_t *)context;
    lap taken = {0};
    int error = glib_task_run(count, &taken);
    give_figures(count, taken, ret_figures);
    return error;
}

/* ---- the contest ----------------------------------------------------------------------------- */

static int run_flags(void *context, double ret_figures[FIGURES])
{
    return promise_run_flags(*(const size_t *)context, ret_figures);
}

static int run_ferry(void *context, double ret_figures[FIGURES])
{
    return promise_run_ferry(*(const size_t *)context, ret_figures);
}

int promise_compare(const bench *settings)
{
    size_t count = settings->quick ? QUICK_PROMISES : PROMISES;
    const entrant entrants[] = {
        {"mutex and condition variable", &count, run_flags},
        {"ferry", &count, run_ferry},
        {"GLib's GTask", &count, run_glib},
    };
    const contest what = {
        .title = "promise: made, a callback registered, settled, run, on one thread",
        .figure_names = {"ns each", "CPU ns each"},
        .entrants = entrants,
        .entrant_count = glib_task_is_there ? 3 : 2,
    };
    return contest_run(&what, settings);
}
