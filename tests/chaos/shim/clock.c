/* The wall clock, as far from the true one as the page says; durations and deadlines stay true.
 *
 * Why beside libfaketime: it takes up a new step when its cache ends, fakes what it finds in every file's times, and
 * leaves shared memory behind when its process is killed, which happens here all the time.
 */
#include "shim.h"
#include <dlfcn.h>
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

/* Deadlines given by the wall clock: those who wait worked them out by the one they see, the kernel has the true one. */
enum { ANY_WALL_S = 1000000000 }; /* a monotonic deadline is smaller: nobody is up for thirty years */

static const struct timespec *true_time(const struct timespec *until, struct timespec *place) {
    if (!until || until->tv_sec < ANY_WALL_S || !step_ns()) return until;
    *place = *until;
    moved(place, -step_ns());
    return place;
}

static void *next(const char *name) {
#if defined(__x86_64__)
    const char *version = "GLIBC_2.3.2"; /* the name alone finds the one of an older layout */
#else
    const char *version = "GLIBC_2.17";
#endif
    void *found = strcmp(name, "pthread_cond_timedwait") ? NULL : dlvsym(RTLD_NEXT, name, version);
    return found ? found : dlsym(RTLD_NEXT, name);
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *held, const struct timespec *until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec place;
    if (!real) real = next("pthread_cond_timedwait");
    return real(condition, held, true_time(until, &place));
}
int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *held, clockid_t clock,
                           const struct timespec *until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
    struct timespec place;
    if (!real) real = next("pthread_cond_clockwait");
    return real(condition, held, clock, true_time(until, &place));
}
int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *until) {
    static int (*real)(pthread_mutex_t *, const struct timespec *);
    struct timespec place;
    if (!real) real = next("pthread_mutex_timedlock");
    return real(mutex, true_time(until, &place));
}
int sem_timedwait(sem_t *semaphore, const struct timespec *until) {
    static int (*real)(sem_t *, const struct timespec *);
    struct timespec place;
    if (!real) real = next("sem_timedwait");
    return real(semaphore, true_time(until, &place));
}
