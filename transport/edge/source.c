/* SPDX-License-Identifier: MIT */
#include "transport/edge/source.h"

#include "core/cancel.h"
#include "core/clock.h"
#include "core/hooks.h"
#include "transport/edge/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PATH_FLAGS = FERRY_FILE_BENEATH,
    ANY_FLAGS = FERRY_FILE_FOLLOW | FERRY_FILE_ZERO_COPY | FERRY_FILE_STABLE,
    NOT_BOTH = FERRY_FILE_FOLLOW | FERRY_FILE_STABLE,
    BLOCK = 4096, /* whole for O_DIRECT, on whatever disk */
};

/* ---- at submit ------------------------------------------------------------------------------- */

static int check_flags(const ferry_file *file)
{
    unsigned allowed = ANY_FLAGS;
    if (file->path != NULL)
        allowed |= PATH_FLAGS;
    else if (file->fd >= 0)
        allowed |= FERRY__FD_FLAGS;
    if ((file->flags & ~allowed) != 0 || (file->flags & FERRY__FD_FLAGS) == FERRY__FD_FLAGS ||
        (file->flags & NOT_BOTH) == NOT_BOTH)
        return -EINVAL;
    return 0;
}

int ferry__source_check(const ferry_file *file)
{
    if ((file->path != NULL) + (file->fd >= 0) + (file->shared != NULL) != 1)
        return -EINVAL;
    if (file->shared != NULL && file->offset == FERRY_CURRENT && file->resume == NULL)
        return -EINVAL;
    if (file->resume != NULL && (file->resume->offset < 0 || file->offset != FERRY_CURRENT))
        return -EINVAL;
    int error = check_flags(file);
    int64_t offset = file->resume != NULL ? file->resume->offset : file->offset;
    return error != 0 ? error : ferry__file_check_range(offset, file->length);
}

int ferry__source_take(ferry__source *source, const ferry_file *file, const char *path,
                       ferry__calls *calls)
{
    *source = (ferry__source){
        .path = path,
        .dirfd = FERRY_CWD,
        .fd = -1,
        .flags = file->flags,
        .asked_offset = file->offset,
        .asked_length = file->length,
        .reserved_from = -1,
        .pipe = {-1, -1},
    };
    if (file->resume != NULL) {
        source->is_resumed = true;
        source->resumed = *file->resume;
        source->asked_offset = file->resume->offset;
    }
    if (file->shared != NULL) {
        source->shared = ferry_shared_file_ref(file->shared);
        return 0;
    }
    return ferry__file_take(file, calls, &source->fd, &source->dirfd);
}

void ferry__source_take_generator(ferry__source *source, const ferry_part *part)
{
    *source = (ferry__source){
        .dirfd = FERRY_CWD,
        .fd = -1,
        .asked_length = part->generate_length,
        .generate = part->generate,
        .release = part->release,
        .arg = part->arg,
        .reserved_from = -1,
        .pipe = {-1, -1},
    };
}

void ferry__source_give_back(ferry__source *source)
{
    if ((source->flags & FERRY_FD_GIVE) != 0)
        source->fd = -1;
    source->release = NULL;
    ferry__source_close(source);
}

/* ---- on the owner ---------------------------------------------------------------------------- */

/* Whether its size is what it says: pseudo-files say that they are empty and are not. */
static bool has_known_size(const struct stat *status)
{
    return S_ISREG(status->st_mode) && status->st_size > 0;
}

/* Where reading begins, and whether there is such a thing. An ordinary file whose position does not
 * matter is not asked: this is done for every file that is sent. */
static int find_start(ferry__source *source, const struct stat *status)
{
    bool at_position = source->asked_offset == FERRY_CURRENT && source->path == NULL;
    off_t position = 0;
    if (at_position || !has_known_size(status))
        position = lseek(source->fd, 0, SEEK_CUR);
    source->is_seekable = position >= 0;
    if (source->asked_offset == FERRY_CURRENT)
        source->offset = position >= 0 ? position : 0;
    else if (source->is_seekable)
        source->offset = source->asked_offset;
    else
        return -ESPIPE;
    return 0;
}

uint64_t ferry__source_estimate(const ferry_file *file)
{
    struct stat status;
    if (file->length != FERRY_TO_END)
        return (uint64_t)file->length;
    if (file->shared != NULL)
        status = file->shared->status;
    else if ((file->path != NULL ? fstatat(file->dirfd, file->path, &status, 0)
                                 : fstat(file->fd, &status)) < 0)
        return 0;
    int64_t start = file->resume != NULL ? file->resume->offset : file->offset;
    if (start == FERRY_CURRENT)
        start = file->path != NULL ? 0 : lseek(file->fd, 0, SEEK_CUR);
    return has_known_size(&status) && start >= 0 && start < status.st_size
               ? (uint64_t)(status.st_size - start)
               : 0;
}

/* What may run dry is waited for by its fd's number, which another stream may have borrowed too. */
static int make_watchable(ferry__source *source, ferry__calls *calls)
{
    if ((source->flags & FERRY_FD_BORROW) == 0)
        return 0;
    int own = ferry__file_duplicate(source->fd, calls);
    if (own < 0)
        return own;
    source->fd = own;
    source->flags &= ~FERRY_FD_BORROW;
    return 0;
}

/* Decides how many bytes are planned. */
static int plan_length(ferry__source *source, const struct stat *status, uint64_t *ret_length)
{
    /* Of a shared file it was taken when that was opened, also if it was empty then. */
    bool is_taken = source->shared != NULL || has_known_size(status);
    bool known = is_taken && (source->flags & FERRY_FILE_FOLLOW) == 0;
    int64_t available = (known ? status->st_size : INT64_MAX) - source->offset;
    if (source->asked_length == FERRY_TO_END) {
        if (available < 0)
            return -ENODATA;
        source->is_open_ended = !known;
        *ret_length = known ? (uint64_t)available : 0;
        return 0;
    }
    if (source->asked_length > 0 && source->asked_length > available)
        return known ? -ENODATA : -EOVERFLOW;
    *ret_length = (uint64_t)source->asked_length;
    return 0;
}

/* Whether it reads from an fd's own position, which others may use too. */
static bool uses_position(const ferry__source *source)
{
    return source->path == NULL && source->asked_offset == FERRY_CURRENT && source->is_seekable;
}

static void reserve(ferry__source *source, uint64_t length)
{
    if (!uses_position(source))
        return;
    source->reserved_from = source->offset;
    source->reserved_bytes = length;
    (void)lseek(source->fd, source->offset + (off_t)length, SEEK_SET);
}

static int64_t in_ns(struct timespec time)
{
    return (int64_t)time.tv_sec * FERRY__NS_PER_S + time.tv_nsec;
}

static void identify(ferry__source *source, const struct stat *status)
{
    source->has_identity = S_ISREG(status->st_mode);
    source->modified_ns = in_ns(status->st_mtim);
    source->identity = (ferry_resume_token){
        .device = status->st_dev,
        .inode = status->st_ino,
        .size = (uint64_t)status->st_size,
        .changed_ns = in_ns(status->st_ctim),
        .offset = source->offset,
    };
}

/* Whether two tokens are of the same file in the same state. */
static bool is_same(const ferry_resume_token *one, const ferry_resume_token *other)
{
    return one->device == other->device && one->inode == other->inode && one->size == other->size &&
           one->changed_ns == other->changed_ns;
}

static ferry__way choose_way(const ferry__source *source, const struct stat *status)
{
    if (source->is_seekable)
        return FERRY__BY_SENDFILE;
    if (S_ISFIFO(status->st_mode))
        return FERRY__BY_SPLICE;
    return S_ISSOCK(status->st_mode) ? FERRY__BY_PIPE : FERRY__BY_COPY;
}

/* Opens what is asked for by name, and looks at it. */
static int find_file(ferry__source *source, ferry__calls *calls, struct stat *status)
{
    if (source->shared != NULL) {
        source->fd = source->shared->fd;
        *status = source->shared->status;
        return 0;
    }
    if (source->path != NULL) {
        int fd = ferry__file_open(source->dirfd, source->path, O_RDONLY, source->flags, calls);
        if (fd < 0)
            return fd;
        source->fd = fd;
    }
    if (TEMP_FAILURE_RETRY(calls->fstat(calls, source->fd, status)) < 0)
        return -errno;
    if (S_ISDIR(status->st_mode))
        return -EISDIR;
    /* Asked beforehand: sendfile would say so too, but after the head of a compound has left. */
    return source->path == NULL && !ferry__file_is_usable(source->fd, O_WRONLY) ? -EBADF : 0;
}

/* What is asked of only some files. */
static int check_demands(const ferry__source *source)
{
    if (source->is_resumed &&
        !(source->has_identity && is_same(&source->identity, &source->resumed)))
        return -ESTALE;
    if ((source->flags & (FERRY_FILE_STABLE | FERRY_FILE_FOLLOW)) != 0 && !source->has_identity)
        return -EINVAL;
    if ((source->flags & FERRY_FILE_ZERO_COPY) != 0 && source->way == FERRY__BY_COPY)
        return -EOPNOTSUPP;
    return 0;
}

static int open_generator(ferry__source *source, uint64_t *ret_length)
{
    source->way = FERRY__BY_COPY;
    source->is_open_ended = source->asked_length == FERRY_TO_END;
    *ret_length = source->is_open_ended ? 0 : (uint64_t)source->asked_length;
    return 0;
}

int ferry__source_open(ferry__source *source, ferry__calls *calls, uint64_t *ret_length,
                       ferry_phase *ret_phase)
{
    *ret_phase = FERRY_PHASE_OPEN;
    if (source->generate != NULL)
        return open_generator(source, ret_length);
    struct stat status;
    int error = find_file(source, calls, &status);
    if (error == 0)
        error = find_start(source, &status);
    if (error == 0 && !source->is_seekable)
        error = make_watchable(source, calls);
    if (error != 0)
        return error;
    identify(source, &status);
    source->way = choose_way(source, &status);
    error = check_demands(source);
    if (error != 0)
        return error;
    *ret_phase = FERRY_PHASE_SOURCE;
    error = plan_length(source, &status, ret_length);
    if (error != 0)
        return error;
    if (source->is_open_ended && uses_position(source) &&
        (source->flags & FERRY_FILE_FOLLOW) == 0) {
        source->is_seekable = false; /* there is no range to reserve: read(2) itself moves on */
        source->way = FERRY__BY_COPY;
    } else {
        reserve(source, *ret_length);
    }
    return 0;
}

void ferry__source_undo_open(ferry__source *source)
{
    ferry__source_settle_position(source, 0);
    if (source->path != NULL && source->fd >= 0)
        (void)ferry__close(source->fd);
    if (source->path != NULL || source->shared != NULL)
        source->fd = -1;
    source->has_identity = false;
    source->is_open_ended = false;
}

/* ---- reading --------------------------------------------------------------------------------- */

bool ferry__source_is_dry(const ferry__source *source, ferry__calls *calls)
{
    struct pollfd readable = {.fd = source->fd, .events = POLLIN};
    return !source->is_seekable && calls->poll(calls, &readable, 1, 0) <= 0;
}

/* As read(2), but EAGAIN where somebody else who reads the same pipe was faster: a read that blocks
 * could not be got out. */
static ssize_t read_now(int fd, const struct iovec *piece, ferry__calls *calls)
{
    ssize_t count = calls->preadv2(calls, fd, piece, 1, -1, RWF_NOWAIT);
    if (count >= 0)
        return count;
    /* Where it is not known, or means a file that is not in memory yet: is_dry must do. */
    bool is_no_answer = errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL ||
                        (errno == EAGAIN && lseek(fd, 0, SEEK_CUR) >= 0);
    return is_no_answer ? calls->preadv2(calls, fd, piece, 1, -1, 0) : count;
}

/* Whether an O_DIRECT fd has refused bytes that are no whole blocks: then it is to be asked for such. */
static bool turns_out_direct(ferry__source *source)
{
    bool is_new = errno == EINVAL && source->is_seekable && !source->is_direct;
    int flags = is_new ? fcntl(source->fd, F_GETFL) : -1;
    source->is_direct |= flags >= 0 && (flags & O_DIRECT) != 0;
    return is_new && source->is_direct;
}

/* Reads the blocks around its next bytes. @return how many of those there are; as preadv2(2). */
static ssize_t read_blocks(ferry__source *source, size_t size, ferry__calls *calls)
{
    size_t begin = (size_t)(-(uintptr_t)source->buffer % BLOCK); /* memory is to be whole, too */
    size_t before = (size_t)source->offset % BLOCK;
    struct iovec piece = {.iov_base = source->buffer + begin, .iov_len = FERRY__BUFFER_BYTES};
    ssize_t count = calls->preadv2(calls, source->fd, &piece, 1, source->offset - (off_t)before, 0);
    if (count < 0)
        return count;
    source->buffer_begin = begin + before;
    size_t there = (size_t)count > before ? (size_t)count - before : 0;
    return (ssize_t)(there < size ? there : size);
}

static ssize_t generate(ferry__source *source, size_t size)
{
    enum { MOST_ERRNO = 4095 };
    int64_t count = source->generate(source->buffer, size, source->arg);
    if (count > (int64_t)size)
        return -EOVERFLOW; /* it has written beyond the end */
    return count >= -MOST_ERRNO ? (ssize_t)count : -EINVAL;
}

static ssize_t read_bytes(ferry__source *source, size_t size, ferry__calls *calls)
{
    struct iovec piece = {.iov_base = source->buffer, .iov_len = size};
    ssize_t count;
    do {
        if (source->piped > 0) /* what was spliced from a socket, and no further */
            count = calls->preadv2(calls, source->pipe[0], &piece, 1, -1, 0);
        else if (source->is_direct)
            count = read_blocks(source, size, calls);
        else if (source->is_seekable)
            count = calls->preadv2(calls, source->fd, &piece, 1, source->offset, 0);
        else if (ferry__source_is_dry(source, calls))
            return -EAGAIN;
        else
            count = read_now(source->fd, &piece, calls);
    } while (count < 0 && (errno == EINTR || turns_out_direct(source)));
    if (count < 0)
        return -errno;
    if (source->piped > 0)
        source->piped -= (size_t)count;
    else
        ferry__source_note_taken(source, (size_t)count);
    return count;
}

ssize_t ferry__source_fill(ferry__source *source, size_t size, ferry__calls *calls)
{
    if (source->buffer == NULL &&
        (source->buffer = ferry__allocate(FERRY__BUFFER_BYTES + BLOCK)) == NULL)
        return -ENOMEM;
    source->buffer_begin = source->buffer_end = 0; /* empty, also where nothing comes */
    ssize_t count =
        source->generate != NULL ? generate(source, size) : read_bytes(source, size, calls);
    if (count < 0)
        return count;
    source->offset += count;
    source->buffer_end = source->buffer_begin + (size_t)count;
    return count;
}

int ferry__source_check_growth(ferry__source *source, ferry__calls *calls)
{
    struct stat status;
    if (TEMP_FAILURE_RETRY(calls->fstat(calls, source->fd, &status)) < 0)
        return -errno;
    return status.st_size < source->offset ? -ENODATA : 0;
}

int ferry__source_check_stable(const ferry__source *source, ferry__calls *calls)
{
    if ((source->flags & FERRY_FILE_STABLE) == 0)
        return 0;
    struct stat status;
    if (TEMP_FAILURE_RETRY(calls->fstat(calls, source->fd, &status)) < 0)
        return -errno;
    ferry__source now = *source;
    identify(&now, &status);
    bool is_unchanged =
        is_same(&now.identity, &source->identity) && now.modified_ns == source->modified_ns;
    return is_unchanged ? 0 : -ESTALE;
}

/* ---- ending ---------------------------------------------------------------------------------- */

uint64_t ferry__source_unsent(const ferry__source *source)
{
    return source->is_open_ended ? source->buffer_end - source->buffer_begin + source->piped : 0;
}

void ferry__source_settle_position(ferry__source *source, uint64_t sent)
{
    if (source->reserved_from >= 0 && sent != source->reserved_bytes)
        (void)lseek(source->fd, source->reserved_from + (off_t)sent, SEEK_SET);
    else if (source->buffer_end > source->buffer_begin && !source->is_seekable && source->fd >= 0)
        (void)lseek(source->fd, -(off_t)(source->buffer_end - source->buffer_begin), SEEK_CUR);
    source->reserved_from = -1;
}

int ferry__pipe_empty_into(ferry__bytes *bytes, int pipe_fd, size_t piped, ferry__calls *calls)
{
    int error = piped > 0 ? ferry__bytes_reserve(bytes, piped) : 0;
    while (piped > 0 && error == 0) {
        struct iovec piece = {.iov_base = bytes->data + bytes->end, .iov_len = piped};
        ssize_t count = calls->preadv2(calls, pipe_fd, &piece, 1, -1, 0);
        if (count > 0) {
            bytes->end += (size_t)count;
            piped -= (size_t)count;
        } else if (count < 0 && errno == EAGAIN) {
            calls = &ferry__calls_real; /* a script says so: the bytes are there */
        } else if (count == 0 || errno != EINTR) {
            error = count == 0 ? -EIO : -errno;
        }
    }
    return error;
}

/* What was copied comes before what is in the pipe still. */
void ferry__source_rescue(ferry__source *source, ferry__calls *calls)
{
    ferry__leftover *left = source->leftover;
    if (left == NULL)
        return;
    size_t copied = source->buffer_end - source->buffer_begin;
    if (copied > 0)
        left->error =
            ferry__bytes_append(&left->bytes, source->buffer + source->buffer_begin, copied);
    if (left->error == 0)
        left->error = ferry__pipe_empty_into(&left->bytes, source->pipe[0], source->piped, calls);
    ferry__bytes_take(&left->bytes, 0); /* room that was made in vain */
}

static void close_pipe(ferry__source *source)
{
    for (unsigned end = 0; end < 2; end++) {
        if (source->pipe[end] >= 0)
            (void)ferry__close(source->pipe[end]);
        source->pipe[end] = -1;
    }
}

void ferry__source_close(ferry__source *source)
{
    if (source->shared != NULL)
        source->fd = -1; /* its reference is what keeps it open */
    ferry__file_close(&source->fd, &source->dirfd, source->flags);
    close_pipe(source);
    source->shared = ferry_shared_file_unref(source->shared);
    ferry__release(source->buffer);
    source->buffer = NULL;
    ferry__release_arg(source->release, source->arg);
    source->release = NULL;
}
