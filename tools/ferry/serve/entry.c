/* SPDX-License-Identifier: MIT */
#include "entry.h"

#include "http_date.h"
#include "tree.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

/* ---- identity -------------------------------------------------------------------------------- */

static struct identity identify(const struct stat *status)
{
    struct identity identity;
    memset(&identity, 0, sizeof identity); /* gaps included: they are compared as bytes */
    identity.device = status->st_dev;
    identity.inode = status->st_ino;
    identity.size = status->st_size;
    identity.modified = status->st_mtim;
    identity.changed = status->st_ctim;
    return identity;
}

static bool is_same(const struct identity *one, const struct stat *status)
{
    struct identity other = identify(status);
    return memcmp(one, &other, sizeof other) == 0;
}

bool entry_is_valid(const struct site *site, struct entry *entry, int64_t now_s)
{
    struct stat status;
    if (entry->checked_s == now_s)
        return true;
    if (entry->is_provisional || tree_look(site->root, entry->file, &status) != 0 ||
        !is_same(&entry->identity, &status))
        return false;
    entry->checked_s = now_s;
    return true;
}

/* ---- validators ------------------------------------------------------------------------------ */

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/*
 * Whether a file could change once more and its times would not tell: they are as coarse as the
 * kernel's ticks, or as some file systems' seconds.
 */
static bool is_fresh(const struct identity *identity)
{
    static const int64_t tick_ns = 20000000, coarse_ns = 2000000000;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int64_t changed_ns = nanoseconds(identity->changed);
    return nanoseconds(now) - changed_ns < (identity->changed.tv_nsec != 0 ? tick_ns : coarse_ns);
}

/* Whether the time of its modification tells one version from another. It does not in the second of
 * the modification. It does not before 1980: archives and builds that want each file the same write
 * 0, or 1, or the first day of 1980. And HTTP knows no dates in the future. */
static bool is_dated(const struct identity *identity, int64_t now_s)
{
    static const int64_t first_s = 315705600; /* 3 January 1980: that day has passed everywhere */
    return identity->modified.tv_sec >= first_s && identity->modified.tv_sec < now_s;
}

/* What is not sure now may be sure in a second, when it is loaded anew. */
static void judge(struct entry *entry, int64_t now_s)
{
    bool was_modified_now = entry->identity.modified.tv_sec == now_s;
    entry->is_tagged = !entry->is_fickle && !is_fresh(&entry->identity);
    entry->is_dated = !entry->is_fickle && is_dated(&entry->identity, now_s);
    entry->is_provisional = !entry->is_tagged || was_modified_now;
}

/* ---- fields ---------------------------------------------------------------------------------- */

static void add_date(struct text *text, int64_t seconds)
{
    char date[HTTP_DATE_LENGTH];
    http_date_format(seconds, date);
    text_add(text, date, sizeof date);
}

/*
 * All that tells versions apart, in one number: times may be set, as cp -p does, and inodes are
 * used again, but hardly both.
 */
static void add_version(struct text *text, const struct identity *identity)
{
    text_add_hex(text, XXH3_64bits(identity, sizeof *identity));
    text_add_string(text, "-");
    text_add_hex(text, (uint64_t)identity->size);
}

static struct slice since(const struct text *text, size_t mark)
{
    return (struct slice){text->data + mark, text->length - mark};
}

static void add_last_modified(struct text *text, struct entry *entry)
{
    entry->validators.is_undated = !entry->is_dated;
    entry->validators.modified_s = entry->identity.modified.tv_sec;
    if (!entry->is_dated)
        return;
    text_add_string(text, "Last-Modified: ");
    add_date(text, entry->validators.modified_s);
    text_add_string(text, "\r\n");
}

static void add_etag(struct text *text, struct entry *entry)
{
    if (!entry->is_tagged)
        return;
    text_add_string(text, "ETag: ");
    size_t etag = text->length;
    text_add_string(text, "\"");
    text_add(text, entry->version.at, entry->version.length);
    text_add_string(text, "\"");
    entry->validators.etag = since(text, etag);
    text_add_string(text, "\r\n");
}

static void write_fields(struct entry *entry, struct text *text)
{
    size_t version = text->length;
    add_version(text, &entry->identity);
    entry->version = since(text, version);
    size_t begin = text->length;
    text_add_string(text, "Content-Type: ");
    text_add_string(text, entry->type);
    text_add_string(text, "\r\nAccept-Ranges: bytes\r\n");
    size_t validators = text->length;
    add_last_modified(text, entry);
    add_etag(text, entry);
    entry->validator_fields = since(text, validators);
    entry->fields = since(text, begin);
}

/* ---- the image ------------------------------------------------------------------------------- */

/* @param body what follows the head in memory; empty if the file is shared. */
static int make_image(struct entry *entry, const struct text *body)
{
    enum { HEAD_BYTES = 1024 }; /* all but the type's name is some 200 bytes */
    char buffer[HEAD_BYTES];
    struct text head = text_in(buffer, sizeof buffer);
    text_add_string(&head, IMAGE_STATUS_LINE);
    add_date(&head, 0); /* image_refresh puts the right one there */
    text_add_string(&head, "\r\n");
    text_add(&head, entry->fields.at, entry->fields.length);
    text_add_string(&head, "Content-Length: ");
    text_add_number(&head, entry->size);
    text_add_string(&head, "\r\n\r\n");
    if (head.is_cut)
        return -EOVERFLOW;
    entry->image = image_create(&head, body->length);
    if (entry->image == NULL)
        return -ENOMEM;
    if (body->length > 0)
        memcpy(image_body(entry->image), body->data, body->length);
    return 0;
}

/* ---- content --------------------------------------------------------------------------------- */

/* A file's content, as it is sent. */
struct content {
    struct identity identity;  /* when it was opened */
    uint64_t size;             /* bytes that are sent: as many as it had then, if they are there */
    bool is_fickle;            /* what the file has now tells nothing about what it will have */
    ferry_shared_file *shared; /* NULL: its bytes are in body */
    struct text body;          /* its bytes, if it is not shared */
};

/* Reads up to its end, or most bytes. */
static int read_body(int fd, uint64_t most, struct text *body)
{
    char buffer[8192];
    while (body->length < most) {
        uint64_t left = most - body->length;
        ssize_t got = read(fd, buffer, left < sizeof buffer ? (size_t)left : sizeof buffer);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0)
            break;
        if (got > 0)
            text_add(body, buffer, (size_t)got);
    }
    return body->is_cut ? -ENOMEM : 0;
}

/* For a file that has another length than it says, as in /proc and /sys: what was read counts. */
static int believe_body(struct content *content)
{
    content->is_fickle = true;
    content->size = content->body.length;
    return content->size < ENTRY_FICKLE_BYTES ? 0 : -EFBIG;
}

/* @return 0; -EAGAIN: it has changed meanwhile, and its bytes may be of two versions. */
static int take_small(struct content *content, int fd)
{
    struct stat after;
    uint64_t most = content->size > 0 ? content->size : ENTRY_FICKLE_BYTES;
    int error = read_body(fd, most, &content->body);
    if (error != 0)
        return error;
    bool is_steady = fstat(fd, &after) == 0 && is_same(&content->identity, &after);
    if (content->body.length == content->size && is_steady)
        return 0;
    if (is_steady)
        return believe_body(content);
    if (content->body.length > content->size)
        content->body.length = (size_t)content->size; /* it was empty when it was opened */
    content->size = content->body.length;
    return -EAGAIN;
}

/* Takes: *fd, which is -1 then. @return 0; -EAGAIN: it has become shorter meanwhile. */
static int take_large(struct content *content, int *fd)
{
    ferry_file file = ferry_file_fd(*fd);
    file.flags = FERRY_FD_GIVE;
    int error = ferry_shared_file_open(&file, &content->shared);
    if (error != 0)
        return error;
    *fd = -1;
    uint64_t size = ferry_shared_file_get_size(content->shared);
    if (size >= content->size)
        return 0;
    content->size = size;
    return -EAGAIN;
}

/* Takes: fd. */
static int take(struct content *content, int fd, const struct stat *status)
{
    *content = (struct content){
        .identity = identify(status), .size = (uint64_t)status->st_size, .body = text_growing()};
    int error = S_ISDIR(status->st_mode)             ? -EISDIR
                : content->size <= ENTRY_SMALL_BYTES ? take_small(content, fd)
                                                     : take_large(content, &fd);
    if (fd >= 0)
        (void)close(fd);
    return error;
}

static void drop(struct content *content)
{
    (void)ferry_shared_file_unref(content->shared);
    free(content->body.data);
}

/*
 * A file may be written to without pause. Then the last try's bytes are sent, and nothing vouches
 * for them.
 */
static int take_content(const struct site *site, const char *file, struct content *ret_content)
{
    enum { TRIES = 3 };
    for (int tries = 1;; tries++) {
        struct stat status;
        int fd = tree_open(site->root, site->own_fds, file, &status);
        if (fd < 0)
            return fd;
        int error = take(ret_content, fd, &status);
        if (error == -EAGAIN && tries == TRIES) {
            ret_content->is_fickle = true;
            return 0;
        }
        if (error == 0)
            return 0;
        drop(ret_content);
        if (error != -EAGAIN)
            return error;
    }
}

/* ---- making one ------------------------------------------------------------------------------ */

static struct entry *allocate(const struct site *site, const char *file,
                              const struct content *content)
{
    const char *type = media_types_find(site->types, file);
    enum { FIELDS_BYTES = 256 }; /* without the type: five names, a date, five numbers */
    size_t path_bytes = strlen(file) + 1, size = path_bytes + strlen(type) + FIELDS_BYTES;
    struct entry *entry = malloc(sizeof *entry + size);
    if (entry == NULL)
        return NULL;
    *entry = (struct entry){.identity = content->identity,
                            .size = content->size,
                            .is_fickle = content->is_fickle,
                            .file = entry->text,
                            .type = type};
    (void)http_date_now(&entry->checked_s);
    judge(entry, entry->checked_s);
    struct text text = text_in(entry->text, size);
    text_add(&text, file, path_bytes);
    write_fields(entry, &text);
    return entry;
}

int entry_create(const struct site *site, const char *file, struct entry **ret_entry)
{
    struct content content;
    int error = take_content(site, file, &content);
    if (error != 0)
        return error;
    struct entry *entry = allocate(site, file, &content);
    error = entry != NULL ? make_image(entry, &content.body) : -ENOMEM;
    if (error == 0) {
        entry->shared = ferry_shared_file_ref(content.shared);
        *ret_entry = entry;
    } else {
        free(entry);
    }
    drop(&content);
    return error;
}

void entry_free(struct entry *entry)
{
    if (entry == NULL)
        return;
    (void)ferry_shared_file_unref(entry->shared);
    (void)image_unref(entry->image);
    free(entry);
}

/* ---- parts ----------------------------------------------------------------------------------- */

static ferry_part memory_part(struct entry *entry, size_t first, size_t length)
{
    struct image *image = image_ref(entry->image);
    return ferry_part_give(image->bytes + first, length, image_release, image);
}

ferry_part entry_image_part(struct entry *entry, bool has_body)
{
    entry->image = image_refresh(entry->image);
    return memory_part(entry, 0, has_body ? entry->image->length : entry->image->head_length);
}

ferry_part entry_part(struct entry *entry, uint64_t first, uint64_t length)
{
    if (entry->shared == NULL)
        return memory_part(entry, entry->image->head_length + (size_t)first, (size_t)length);
    ferry_file file = ferry_file_shared(entry->shared);
    file.offset = (int64_t)first;
    file.length = (int64_t)length;
    return ferry_part_file(file);
}
