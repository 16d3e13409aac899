/* SPDX-License-Identifier: MIT */
/*
 * The directory that is served. All files are opened here, and nothing that lies outside can be.
 * The kernel resolves each path beneath the root: it follows no "..", no absolute symbolic link and
 * no relative one that leads out (openat2(2), RESOLVE_BENEATH).
 *
 * ferry does the same for FERRY_FILE_BENEATH. It is done here, since an answer needs to know what
 * kind of file it is, and its validators, and of the very file that is then sent.
 */
#ifndef TOOLS_FERRY_SERVE_TREE_H
#define TOOLS_FERRY_SERVE_TREE_H

#include <stdbool.h>
#include <sys/stat.h>

/* Opens the root. @return an fd; -ENOSYS: this kernel, or a sandbox, has no openat2(2); what else
 * opening said. */
int tree_open_root(const char *directory);

/*
 * Looks where the root's path leads by now: a deployment moves a link on, a build makes a directory
 * anew. Takes: root, its fd so far, or a negative errno.
 * @return root, if it is still what the path names, or if there is no fd to find out; else a new
 *         one, or why there is none.
 */
int tree_follow_root(int root, const char *directory);

/* The process' own fds, as a directory: what tree_open needs, and to walk there from "/" takes as
 * long as to open a file. @return an fd; -1: there is no /proc. */
int tree_open_own_fds(void);

/*
 * Opens a regular file or a directory for reading. Never waits, and opens nothing else, not even
 * for a moment.
 * @param own_fds of tree_open_own_fds; -1: the file is opened by its path, and what is not a file
 *                may be opened for a moment if it takes a file's place right then.
 * @param path relative to the root; "" is the root itself. One that ends in a slash is a directory.
 * @return an fd; -EBUSY: another process has a lease on it, and was asked to give it back; -EXDEV:
 *         it leads out; -EACCES: also for what is neither file nor directory; what
 *         else opening said.
 */
int tree_open(int root, int own_fds, const char *path, struct stat *ret_status);

/* Looks at what a path names without opening it. @return 0, or as tree_open. */
int tree_look(int root, const char *path, struct stat *ret_status);

/*
 * Whether a path names nothing, at half of tree_look's cost. Unlike the others it follows links on
 * the way that lead out: so ask only where tree_look or tree_open has said -ENOENT a moment ago.
 */
bool tree_has_nothing(int root, const char *path);

#endif
