/* SPDX-License-Identifier: MIT */
/*
 * Runs the tests of an executable, each in a process of its own, where Criterion cannot or should
 * not: see harness.h. As many run at once as there are processors, or as FERRY_TEST_JOBS says.
 */
#include "tests/harness.h"

#include <sys/wait.h>

static plain_test *first;
static unsigned running, passed, failed;

void plain_test_register(plain_test *test)
{
    test->next = first;
    first = test;
}

static unsigned jobs(void)
{
    const char *given = getenv("FERRY_TEST_JOBS");
    return given != NULL ? (unsigned)atoi(given) : (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
}

static void begin(plain_test *test)
{
    fflush(stdout);
    fflush(stderr);
    test->process = fork();
    check(test->process >= 0);
    if (test->process == 0) {
        alarm(TEST_TIMEOUT_S);
        test->body();
        exit(0);
    }
    running++;
}

static plain_test *test_of(pid_t process)
{
    plain_test *test = first;
    while (test != NULL && test->process != process)
        test = test->next;
    check(test != NULL);
    return test;
}

static void await_one(void)
{
    int status;
    plain_test *test = test_of(wait(&status));
    test->process = 0; /* another may get the number */
    running--;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        passed++;
    } else {
        failed++;
        printf("FAILED %s::%s\n", test->suite, test->name);
    }
}

int main(int argc, char **argv)
{
    for (plain_test *test = first; test != NULL; test = test->next) {
        if (argc > 1 && strstr(test->name, argv[1]) == NULL)
            continue;
        while (running >= jobs())
            await_one();
        begin(test);
    }
    while (running > 0)
        await_one();
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
