/* Names: made, moved, removed. Each is told with the inode of its folder, so that folders may move as well. */
#include "shim.h"

static uint64_t inode_at(const char *path, uint8_t *kind) {
    struct stat found;
    int kept = errno;
    uint64_t inode = 0;
    if (fstatat(AT_FDCWD, path, &found, AT_SYMLINK_NOFOLLOW) == 0) {
        inode = found.st_ino;
        if (kind) *kind = S_ISDIR(found.st_mode) ? 'd' : S_ISLNK(found.st_mode) ? 'l' : S_ISREG(found.st_mode) ? 'f' : 'o';
    }
    errno = kept;
    return inode;
}

static int refuse(int number) {
    errno = number;
    return -1;
}

static int opened(int folder, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX], real[PATH_MAX];
    uint64_t parent;
    if (page && page->boot[0] && name && strcmp(name, "/proc/sys/kernel/random/boot_id") == 0) name = page->boot;
    int makes = (flags & O_CREAT) && (flags & O_TMPFILE) != O_TMPFILE;
    int changes = makes || (flags & O_TRUNC) || (flags & O_ACCMODE) != O_RDONLY;
    if (!changes || !shim_place(folder, name, path, &parent)) return (int)RAW(openat, folder, name, flags, mode);
    uint64_t before = inode_at(path, NULL);
    int number = before && !(flags & O_TRUNC) && !page->read_only ? 0 : shim_gate(OP_NAME, path);
    if (number) return refuse(number);
    shim_lock();
    before = inode_at(path, NULL);
    int fd = (int)RAW(openat, folder, name, flags, mode);
    struct stat found;
    int kept = errno;
    if (fd >= 0 && fstat(fd, &found) == 0 && S_ISREG(found.st_mode)) {
        if (makes && !before)
            shim_note(&(struct note){.kind = 'C', .flag = 'f', .path = path, .inode = found.st_ino, .parent = parent,
                                     .offset = found.st_mode & 07777});
        else if ((flags & O_TRUNC) && shim_path_of(fd, real))
            shim_note(&(struct note){.kind = 'T', .path = real, .inode = found.st_ino});
    }
    shim_unlock();
    errno = kept;
    return fd;
}

#define MODE(flags)                                                                                                    \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                             \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode = va_arg(more, mode_t);                                                                                   \
        va_end(more);                                                                                                  \
    }
int open(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE(flags) return opened(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE(flags) return opened(folder, name, flags, mode); }
int __open_2(const char *name, int flags) { return opened(AT_FDCWD, name, flags, 0); }
int __open64_2(const char *name, int flags) { return opened(AT_FDCWD, name, flags, 0); }
int __openat_2(int folder, const char *name, int flags) { return opened(folder, name, flags, 0); }
int __openat64_2(int folder, const char *name, int flags) { return opened(folder, name, flags, 0); }
int creat(const char *name, mode_t mode) { return opened(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *name, mode_t mode) { return creat(name, mode); }

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    char old[PATH_MAX], new[PATH_MAX];
    uint64_t parent = 0, parent2 = 0;
    int was = shim_place(from_folder, from, old, &parent), is = shim_place(to_folder, to, new, &parent2), number;
    if (!was && !is) return (int)RAW(renameat2, from_folder, from, to_folder, to, flags);
    if ((number = shim_gate(OP_NAME, is ? new : old))) return refuse(number);
    shim_lock();
    uint8_t kind = 'f';
    uint64_t inode = was ? inode_at(old, &kind) : 0, over = is ? inode_at(new, NULL) : 0;
    int done = (int)RAW(renameat2, from_folder, from, to_folder, to, flags);
    if (!done && !was) inode = inode_at(new, &kind);
    if (!done && inode != over)
        shim_note(&(struct note){.kind = 'R', .flag = kind, .path = was ? old : "", .path2 = is ? new : "",
                                 .inode = inode, .parent = parent, .parent2 = parent2});
    shim_unlock();
    return done;
}
int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    return renameat2(from_folder, from, to_folder, to, 0);
}
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int folder, const char *name, int flags) {
    char path[PATH_MAX];
    uint64_t parent;
    if (!shim_place(folder, name, path, &parent)) return (int)RAW(unlinkat, folder, name, flags);
    int number = shim_gate(OP_NAME, path);
    if (number) return refuse(number);
    shim_lock();
    uint8_t kind = 'f';
    uint64_t inode = inode_at(path, &kind);
    int done = (int)RAW(unlinkat, folder, name, flags);
    if (!done)
        shim_note(&(struct note){.kind = 'U', .flag = kind, .path = path, .inode = inode, .parent = parent});
    shim_unlock();
    return done;
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int remove(const char *name) {
    int done = unlinkat(AT_FDCWD, name, 0);
    return done && errno == EISDIR ? unlinkat(AT_FDCWD, name, AT_REMOVEDIR) : done;
}

/* Something new that is no open file: a folder, a link. */
static int made(char kind, char flag, const char *path, uint64_t parent, const char *target, int done) {
    if (!done) {
        struct iovec data = {(void *)target, target ? strlen(target) : 0};
        struct stat found = {0};
        (void)!fstatat(AT_FDCWD, path, &found, AT_SYMLINK_NOFOLLOW);
        shim_note(&(struct note){.kind = kind, .flag = (uint8_t)flag, .path = path, .inode = found.st_ino,
                                 .parent = parent, .offset = found.st_mode & 07777, .data = &data,
                                 .pieces = target ? 1 : 0, .data_size = data.iov_len});
    }
    shim_unlock();
    return done;
}

int mkdirat(int folder, const char *name, mode_t mode) {
    char path[PATH_MAX];
    uint64_t parent;
    if (!shim_place(folder, name, path, &parent)) return (int)RAW(mkdirat, folder, name, mode);
    if (inode_at(path, NULL)) return refuse(EEXIST);
    int number = shim_gate(OP_NAME, path);
    if (number) return refuse(number);
    shim_lock();
    return made('C', 'd', path, parent, NULL, (int)RAW(mkdirat, folder, name, mode));
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int symlinkat(const char *target, int folder, const char *name) {
    char path[PATH_MAX];
    uint64_t parent;
    if (!shim_place(folder, name, path, &parent)) return (int)RAW(symlinkat, target, folder, name);
    int number = shim_gate(OP_NAME, path);
    if (number) return refuse(number);
    shim_lock();
    return made('C', 'l', path, parent, target, (int)RAW(symlinkat, target, folder, name));
}
int symlink(const char *target, const char *name) { return symlinkat(target, AT_FDCWD, name); }

int linkat(int from_folder, const char *from, int folder, const char *name, int flags) {
    char path[PATH_MAX];
    uint64_t parent;
    if (!shim_place(folder, name, path, &parent)) return (int)RAW(linkat, from_folder, from, folder, name, flags);
    int number = shim_gate(OP_NAME, path);
    if (number) return refuse(number);
    shim_lock();
    return made('L', 'f', path, parent, NULL, (int)RAW(linkat, from_folder, from, folder, name, flags));
}
int link(const char *from, const char *name) { return linkat(AT_FDCWD, from, AT_FDCWD, name, 0); }
