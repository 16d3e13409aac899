/* SPDX-License-Identifier: MIT */
#include "listing.h"

#include "text.h"
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* One line of the page. */
struct name {
    size_t text; /* where its name begins, without a slash, in texts */
    bool is_directory;
    uint64_t size;     /* bytes, of a file */
    time_t modified_s; /* seconds since 1970 */
};

/* What was read, until the page is written. */
struct reading {
    struct name *names;
    size_t count;
    size_t size;       /* for how many there is room */
    struct text texts; /* their names, each with its NUL */
    bool has_failed;   /* out of memory */
    bool is_cut;       /* there are more than LISTING_NAMES */
};

struct listing {
    atomic_uint refs;
    char *path;
    struct text page;
};

static atomic_size_t bytes_in_all;

size_t listing_bytes_in_all(void)
{
    return atomic_load_explicit(&bytes_in_all, memory_order_relaxed);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool make_room(struct reading *reading)
{
    if (reading->count < reading->size)
        return true;
    size_t size = reading->size > 0 ? reading->size * 2 : 64;
    struct name *names = realloc(reading->names, size * sizeof *names);
    if (names == NULL)
        return false;
    reading->names = names;
    reading->size = size;
    return true;
}

static void add(struct reading *reading, const char *text, const struct stat *status)
{
    struct name name = {.text = reading->texts.length,
                        .is_directory = S_ISDIR(status->st_mode),
                        .size = (uint64_t)status->st_size,
                        .modified_s = status->st_mtim.tv_sec};
    text_add(&reading->texts, text, strlen(text) + 1);
    reading->has_failed = reading->texts.is_cut || !make_room(reading);
    if (!reading->has_failed)
        reading->names[reading->count++] = name;
}

static bool is_to_be_shown(const struct site *site, const char *name)
{
    bool is_navigation = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    return !is_navigation && (name[0] != '.' || site->shows_hidden);
}

/* A file or a directory leads nowhere else: it need not be opened to be looked at. */
static bool look_here(int directory, const struct dirent *one, struct stat *ret_status)
{
    return (one->d_type == DT_REG || one->d_type == DT_DIR) &&
           fstatat(directory, one->d_name, ret_status, AT_SYMLINK_NOFOLLOW) == 0 &&
           (S_ISREG(ret_status->st_mode) || S_ISDIR(ret_status->st_mode));
}

/* By its path from the root, not from its directory: a link may lead from one to another. */
static bool look(const struct site *site, const char *directory, const char *name,
                 struct stat *ret_status)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s%s", directory, name);
    return length < (int)sizeof path && tree_look(site->root, path, ret_status) == 0;
}

/* Whether there is such a file or directory to be shown. */
static bool find_out(const struct site *site, const char *path, int directory,
                     const struct dirent *one, struct stat *ret_status)
{
    return is_to_be_shown(site, one->d_name) &&
           (look_here(directory, one, ret_status) || look(site, path, one->d_name, ret_status));
}

static void read_names(const struct site *site, DIR *directory, struct listing *listing,
                       struct reading *reading)
{
    const struct dirent *one;
    while (!reading->has_failed && !reading->is_cut && (one = readdir(directory)) != NULL) {
        struct stat status;
        if (!find_out(site, listing->path, dirfd(directory), one, &status))
            continue;
        reading->is_cut = reading->count == LISTING_NAMES;
        if (!reading->is_cut)
            add(reading, one->d_name, &status);
    }
}

static int compare(const void *one, const void *other, void *texts)
{
    const struct name *a = one, *b = other;
    const char *text = texts;
    return a->is_directory != b->is_directory ? b->is_directory - a->is_directory
                                              : strcmp(text + a->text, text + b->text);
}

static int open_directory(const struct site *site, const char *path, DIR **ret_directory)
{
    struct stat status;
    int fd = tree_open(site->root, site->own_fds, path, &status);
    if (fd < 0)
        return fd;
    *ret_directory = fdopendir(fd);
    if (*ret_directory != NULL)
        return 0;
    int error = -errno;
    (void)close(fd);
    return error;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_link(struct text *page, const char *name, bool is_directory)
{
    const char *slash = is_directory ? "/" : "";
    text_add_string(page, "<a href=\"./"); /* or a name with a colon would be taken for a scheme */
    text_add_url(page, name, strlen(name));
    text_add_string(page, slash);
    text_add_string(page, "\">");
    text_add_html(page, name);
    text_add_string(page, slash);
    text_add_string(page, "</a>");
}

static void write_date(struct text *page, time_t seconds)
{
    char date[64];
    struct tm tm;
    size_t length =
        gmtime_r(&seconds, &tm) != NULL ? strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &tm) : 0;
    text_add(page, date, length);
}

static void write_name(const struct reading *reading, const struct name *name, struct text *page)
{
    text_add_string(page, "<tr><td>");
    write_link(page, reading->texts.data + name->text, name->is_directory);
    text_add_string(page, "</td><td class=\"size\">");
    if (name->is_directory)
        text_add_string(page, "-");
    else
        text_add_number(page, name->size);
    text_add_string(page, "</td><td>");
    write_date(page, name->modified_s);
    text_add_string(page, "</td></tr>\n");
}

static void write_beginning(const char *path, struct text *page)
{
    text_add_string(page, "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>/");
    text_add_html(page, path);
    text_add_string(page, "</title>\n<style>td { padding-right: 2em } .size { text-align: right }"
                          "</style>\n<h1>/");
    text_add_html(page, path);
    text_add_string(page, "</h1>\n<table>\n");
    if (*path != '\0')
        text_add_string(page, "<tr><td><a href=\"../\">../</a></td></tr>\n");
}

static void write_end(const struct reading *reading, struct text *page)
{
    text_add_string(page, "</table>\n");
    if (reading->is_cut)
        text_add_string(page, "<p>There is more, which is not shown.</p>\n");
}

static int write_page(struct listing *listing, const struct reading *reading)
{
    struct text *page = &listing->page;
    write_beginning(listing->path, page);
    for (size_t i = 0; i < reading->count; i++)
        write_name(reading, &reading->names[i], page);
    write_end(reading, page);
    return page->is_cut ? -ENOMEM : 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int read_and_write(const struct site *site, DIR *directory, struct listing *listing)
{
    struct reading reading = {.texts = text_growing()};
    read_names(site, directory, listing, &reading);
    if (reading.count > 0)
        qsort_r(reading.names, reading.count, sizeof *reading.names, compare, reading.texts.data);
    int error = reading.has_failed ? -ENOMEM : write_page(listing, &reading);
    free(reading.names);
    free(reading.texts.data);
    return error;
}

static int fill(const struct site *site, struct listing *listing)
{
    DIR *directory;
    int error = open_directory(site, listing->path, &directory);
    if (error != 0)
        return error;
    error = read_and_write(site, directory, listing);
    (void)closedir(directory);
    return error;
}

int listing_read(const struct site *site, const char *path, struct listing **ret_listing)
{
    struct listing *listing = calloc(1, sizeof *listing);
    if (listing == NULL)
        return -ENOMEM;
    atomic_init(&listing->refs, 1);
    listing->page = text_growing();
    listing->path = strdup(path);
    int error = listing->path != NULL ? fill(site, listing) : -ENOMEM;
    atomic_fetch_add(&bytes_in_all, listing->page.size);
    if (error == 0)
        *ret_listing = listing;
    else
        (void)listing_unref(listing);
    return error;
}

struct listing *listing_ref(struct listing *listing)
{
    atomic_fetch_add_explicit(&listing->refs, 1, memory_order_relaxed);
    return listing;
}

struct listing *listing_unref(struct listing *listing)
{
    if (listing == NULL || atomic_fetch_sub_explicit(&listing->refs, 1, memory_order_acq_rel) > 1)
        return NULL;
    atomic_fetch_sub(&bytes_in_all, listing->page.size);
    free(listing->path);
    free(listing->page.data);
    free(listing);
    return NULL;
}

const char *listing_path(const struct listing *listing)
{
    return listing->path;
}

size_t listing_length(const struct listing *listing)
{
    return listing->page.length;
}

size_t listing_write(const struct listing *listing, size_t *written, char *buffer, size_t size)
{
    size_t left = listing->page.length - *written, step = left < size ? left : size;
    memcpy(buffer, listing->page.data + *written, step);
    *written += step;
    return step;
}
