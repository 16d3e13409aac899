/* SPDX-License-Identifier: MIT */
#include "entry.h"

#include "http_date.h"
#include "tree.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

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
    if (tree_look(site->root, entry->file, &status) != 0 || !is_same(&entry->identity, &status))
        return false;
    entry->checked_s = now_s;
    return true;
}

/* ---- fields ---------------------------------------------------------------------------------- */

static void add_date(struct text *text, int64_t seconds)
{
    char date[HTTP_DATE_LENGTH];
    http_date_format(seconds, date);
    text_add(text, date, sizeof date);
}

/* The nanoseconds make a strong validator of it: they change with each write that is a clock tick
 * apart from the one before. */
static void add_etag(struct text *text, const struct identity *identity)
{
    uint64_t modified_ns =
        (uint64_t)identity->modified.tv_sec * 1000000000 + (uint64_t)identity->modified.tv_nsec;
    text_add_string(text, "\"");
    text_add_hex(text, modified_ns);
    text_add_string(text, "-");
    text_add_hex(text, (uint64_t)identity->size);
    text_add_string(text, "\"");
}

static struct slice since(const struct text *text, size_t mark)
{
    return (struct slice){text->data + mark, text->length - mark};
}

/* No file was changed in the future: HTTP does not know such dates. */
static int64_t modification(const struct identity *identity)
{
    int64_t now_s;
    (void)http_date_now(&now_s);
    return identity->modified.tv_sec < now_s ? identity->modified.tv_sec : now_s;
}

static void write_fields(struct entry *entry, struct text *text)
{
    entry->validators.modified_s = modification(&entry->identity);
    size_t begin = text->length;
    text_add_string(text, "Content-Type: ");
    text_add_string(text, entry->type);
    text_add_string(text, "\r\nAccept-Ranges: bytes\r\n");
    size_t validators = text->length;
    text_add_string(text, "Last-Modified: ");
    add_date(text, entry->validators.modified_s);
    text_add_string(text, "\r\nETag: ");
    size_t etag = text->length;
    add_etag(text, &entry->identity);
    entry->validators.etag = since(text, etag);
    text_add_string(text, "\r\n");
    entry->validator_fields = since(text, validators);
    entry->fields = since(text, begin);
}

/* ---- the image ------------------------------------------------------------------------------- */

static bool read_all(int fd, char *buffer, size_t length)
{
    size_t count = 0;
    while (count < length) {
        ssize_t got = pread(fd, buffer + count, length - count, (off_t)count);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        count += (size_t)got;
    }
    return true;
}

/* @return 0; -EAGAIN: the file has changed meanwhile. */
static int read_body(struct entry *entry, int fd)
{
    struct stat status;
    bool is_whole = read_all(fd, image_body(entry->image), (size_t)entry->size);
    return is_whole && fstat(fd, &status) == 0 && is_same(&entry->identity, &status) ? 0 : -EAGAIN;
}

static int make_image(struct entry *entry, size_t body_length)
{
    enum { HEAD_BYTES = 1024 }; /* what is not a type's name is some 200 bytes */
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
    entry->image = image_create(&head, body_length);
    return entry->image != NULL ? 0 : -ENOMEM;
}

/* ---- making one ------------------------------------------------------------------------------ */

/* @return 0; -EAGAIN: the file has changed meanwhile. Takes: fd. */
static int share(struct entry *entry, int fd)
{
    ferry_file file = ferry_file_fd(fd);
    file.flags = FERRY_FD_GIVE;
    int error = ferry_shared_file_open(&file, &entry->shared);
    if (error != 0) {
        (void)close(fd);
        return error;
    }
    return ferry_shared_file_size(entry->shared) == entry->size ? 0 : -EAGAIN;
}

/* Takes: fd. */
static int fill(struct entry *entry, int fd)
{
    bool is_small = entry->size <= ENTRY_SMALL_BYTES;
    int error = make_image(entry, is_small ? (size_t)entry->size : 0);
    if (error == 0 && !is_small)
        return share(entry, fd);
    if (error == 0)
        error = read_body(entry, fd);
    (void)close(fd);
    return error;
}

static struct entry *allocate(const struct site *site, const char *file, const struct stat *status)
{
    const char *type = media_types_find(site->types, file);
    enum { FIELDS_BYTES = 192 }; /* without the type: four names, a date, three numbers */
    size_t path_bytes = strlen(file) + 1, size = path_bytes + strlen(type) + FIELDS_BYTES;
    struct entry *entry = malloc(sizeof *entry + size);
    if (entry == NULL)
        return NULL;
    *entry = (struct entry){.identity = identify(status),
                            .size = (uint64_t)status->st_size,
                            .file = entry->text,
                            .type = type};
    (void)http_date_now(&entry->checked_s);
    struct text text = text_in(entry->text, size);
    text_add(&text, file, path_bytes);
    write_fields(entry, &text);
    return entry;
}

/* One try: a file may change while it is read. */
static int try_create(const struct site *site, const char *file, struct entry **ret_entry)
{
    struct stat status;
    int fd = tree_open(site->root, file, &status);
    if (fd < 0)
        return fd;
    struct entry *entry = S_ISDIR(status.st_mode) ? NULL : allocate(site, file, &status);
    if (entry == NULL) {
        (void)close(fd);
        return S_ISDIR(status.st_mode) ? -EISDIR : -ENOMEM;
    }
    int error = fill(entry, fd);
    if (error == 0)
        *ret_entry = entry;
    else
        entry_free(entry);
    return error;
}

int entry_create(const struct site *site, const char *file, struct entry **ret_entry)
{
    enum { TRIES = 3 }; /* who writes to a file without end gets an error rather than our time */
    int error = -EAGAIN;
    for (int i = 0; i < TRIES && error == -EAGAIN; i++)
        error = try_create(site, file, ret_entry);
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
