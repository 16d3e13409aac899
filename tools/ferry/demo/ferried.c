/* SPDX-License-Identifier: MIT */
#include "ferried.h"

#include <err.h>
#include <stdlib.h>

static bool take(void *context, unsigned lane, int fd)
{
    struct ferried *ferried = context;
    int error = ferry_stream_adopt(ferried->service, fd, NULL, &ferried->streams[lane]);
    if (error != 0)
        warnx("cannot adopt a socket: %s", ferry_status_message(error));
    return error == 0;
}

static int post(ferry_stream *stream, const struct record *record, ferry_promise **ret_promise)
{
    ferry_file file = ferry_file_fd(record->file->fd);
    file.flags = FERRY_FD_BORROW;
    file.offset = 0;
    file.length = (int64_t)record->file->size;
    const ferry_part parts[] = {
        ferry_part_copy(&record->head, sizeof record->head),
        ferry_part_file(file),
        ferry_part_copy(&record->tail, sizeof record->tail),
    };
    return ferry_stream_send(stream, parts, 3, NULL, ret_promise);
}

/* @return how many were posted: count, or fewer if one was refused. */
static unsigned post_all(const struct ferried *ferried, ferry_stream *stream, unsigned first,
                         unsigned count, ferry_promise *ret_promises[])
{
    for (unsigned i = 0; i < count; i++) {
        struct record record = record_make(ferried->corpus, first + i);
        int error = post(stream, &record, &ret_promises[i]);
        if (error != 0) {
            warnx("refused: %s", ferry_status_message(error));
            return i;
        }
    }
    return count;
}

/* Stores one receipt. Whether it is one of success. */
static bool collect(ferry_promise *promise, ferry_result *ret_receipt)
{
    int error = ferry_promise_await(promise, -1, ret_receipt);
    (void)ferry_promise_unref(promise);
    if (error != 0)
        ret_receipt->error = error;
    return ret_receipt->error == 0;
}

static void complain(const ferry_result *result)
{
    char why[256];
    (void)ferry_result_format(result, why, sizeof why);
    warnx("a request failed: %s", why);
}

static bool send_records(void *context, unsigned lane, unsigned first, unsigned count)
{
    struct ferried *ferried = context;
    ferry_result *receipts = &ferried->receipts[lane][first];
    ferry_promise *promises[LANE_RECORDS];
    unsigned posted = post_all(ferried, ferried->streams[lane], first, count, promises);
    bool is_good = posted == count;
    for (unsigned i = 0; i < posted; i++) {
        if (collect(promises[i], &receipts[i]))
            continue;
        if (is_good) /* the first tells most */
            complain(&receipts[i]);
        is_good = false;
    }
    if (!is_good)
        ferry_stream_abort(ferried->streams[lane]);
    return is_good;
}

static void end(void *context, unsigned lane)
{
    struct ferried *ferried = context;
    ferried->streams[lane] = ferry_stream_unref(ferried->streams[lane]);
}

struct carrier ferried_carrier(struct ferried *ferried, const struct corpus *corpus,
                               ferry_placement placement, unsigned senders)
{
    const ferry_service_options options = {.placement = placement};
    ferried->corpus = corpus;
    int error = ferry_service_create(&options, &ferried->service);
    if (error != 0)
        errx(EXIT_FAILURE, "cannot start: %s", ferry_status_message(error));
    return (struct carrier){
        .context = ferried,
        .senders = senders,
        .take = take,
        .send = send_records,
        .end = end,
    };
}

static bool check(const struct ferried *ferried, const struct inspector *inspector, unsigned lane,
                  unsigned number)
{
    struct record record = record_make(ferried->corpus, number);
    const ferry_result *receipt = &ferried->receipts[lane][number];
    return receipt->stream_offset == inspector->starts[number] &&
           receipt->sent == record_length(&record) && receipt->remaining == 0;
}

bool ferried_check_receipts(const struct ferried *ferried, const struct trial *trial)
{
    for (unsigned lane = 0; lane < TRIAL_LANES; lane++) {
        for (unsigned number = 0; number < LANE_RECORDS; number++) {
            if (check(ferried, &trial->inspectors[lane], lane, number))
                continue;
            warnx("connection %u: the receipt of record %u is not what arrived", lane, number);
            return false;
        }
    }
    return true;
}

void ferried_end(struct ferried *ferried)
{
    (void)ferry_service_stop(ferried->service, -1);
    ferry_service_destroy(ferried->service);
}
