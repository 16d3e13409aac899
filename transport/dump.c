/* SPDX-License-Identifier: MIT */
#include "transport/dump.h"

#include "core/clock.h"
#include "transport/service.h"
#include "transport/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- a line ---------------------------------------------------------------------------------- */

static void begin(ferry__line *line)
{
    line->now = ferry__clock_now();
    line->length = 0;
    line->text[0] = '\0';
}

void ferry__line_add(ferry__line *line, const char *format, ...)
{
    size_t room = sizeof line->text - line->length;
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(line->text + line->length, room, format, arguments);
    va_end(arguments);
    if (count > 0)
        line->length += (size_t)count < room ? (size_t)count : room - 1;
}

void ferry__line_add_label(ferry__line *line, const char *label)
{
    enum { MOST = 60 }; /* so that a long one leaves room for the rest of its line */
    if (label != NULL && label[0] != '\0')
        ferry__line_add(line, " '%.*s'", MOST, label);
}

/* What has begun since the line was is that old at least. */
static int64_t age_ms(const ferry__line *line, int64_t since)
{
    return since < line->now ? (line->now - since) / FERRY__NS_PER_MS : 0;
}

void ferry__line_add_age(ferry__line *line, int64_t since)
{
    ferry__line_add(line, ", for %" PRId64 " ms", age_ms(line, since));
}

/* Labels, and the names of abstract sockets, may have any bytes in them. */
static void make_printable(ferry__line *line)
{
    for (size_t i = 0; i < line->length; i++) {
        if ((unsigned char)line->text[i] < ' ' || line->text[i] == '\x7f')
            line->text[i] = '?';
    }
}

/* ---- a dump ---------------------------------------------------------------------------------- */

typedef struct dump {
    ferry_service *service;
    ferry__kept_members kept; /* the newest first */
    ferry_dump_line *tell;
    void *arg;
} dump;

static void write_line(const dump *all, ferry__line *line)
{
    make_printable(line);
    all->tell(line->text, all->arg);
}

static void write_service(const dump *all)
{
    ferry_service_status status;
    ferry__line line;
    begin(&line);
    (void)ferry_service_get_status(all->service, &status);
    ferry__line_add(&line,
                    "service: %s, %zu streams; %" PRIu64 " requests queued, %" PRIu64
                    " bytes and %" PRIu64 " of files",
                    ferry__service_is_dedicated(all->service) ? "dedicated" : "shared",
                    status.streams, status.queued_requests, status.queued_bytes,
                    status.queued_file_bytes);
    write_line(all, &line);
}

/* Whose turn it is, where it is a member's that is kept. */
static void add_subject(const dump *all, const void *subject, ferry__line *line)
{
    for (size_t i = 0; i < all->kept.count; i++) {
        const ferry__member *member = all->kept.members[i];
        if (member->type->is_subject(member, subject)) {
            ferry__line_add(line, " of ");
            member->type->add_name(member, line);
            return;
        }
    }
}

static void write_owner(const dump *all, const ferry__owner *owner)
{
    ferry__line line;
    begin(&line);
    ferry__activity_seen seen = ferry__activity_look(&owner->activity);
    if (seen.subject == NULL && !ferry__owner_has_thread(owner))
        return;
    ferry__line_add(&line, "owner %s: ", owner->name);
    if (seen.subject != NULL) {
        ferry__line_add(&line, "in a turn");
        add_subject(all, seen.subject, &line);
        ferry__line_add_age(&line, seen.since);
        if (seen.step != NULL)
            ferry__line_add(&line, ": %s", seen.step);
    } else {
        ferry__line_add(&line, ferry__owner_is_asleep(owner) ? "asleep" : "between turns");
        if (seen.since != 0)
            ferry__line_add(&line, "; its last turn began %" PRId64 " ms ago",
                            age_ms(&line, seen.since));
    }
    write_line(all, &line);
}

static void write_member(const dump *all, ferry__member *member)
{
    ferry__line line;
    begin(&line);
    member->type->add_name(member, &line);
    ferry__line_add(&line, ": ");
    if (!member->type->add_state(member, &line))
        return;
    write_line(all, &line);
    if (member->type->is_stream && ferry__service_is_dedicated(all->service))
        write_owner(all, ferry__stream_of_member(member)->owner);
}

static void write_all(const dump *all)
{
    write_service(all);
    for (unsigned i = 0; i < all->service->owner_count; i++)
        write_owner(all, all->service->owners[i]);
    for (size_t i = all->kept.count; i > 0; i--)
        write_member(all, all->kept.members[i - 1]);
}

int ferry_service_dump(ferry_service *service, ferry_dump_line *tell, void *arg)
{
    if (service == NULL || tell == NULL)
        return -EINVAL;
    if (ferry__service_is_foreign(service))
        return -ECHILD;
    dump all = {.service = service, .tell = tell, .arg = arg};
    if (!ferry__service_keep_members(service, &all.kept))
        return -ENOMEM;
    pthread_cleanup_push(ferry__service_let_go, &all.kept); /* it may end the thread */
    write_all(&all);
    pthread_cleanup_pop(1);
    return 0;
}
