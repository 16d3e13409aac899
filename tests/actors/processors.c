/* SPDX-License-Identifier: MIT */
/* How many processors the control groups grant, found in folder trees of the test's. */
#include "actors/processors.h"

#include "tests/harness.h"

#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>

static char root[] = "/tmp/ferry-groups-XXXXXX";

/* Writes a file below the root, making the folders on the way. */
static void put(const char *path, const char *content)
{
    char whole[512];
    (void)snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        (void)mkdir(whole, 0700);
        *slash = '/';
    }
    FILE *file = fopen(whole, "w");
    check(file != NULL);
    check(fputs(content, file) >= 0);
    check_eq(fclose(file), 0);
}

static int remove_one(const char *path, const struct stat *, int, struct FTW *)
{
    return remove(path);
}

static void begin(const char *groups, const char *mounts)
{
    (void)strcpy(strrchr(root, '-') + 1, "XXXXXX");
    check(mkdtemp(root) != NULL);
    put("/proc/self/cgroup", groups);
    put("/proc/self/mountinfo", mounts);
}

/* What is granted there; and removes it all. */
static unsigned granted(void)
{
    unsigned count = ferry__processors_granted(root);
    check_eq(nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    return count;
}

#define SECOND                                                                                     \
    "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"                                                        \
    "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define FIRST                                                                                      \
    "30 22 0:26 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"         \
    "31 22 0:27 / /sys/fs/cgroup/cpuset rw shared:10 - cgroup cgroup rw,cpuset\n"

PROMISE(processors, quota_of_the_own_group_is_rounded_up)
{
    begin("0::/app\n", SECOND);
    put("/sys/fs/cgroup/app/cpu.max", "250000 100000\n");
    check_eq(granted(), 3);
}

PROMISE(processors, less_than_one_is_one)
{
    begin("0::/app\n", SECOND);
    put("/sys/fs/cgroup/app/cpu.max", "1000 100000\n");
    check_eq(granted(), 1);
}

PROMISE(processors, groups_above_count_too)
{
    begin("0::/slice/app/inner\n", SECOND);
    put("/sys/fs/cgroup/slice/app/inner/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/slice/app/cpu.max", "800000 100000\n");
    put("/sys/fs/cgroup/slice/cpu.max", "200000 50000\n");
    check_eq(granted(), 4);
}

PROMISE(processors, in_a_container_the_mount_itself_is_the_group)
{
    begin("0::/\n", SECOND);
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    check_eq(granted(), 2);
    begin("0::/../../elsewhere\n", SECOND); /* joined from outside the namespace */
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    check_eq(granted(), 2);
}

PROMISE(processors, mount_that_shows_a_part_of_the_hierarchy_has_the_rest_of_the_path)
{
    begin("0::/docker/one/app\n",
          "30 22 0:26 /docker/one /sys/fs/c\\040g rw - cgroup2 cgroup2 rw\n");
    put("/sys/fs/c g/app/cpu.max", "500000 100000\n");
    put("/sys/fs/c g/cpu.max", "max 100000\n");
    check_eq(granted(), 5);
}

PROMISE(processors, first_version_has_two_files_of_the_hierarchy_that_has_the_controller)
{
    begin("4:cpuset:/\n3:cpu,cpuacct:/app\n0::/\n", FIRST);
    put("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    check_eq(granted(), 2);
}

PROMISE(processors, what_cannot_be_told_limits_nothing)
{
    begin("0::/app\n", SECOND); /* no file: the controller is off */
    check_eq(granted(), UINT_MAX);
    begin("", "");
    check_eq(granted(), UINT_MAX);
    begin("nonsense\n::\n0::/app", "nonsense\n1 2 3 - \n - - - \n1 2 3 / /x rw - cgroup2 x rw");
    check_eq(granted(), UINT_MAX);
    check_eq(ferry__processors_granted("/nowhere"), UINT_MAX);
}

PROMISE(processors, quotas_at_their_extremes)
{
    static const struct {
        const char *value;
        unsigned expected;
    } cases[] = {
        {"0 100000", 1},
        {"1 1", 1},
        {"100000 0", UINT_MAX},
        {"100000 -1", UINT_MAX},
        {"-1 100000", UINT_MAX},
        {"9223372036854775807 1", UINT_MAX},
        {"9223372036854775807 9223372036854775807", 1},
        {"max", UINT_MAX},
        {"", UINT_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin("0::/\n", SECOND);
        put("/sys/fs/cgroup/cpu.max", cases[i].value);
        check_eq(granted(), cases[i].expected);
    }
}

PROMISE(processors, here_there_is_at_least_one_and_no_more_than_the_mask_has)
{
    cpu_set_t set;
    check_eq(sched_getaffinity(0, sizeof set, &set), 0);
    unsigned count = ferry__usable_processors();
    check(count >= 1 && count <= (unsigned)CPU_COUNT(&set));
}
