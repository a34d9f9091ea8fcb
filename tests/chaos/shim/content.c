/* Content: bytes written, sizes changed. */
#include "shim.h"

static ssize_t refuse(int number) {
    errno = number;
    return -1;
}

static void synced_by_flags(int fd, const char *path, uint64_t inode) {
    if (RAW(fcntl, fd, F_GETFL) & O_DSYNC) {
        uint64_t token = shim_token();
        shim_note(&(struct note){.kind = 'B', .path = path, .inode = inode, .token = token});
        shim_note(&(struct note){.kind = 'E', .path = path, .inode = inode, .token = token});
    }
}

/* Told after it was done and before anything else of this process is: what is in the log is in the file. */
static ssize_t wrote(int fd, const struct iovec *data, int pieces, off_t at, const char *path, uint64_t inode) {
    shim_lock();
    ssize_t size = at < 0 ? RAW(writev, fd, data, pieces) : RAW(pwritev, fd, data, pieces, at, 0);
    if (size > 0) {
        int kept = errno;
        off_t begin = at < 0 ? RAW(lseek, fd, 0, SEEK_CUR) - size : at;
        shim_note(&(struct note){.kind = 'W', .path = path, .inode = inode, .offset = (uint64_t)begin, .data = data,
                                 .pieces = pieces, .data_size = (size_t)size});
        synced_by_flags(fd, path, inode);
        errno = kept;
    }
    shim_unlock();
    return size;
}

static ssize_t vector(int fd, const struct iovec *data, int pieces, off_t at) {
    char path[PATH_MAX];
    uint64_t inode;
    if (!shim_file(fd, path, &inode))
        return at < 0 ? RAW(writev, fd, data, pieces) : RAW(pwritev, fd, data, pieces, at, 0);
    int number = shim_gate(OP_WRITE, path);
    if (number) return refuse(number);
    return wrote(fd, data, pieces > 64 ? 64 : pieces, at, path, inode); /* a short write is a write */
}

ssize_t write(int fd, const void *data, size_t size) {
    char path[PATH_MAX];
    uint64_t inode;
    if (!shim_file(fd, path, &inode)) return RAW(write, fd, data, size);
    int number = shim_gate(OP_WRITE, path);
    struct iovec one = {(void *)data, size};
    return number ? refuse(number) : wrote(fd, &one, 1, -1, path, inode);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    struct iovec one = {(void *)data, size};
    return vector(fd, &one, 1, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { return pwrite(fd, data, size, at); }
ssize_t writev(int fd, const struct iovec *data, int pieces) { return vector(fd, data, pieces, -1); }
ssize_t pwritev(int fd, const struct iovec *data, int pieces, off_t at) { return vector(fd, data, pieces, at); }
ssize_t pwritev64(int fd, const struct iovec *data, int pieces, off_t at) { return vector(fd, data, pieces, at); }
ssize_t pwritev2(int fd, const struct iovec *data, int pieces, off_t at, int flags) {
    (void)flags;
    return vector(fd, data, pieces, at);
}
ssize_t pwritev64v2(int fd, const struct iovec *data, int pieces, off_t at, int flags) {
    return pwritev2(fd, data, pieces, at, flags);
}

/* Copies inside the kernel: refused as on a system that has none, so that the caller reads and writes. */
ssize_t copy_file_range(int in, off_t *in_at, int out, off_t *out_at, size_t size, unsigned flags) {
    char path[PATH_MAX];
    uint64_t inode;
    if (shim_file(out, path, &inode)) return refuse(ENOSYS);
    return RAW(copy_file_range, in, in_at, out, out_at, size, flags);
}
ssize_t sendfile(int out, int in, off_t *at, size_t size) {
    char path[PATH_MAX];
    uint64_t inode;
    if (shim_file(out, path, &inode)) return refuse(ENOTSOCK);
    return RAW(sendfile, out, in, at, size);
}
ssize_t sendfile64(int out, int in, off_t *at, size_t size) { return sendfile(out, in, at, size); }

int ftruncate(int fd, off_t size) {
    char path[PATH_MAX];
    uint64_t inode;
    if (!shim_file(fd, path, &inode)) return (int)RAW(ftruncate, fd, size);
    int number = shim_gate(OP_WRITE, path);
    if (number) return (int)refuse(number);
    shim_lock();
    int done = (int)RAW(ftruncate, fd, size);
    if (!done) shim_note(&(struct note){.kind = 'T', .path = path, .inode = inode, .offset = (uint64_t)size});
    shim_unlock();
    return done;
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }
int truncate(const char *name, off_t size) {
    int fd = (int)RAW(openat, AT_FDCWD, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int done = ftruncate(fd, size), kept = errno;
    RAW(close, fd);
    errno = kept;
    return done;
}
int truncate64(const char *name, off_t size) { return truncate(name, size); }

int fallocate(int fd, int mode, off_t at, off_t size) {
    char path[PATH_MAX];
    uint64_t inode;
    if (!shim_file(fd, path, &inode)) return (int)RAW(fallocate, fd, mode, at, size);
    if (mode & ~FALLOC_FL_KEEP_SIZE) return (int)refuse(EOPNOTSUPP); /* holes: nobody needs them to be right */
    int number = shim_gate(OP_WRITE, path);
    if (number) return (int)refuse(number);
    shim_lock();
    int done = (int)RAW(fallocate, fd, mode, at, size);
    struct stat found;
    if (!done && !mode && fstat(fd, &found) == 0)
        shim_note(&(struct note){.kind = 'T', .path = path, .inode = inode, .offset = (uint64_t)found.st_size});
    shim_unlock();
    return done;
}
int fallocate64(int fd, int mode, off_t at, off_t size) { return fallocate(fd, mode, at, size); }
int posix_fallocate(int fd, off_t at, off_t size) { return fallocate(fd, 0, at, size) ? errno : 0; }
int posix_fallocate64(int fd, off_t at, off_t size) { return posix_fallocate(fd, at, size); }
