/*
 * Preloaded into a process under test: shifts its wall clock and slows its disk syncs, as a file says that the test maps
 * as well. The file holds two 64-bit numbers: nanoseconds added to the wall clock, and microseconds that every sync of a
 * file takes longer. The monotonic clock is left alone, as a clock that is set leaves it alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile int64_t wall_clock_nanos;
    volatile int64_t sync_micros;
};

static const struct control none;
static const struct control *control = &none;

/* Syncs are answered and not done: what a test of the power cuts must find out. */
static int disk_lies;

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void begin(void) {
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    disk_lies = getenv("CHAOS_SHIM_DISK_LIES") != NULL;
    const char *path = getenv("CHAOS_SHIM_CONTROL");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED)
        control = page;
    close(file);
}

static int is_wall_clock(clockid_t clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!real_clock_gettime)
        real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real_clock_gettime(clock, time);
    if (result == 0 && is_wall_clock(clock)) {
        int64_t nanos = time->tv_nsec + control->wall_clock_nanos % 1000000000;
        int64_t seconds = time->tv_sec + control->wall_clock_nanos / 1000000000;
        if (nanos < 0) {
            nanos += 1000000000;
            seconds -= 1;
        } else if (nanos >= 1000000000) {
            nanos -= 1000000000;
            seconds += 1;
        }
        time->tv_sec = seconds;
        time->tv_nsec = nanos;
    }
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec precise;
    int result = clock_gettime(CLOCK_REALTIME, &precise);
    if (result == 0 && time) {
        time->tv_sec = precise.tv_sec;
        time->tv_usec = precise.tv_nsec / 1000;
    }
    return result;
}

time_t time(time_t *out) {
    struct timespec precise = {0};
    clock_gettime(CLOCK_REALTIME, &precise);
    if (out)
        *out = precise.tv_sec;
    return precise.tv_sec;
}

static void be_slow(void) {
    int64_t micros = control->sync_micros;
    struct timespec left = {micros / 1000000, micros % 1000000 * 1000};
    while (micros > 0 && nanosleep(&left, &left) < 0 && errno == EINTR) {
    }
}

int fsync(int file) {
    be_slow();
    return disk_lies ? 0 : real_fsync(file);
}

int fdatasync(int file) {
    be_slow();
    return disk_lies ? 0 : real_fdatasync(file);
}

/*
 * This call promises nothing about what survives a power cut, and a drive may lose what it wrote. Here it writes nothing,
 * so that whoever takes it for a sync is found out by a power cut.
 */
int sync_file_range(int file, off64_t from, off64_t length, unsigned int flags) {
    (void)file, (void)from, (void)length, (void)flags;
    be_slow();
    return 0;
}
