/* SPDX-License-Identifier: MIT */
/*
 * Dumps: a service's owners and members as lines of text. Each kind of member says in its own file
 * what it is at (ferry__member_type in transport/service/service.h).
 *
 * A dump is written on any thread, beside the owners. It reads what they show, and what never
 * changes, and waits for nobody.
 */
#include "transport/service/line.h"
#include "transport/service/service.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>

typedef struct dump {
    ferry_service *service;
    ferry__kept_members kept; /* the newest first */
    ferry_dump_callback *tell;
    void *arg;
} dump;

static void write_line(const dump *all, ferry__line *line)
{
    ferry__line_make_printable(line);
    all->tell(line->text, all->arg);
}

static void write_service(const dump *all)
{
    ferry_service_status status;
    ferry__line line;
    ferry__line_begin(&line);
    (void)ferry_service_get_status(all->service, &status);
    ferry__line_add(&line, "service: %s, ",
                    ferry__service_is_dedicated(all->service) ? "dedicated" : "shared");
    ferry__line_add_count(&line, status.streams, "stream");
    ferry__line_add(&line, "; ");
    ferry__line_add_queue(&line, status.queued_requests, status.queued_bytes,
                          status.queued_file_bytes);
    if (status.pending_reads > 0) {
        ferry__line_add(&line, "; ");
        ferry__line_add_count(&line, status.pending_reads, "read");
        ferry__line_add(&line, " pending");
    }
    write_line(all, &line);
}

/* Whose turn it is, if it is one of the kept members'. */
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
    ferry__line_begin(&line);
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
    } else if (seen.step != NULL) { /* a mail or a timer causes it */
        ferry__line_add(&line, "between turns: %s", seen.step);
    } else {
        ferry__line_add(&line, ferry__owner_is_asleep(owner) ? "asleep" : "between turns");
        if (seen.since != 0)
            ferry__line_add(&line, "; its last turn began %" PRId64 " ms ago",
                            ferry__line_age_ms(&line, seen.since));
    }
    write_line(all, &line);
}

static void write_member(const dump *all, ferry__member *member)
{
    ferry__line line;
    ferry__line_begin(&line);
    member->type->add_name(member, &line);
    ferry__line_add(&line, ": ");
    if (!member->type->add_state(member, &line))
        return;
    write_line(all, &line);
    const ferry__owner *own =
        member->type->own_owner != NULL ? member->type->own_owner(member) : NULL;
    if (own != NULL)
        write_owner(all, own);
}

static void write_all(const dump *all)
{
    write_service(all);
    for (unsigned i = 0; i < all->service->owner_count; i++)
        write_owner(all, all->service->owners[i]);
    for (size_t i = all->kept.count; i > 0; i--)
        write_member(all, all->kept.members[i - 1]);
}

int ferry_service_dump(ferry_service *service, ferry_dump_callback *tell, void *arg)
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
