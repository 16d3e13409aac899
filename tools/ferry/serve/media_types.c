/* SPDX-License-Identifier: MIT */
#include "media_types.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 * These stand before any list, and so count. Lists say what is registered, or what a desktop opens
 * such files with. If the web means something else by an extension, or browsers insist on a type,
 * these say so.
 */
static const char corrections[] =
    "text/javascript js mjs cjs es\n" /* application/javascript is obsolete (RFC 9239); modules must
                                           have a type of JavaScript's */
    "application/wasm wasm\n"         /* browsers compile nothing else while it comes */
    "application/json map\n"          /* source maps */
    "application/manifest+json webmanifest\n"
    "video/mp2t ts m2ts mts\n"             /* HLS segments, not Qt's translations or 3D models */
    "application/vnd.apple.mpegurl m3u8\n" /* a playlist of video, not audio/mpegurl */
    "video/iso.segment m4s\n"
    "audio/mp4 m4a\n"
    "audio/webm weba\n"
    "audio/midi mid midi\n"       /* audio/sp-midi is the format of old telephones */
    "text/plain ass ssa log rs\n" /* subtitles, not AAC audio; logs; Rust, not IETF's lists */
    "application/rss+xml rss\n"   /* what feed readers look for, without the list's x- */
    "application/yaml yaml yml\n" /* RFC 9512 */
    "image/svg+xml svg\n"         /* old lists have text/xml */
    "image/avif avif\n"
    "font/woff woff\n"
    "font/woff2 woff2\n";

static const char fallback[] = "text/html html htm\n"
                               "text/css css\n"
                               "text/plain txt\n"
                               "application/json json\n"
                               "application/xml xml\n"
                               "application/pdf pdf\n"
                               "image/png png\n"
                               "image/jpeg jpg jpeg\n"
                               "image/gif gif\n"
                               "image/webp webp\n"
                               "video/mp4 mp4\n"
                               "audio/mpeg mp3\n";

/* An extension and its type, both in the list's text. */
struct media_type {
    const char *extension; /* without its dot */
    const char *type;
};

struct media_types {
    char *text;               /* the list, cut into strings */
    struct media_type *known; /* sorted by extension; of equal ones, which the list had first */
    size_t count;
    size_t size; /* for how many known has room */
};

/* ---- reading --------------------------------------------------------------------------------- */

/* All of a file, or as much as a list may have. @return NULL: it cannot be read. */
static char *read_file(const char *path)
{
    enum { LARGEST = 4 * 1024 * 1024 }; /* Debian's has 74 KB */
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t length = 0, size = 0;
    if (file != NULL && getdelim(&text, &size, '\0', file) > 0)
        length = strlen(text);
    if (file != NULL)
        (void)fclose(file);
    if (length > 0 && length < LARGEST)
        return text;
    free(text);
    return NULL;
}

/* All lists, one behind the other. If several have an extension, the first counts. */
static char *read_text(const char *path)
{
    char *list = read_file(path), *text;
    if (asprintf(&text, "%s%s", corrections, list != NULL ? list : fallback) < 0)
        text = NULL;
    free(list);
    return text;
}

static bool add(struct media_types *types, const char *extension, const char *type)
{
    if (types->count == types->size) {
        size_t size = types->size > 0 ? types->size * 2 : 256;
        struct media_type *known = realloc(types->known, size * sizeof *known);
        if (known == NULL)
            return false;
        types->known = known;
        types->size = size;
    }
    types->known[types->count++] = (struct media_type){extension, type};
    return true;
}

static bool read_line(struct media_types *types, char *line)
{
    static const char blanks[] = " \t\r";
    char *rest;
    line[strcspn(line, "#")] = '\0';
    const char *type = strtok_r(line, blanks, &rest);
    const char *extension;
    while (type != NULL && (extension = strtok_r(NULL, blanks, &rest)) != NULL)
        if (!add(types, extension, type))
            return false;
    return true;
}

static bool read_lines(struct media_types *types)
{
    char *rest;
    for (char *line = strtok_r(types->text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        if (!read_line(types, line))
            return false;
    return true;
}

/* ---- looking up ------------------------------------------------------------------------------ */

static int compare(const void *one, const void *other)
{
    const struct media_type *a = one, *b = other;
    return strcasecmp(a->extension, b->extension);
}

/* The first of equal ones stays. Addresses tell which is first: the list's text is in one piece. */
static int compare_place(const void *one, const void *other)
{
    const struct media_type *a = one, *b = other;
    int order = compare(one, other);
    return order != 0 ? order : (a->extension > b->extension) - (a->extension < b->extension);
}

static void sort(struct media_types *types)
{
    size_t kept = 0;
    qsort(types->known, types->count, sizeof *types->known, compare_place);
    for (size_t i = 0; i < types->count; i++)
        if (kept == 0 || compare(&types->known[kept - 1], &types->known[i]) != 0)
            types->known[kept++] = types->known[i];
    types->count = kept;
}

struct media_types *media_types_load(const char *path)
{
    struct media_types *types = calloc(1, sizeof *types);
    if (types == NULL)
        return NULL;
    types->text = read_text(path);
    if (types->text == NULL || !read_lines(types)) {
        media_types_free(types);
        return NULL;
    }
    sort(types);
    return types;
}

const char *media_types_find(const struct media_types *types, const char *path)
{
    static const char unknown[] = "application/octet-stream";
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash != NULL ? slash : path, '.');
    if (dot == NULL || types->count == 0)
        return unknown;
    const struct media_type key = {.extension = dot + 1};
    const struct media_type *found = bsearch(&key, types->known, types->count, sizeof key, compare);
    return found != NULL ? found->type : unknown;
}

void media_types_free(struct media_types *types)
{
    if (types == NULL)
        return;
    free(types->known);
    free(types->text);
    free(types);
}
