/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/target.h"

#include "tests/harness.h"

static int parse(const char *text, struct target *ret_target)
{
    return target_parse(text, strlen(text), ret_target);
}

static void check_path(const char *text, const char *expected)
{
    struct target target;
    check_eq(parse(text, &target), 0);
    if (strcmp(target.path, expected) != 0)
        fprintf(stderr, "%s: got %s, expected %s\n", text, target.path, expected);
    check(strcmp(target.path, expected) == 0);
    check_eq(target.length, strlen(expected));
}

static void check_bad(const char *text)
{
    struct target target;
    if (parse(text, &target) != 400)
        fprintf(stderr, "%s was taken as %s\n", text, target.path);
    check_eq(parse(text, &target), 400);
}

PROMISE(target, path_is_relative_to_the_root)
{
    check_path("/", "");
    check_path("/a", "a");
    check_path("/a/b.html", "a/b.html");
    check_path("/a/b/", "a/b/");
}

PROMISE(target, percent_encoding_is_decoded_once)
{
    check_path("/a%20b", "a b");
    check_path("/%c3%A9", "\xc3\xa9");
    check_path("/%2541", "%41");
    check_path("/100%25", "100%");
}

PROMISE(target, bytes_beyond_ascii_are_what_they_are)
{
    check_path("/\xc3\xa9/%c3\xa9?\xff", "\xc3\xa9/\xc3\xa9");
    check_path("/\x80\xfe\xff", "\x80\xfe\xff");
}

PROMISE(target, absolute_one_wants_a_host)
{
    static const char *const none[] = {
        "http://",         "http:///",     "http:///a",     "http://:80/",   "http://a:b/",
        "http://a:80:80/", "http://[::1/", "http://a..b/",  "http://a%zz/",  "http://u@a/",
        "http://u:p@a/",   "http://a,b/",  "http://?a",     "http://#a",     "http:/a",
        "http:a",          "ftp://a/",     "https://a:b/c", "http://[::1]a", "http://\xc3\xa9/",
    };
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        check_bad(none[i]);
    check_path("http://a:80/b", "b");
    check_path("HTTPS://[::1]:80", "");
    check_path("http://a?b", "");
    check_path("http://a:/b", "b");
}

PROMISE(target, plus_stays_a_plus)
{
    check_path("/a+b", "a+b");
}

PROMISE(target, malformed_encoding_is_400)
{
    static const char *const texts[] = {"/%",    "/%4",   "/%zz", "/%4g",      "/a%",
                                        "/%%41", "/% 41", "/%-1", "/a/%u0041", "/%4%31"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        check_bad(texts[i]);
}

PROMISE(target, nul_is_400)
{
    check_bad("/a%00");
    check_bad("/%00");
    check_bad("/a%00.html");
    struct target target;
    check_eq(target_parse("/a\0b", 4, &target), 400);
}

PROMISE(target, dot_segments_are_followed)
{
    check_path("/.", "");
    check_path("/./", "");
    check_path("/a/.", "a/");
    check_path("/a/./b", "a/b");
    check_path("/a/..", "");
    check_path("/a/../b", "b");
    check_path("/a/b/..", "a/");
    check_path("/a/b/../", "a/");
    check_path("/a/b/../../c", "c");
    check_path("/a/b/.././../c/", "c/");
}

PROMISE(target, encoded_dots_and_slashes_are_dots_and_slashes)
{
    check_path("/a/%2e%2E/b", "b");
    check_path("/a/%2e/b", "a/b");
    check_path("/a/.%2e/b", "b");
    check_path("/a%2fb", "a/b");
    check_path("/a%2F..%2fb", "b");
    check_bad("/%2e%2e%2fetc%2fpasswd");
}

PROMISE(target, names_that_begin_or_end_with_dots_are_names)
{
    check_path("/...", "...");
    check_path("/..a", "..a");
    check_path("/a..", "a..");
    check_path("/a/...", "a/...");
    check_path("/.a.", ".a.");
}

PROMISE(target, leaving_the_root_is_400)
{
    static const char *const texts[] = {
        "/..",    "/../",      "/../etc/passwd", "/a/../..",        "/a/../../a",      "/./../a",
        "//../a", "/%2e%2e/a", "/..%2fa",        "/a/b/../../../c", "http://host/../a"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        check_bad(texts[i]);
}

PROMISE(target, slashes_in_a_row_are_one)
{
    check_path("//", "");
    check_path("//a", "a");
    check_path("/a//b", "a/b");
    check_path("/a///", "a/");
    check_path("/a//../b", "b");
    check_path("/a/%2f/b", "a/b");
}

PROMISE(target, backslash_is_a_character)
{
    check_path("/..\\a", "..\\a");
    check_path("/a\\..\\b", "a\\..\\b");
    check_path("/%5c..%5ca", "\\..\\a");
}

PROMISE(target, query_and_fragment_are_no_part_of_the_path)
{
    struct target target;
    check_path("/a?b", "a");
    check_path("/?", "");
    check_path("/a?../../b%00%zz", "a");
    check_path("/a#b?c", "a");
    check_path("/a/?x#y", "a/");
    check_eq(parse("/a?b=c#d", &target), 0);
    check_eq(target.query_length, 4);
    check(memcmp(target.query, "?b=c", 4) == 0);
    check_eq(parse("/a", &target), 0);
    check_eq(target.query_length, 0);
}

PROMISE(target, encoded_question_mark_is_part_of_the_name)
{
    check_path("/a%3Fb", "a?b");
    check_path("/a%23b", "a#b");
}

PROMISE(target, absolute_form_means_its_path)
{
    check_path("http://host/a/b", "a/b");
    check_path("HTTP://host:8080/a?b", "a");
    check_path("https://host/", "");
    check_path("http://host", "");
    check_path("http://host?q", "");
    check_path("http://host/a/../b", "b");
    check_path("http://[::1]:80/a", "a");
}

PROMISE(target, what_is_no_path_is_400)
{
    static const char *const texts[] = {
        "", "*", "a", "a/b", "?a", "http:///a", "http://", "ftp://h/a", "http:/host/a", "host:80"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        check_bad(texts[i]);
}

PROMISE(target, directory_was_asked_for_where_a_slash_ends_it)
{
    static const struct {
        const char *text;
        bool is_directory;
    } cases[] = {{"/", true},     {"/a", false},     {"/a/", true},   {"/a/.", true},
                 {"/a/..", true}, {"/a/b/..", true}, {"/a%2f", true}, {"/a?/", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct target target;
        check_eq(parse(cases[i].text, &target), 0);
        check_eq(target.is_directory, cases[i].is_directory);
    }
}

PROMISE(target, hidden_is_what_has_a_segment_that_begins_with_a_dot)
{
    static const struct {
        const char *text;
        bool is_hidden;
    } cases[] = {{"/.a", true},    {"/a/.b", true}, {"/.git/x", true}, {"/%2egit/x", true},
                 {"/...", true},   {"/a.b", false}, {"/a/./b", false}, {"/.a/../b", false},
                 {"/a/b.", false}, {"/", false},    {"/a//.b", true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct target target;
        check_eq(parse(cases[i].text, &target), 0);
        check_eq(target.is_hidden, cases[i].is_hidden);
    }
}

PROMISE(target, path_longer_than_any_file_has_is_414)
{
    static char text[8192];
    struct target target;
    memset(text, 'a', sizeof text);
    text[0] = '/';
    check_eq(target_parse(text, sizeof text, &target), 414);
    check_eq(target_parse(text, 4095, &target), 0); /* 4094, and the NUL, and a slash */
    check_eq(target.length, 4094);
    check_eq(target_parse(text, 4096, &target), 414);
    for (size_t i = 1; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "./", 2); /* long, and yet no path at all */
    text[sizeof text - 1] = '/';
    check_eq(target_parse(text, sizeof text - 1, &target), 0);
    check_eq(target.length, 0);
}

/* Whatever comes in, what comes out stays below the root. */
PROMISE(target, no_text_leads_out)
{
    static const char *const pieces[] = {"/", ".", "..", "a",   "%2e", "%2F",
                                         "?", "#", "%",  "%00", "//"};
    uint64_t state = random_seed();
    for (int i = 0; i < 200000; i++) {
        char text[128] = "/";
        struct target target;
        for (uint64_t left = random_next(&state) % 12; left > 0; left--)
            strcat(text, pieces[random_next(&state) % (sizeof pieces / sizeof pieces[0])]);
        if (parse(text, &target) != 0)
            continue;
        check_eq(strlen(target.path), target.length);
        check(target.path[0] != '/');
        char framed[sizeof target.path + 2];
        snprintf(framed, sizeof framed, "/%s/", target.path);
        check(strstr(framed, "/../") == NULL && strstr(framed, "/./") == NULL);
        check(strstr(target.path, "//") == NULL);
    }
}
