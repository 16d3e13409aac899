/* SPDX-License-Identifier: MIT */
/* Runs the tests of an executable one after another, each in a process of its own, where Criterion
 * cannot: under ThreadSanitizer. */
#include "tests/harness.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static plain_test *first;

void plain_test_register(plain_test *test)
{
    test->next = first;
    first = test;
}

static bool passes(const plain_test *test)
{
    fflush(stdout);
    fflush(stderr);
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        alarm(TEST_TIMEOUT_S);
        test->body();
        exit(0);
    }
    int status;
    check(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
    unsigned passed = 0, failed = 0;
    for (const plain_test *test = first; test != NULL; test = test->next) {
        if (argc > 1 && strstr(test->name, argv[1]) == NULL)
            continue;
        if (passes(test)) {
            passed++;
        } else {
            failed++;
            printf("FAILED %s::%s\n", test->suite, test->name);
        }
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
