/* SPDX-License-Identifier: MIT */
/*
 * Fetches a file in a GLib main loop, from a server that answers a line with the file it names, as
 * epoll.c does: connects, asks, stores what comes, all of it in so many seconds. A timeout source
 * tells how far it has come, a signal source lets Ctrl-C cancel it.
 *
 *     glib unix:/tmp/files.socket epoll.c /tmp/copy.c 60
 */
#include <ferry/ferry.h>
#include <glib-unix.h>

struct fetch {
    const char *name, *copy;
    guint64 stored_bytes;
};

static void on_progress(ferry_promise *promise, uint64_t sent_bytes, void *arg)
{
    struct fetch *fetch = arg;
    (void)promise;
    fetch->stored_bytes = sent_bytes;
}

/* Follows the connection. It gives what is to be waited for next; or NULL, and *outcome is it. */
static ferry_promise *ask(ferry_promise *connected, ferry_outcome *outcome, void *arg)
{
    struct fetch *fetch = arg;
    g_autofree char *line = g_strdup_printf("%s\n", fetch->name);
    const ferry_request_options options = {.on_progress = on_progress, .on_progress_arg = fetch};
    ferry_file copy = ferry_file_at(fetch->copy);
    copy.flags = FERRY_FILE_CREATE | FERRY_FILE_TRUNCATE;
    ferry_promise *received = NULL;
    ferry_stream *stream = NULL;
    int error = ferry_promise_get_stream(connected, &stream);
    if (error == 0)
        error = ferry_stream_write(stream, line, strlen(line), NULL, NULL);
    if (error == 0)
        error = ferry_stream_shutdown(stream, NULL); /* there is nothing more to ask for */
    if (error == 0)
        error = ferry_stream_read_to_file(stream, &copy, &options, &received);
    outcome->result.error = error;
    (void)ferry_stream_unref(stream); /* the promise of the connection keeps it open */
    return received;
}

static void on_fetched(ferry_promise *fetched, const ferry_result *result, void *loop)
{
    (void)fetched, (void)result;
    g_main_loop_quit(loop);
}

static gboolean on_inbox(gint fd, GIOCondition condition, gpointer data)
{
    (void)fd, (void)condition, (void)data;
    (void)ferry_inbox_run(0);
    return G_SOURCE_CONTINUE;
}

static gboolean on_time(gpointer fetch)
{
    g_print("%" G_GUINT64_FORMAT " bytes\n", ((struct fetch *)fetch)->stored_bytes);
    return G_SOURCE_CONTINUE;
}

static gboolean on_interrupt(gpointer fetched)
{
    (void)ferry_promise_cancel(fetched); /* which then settles, as ever, in the loop */
    return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv)
{
    ferry_service *service;
    ferry_promise *connected, *received, *fetched;
    ferry_result result;
    char line[256];
    if (argc != 5 || ferry_service_create(NULL, &service) < 0)
        return 2;
    struct fetch fetch = {argv[2], argv[3], 0};
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    (void)g_unix_fd_add(ferry_inbox_get_fd(), G_IO_IN, on_inbox, NULL);
    if (ferry_connect(service, argv[1], NULL, &connected) < 0 ||
        ferry_promise_then(connected, ask, &fetch, &received) < 0 ||
        ferry_promise_timeout(received, atoi(argv[4]) * G_GINT64_CONSTANT(1000), &fetched) < 0 ||
        ferry_promise_observe(fetched, on_fetched, loop, NULL) < 0)
        return 2;
    (void)g_timeout_add(200, on_time, &fetch);
    (void)g_unix_signal_add(SIGINT, on_interrupt, fetched);
    g_main_loop_run(loop);
    (void)ferry_promise_await(fetched, 0, &result); /* waits for nothing: it has settled */
    (void)ferry_result_format(&result, line, sizeof line);
    g_print("%s: %s\n", fetch.copy, line);
    (void)ferry_promise_unref(fetched), (void)ferry_promise_unref(received);
    (void)ferry_promise_unref(connected);
    (void)ferry_service_stop(service, 1000), ferry_service_destroy(service);
    return result.error != 0;
}
