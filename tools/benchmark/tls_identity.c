/* SPDX-License-Identifier: MIT */
#include "tls_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Its progress is of no interest. */
static int run_quietly(const char *const command[])
{
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0)
        return -error;
    error = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    if (error == 0)
        error =
            posix_spawnp(&pid, command[0], &actions, NULL, (char **)(uintptr_t)command, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (error != 0)
        return -error;
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static int name_file(const char *directory, const char *name, char ret_path[PATH_MAX])
{
    return snprintf(ret_path, PATH_MAX, "%s/%s", directory, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int tls_identity_make(const char *directory, tls_identity *ret_identity)
{
    int error = name_file(directory, "cert.pem", ret_identity->certificate);
    if (error == 0)
        error = name_file(directory, "key.pem", ret_identity->key);
    if (error != 0)
        return error;
    const char *const command[] = {
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-days",
        "2",
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout",
        ret_identity->key,
        "-out",
        ret_identity->certificate,
        NULL,
    };
    return run_quietly(command);
}
