/* SPDX-License-Identifier: MIT */
#include "actors/processors.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the affinity mask ----------------------------------------------------------------------- */

/* Asks with room for so many possible processors. -EINVAL: there are more. */
static int count_allowed(int possible)
{
    cpu_set_t *set = CPU_ALLOC((size_t)possible);
    if (set == NULL)
        return -ENOMEM;
    size_t size = CPU_ALLOC_SIZE((size_t)possible);
    int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : -errno;
    CPU_FREE(set);
    return count;
}

static unsigned allowed(void)
{
    enum { FIRST_TRY = CPU_SETSIZE, LAST_TRY = 1 << 20 }; /* Linux can be built for 8,192 */
    int count = -EINVAL;
    for (int possible = FIRST_TRY; count == -EINVAL && possible <= LAST_TRY; possible *= 2)
        count = count_allowed(possible);
    return count < 1 ? 1 : (unsigned)count;
}

/* ---- control groups -------------------------------------------------------------------------- */

/* A file's lines, with "root" before its path. NULL: there is none. */
static FILE *open_under(const char *root, const char *path)
{
    char whole[PATH_MAX];
    int length = snprintf(whole, sizeof whole, "%s%s", root, path);
    return length > 0 && (size_t)length < sizeof whole ? fopen(whole, "re") : NULL;
}

/* The first line of a group's file, without its newline. Whether there is one. */
static bool read_value(const char *root, const char *group, const char *name, char value[64])
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", group, name);
    FILE *file = length > 0 && (size_t)length < sizeof path ? open_under(root, path) : NULL;
    if (file == NULL)
        return false;
    bool is_there = fgets(value, 64, file) != NULL;
    (void)fclose(file);
    return is_there;
}

/* So much time in each period, in processors. None is negative ("-1"), or no number ("max"). */
static unsigned in_processors(int64_t quota, int64_t period)
{
    if (quota < 0 || period <= 0)
        return UINT_MAX;
    int64_t whole = quota / period + (quota % period > 0);
    return whole >= UINT_MAX ? UINT_MAX : whole < 1 ? 1 : (unsigned)whole;
}

/* What one group is given, whatever those above it are. */
typedef unsigned quota_reader(const char *root, const char *group);

static unsigned read_quota_v2(const char *root, const char *group)
{
    char value[64];
    int64_t quota, period;
    if (!read_value(root, group, "cpu.max", value) ||
        sscanf(value, "%" SCNd64 " %" SCNd64, &quota, &period) != 2)
        return UINT_MAX;
    return in_processors(quota, period);
}

static unsigned read_quota_v1(const char *root, const char *group)
{
    char quota[64], period[64];
    if (!read_value(root, group, "cpu.cfs_quota_us", quota) ||
        !read_value(root, group, "cpu.cfs_period_us", period))
        return UINT_MAX;
    return in_processors(strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

/* The least that any group is given from this one up to where the hierarchy is mounted. */
static unsigned least_on_the_way_up(const char *root, char *group, size_t mount_length,
                                    quota_reader *read_quota)
{
    unsigned least = read_quota(root, group);
    while (strlen(group) > mount_length) {
        *strrchr(group, '/') = '\0';
        unsigned given = read_quota(root, group);
        least = given < least ? given : least;
    }
    return least;
}

/* ---- where the process's groups are ---------------------------------------------------------- */

/* Whether a list with commas has this word. */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += length) {
        bool begins = at == list || at[-1] == ',';
        if (begins && (at[length] == '\0' || at[length] == ','))
            return true;
    }
    return false;
}

/*
 * The process's group of a hierarchy, which /proc calls by its controllers; "": the second version.
 */
static bool find_group(const char *root, const char *controller, char group[PATH_MAX])
{
    FILE *file = open_under(root, "/proc/self/cgroup");
    char *line = NULL;
    size_t size = 0;
    bool is_found = false;
    while (file != NULL && !is_found && getline(&line, &size, file) > 0) {
        char *controllers = strchr(line, ':');
        char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL)
            continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        is_found =
            *controller == '\0' ? controllers[1] == '\0' : has_word(controllers + 1, controller);
        if (is_found)
            (void)snprintf(group, PATH_MAX, "%s", path);
    }
    free(line);
    if (file != NULL)
        (void)fclose(file);
    return is_found;
}

/* mountinfo writes blanks, and a few others, as \040. In place. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0';) {
        unsigned code;
        bool is_escape = *from == '\\' && strlen(from) >= 4 && sscanf(from + 1, "%3o", &code) == 1;
        *to++ = is_escape ? (char)code : *from;
        from += is_escape ? 4 : 1;
    }
    *to = '\0';
}

/* A mounted hierarchy: its line of mountinfo, taken apart. */
typedef struct mount {
    char *shown; /* what of the hierarchy is to be seen there */
    char *point;
    char *type;
    char *options; /* the hierarchy's: in version 1, its controllers */
} mount;

static bool take_apart(char *line, mount *ret_mount)
{
    char *tail = strstr(line, " - "), *rest;
    if (tail == NULL)
        return false;
    *tail = '\0';
    for (int field = 0; field < 3; field++) /* two numbers and the device */
        (void)(field == 0 ? strtok_r(line, " ", &rest) : strtok_r(NULL, " ", &rest));
    ret_mount->shown = strtok_r(NULL, " ", &rest);
    ret_mount->point = strtok_r(NULL, " ", &rest);
    ret_mount->type = strtok_r(tail + 3, " ", &rest);
    (void)strtok_r(NULL, " ", &rest); /* the source */
    ret_mount->options = strtok_r(NULL, " \n", &rest);
    if (ret_mount->options == NULL || ret_mount->point == NULL)
        return false;
    unescape(ret_mount->shown);
    unescape(ret_mount->point);
    return true;
}

/*
 * Where a group is to be found below a mount: all of it, or what is left where that shows a part.
 */
static const char *path_below(const mount *where, const char *group)
{
    size_t length = strcmp(where->shown, "/") == 0 ? 0 : strlen(where->shown);
    bool is_below = strncmp(group, where->shown, length) == 0 &&
                    (group[length] == '/' || group[length] == '\0');
    if (!is_below || strstr(group, "/..") != NULL)
        return ""; /* seen from another namespace: then the mount shows what holds here */
    return strcmp(group + length, "/") == 0 ? "" : group + length;
}

static unsigned granted_at(const char *root, const mount *where, const char *group,
                           quota_reader *read_quota)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s%s", where->point, path_below(where, group));
    if (length < 0 || (size_t)length >= sizeof path)
        return UINT_MAX;
    return least_on_the_way_up(root, path, strlen(where->point), read_quota);
}

/* What a mount has to say about the process. */
static unsigned granted_by(const char *root, const mount *where)
{
    char group[PATH_MAX];
    if (strcmp(where->type, "cgroup2") == 0 && find_group(root, "", group))
        return granted_at(root, where, group, read_quota_v2);
    if (strcmp(where->type, "cgroup") == 0 && has_word(where->options, "cpu") &&
        find_group(root, "cpu", group))
        return granted_at(root, where, group, read_quota_v1);
    return UINT_MAX;
}

unsigned ferry__processors_granted(const char *root)
{
    FILE *mounts = open_under(root, "/proc/self/mountinfo");
    if (mounts == NULL)
        return UINT_MAX;
    unsigned least = UINT_MAX;
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, mounts) > 0) {
        mount where;
        unsigned granted = take_apart(line, &where) ? granted_by(root, &where) : UINT_MAX;
        least = granted < least ? granted : least;
    }
    free(line);
    (void)fclose(mounts);
    return least;
}

unsigned ferry__usable_processors(void)
{
    unsigned by_mask = allowed(), by_quota = ferry__processors_granted("");
    return by_mask < by_quota ? by_mask : by_quota;
}
