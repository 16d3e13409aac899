/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/media_types.h"

#include "tests/support.h"

#include <fcntl.h>

/* Types as a list of that text gives them. */
static struct media_types *load(const char *list)
{
    char path[] = "/tmp/ferry-types-XXXXXX";
    int fd = mkstemp(path);
    check(fd >= 0);
    check_eq(write(fd, list, strlen(list)), strlen(list));
    struct media_types *types = media_types_load(path);
    check(types != NULL);
    close(fd);
    unlink(path);
    return types;
}

static void check_type(const struct media_types *types, const char *path, const char *expected)
{
    check(strcmp(media_types_find(types, path), expected) == 0);
}

PROMISE(media_types, list_says_which_extension_has_which_type)
{
    struct media_types *types = load("# a comment\n\n"
                                     "text/html\thtml htm # and one behind\n"
                                     "application/zip zip\r\n"
                                     "audio/none\n"
                                     "text/x-last last");
    check_type(types, "index.html", "text/html");
    check_type(types, "a/b/index.htm", "text/html");
    check_type(types, "x.zip", "application/zip");
    check_type(types, "x.last", "text/x-last");
    media_types_free(types);
}

PROMISE(media_types, case_of_an_extension_does_not_matter)
{
    struct media_types *types = load("text/html html\nimage/png PNG\n");
    check_type(types, "INDEX.HTML", "text/html");
    check_type(types, "x.png", "image/png");
    media_types_free(types);
}

PROMISE(media_types, of_two_mentions_the_first_counts)
{
    struct media_types *types = load("text/one x\ntext/two x\ntext/three X\n");
    check_type(types, "file.x", "text/one");
    media_types_free(types);
}

PROMISE(media_types, name_that_says_nothing_is_bytes)
{
    struct media_types *types = load("text/html html\n");
    static const char *const names[] = {"", "html", "file.", "file.foo", "dir.html/file", "."};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        check_type(types, names[i], "application/octet-stream");
    media_types_free(types);
}

PROMISE(media_types, without_a_list_a_dozen_types_are_known)
{
    struct media_types *types = media_types_load("/nowhere/at/all");
    check(types != NULL);
    check_type(types, "index.html", "text/html");
    check_type(types, "style.css", "text/css");
    check_type(types, "app.js", "text/javascript");
    check_type(types, "a.svg", "image/svg+xml");
    check_type(types, "a.zzz", "application/octet-stream");
    media_types_free(types);
}

PROMISE(media_types, systems_list_knows_what_a_site_is_made_of)
{
    struct media_types *types = media_types_load(MEDIA_TYPES_PATH);
    check_type(types, "index.html", "text/html");
    check_type(types, "style.css", "text/css");
    check_type(types, "app.js", "text/javascript");
    check_type(types, "photo.jpeg", "image/jpeg");
    media_types_free(types);
}

PROMISE(media_types, list_of_rubbish_is_survived)
{
    media_types_free(load(" \n\t\n#\n##\n\x01\x02\xff x y z\n/ /\n"));
    media_types_free(media_types_load("/dev/zero"));
    media_types_free(media_types_load("/"));
    media_types_free(NULL);
}
