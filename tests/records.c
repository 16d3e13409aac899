/* SPDX-License-Identifier: MIT */
#include "tests/records.h"

#include "tests/harness.h"

#include <sys/uio.h>

/* ---- records --------------------------------------------------------------------------------- */

static unsigned char key(uint64_t position)
{
    return (unsigned char)(position * 131 + (position >> 8) + 17);
}

/* Adds a piece to the bytes of a record. @return how many it has then. */
static size_t add(record_writer *writer, size_t size, struct iovec piece)
{
    const unsigned char *data = piece.iov_base;
    for (size_t i = 0; i < piece.iov_len && size < RECORD_MOST; i++)
        writer->bytes[RECORD_HEADER + size++] = data[i] ^ key(writer->position++);
    return size;
}

size_t record_make(record_writer *writer, record_kind kind, const struct iovec pieces[], int count)
{
    check(writer->begin == writer->end);
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size = add(writer, size, pieces[i]);
    writer->bytes[0] = (unsigned char)kind;
    writer->bytes[1] = (unsigned char)(size >> 8);
    writer->bytes[2] = (unsigned char)size;
    writer->begin = 0;
    writer->end = RECORD_HEADER + size;
    return size;
}

static size_t size_of(const record_reader *in)
{
    return (size_t)in->coming[1] << 8 | in->coming[2];
}

struct iovec record_wanted(record_reader *in)
{
    bool has_header = in->count >= RECORD_HEADER;
    size_t whole = RECORD_HEADER + (has_header ? size_of(in) : 0);
    return (struct iovec){in->coming + in->count, whole - in->count};
}

/* The whole record has come. */
static void open_record(record_reader *in)
{
    check(size_of(in) <= RECORD_MOST);
    in->begin = 0;
    in->end = size_of(in);
    for (size_t i = 0; i < in->end; i++)
        in->in[i] = in->coming[RECORD_HEADER + i] ^ key(in->position++);
    in->has_ended = in->coming[0] == RECORD_END;
    in->count = 0;
}

void record_came(record_reader *in, size_t count)
{
    in->count += count;
    if (record_wanted(in).iov_len == 0)
        open_record(in);
}

size_t record_take(record_reader *in, void *data, size_t size)
{
    size_t there = in->end - in->begin, count = there < size ? there : size;
    memcpy(data, in->in + in->begin, count);
    in->begin += count;
    return count;
}

/* ---- the link -------------------------------------------------------------------------------- */

typedef struct record_link {
    record_writer out;
    size_t begun;      /* bytes that it has taken and not answered */
    int broken;        /* why nothing leaves any more; 0: it does */
    bool is_ending;    /* its last record is made */
    uint64_t received; /* bytes, since it last said so */
    bool has_note;     /* it is to say so */
    record_reader in;
} record_link;

enum { NOTE_EACH = 50 * 1000 }; /* bytes */

static record_link *self_of(const ferry__link *link)
{
    return link->state;
}

/* @return 0: it has all left; or a negative errno. */
static int send_record(ferry__link *link)
{
    record_link *self = self_of(link);
    record_writer *out = &self->out;
    while (out->begin < out->end && self->broken == 0) {
        const struct iovec rest = {out->bytes + out->begin, out->end - out->begin};
        ssize_t written = ferry__link_plain.write(link, &rest, 1, false);
        if (written == -EAGAIN)
            return -EAGAIN;
        if (written < 0)
            self->broken = (int)written;
        else
            out->begin += (size_t)written;
    }
    return self->broken;
}

static size_t total(const struct iovec pieces[], int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += pieces[i].iov_len;
    return size;
}

static ssize_t write_record(ferry__link *link, const struct iovec pieces[], int count, bool)
{
    record_link *self = self_of(link);
    check(!link->owes);
    if (self->begun == 0)
        self->begun = record_make(&self->out, RECORD_DATA, pieces, count);
    int error = send_record(link);
    if (error != 0)
        return error;
    size_t size = total(pieces, count), answered = self->begun < size ? self->begun : size;
    self->begun -= answered;
    return (ssize_t)answered;
}

static size_t owe(ferry__link *link)
{
    record_link *self = self_of(link);
    size_t begun = self->broken == 0 ? self->begun : 0; /* else they will not leave */
    self->begun = 0;
    link->owes |= self->out.begin < self->out.end && self->broken == 0;
    return begun;
}

static int flush(ferry__link *link)
{
    record_link *self = self_of(link);
    int error = send_record(link);
    if (error == 0 && self->has_note && !self->is_ending) {
        self->has_note = false;
        (void)record_make(&self->out, RECORD_NOTE, NULL, 0);
        error = send_record(link);
    }
    link->owes = error != 0;
    return error;
}

/* What is received in large amounts is answered, once the record that is on its way has left. */
static void note_received(ferry__link *link, size_t count)
{
    record_link *self = self_of(link);
    self->received += count;
    if (self->received < NOTE_EACH || self->is_ending)
        return;
    self->received = 0;
    self->has_note = true;
    link->owes = true;
}

/* @return as a type's receive, with a record's bytes in. */
static ssize_t receive_record(ferry__link *link)
{
    record_reader *in = &self_of(link)->in;
    while (!record_is_in(in) && !in->has_ended) {
        struct iovec wanted = record_wanted(in);
        ssize_t count = ferry__link_plain.receive(link, wanted.iov_base, wanted.iov_len);
        if (count == 0)
            return -ECONNABORTED; /* that is no end of a peer's that speaks so */
        if (count < 0)
            return count;
        record_came(in, (size_t)count);
    }
    return record_is_in(in) ? 1 : 0;
}

static ssize_t receive(ferry__link *link, void *data, size_t size)
{
    ssize_t result = receive_record(link);
    if (result <= 0)
        return result;
    size_t count = record_take(&self_of(link)->in, data, size);
    link->is_dry = false; /* some of the record may be left */
    note_received(link, count);
    return (ssize_t)count;
}

static void push_nothing(ferry__link *) {}

static void make_end(record_link *self)
{
    bool is_whole = self->out.begin == self->out.end;
    if (is_whole && !self->is_ending)
        (void)record_make(&self->out, RECORD_END, NULL, 0);
    self->is_ending = true;
}

static int say_end(ferry__link *link)
{
    int error = send_record(link);
    if (error != 0)
        return error;
    make_end(self_of(link));
    return send_record(link);
}

static int shut_down(ferry__link *link)
{
    int error = say_end(link);
    link->owes = error == -EAGAIN;
    return error != 0 ? error : ferry__link_plain.shut_down(link);
}

static int64_t unsent(const ferry__link *link)
{
    const record_writer *out = &self_of(link)->out;
    int64_t bytes = ferry__link_plain.unsent(link);
    return bytes >= 0 ? bytes + (int64_t)(out->end - out->begin) : bytes;
}

static int64_t unacked(const ferry__link *link)
{
    const record_writer *out = &self_of(link)->out;
    int64_t bytes = ferry__link_plain.unacked(link);
    return bytes >= 0 ? bytes + (int64_t)(out->end - out->begin) : bytes;
}

static void let_go(ferry__link *link, ferry__ending ending)
{
    record_link *self = self_of(link);
    if (ending == FERRY__LET_GO) {
        make_end(self);
        (void)ferry__link_send_last(link, self->out.bytes + self->out.begin,
                                    self->out.end - self->out.begin);
    }
    free(self);
    link->state = NULL;
}

static const ferry__link_type records = {
    .write = write_record,
    .sendfile = ferry__link_cannot_sendfile,
    .splice = ferry__link_cannot_splice,
    .push = push_nothing,
    .owe = owe,
    .flush = flush,
    .receive = receive,
    .peek = receive_record,
    .receive_to_pipe = ferry__link_cannot_splice,
    .share = ferry__link_cannot_share,
    .shut_down = shut_down,
    .unsent = unsent,
    .unacked = unacked,
    .close = let_go,
};

void records_put_on(ferry_stream *stream)
{
    stream->link.type = &records;
    stream->link.state = calloc(1, sizeof(record_link));
    check(stream->link.state != NULL);
}
