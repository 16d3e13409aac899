/* SPDX-License-Identifier: MIT */
/*
 * Sources that are files: a range of one, a pipe, a socket, all that has an fd.
 *
 * FERRY_CURRENT: open reserves the range by moving the fd's position to the range's end. So the
 * next part that reads the same fd finds its own range. If less is sent settle_position moves the
 * position back to that; if more, as the end was not known beforehand, forward.
 */
#include "transport/edge/source.h"

#include "core/cancel.h"
#include "core/clock.h"
#include "core/libc.h"
#include "core/reserved.h"
#include "transport/edge/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
    PATH_FLAGS = FERRY_FILE_BENEATH,
    ANY_FLAGS = FERRY_FILE_FOLLOW | FERRY_FILE_ZERO_COPY | FERRY_FILE_STABLE,
    NOT_BOTH = FERRY_FILE_FOLLOW | FERRY_FILE_STABLE,
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

int ferry__source_check_file(const ferry_file *file)
{
    if ((file->path != NULL) + (file->fd >= 0) + (file->shared != NULL) != 1)
        return -EINVAL;
    if (file->shared != NULL && file->offset == FERRY_CURRENT && file->resume == NULL)
        return -EINVAL;
    if (file->resume != NULL && (file->resume->offset < 0 || file->offset != FERRY_CURRENT))
        return -EINVAL;
    if (FERRY__IS_NEWER(file) || (file->resume != NULL && FERRY__IS_NEWER(file->resume)))
        return -E2BIG;
    int error = check_flags(file);
    int64_t offset = file->resume != NULL ? file->resume->offset : file->offset;
    return error != 0 ? error : ferry__file_check_range(offset, file->length);
}

int ferry__source_take_file(ferry__source *source, const ferry_file *file, const char *path,
                            ferry__calls *calls)
{
    *source = (ferry__source){
        .type = &ferry__source_file,
        .path = path,
        .dirfd = FERRY_CWD,
        .fd = -1,
        .mode = O_RDONLY,
        .flags = file->flags,
        .asked_offset = file->offset,
        .asked_length = file->length,
        .dry = (file->flags & FERRY_FILE_FOLLOW) != 0 ? FERRY__DRY_UNTIL_LATER
                                                      : FERRY__DRY_UNTIL_READABLE,
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
    return ferry__file_take(file, calls, &source->fd, &source->mode, &source->dirfd);
}

static int plan(const ferry_part *wanted, ferry__source_needs *ret_needs)
{
    const ferry_file *file = &wanted->file;
    int error = ferry__source_check_file(file);
    if (error != 0)
        return error;
    size_t path_size = file->path != NULL ? strnlen(file->path, PATH_MAX) + 1 : 0;
    if (path_size > PATH_MAX)
        return -ENAMETOOLONG;
    ret_needs->store_bytes = path_size;
    ret_needs->length = file->length > 0 ? file->length : 0;
    return 0;
}

static int take(ferry__source *source, const ferry_part *wanted, unsigned char **store,
                ferry__calls *calls)
{
    const char *path = wanted->file.path;
    if (path != NULL) {
        size_t size = strlen(path) + 1;
        path = memcpy(*store, path, size);
        *store += size;
    }
    return ferry__source_take_file(source, &wanted->file, path, calls);
}

static void close_all(ferry__source *source);

static void give_back(ferry__source *source)
{
    if ((source->flags & FERRY_FD_GIVE) != 0)
        source->fd = -1;
    close_all(source);
}

/* ---- on the owner ---------------------------------------------------------------------------- */

/* Whether its size is what it says: pseudo-files are not empty, but say so. */
static bool has_known_size(const struct stat *status)
{
    return S_ISREG(status->st_mode) && status->st_size > 0;
}

/* Where reading begins, and whether there is such a thing. A socket, and an ordinary file whose
 * position does not matter, are not asked: this is done for all that is sent. */
static int find_start(ferry__source *source, const struct stat *status)
{
    bool at_position = source->asked_offset == FERRY_CURRENT && source->path == NULL;
    off_t position = 0;
    if (S_ISSOCK(status->st_mode))
        position = -1;
    else if (at_position || !has_known_size(status))
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

static uint64_t estimate(const ferry_part *wanted)
{
    const ferry_file *file = &wanted->file;
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

/* An owner waits for a dry source by its fd's number. Another stream may have borrowed that fd. */
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
    /* A shared file's size was taken when that was opened, also if it was empty then. */
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
    /* Checked beforehand: sendfile would say so only after the head of a compound has left. */
    return ferry__file_is_usable(source->mode, O_WRONLY) ? 0 : -EBADF;
}

/* Checks what only some files are asked for. */
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

static int open_file(ferry__source *source, ferry__calls *calls, uint64_t *ret_length,
                     ferry_phase *ret_phase)
{
    *ret_phase = FERRY_PHASE_OPEN;
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

static void settle_position(ferry__source *source, uint64_t sent)
{
    if (source->reserved_from >= 0 && sent != source->reserved_bytes)
        (void)lseek(source->fd, source->reserved_from + (off_t)sent, SEEK_SET);
    else if (source->buffer_end > source->buffer_begin && !source->is_seekable && source->fd >= 0)
        (void)lseek(source->fd, -(off_t)(source->buffer_end - source->buffer_begin), SEEK_CUR);
    source->reserved_from = -1;
}

static void undo_open(ferry__source *source)
{
    settle_position(source, 0);
    if (source->path != NULL && source->fd >= 0)
        (void)ferry__close(source->fd);
    if (source->path != NULL || source->shared != NULL)
        source->fd = -1;
    source->has_identity = false;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_dry(const ferry__source *source, ferry__calls *calls)
{
    struct pollfd readable = {.fd = source->fd, .events = POLLIN};
    return !source->is_seekable && calls->poll(calls, &readable, 1, 0) <= 0;
}

/* Reads. EAGAIN if another reader of the same pipe was faster: a read(2) that blocks could not be
 * got out. */
static ssize_t read_now(int fd, const struct iovec *piece, ferry__calls *calls)
{
    ssize_t count = calls->preadv2(calls, fd, piece, 1, -1, RWF_NOWAIT);
    if (count >= 0)
        return count;
    /* The flag is not known here, or the file is not in memory yet: is_dry must do. */
    bool is_no_answer = errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL ||
                        (errno == EAGAIN && lseek(fd, 0, SEEK_CUR) >= 0);
    return is_no_answer ? calls->preadv2(calls, fd, piece, 1, -1, 0) : count;
}

/* Whether an O_DIRECT fd has refused bytes that are no whole blocks: then whole ones are read. */
static bool turns_out_direct(ferry__source *source)
{
    bool is_new = errno == EINVAL && source->is_seekable && !source->is_direct;
    int flags = is_new ? fcntl(source->fd, F_GETFL) : -1;
    source->is_direct |= flags >= 0 && (flags & O_DIRECT) != 0;
    return is_new && source->is_direct;
}

/* Reads the blocks around its next bytes. @return how many of its bytes came; or as preadv2(2). */
static ssize_t read_blocks(ferry__source *source, size_t size, ferry__calls *calls)
{
    size_t begin =
        (size_t)(-(uintptr_t)source->buffer % FERRY__BLOCK_BYTES); /* memory must be aligned, too */
    size_t before = (size_t)source->offset % FERRY__BLOCK_BYTES;
    struct iovec piece = {.iov_base = source->buffer + begin, .iov_len = FERRY__BUFFER_BYTES};
    ssize_t count = calls->preadv2(calls, source->fd, &piece, 1, source->offset - (off_t)before, 0);
    if (count < 0)
        return count;
    source->buffer_begin = begin + before;
    size_t there = (size_t)count > before ? (size_t)count - before : 0;
    return (ssize_t)(there < size ? there : size);
}

static ssize_t fill(ferry__source *source, size_t size, ferry__calls *calls)
{
    struct iovec piece = {.iov_base = source->buffer, .iov_len = size};
    ssize_t count;
    do {
        if (source->piped > 0) /* only what was spliced from a socket */
            count = calls->preadv2(calls, source->pipe[0], &piece, 1, -1, 0);
        else if (source->way == FERRY__BY_PIPE)
            count = calls->recv(calls, source->fd, source->buffer, size, MSG_DONTWAIT, NULL);
        else if (source->is_direct)
            count = read_blocks(source, size, calls);
        else if (source->is_seekable)
            count = calls->preadv2(calls, source->fd, &piece, 1, source->offset, 0);
        else if (is_dry(source, calls))
            return -EAGAIN;
        else
            count = read_now(source->fd, &piece, calls);
    } while (count < 0 && (errno == EINTR || turns_out_direct(source)));
    if (count < 0)
        return -errno;
    bool is_received = source->piped == 0 && source->way == FERRY__BY_PIPE;
    bool is_of_tcp = source->leftover != NULL && source->leftover->is_tcp;
    source->is_drained = is_received && is_of_tcp && (size_t)count < size;
    if (source->piped > 0)
        source->piped -= (size_t)count;
    else
        ferry__source_note_taken(source, (size_t)count);
    source->offset += count;
    return count;
}

/* Whether its file system is one of memory, though that knows no RWF_NOWAIT: tmpfs(5). */
static bool is_always_in_memory(const ferry__source *source)
{
    struct statfs status;
    return fstatfs(source->fd, &status) == 0 && status.f_type == TMPFS_MAGIC;
}

/* Only a file that the kernel has in memory, and that says so: no disk is waited for, but for what
 * of a tmpfs was swapped out. */
static bool peek(ferry__source *source, void *memory, size_t size, ferry__calls *calls)
{
    bool may_copy = (source->flags & FERRY_FILE_ZERO_COPY) == 0;
    if (source->way != FERRY__BY_SENDFILE || !source->has_identity || !may_copy ||
        source->is_unpeekable)
        return false;
    const struct iovec piece = {.iov_base = memory, .iov_len = size};
    ssize_t count = calls->preadv2(calls, source->fd, &piece, 1, source->offset, RWF_NOWAIT);
    if (count < 0 && errno == EOPNOTSUPP && is_always_in_memory(source))
        count = calls->preadv2(calls, source->fd, &piece, 1, source->offset, 0);
    source->is_unpeekable = count != (ssize_t)size;
    return !source->is_unpeekable;
}

/* A file that is followed may grow. A file that has shrunk has ended in the middle. */
static int look_at_end(ferry__source *source, ferry__calls *calls)
{
    if ((source->flags & FERRY_FILE_FOLLOW) == 0)
        return 0;
    struct stat status;
    if (TEMP_FAILURE_RETRY(calls->fstat(calls, source->fd, &status)) < 0)
        return -errno;
    return status.st_size < source->offset ? -ENODATA : -EAGAIN;
}

static int check_stable(const ferry__source *source, ferry__calls *calls)
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

/* ---- moving ---------------------------------------------------------------------------------- */

/* From so many bytes on splicing is cheaper. */
enum { LITTLE = 16 * 1024 };

/* How much to ask for at once. */
static size_t portion(size_t wanted, size_t chunk)
{
    return wanted < chunk ? wanted : chunk;
}

/* Whether sendfile says that it cannot do this pair of fds, and not that it cannot now, or no
 * longer. */
static bool is_refusal(int error)
{
    return error == -EINVAL || error == -ENOSYS || error == -EOPNOTSUPP || error == -ESPIPE;
}

/* Which side an errno of sendfile's is about. Reading a file has few ways to fail. */
static ferry_phase phase_of(int error)
{
    switch (-error) {
    case EIO:
    case ESTALE:
    case ENOMEM:
    case EOVERFLOW:
    case EACCES:
        return FERRY_PHASE_SOURCE;
    default:
        return FERRY_PHASE_SINK;
    }
}

/* Goes on by copying, at the same byte. */
static ferry__move copy_instead(ferry__source *source, ferry__link *link, size_t wanted,
                                size_t chunk)
{
    source->way = FERRY__BY_COPY;
    return ferry__source_copy(source, link, wanted, chunk);
}

static ferry__move send_file(ferry__source *source, ferry__link *link, size_t wanted, size_t chunk)
{
    size_t size = portion(wanted, chunk);
    if (link->is_long && size < wanted)
        size = ferry__link_trim(link, size);
    ssize_t sent = ferry__link_sendfile(link, source->fd, &source->offset, size);
    if (sent == 0)
        return ferry__source_at_end(source, link->calls);
    if (sent > 0 || sent == -EAGAIN)
        return ferry__move_written(sent, FERRY_METHOD_SENDFILE);
    if (!is_refusal((int)sent))
        return ferry__move_failed((int)sent, phase_of((int)sent));
    return copy_instead(source, link, wanted, chunk);
}

/* From a pipe. An EAGAIN may mean either side. No byte may mean that a fifo has no writer yet. */
static ferry__move splice_pipe(ferry__source *source, ferry__link *link, size_t wanted,
                               size_t chunk)
{
    ssize_t sent = ferry__link_splice(link, source->fd, portion(wanted, chunk));
    if ((sent == 0 || sent == -EAGAIN) && is_dry(source, link->calls))
        return ferry__move_source_dry();
    if (sent == 0)
        return ferry__source_at_end(source, link->calls);
    if (sent > 0 || sent == -EAGAIN)
        return ferry__move_written(sent, FERRY_METHOD_SPLICE);
    if (!is_refusal((int)sent))
        return ferry__move_failed((int)sent, FERRY_PHASE_SINK);
    return copy_instead(source, link, wanted, chunk);
}

static void make_pipe_large(ferry__source *source)
{
    if (!source->is_pipe_large)
        ferry__pipe_grow(source->pipe[1]);
    source->is_pipe_large = true;
}

/* From a socket into the pipe of ours, if that is empty. @return as splice(2); negative errno. */
static ssize_t fill_pipe(ferry__source *source, size_t length, ferry__calls *calls)
{
    if (source->pipe[0] < 0 && TEMP_FAILURE_RETRY(calls->pipe(calls, source->pipe)) < 0)
        return -errno;
    ssize_t count;
    do
        count = calls->splice(calls, source->fd, NULL, source->pipe[1], NULL, length,
                              SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return -errno;
    source->piped = (size_t)count;
    source->is_much = count >= LITTLE;
    if (count >= FERRY__PIPE_BYTES)
        make_pipe_large(source);
    ferry__source_note_taken(source, (size_t)count);
    return count;
}

/*
 * poll(2) says that the socket has something, but splice(2) gave nothing: recv(2) tells why. At
 * urgent data splice(2) says for ever that there is nothing, or that this is the end. recv(2)
 * passes over it.
 */
static ferry__move find_out_why(ferry__source *source, ferry__link *link, size_t wanted,
                                size_t chunk)
{
    ferry__calls *calls = link->calls;
    char byte;
    ssize_t count;
    do
        count = calls->recv(calls, source->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT, NULL);
    while (count < 0 && errno == EINTR);
    if (count == 0)
        return ferry__source_at_end(source, link->calls);
    if (count < 0)
        return errno == EAGAIN ? ferry__move_source_dry()
                               : ferry__move_failed(-errno, FERRY_PHASE_SOURCE);
    return copy_instead(source, link, wanted, chunk);
}

/*
 * Little has come: it is received and written, which is cheaper than two calls of splice(2) and
 * needs no pipe. As much as that is a sign of more.
 */
static ferry__move pass_little(ferry__source *source, ferry__link *link, size_t wanted,
                               size_t chunk)
{
    bool is_new = source->buffer_begin == source->buffer_end;
    ferry__move move = ferry__source_copy(source, link, portion(wanted, LITTLE), chunk);
    if (is_new)
        source->is_much = source->buffer_end == LITTLE;
    if (move.method == FERRY_METHOD_COPY)
        move.method = FERRY_METHOD_MEMORY;
    return move;
}

static ferry__move splice_socket(ferry__source *source, ferry__link *link, size_t wanted,
                                 size_t chunk)
{
    bool may_copy = (source->flags & FERRY_FILE_ZERO_COPY) == 0;
    if (source->buffer_begin < source->buffer_end ||
        (source->piped == 0 && !source->is_much && may_copy))
        return pass_little(source, link, wanted, chunk);
    if (source->piped == 0) {
        /* Asked first: tcp(7) heeds the source's own O_NONBLOCK only, and would block. */
        if (is_dry(source, link->calls))
            return ferry__move_source_dry();
        ssize_t count = fill_pipe(source, portion(wanted, chunk), link->calls);
        if (count == 0 || count == -EAGAIN)
            return find_out_why(source, link, wanted, chunk);
        if (is_refusal((int)count) || count == -EMFILE || count == -ENFILE)
            return copy_instead(source, link, wanted, chunk);
        if (count < 0)
            return ferry__move_failed((int)count, FERRY_PHASE_SOURCE);
    }
    size_t size = source->piped < chunk ? source->piped : chunk;
    ssize_t sent = ferry__link_splice(link, source->pipe[0], size);
    if (sent > 0)
        source->piped -= (size_t)sent;
    if (sent > 0 || sent == -EAGAIN)
        return ferry__move_written(sent, FERRY_METHOD_SPLICE);
    if (sent == 0 || !is_refusal((int)sent))
        return ferry__move_failed(sent == 0 ? -EIO : (int)sent, FERRY_PHASE_SINK);
    return copy_instead(source, link, wanted, chunk);
}

static ferry__move move(ferry__source *source, ferry__link *link, size_t wanted, size_t chunk)
{
    switch (source->way) {
    case FERRY__BY_SENDFILE:
        return send_file(source, link, wanted, chunk);
    case FERRY__BY_SPLICE:
    case FERRY__BY_PIPE:
        if (link->is_message) /* splice(2) would cut messages where it likes */
            return copy_instead(source, link, wanted, chunk);
        return source->way == FERRY__BY_SPLICE ? splice_pipe(source, link, wanted, chunk)
                                               : splice_socket(source, link, wanted, chunk);
    case FERRY__BY_COPY:
        break;
    }
    return ferry__source_copy(source, link, wanted, chunk);
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void close_pipe(ferry__source *source)
{
    for (unsigned end = 0; end < 2; end++) {
        if (source->pipe[end] >= 0)
            (void)ferry__close(source->pipe[end]);
        source->pipe[end] = -1;
    }
}

static void close_all(ferry__source *source)
{
    if (source->shared != NULL)
        source->fd = -1; /* the reference keeps it open */
    ferry__file_close(&source->fd, &source->dirfd, source->flags);
    close_pipe(source);
    source->shared = ferry_shared_file_unref(source->shared);
}

const ferry__source_type ferry__source_file = {
    .plan = plan,
    .estimate = estimate,
    .take = take,
    .give_back = give_back,
    .open = open_file,
    .undo_open = undo_open,
    .move = move,
    .peek = peek,
    .fill = fill,
    .look_at_end = look_at_end,
    .check_stable = check_stable,
    .settle_position = settle_position,
    .close = close_all,
    .step = "moving a source's bytes",
};
