/* SPDX-License-Identifier: MIT */
#include "interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t is_caught, noted;

void interrupt_end(int signal)
{
    sigset_t it;
    (void)sigemptyset(&it);
    (void)sigaddset(&it, signal);
    (void)sigaction(signal, &(const struct sigaction){.sa_handler = SIG_DFL}, NULL);
    (void)pthread_sigmask(SIG_UNBLOCK, &it, NULL);
    (void)raise(signal);
    _exit(128 + signal); /* process 1: by default nothing happens to it */
}

static void be_told(int signal)
{
    if (!is_caught || noted != 0)
        interrupt_end(signal);
    noted = signal;
}

bool interrupt_is_ignored(int signal)
{
    struct sigaction action;
    return sigaction(signal, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

void interrupt_begin(void)
{
    const struct sigaction tell = {.sa_handler = be_told}, ignore = {.sa_handler = SIG_IGN};
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (!interrupt_is_ignored(ends[i]))
            (void)sigaction(ends[i], &tell, NULL);
    (void)sigaction(SIGPIPE, &ignore, NULL);
    (void)sigaction(SIGXFSZ, &ignore, NULL);
}

void interrupt_catch(void)
{
    is_caught = true;
}

int interrupt_signal(void)
{
    return noted;
}
