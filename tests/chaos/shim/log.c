/* The page, the log and the gate that every operation passes. */
#include "shim.h"
#include <dlfcn.h>
#include <sys/mman.h>

struct page *page;
static int log_fd = -1;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t tokens;
static size_t root_size;

void shim_lock(void) { pthread_mutex_lock(&mutex); }
void shim_unlock(void) { pthread_mutex_unlock(&mutex); }
int shim_ready(void) { return page != NULL; }

/* High, so that nobody who counts on the lowest free number meets it. */
static int open_log(void) {
    int fd = (int)RAW(openat, AT_FDCWD, page->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return -1;
    int high = (int)RAW(fcntl, fd, F_DUPFD_CLOEXEC, 800);
    if (high < 0) return fd;
    RAW(close, fd);
    return high;
}

__attribute__((constructor)) static void begin(void) {
    Dl_info info;
    char name[PATH_MAX];
    if (!dladdr((void *)&shim_ready, &info) || !info.dli_fname) return;
    if (snprintf(name, sizeof name, "%s.page", info.dli_fname) >= (int)sizeof name) return;
    int fd = (int)RAW(openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *found = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    RAW(close, fd);
    if (found == MAP_FAILED || ((struct page *)found)->magic != SHIM_MAGIC) return;
    root_size = strlen(((struct page *)found)->root);
    pthread_atfork(shim_lock, shim_unlock, shim_unlock);
    page = found;
}

uint64_t shim_token(void) {
    return ((uint64_t)getpid() << 40) | (__atomic_add_fetch(&tokens, 1, __ATOMIC_RELAXED) & 0xffffffffffu);
}

void shim_note(const struct note *note) {
    if (!page->logging) return;
    int kept = errno;
    if (log_fd < 0 || RAW(fcntl, log_fd, F_GETFD) < 0) log_fd = open_log();
    struct head head = {
        .kind = (uint8_t)note->kind, .flag = note->flag, .inode = note->inode, .parent = note->parent,
        .parent2 = note->parent2, .offset = note->offset, .token = note->token,
        .path_size = note->path ? (uint16_t)strlen(note->path) : 0,
        .path2_size = note->path2 ? (uint16_t)strlen(note->path2) : 0, .data_size = (uint32_t)note->data_size,
    };
    head.size = (uint32_t)(sizeof head + head.path_size + head.path2_size + head.data_size);
    struct iovec out[3 + 64] = {{&head, sizeof head},
                                {(void *)note->path, head.path_size},
                                {(void *)note->path2, head.path2_size}};
    int count = 3;
    size_t left = note->data_size;
    for (int i = 0; i < note->pieces && left && count < 67; i++) {
        size_t size = note->data[i].iov_len < left ? note->data[i].iov_len : left;
        out[count++] = (struct iovec){note->data[i].iov_base, size};
        left -= size;
    }
    /* One append is one record, whoever else appends: the kernel holds the file while it is written. */
    ssize_t wrote = RAW(writev, log_fd, out, count);
    if (wrote != (ssize_t)head.size) {
        static const char told[] = "shim: the log of writes took no more; nothing after this can be trusted\n";
        RAW(write, 2, told, sizeof told - 1);
        abort();
    }
    errno = kept;
}

int shim_gate(unsigned op, const char *path) {
    if (page->read_only) return EROFS;
    int meant = !page->match[0] || strstr(path, page->match) != NULL;
    if (meant && (page->delay_ops & op)) {
        static __thread unsigned dice;
        if (!dice) dice = (unsigned)(shim_token() * 2654435761u) | 1;
        unsigned span = page->delay_max_ms - page->delay_min_ms + 1;
        unsigned wait_ms = page->delay_min_ms + (span ? (unsigned)rand_r(&dice) % span : 0);
        struct timespec left = {wait_ms / 1000, (long)(wait_ms % 1000) * 1000000L};
        __atomic_add_fetch(&page->delays_made, 1, __ATOMIC_RELAXED);
        while (RAW(clock_nanosleep, CLOCK_MONOTONIC, 0, &left, &left) != 0 && errno == EINTR) {}
        if (page->read_only) return EROFS;
    }
    if (meant && (page->error_ops & op)) {
        int64_t turn = __atomic_fetch_sub(&page->error_in, 1, __ATOMIC_RELAXED);
        if (turn <= 1 && turn > 1 - page->error_count) {
            __atomic_add_fetch(&page->errors_made, 1, __ATOMIC_RELAXED);
            return (int)page->error_number;
        }
    }
    return 0;
}

static int below_root(const char *path) {
    return strncmp(path, page->root, root_size) == 0 && (path[root_size] == '/' || path[root_size] == 0);
}

int shim_path_of(int fd, char *path) {
    char name[40];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t size = RAW(readlinkat, AT_FDCWD, name, path, PATH_MAX - 1);
    if (size <= 0) return 0;
    path[size] = 0;
    return below_root(path);
}

int shim_file(int fd, char *path, uint64_t *inode) {
    struct stat found;
    int kept = errno;
    int is_ours = page && fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && shim_path_of(fd, path);
    if (is_ours) *inode = found.st_ino;
    errno = kept;
    return is_ours;
}

int shim_place(int folder, const char *name, char *path, uint64_t *parent) {
    char whole[PATH_MAX * 2], real[PATH_MAX];
    struct stat found;
    int kept = errno, is_ours = 0;
    if (!page || !name || !name[0]) return 0;
    if (name[0] == '/') {
        snprintf(whole, sizeof whole, "%s", name);
    } else {
        char before[PATH_MAX];
        if (folder == AT_FDCWD) {
            if (RAW(getcwd, before, sizeof before) < 0) goto out;
        } else {
            char link[40];
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t size = RAW(readlinkat, AT_FDCWD, link, before, sizeof before - 1);
            if (size <= 0) goto out;
            before[size] = 0;
        }
        snprintf(whole, sizeof whole, "%s/%s", before, name);
    }
    size_t size = strlen(whole);
    while (size > 1 && whole[size - 1] == '/') whole[--size] = 0;
    char *slash = strrchr(whole, '/');
    const char *last = slash + 1;
    if (!*last || !strcmp(last, ".") || !strcmp(last, "..")) goto out;
    *slash = 0;
    if (!realpath(*whole ? whole : "/", real) || !below_root(real)) goto out;
    if (stat(real, &found) != 0) goto out;
    if (snprintf(path, PATH_MAX, "%s/%s", real, last) >= PATH_MAX) goto out;
    *parent = found.st_ino;
    is_ours = 1;
out:
    errno = kept;
    return is_ours;
}
