/* What makes it last: told before (what is logged by then is meant) and after (now it holds, or it failed). */
#include "shim.h"
#include <sys/mman.h>

enum { MAPS = 256 };
static struct map {
    char *begin;
    size_t size;
    off_t at;
    uint64_t inode;
    char path[512];
} maps[MAPS];

static int synced(int fd, long call) {
    char path[PATH_MAX];
    struct stat found;
    int kept = errno;
    int is_ours = page && fstat(fd, &found) == 0 && (S_ISREG(found.st_mode) || S_ISDIR(found.st_mode)) &&
                  shim_path_of(fd, path);
    errno = kept;
    if (!is_ours) return (int)syscall(call, fd);
    uint64_t token = shim_token();
    struct note note = {.kind = 'B', .flag = S_ISDIR(found.st_mode) ? 'd' : 'f', .path = path, .inode = found.st_ino,
                        .token = token};
    shim_note(&note);
    int number = shim_gate(OP_SYNC, path);
    int done = number ? -1 : (int)syscall(call, fd);
    note.kind = done ? 'F' : 'E';
    int why = number ? number : errno;
    shim_note(&note);
    if (done) errno = why;
    return done;
}
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

static void all_synced(void) {
    uint64_t token = shim_token();
    if (!page) return;
    shim_note(&(struct note){.kind = 'B', .flag = 'a', .token = token});
    shim_note(&(struct note){.kind = 'E', .flag = 'a', .token = token});
}
void sync(void) {
    RAW(sync, 0);
    all_synced();
}
int syncfs(int fd) {
    char path[PATH_MAX];
    int done = (int)RAW(syncfs, fd);
    if (!done && page && shim_path_of(fd, path)) all_synced();
    return done;
}

/* Begins to write and promises nothing, so nothing is noted; it may be slow or fail like any other. */
int sync_file_range(int fd, off_t at, off_t size, unsigned flags) {
    char path[PATH_MAX];
    uint64_t inode;
    int number = shim_file(fd, path, &inode) ? shim_gate(OP_SYNC, path) : 0;
    if (number) {
        errno = number;
        return -1;
    }
    return (int)RAW(sync_file_range, fd, at, size, flags);
}

/* Stores into a mapped file are seen when it is synced and not before: what was not synced is taken as lost. */
void *mmap(void *wish, size_t size, int protection, int flags, int fd, off_t at) {
    char path[PATH_MAX];
    uint64_t inode;
    void *found = (void *)RAW(mmap, wish, size, protection, flags, fd, at);
    if (found == MAP_FAILED || fd < 0 || !(flags & MAP_SHARED) || !(protection & PROT_WRITE)) return found;
    if (!shim_file(fd, path, &inode) || strlen(path) >= sizeof maps[0].path) return found;
    shim_lock();
    for (int i = 0; i < MAPS; i++)
        if (!maps[i].begin) {
            maps[i] = (struct map){.begin = found, .size = size, .at = at, .inode = inode};
            strcpy(maps[i].path, path);
            break;
        }
    shim_unlock();
    return found;
}
void *mmap64(void *wish, size_t size, int protection, int flags, int fd, off_t at) {
    return mmap(wish, size, protection, flags, fd, at);
}
int munmap(void *begin, size_t size) {
    shim_lock();
    for (int i = 0; i < MAPS; i++)
        if (maps[i].begin && maps[i].begin >= (char *)begin && maps[i].begin < (char *)begin + size)
            maps[i].begin = NULL;
    shim_unlock();
    return (int)RAW(munmap, begin, size);
}

int msync(void *begin, size_t size, int flags) {
    struct map *map = NULL, found;
    shim_lock();
    for (int i = 0; i < MAPS && !map; i++)
        if (maps[i].begin && (char *)begin >= maps[i].begin && (char *)begin < maps[i].begin + maps[i].size)
            map = &maps[i];
    if (map) found = *map;
    shim_unlock();
    if (!map || !(flags & MS_SYNC)) return (int)RAW(msync, begin, size, flags);
    struct stat now;
    off_t at = found.at + ((char *)begin - found.begin);
    size_t whole = stat(found.path, &now) == 0 && now.st_size > at ? (size_t)(now.st_size - at) : 0;
    struct iovec data = {begin, whole < size ? whole : size};
    uint64_t token = shim_token();
    struct note note = {.kind = 'W', .path = found.path, .inode = found.inode, .offset = (uint64_t)at, .data = &data,
                        .pieces = 1, .data_size = data.iov_len};
    shim_note(&note);
    note = (struct note){.kind = 'B', .flag = 'f', .path = found.path, .inode = found.inode, .token = token};
    shim_note(&note);
    int number = shim_gate(OP_SYNC, found.path);
    int done = number ? -1 : (int)RAW(msync, begin, size, flags), why = number ? number : errno;
    note.kind = done ? 'F' : 'E';
    shim_note(&note);
    if (done) errno = why;
    return done;
}
