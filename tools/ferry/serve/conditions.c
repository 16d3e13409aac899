/* SPDX-License-Identifier: MIT */
#include "conditions.h"

#include "http_date.h"

#include <string.h>

/* ---- entity tags ----------------------------------------------------------------------------- */

static bool is_same(struct slice one, struct slice other)
{
    return one.length == other.length && memcmp(one.at, other.at, one.length) == 0;
}

/* A list of tags, line by line. */
struct tags {
    const struct request *request;
    enum request_field field;
    uint32_t at;       /* where its next line is looked for */
    struct slice line; /* what is left of this one */
};

static const char *skip_separators(struct slice line)
{
    const char *at = line.at, *end = line.at + line.length;
    while (at < end && (*at == ' ' || *at == '\t' || *at == ','))
        at++;
    return at;
}

/* Passes over separators. @return whether anything follows. */
static bool find_tag(struct tags *tags)
{
    do {
        const char *at = skip_separators(tags->line);
        tags->line.length -= (size_t)(at - tags->line.at);
        tags->line.at = at;
    } while (tags->line.length == 0 &&
             request_next(tags->request, tags->field, &tags->at, &tags->line));
    return tags->line.length > 0;
}

/* Takes the list's next tag. @return whether there is one. */
static bool take_tag(struct tags *tags, struct slice *ret_tag, bool *ret_is_weak)
{
    if (!find_tag(tags))
        return false;
    const char *at = tags->line.at, *end = at + tags->line.length;
    *ret_is_weak = end - at >= 2 && at[0] == 'W' && at[1] == '/';
    if (*ret_is_weak)
        at += 2;
    if (at == end || *at != '"')
        return false;
    const char *close = memchr(at + 1, '"', (size_t)(end - at - 1));
    if (close == NULL)
        return false;
    *ret_tag = (struct slice){at, (size_t)(close + 1 - at)};
    tags->line = (struct slice){close + 1, (size_t)(end - close - 1)};
    return true;
}

/* @param takes_weak whether a weak tag is as good as a strong one. */
static bool list_has(const struct request *request, enum request_field field, struct slice etag,
                     bool takes_weak)
{
    struct slice only = request_get(request, field), tag;
    if (only.at != NULL && slice_is(only, "*"))
        return true;
    struct tags tags = {.request = request, .field = field, .line = {"", 0}};
    bool is_weak;
    while (take_tag(&tags, &tag, &is_weak))
        if (is_same(tag, etag) && (takes_weak || !is_weak))
            return true;
    return false;
}

/* ---- conditions ------------------------------------------------------------------------------ */

/* A text that is no date is no condition. */
static bool get_date(const struct request *request, enum request_field field, int64_t *ret_seconds)
{
    struct slice value = request_get(request, field);
    return value.at != NULL && http_date_parse(value.at, value.length, ret_seconds);
}

static bool is_to_fail(const struct request *request, const struct validators *validators)
{
    if (request->counts[REQUEST_IF_MATCH] > 0)
        return !list_has(request, REQUEST_IF_MATCH, validators->etag, false);
    int64_t date;
    return !validators->is_undated && get_date(request, REQUEST_IF_UNMODIFIED_SINCE, &date) &&
           validators->modified_s > date;
}

static bool is_not_modified(const struct request *request, const struct validators *validators)
{
    if (request->counts[REQUEST_IF_NONE_MATCH] > 0)
        return list_has(request, REQUEST_IF_NONE_MATCH, validators->etag, true);
    int64_t date;
    return !validators->is_undated && get_date(request, REQUEST_IF_MODIFIED_SINCE, &date) &&
           validators->modified_s <= date;
}

int conditions_check(const struct request *request, const struct validators *validators)
{
    if (is_to_fail(request, validators))
        return 412;
    return is_not_modified(request, validators) ? 304 : 0;
}

bool conditions_allow_range(const struct request *request, const struct validators *validators,
                            int64_t now_s)
{
    struct slice value = request_get(request, REQUEST_IF_RANGE);
    int64_t date;
    if (value.at == NULL) /* it came twice: neither counts, so no version is proved */
        return request->counts[REQUEST_IF_RANGE] == 0;
    if (http_date_parse(value.at, value.length, &date))
        return !validators->is_undated && date == validators->modified_s && date < now_s;
    return is_same(value, validators->etag);
}
