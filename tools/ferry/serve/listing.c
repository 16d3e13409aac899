/* SPDX-License-Identifier: MIT */
#include "listing.h"

#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* One line of the page. */
struct name {
    char *text; /* without a slash */
    bool is_directory;
    uint64_t size;     /* bytes, of a file */
    time_t modified_s; /* seconds since 1970 */
};

struct names {
    struct name *all;
    size_t count;
    size_t size;     /* for how many there is room */
    bool has_failed; /* out of memory */
    bool is_cut;     /* there are more than LISTING_NAMES */
};

/* ---- reading --------------------------------------------------------------------------------- */

static void add(struct names *names, const char *text, const struct stat *status)
{
    if (names->count == names->size) {
        size_t size = names->size > 0 ? names->size * 2 : 64;
        struct name *all = realloc(names->all, size * sizeof *all);
        names->has_failed = all == NULL;
        if (names->has_failed)
            return;
        names->all = all;
        names->size = size;
    }
    struct name name = {.text = strdup(text),
                        .is_directory = S_ISDIR(status->st_mode),
                        .size = (uint64_t)status->st_size,
                        .modified_s = status->st_mtim.tv_sec};
    names->has_failed = name.text == NULL;
    if (name.text != NULL)
        names->all[names->count++] = name;
}

static bool is_to_be_shown(const struct site *site, const char *name)
{
    bool is_navigation = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    return !is_navigation && (name[0] != '.' || site->shows_hidden);
}

/* By its path from the root, not from its directory: a link may lead from one to another. */
static bool look(const struct site *site, const struct target *target, const char *name,
                 struct stat *ret_status)
{
    char path[PATH_MAX];
    size_t length = strlen(name);
    if (target->length + length >= sizeof path)
        return false;
    memcpy(path, target->path, target->length);
    memcpy(path + target->length, name, length + 1);
    return tree_look(site->root, path, ret_status) == 0;
}

static void read_names(const struct site *site, const struct target *target, DIR *directory,
                       struct names *names)
{
    const struct dirent *one;
    while (!names->has_failed && !names->is_cut && (one = readdir(directory)) != NULL) {
        struct stat status;
        if (!is_to_be_shown(site, one->d_name) || !look(site, target, one->d_name, &status))
            continue;
        names->is_cut = names->count == LISTING_NAMES;
        if (!names->is_cut)
            add(names, one->d_name, &status);
    }
}

static int compare(const void *one, const void *other)
{
    const struct name *a = one, *b = other;
    return a->is_directory != b->is_directory ? b->is_directory - a->is_directory
                                              : strcmp(a->text, b->text);
}

static void free_names(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->all[i].text);
    free(names->all);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_link(struct text *page, const struct name *name)
{
    const char *slash = name->is_directory ? "/" : "";
    text_add_string(page, "<a href=\"./"); /* or a name with a colon would be taken for a scheme */
    text_add_url(page, name->text, strlen(name->text));
    text_add_string(page, slash);
    text_add_string(page, "\">");
    text_add_html(page, name->text);
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

static void write_name(struct text *page, const struct name *name)
{
    text_add_string(page, "<tr><td>");
    write_link(page, name);
    text_add_string(page, "</td><td class=\"size\">");
    if (name->is_directory)
        text_add_string(page, "-");
    else
        text_add_number(page, name->size);
    text_add_string(page, "</td><td>");
    write_date(page, name->modified_s);
    text_add_string(page, "</td></tr>\n");
}

static void write_page(struct text *page, const struct target *target, const struct names *names)
{
    text_add_string(page, "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>/");
    text_add_html(page, target->path);
    text_add_string(page, "</title>\n<style>td { padding-right: 2em } .size { text-align: right }"
                          "</style>\n<h1>/");
    text_add_html(page, target->path);
    text_add_string(page, "</h1>\n<table>\n");
    if (target->length > 0)
        text_add_string(page, "<tr><td><a href=\"../\">../</a></td></tr>\n");
    for (size_t i = 0; i < names->count; i++)
        write_name(page, &names->all[i]);
    text_add_string(page, "</table>\n");
    if (names->is_cut)
        text_add_string(page, "<p>There is more, which is not shown.</p>\n");
}

int listing_make(const struct site *site, const struct target *target, struct text *ret_page)
{
    struct stat status;
    *ret_page = text_growing();
    int fd = tree_open(site->root, target->path, &status);
    if (fd < 0)
        return fd;
    DIR *directory = fdopendir(fd);
    if (directory == NULL) {
        int error = -errno;
        (void)close(fd);
        return error;
    }
    struct names names = {0};
    read_names(site, target, directory, &names);
    (void)closedir(directory);
    if (names.count > 0)
        qsort(names.all, names.count, sizeof *names.all, compare);
    write_page(ret_page, target, &names);
    free_names(&names);
    return names.has_failed || ret_page->is_cut ? -ENOMEM : 0;
}
