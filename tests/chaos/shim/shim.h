/* What the parts of the shim share: the page by which a test steers it, the log, and how paths are told apart.
 *
 * Why raw system calls below every wrapper: the symbol that comes next in the search order would have to be looked up
 * before anything may be written, and libc's own loader writes too. Why no variables of the environment beside
 * LD_PRELOAD: labd takes its own names for settings and gives few of them to its children.
 */
#ifndef SHIM_H
#define SHIM_H
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SHIM_MAGIC 0x6c616264u

/* Kinds of operation, as bits of `delay_ops` and `error_ops`. */
enum { OP_SYNC = 1, OP_WRITE = 2, OP_NAME = 4 };

/* The page beside the library, `<library>.page`; tests/chaos/shim.py has the same table. */
struct page {
    uint32_t magic;
    uint32_t logging;
    uint32_t read_only;
    uint32_t delay_ops;
    uint32_t delay_min_ms;
    uint32_t delay_max_ms;
    uint32_t error_ops;
    uint32_t error_number;
    int64_t error_in;      /* counts down; the operation that finds 1 is the first to fail */
    int64_t error_count;   /* so many in a row */
    int64_t clock_step_ns; /* wall clock minus true clock */
    uint32_t errors_made;
    uint32_t delays_made;
    char match[256]; /* errors and delays only where the path has this in it; empty: everywhere */
    char root[1024];
    char log[1024];
    char boot[1024]; /* read in the place of the kernel's boot id; empty: that one */
};
extern struct page *page;

/* One record of the log: this head, `path`, `path2`, data. */
struct head {
    uint32_t size;
    uint8_t kind;
    uint8_t flag;
    uint16_t path_size;
    uint16_t path2_size;
    uint16_t spare;
    uint32_t data_size;
    uint64_t inode;
    uint64_t parent;
    uint64_t parent2;
    uint64_t offset;
    uint64_t token;
} __attribute__((packed));

struct note {
    char kind;
    uint8_t flag;
    const char *path, *path2;
    uint64_t inode, parent, parent2, offset, token;
    const struct iovec *data;
    int pieces;
    size_t data_size;
};

int shim_ready(void);
void shim_note(const struct note *note);
void shim_lock(void);
void shim_unlock(void);
uint64_t shim_token(void);
/* 0, or the number of the error that this operation is to end with; waits first where it is to be slow. */
int shim_gate(unsigned op, const char *path);
/* Path of a descriptor below the root in `path` (PATH_MAX), 0 where it is not. */
int shim_path_of(int fd, char *path);
/* As above for a regular file, and its inode. */
int shim_file(int fd, char *path, uint64_t *inode);
/* The place a name means, below the root, its folder's inode; 0 where it is not below the root. */
int shim_place(int folder, const char *name, char *path, uint64_t *parent);

#define RAW(number, ...) syscall(SYS_##number, __VA_ARGS__)
#endif
