/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/media_types.h"

#include "tests/support.h"

PUT_AWAY(free_types, struct media_types, media_types_free)

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
    AT_END(free_types)
    struct media_types *types = load("# a comment\n\n"
                                     "text/html\thtml htm # and one behind\n"
                                     "application/zip zip\r\n"
                                     "audio/none\n"
                                     "text/x-last last");
    check_type(types, "index.html", "text/html");
    check_type(types, "a/b/index.htm", "text/html");
    check_type(types, "x.zip", "application/zip");
    check_type(types, "x.last", "text/x-last");
}

PROMISE(media_types, case_of_an_extension_does_not_matter)
{
    AT_END(free_types) struct media_types *types = load("text/html html\nimage/png PNG\n");
    check_type(types, "INDEX.HTML", "text/html");
    check_type(types, "x.png", "image/png");
}

PROMISE(media_types, of_two_mentions_the_first_counts)
{
    AT_END(free_types) struct media_types *types = load("text/one x\ntext/two x\ntext/three X\n");
    check_type(types, "file.x", "text/one");
}

PROMISE(media_types, name_that_says_nothing_is_bytes)
{
    AT_END(free_types) struct media_types *types = load("text/html html\n");
    static const char *const names[] = {"", "html", "file.", "file.foo", "dir.html/file", "."};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        check_type(types, names[i], "application/octet-stream");
}

PROMISE(media_types, without_a_list_a_dozen_types_are_known)
{
    AT_END(free_types) struct media_types *types = media_types_load("/nowhere/at/all");
    check(types != NULL);
    check_type(types, "index.html", "text/html");
    check_type(types, "style.css", "text/css");
    check_type(types, "app.js", "text/javascript");
    check_type(types, "a.svg", "image/svg+xml");
    check_type(types, "a.zzz", "application/octet-stream");
}

PROMISE(media_types, systems_list_knows_what_a_site_is_made_of)
{
    AT_END(free_types) struct media_types *types = media_types_load(MEDIA_TYPES_PATH);
    check_type(types, "index.html", "text/html");
    check_type(types, "style.css", "text/css");
    check_type(types, "app.js", "text/javascript");
    check_type(types, "photo.jpeg", "image/jpeg");
}

/* Whatever a list says of them, or if there is none. */
PROMISE(media_types, what_the_web_means_is_said_even_where_the_list_says_otherwise)
{
    static const char *const cases[][2] = {
        {"a.ts", "video/mp2t"},
        {"a.m2ts", "video/mp2t"},
        {"A.MTS", "video/mp2t"},
        {"a.js", "text/javascript"},
        {"a.mjs", "text/javascript"},
        {"a.wasm", "application/wasm"},
        {"a.js.map", "application/json"},
        {"a.webmanifest", "application/manifest+json"},
        {"a.m3u8", "application/vnd.apple.mpegurl"},
        {"a.m4s", "video/iso.segment"},
        {"a.m4a", "audio/mp4"},
        {"a.weba", "audio/webm"},
        {"a.mid", "audio/midi"},
        {"a.ass", "text/plain"},
        {"a.rs", "text/plain"},
        {"a.rss", "application/rss+xml"},
        {"a.svg", "image/svg+xml"},
        {"a.avif", "image/avif"},
        {"a.woff2", "font/woff2"},
    };
    struct media_types *lists[] = {
        media_types_load(MEDIA_TYPES_PATH), media_types_load("/nowhere"),
        load("text/vnd.trolltech.linguist ts\napplication/javascript js mjs\nx/y wasm map\n")};
    for (size_t list = 0; list < sizeof lists / sizeof lists[0]; list++) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            check_type(lists[list], cases[i][0], cases[i][1]);
        media_types_free(lists[list]);
    }
}

/* What a site is made of beside that: the list is right here. */
PROMISE(media_types, systems_list_is_right_of_the_rest)
{
    static const char *const cases[][2] = {
        {"a.html", "text/html"},
        {"a.htm", "text/html"},
        {"a.css", "text/css"},
        {"a.txt", "text/plain"},
        {"a.json", "application/json"},
        {"a.xml", "application/xml"},
        {"a.pdf", "application/pdf"},
        {"a.png", "image/png"},
        {"a.jpg", "image/jpeg"},
        {"a.gif", "image/gif"},
        {"a.webp", "image/webp"},
        {"a.mp4", "video/mp4"},
        {"a.webm", "video/webm"},
        {"a.vtt", "text/vtt"},
        {"a.csv", "text/csv"},
        {"a.opus", "audio/ogg"},
        {"a.flac", "audio/flac"},
        {"a.mp3", "audio/mpeg"},
        {"a.md", "text/markdown"},
        {"a.ico", "image/vnd.microsoft.icon"},
        {"a.mpd", "application/dash+xml"},
    };
    AT_END(free_types) struct media_types *types = media_types_load(MEDIA_TYPES_PATH);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_type(types, cases[i][0], cases[i][1]);
}

PROMISE(media_types, list_of_rubbish_is_survived)
{
    media_types_free(load(" \n\t\n#\n##\n\x01\x02\xff x y z\n/ /\n"));
    media_types_free(media_types_load("/dev/zero"));
    media_types_free(media_types_load("/"));
    media_types_free(NULL);
}
