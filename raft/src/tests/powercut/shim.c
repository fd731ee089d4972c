/* Records what a process does to the files below $MESON_CUT_DIR, in order, into $MESON_CUT_RECORD.
 *
 * Loaded with LD_PRELOAD; recording.rs reads the record and makes of it what a power cut might have left. Writes are
 * done and recorded under one lock, so the record's order is theirs. A sync is recorded when it begins and when it
 * ends: it covers what was written before it began, and counts from when it ended. Bytes written to the file named
 * $MESON_CUT_MARKS are marks of the program: what it has promised so far.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, RENAME, UNLINK, MKDIR, SYNC_BEGIN, SYNC_END, MARK };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int record_fd = -2;
static uint64_t tokens;
static const char *directory, *marks;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void put(const void *bytes, size_t length) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = REAL(write);
    while (length > 0) {
        ssize_t done = real(record_fd, bytes, length);
        if (done < 0) { if (errno == EINTR) continue; abort(); }
        bytes = (const char *)bytes + done;
        length -= (size_t)done;
    }
}

static void note(uint8_t kind, uint64_t a, uint64_t b, const char *path, const void *data, uint32_t length) {
    uint32_t path_length = (uint32_t)strlen(path);
    put(&kind, 1); put(&a, 8); put(&b, 8);
    put(&path_length, 4); put(path, path_length);
    put(&length, 4); if (length > 0) put(data, length);
}

static int ready(void) {
    if (record_fd == -2) {
        const char *path = getenv("MESON_CUT_RECORD");
        directory = getenv("MESON_CUT_DIR");
        marks = getenv("MESON_CUT_MARKS");
        int (*real)(const char *, int, ...) = REAL(open);
        record_fd = path && directory && marks ? real(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;
    }
    return record_fd >= 0;
}

static int ours(const char *path) {
    size_t length = strlen(directory);
    return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == 0);
}

/* Under the lock. */
static int name_of(int fd, char *path) {
    char link[64];
    int saved = errno;
    if (fd == record_fd || !ready()) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, 4095);
    errno = saved;
    if (length <= 0) return 0;
    path[length] = 0;
    return 1;
}

static int open_noted(const char *path, int flags, mode_t mode, int (*real)(const char *, int, ...)) {
    pthread_mutex_lock(&lock);
    struct stat before;
    int existed = stat(path, &before) == 0;
    int fd = real(path, flags, mode);
    int saved = errno;
    if (fd >= 0 && ready() && ours(path)) {
        if ((flags & O_CREAT) && !existed) note(CREATE, 0, 0, path, NULL, 0);
        else if ((flags & O_TRUNC) && existed) note(TRUNCATE, 0, 0, path, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return fd;
}

#define OPEN(name)                                                         \
    int name(const char *path, int flags, ...) {                           \
        va_list arguments;                                                 \
        va_start(arguments, flags);                                        \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(arguments, mode_t) : 0; \
        va_end(arguments);                                                 \
        return open_noted(path, flags, mode, REAL(name));                  \
    }
OPEN(open)
OPEN(open64)

static void written(int fd, const char *path, uint64_t offset, const void *data, ssize_t length) {
    int flags = fcntl(fd, F_GETFL);
    if (strcmp(path, marks) == 0) note(MARK, 0, 0, path, data, (uint32_t)length);
    else if (ours(path)) note(WRITE, offset, (flags & O_DSYNC) != 0, path, data, (uint32_t)length);
}

#define PWRITE(name, type)                                                 \
    ssize_t name(int fd, const void *data, size_t length, type offset) {   \
        char path[4096];                                                   \
        pthread_mutex_lock(&lock);                                         \
        ssize_t done = REAL(name)(fd, data, length, offset);               \
        int saved = errno;                                                 \
        if (done > 0 && name_of(fd, path)) written(fd, path, (uint64_t)offset, data, done); \
        pthread_mutex_unlock(&lock);                                       \
        errno = saved;                                                     \
        return done;                                                       \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t length) {
    static ssize_t (*real)(int, const void *, size_t);
    char path[4096];
    pthread_mutex_lock(&lock);
    if (!real) real = REAL(write);
    ssize_t done = real(fd, data, length);
    int saved = errno;
    if (done > 0 && name_of(fd, path) && (ours(path) || strcmp(path, marks) == 0)) {
        off_t after = lseek(fd, 0, SEEK_CUR);
        written(fd, path, (uint64_t)(after - done), data, done);
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    /* Short writes are allowed: the first part that has any bytes. */
    for (int part = 0; part < count; part++)
        if (parts[part].iov_len > 0) return write(fd, parts[part].iov_base, parts[part].iov_len);
    return 0;
}

#define TRUNCATE_(name, type)                                              \
    int name(int fd, type length) {                                        \
        char path[4096];                                                   \
        pthread_mutex_lock(&lock);                                         \
        int result = REAL(name)(fd, length);                               \
        int saved = errno;                                                 \
        if (result == 0 && name_of(fd, path) && ours(path)) note(TRUNCATE, (uint64_t)length, 0, path, NULL, 0); \
        pthread_mutex_unlock(&lock);                                       \
        errno = saved;                                                     \
        return result;                                                     \
    }
TRUNCATE_(ftruncate, off_t)
TRUNCATE_(ftruncate64, off64_t)

int rename(const char *from, const char *to) {
    pthread_mutex_lock(&lock);
    int result = REAL(rename)(from, to);
    int saved = errno;
    if (result == 0 && ready() && ours(to)) note(RENAME, 0, 0, from, to, (uint32_t)strlen(to));
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

int unlink(const char *path) {
    pthread_mutex_lock(&lock);
    int result = REAL(unlink)(path);
    int saved = errno;
    if (result == 0 && ready() && ours(path)) note(UNLINK, 0, 0, path, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

int mkdir(const char *path, mode_t mode) {
    pthread_mutex_lock(&lock);
    int result = REAL(mkdir)(path, mode);
    int saved = errno;
    if (result == 0 && ready() && ours(path)) note(MKDIR, 0, 0, path, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

static int sync_noted(int fd, int (*real)(int)) {
    char path[4096];
    pthread_mutex_lock(&lock);
    int noted = name_of(fd, path) && ours(path);
    uint64_t token = ++tokens;
    if (noted) note(SYNC_BEGIN, token, 0, path, NULL, 0);
    pthread_mutex_unlock(&lock);
    int result = real(fd);
    int saved = errno;
    if (noted && result == 0) {
        pthread_mutex_lock(&lock);
        note(SYNC_END, token, 0, path, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
    return result;
}

int fsync(int fd) { return sync_noted(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_noted(fd, REAL(fdatasync)); }
