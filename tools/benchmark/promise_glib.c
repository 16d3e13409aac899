/* SPDX-License-Identifier: MIT */
/* GLib's counterpart of a promise: a GTask, whose callback the thread's main context runs. */
#include "promise.h"

#include <errno.h>
#include <gio/gio.h>

const bool promise_has_glib = true;

static void count_up(GObject *source, GAsyncResult *result, gpointer told)
{
    (void)source;
    (void)result;
    ++*(size_t *)told;
}

/* The callback of a task that is returned to in the turn of the loop it was made in waits for the
 * next turn: so does ferry's. */
int promise_run_glib(void *context, double ret_figures[FIGURES])
{
    size_t count = *(const size_t *)context, told = 0;
    GMainContext *loop = g_main_context_new();
    g_main_context_push_thread_default(loop);
    stopwatch watch = stopwatch_start();
    for (size_t i = 0; i < count; i++) {
        GTask *task = g_task_new(NULL, NULL, count_up, &told);
        g_task_return_boolean(task, TRUE);
        g_object_unref(task);
        while (told <= i)
            (void)g_main_context_iteration(loop, FALSE);
    }
    promise_give_figures(count, &watch, ret_figures);
    g_main_context_pop_thread_default(loop);
    g_main_context_unref(loop);
    return told == count ? 0 : -EBADMSG;
}
