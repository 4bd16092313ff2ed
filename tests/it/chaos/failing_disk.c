/* A disk that fails below the database files of one process, by LD_PRELOAD.
 *
 * The file that FAILING_DISK names says how, by its first letter: r, the file system has become read-only, as Linux makes
 * it after an error; b, the disk is broken: nothing is written, and nothing is flushed. Without the file all is well. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static char failure(void) {
    const char *path = getenv("FAILING_DISK");
    char letter = 0;
    long fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (fd < 0) return 0;
    if (syscall(SYS_read, fd, &letter, 1) != 1) letter = 0;
    syscall(SYS_close, fd);
    return letter;
}

static int is_database(const char *path) { return strstr(path, "/procura.db") && !strstr(path, ".lock"); }

/* The error of a call that changes this file, or 0. Leaves errno alone otherwise. */
static int fails(int fd, int is_flush) {
    int before = errno;
    char letter = failure(), link[64], path[4096];
    int error = 0;
    if (letter == 'b' || (letter == 'r' && !is_flush)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (length > 0) {
            path[length] = 0;
            if (is_database(path)) error = letter == 'r' ? EROFS : EIO;
        }
    }
    errno = error ? error : before;
    return error;
}

ssize_t write(int fd, const void *from, size_t count) {
    return fails(fd, 0) ? -1 : syscall(SYS_write, fd, from, count);
}
ssize_t pwrite(int fd, const void *from, size_t count, off_t at) {
    return fails(fd, 0) ? -1 : syscall(SYS_pwrite64, fd, from, count, at);
}
ssize_t pwrite64(int fd, const void *from, size_t count, off64_t at) {
    return fails(fd, 0) ? -1 : syscall(SYS_pwrite64, fd, from, count, at);
}
int ftruncate(int fd, off_t length) { return fails(fd, 0) ? -1 : syscall(SYS_ftruncate, fd, length); }
int ftruncate64(int fd, off64_t length) { return fails(fd, 0) ? -1 : syscall(SYS_ftruncate, fd, length); }
int posix_fallocate(int fd, off_t at, off_t length) {
    int error = fails(fd, 0);
    return error ? error : syscall(SYS_fallocate, fd, 0, at, length) ? errno : 0;
}
int fsync(int fd) { return fails(fd, 1) ? -1 : syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return fails(fd, 1) ? -1 : syscall(SYS_fdatasync, fd); }

static int open_file(const char *path, int flags, mode_t mode) {
    if ((flags & O_ACCMODE) != O_RDONLY && is_database(path) && failure() == 'r') {
        errno = EROFS;
        return -1;
    }
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
#define WITH_MODE \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }
int open(const char *path, int flags, ...) {
    WITH_MODE
    return open_file(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    WITH_MODE
    return open_file(path, flags | O_LARGEFILE, mode);
}
