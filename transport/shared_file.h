/* SPDX-License-Identifier: MIT */
/* A shared file's inside: constant from its opening on, but for the references. */
#ifndef FERRY_TRANSPORT_SHARED_FILE_H
#define FERRY_TRANSPORT_SHARED_FILE_H

#include <ferry/file.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>

struct ferry_shared_file {
    atomic_uint refs;
    int fd;
    bool is_borrowed;   /* fd is the program's to close */
    struct stat status; /* as it was opened */
};

#endif
