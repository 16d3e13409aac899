/* SPDX-License-Identifier: MIT */
/* How a program makes parts and files. What it does not say has the defaults of the headers. */
#include <ferry/part.h>

static const ferry_file no_file = {
    .dirfd = FERRY_CWD,
    .fd = -1,
    .offset = FERRY_CURRENT,
    .length = FERRY_TO_END,
};

ferry_file ferry_file_at(const char *path)
{
    ferry_file file = no_file;
    file.path = path;
    return file;
}

ferry_file ferry_file_fd(int fd)
{
    ferry_file file = no_file;
    file.fd = fd;
    return file;
}

ferry_file ferry_file_shared(ferry_shared_file *shared)
{
    ferry_file file = no_file;
    file.offset = 0; /* it has no position */
    file.shared = shared;
    return file;
}

ferry_part ferry_part_copy(const void *data, size_t length)
{
    return (ferry_part){.kind = FERRY_PART_COPY, .data = data, .length = length};
}

ferry_part ferry_part_borrow(const void *data, size_t length)
{
    return (ferry_part){.kind = FERRY_PART_BORROW, .data = data, .length = length};
}

ferry_part ferry_part_give(void *data, size_t length, ferry_release *release, void *arg)
{
    return (ferry_part){
        .kind = FERRY_PART_GIVE, .data = data, .length = length, .release = release, .arg = arg};
}

ferry_part ferry_part_file(ferry_file file)
{
    return (ferry_part){.kind = FERRY_PART_FILE, .file = file};
}

ferry_part ferry_part_generate(ferry_generator *generate, void *arg, int64_t length,
                               ferry_release *release)
{
    return (ferry_part){.kind = FERRY_PART_GENERATE,
                        .release = release,
                        .arg = arg,
                        .generate = generate,
                        .generate_length = length};
}
