/* The wall clock, as far from the true one as the page says; durations and deadlines stay true.
 *
 * Why beside libfaketime: it takes up a new step when its cache ends, fakes what it finds in every file's times, and
 * leaves shared memory behind when its process is killed, which happens here all the time.
 */
#include "shim.h"
#include <semaphore.h>
#include <sys/time.h>

static int64_t step_ns(void) { return page ? __atomic_load_n(&page->clock_step_ns, __ATOMIC_RELAXED) : 0; }

static void moved(struct timespec *at, int64_t by_ns) {
    int64_t all = (int64_t)at->tv_sec * 1000000000 + at->tv_nsec + by_ns;
    at->tv_sec = all / 1000000000;
    at->tv_nsec = all % 1000000000;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int done = (int)RAW(clock_gettime, clock, now);
    if (!done && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI))
        moved(now, step_ns());
    return done;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}
int timespec_get(struct timespec *now, int base) {
    clock_gettime(CLOCK_REALTIME, now);
    return base;
}
