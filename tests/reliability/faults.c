/* Preloaded into a process, this counts the calls that change files below a folder, and at the
   n-th of them kills the process, lets the call fail, or writes only half. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, KILL, KILL_HALFWAY, FAIL_ONCE, FAIL_FROM_THEN, SHORT };

static char folder[PATH_MAX];
static size_t folder_length;
static long target, seen;
static int how, code;
static char record[1 << 18];
static size_t recorded;

void faults_arm(const char *where, long at, int mode, int error) {
    target = at;
    how = mode;
    code = error;
    seen = 0;
    recorded = 0;
    record[0] = 0;
    strncpy(folder, where, sizeof folder - 1);
    folder_length = strlen(folder);
}

void faults_disarm(void) { folder_length = 0; }

/* A line for each call that was counted. */
const char *faults_record(void) { return record; }

static int ours(const char *path) {
    return folder_length && !strncmp(path, folder, folder_length) &&
           (path[folder_length] == '/' || !path[folder_length]);
}

static void of_handle(int handle, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
}

static void of_name(int directory, const char *name, char *path) {
    char base[PATH_MAX];
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return;
    }
    if (directory == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) base[0] = 0;
    } else {
        of_handle(directory, base);
    }
    if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) path[0] = 0;
}

/* What shall become of this call: COUNT is nothing. `needs_space`: a full disk refuses it. */
static int turn(const char *call, const char *path, int needs_space) {
    if (!ours(path)) return COUNT;
    long now = __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
    if (recorded + PATH_MAX < sizeof record)
        recorded += (size_t)snprintf(record + recorded, sizeof record - recorded, "%s %s\n", call,
                                     path + folder_length);
    if (how == FAIL_FROM_THEN && now >= target && needs_space) {
        errno = code;
        return FAIL_ONCE;
    }
    if (now != target) return COUNT;
    if (how == KILL) kill(getpid(), SIGKILL);
    if (how == FAIL_ONCE) errno = code;
    return how == FAIL_FROM_THEN ? COUNT : how;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define GUARD(call, path, space) \
    int what = turn(call, path, space); \
    if (what == FAIL_ONCE) return -1;
#define LEAVE(result) \
    do { \
        __typeof__(result) given = (result); \
        if (what == KILL_HALFWAY) kill(getpid(), SIGKILL); \
        return given; \
    } while (0)

#define OPEN(name, flags, call, directory, path_arg) \
    char path[PATH_MAX]; \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    } \
    int what = COUNT; \
    if (flags & (O_CREAT | O_TRUNC)) { \
        of_name(directory, path_arg, path); \
        what = turn("create", path, 1); \
        if (what == FAIL_ONCE) return -1; \
    } \
    LEAVE(call)

int open(const char *name, int flags, ...) {
    OPEN(open, flags, REAL(open)(name, flags, mode), AT_FDCWD, name);
}
int open64(const char *name, int flags, ...) {
    OPEN(open64, flags, REAL(open64)(name, flags, mode), AT_FDCWD, name);
}
int openat(int directory, const char *name, int flags, ...) {
    OPEN(openat, flags, REAL(openat)(directory, name, flags, mode), directory, name);
}
int openat64(int directory, const char *name, int flags, ...) {
    OPEN(openat64, flags, REAL(openat64)(directory, name, flags, mode), directory, name);
}

#define WRITE(call) \
    char path[PATH_MAX]; \
    of_handle(handle, path); \
    GUARD("write", path, 1) \
    if ((what == SHORT || what == KILL_HALFWAY) && size > 1) size /= 2; \
    LEAVE(call)

ssize_t write(int handle, const void *data, size_t size) {
    if (!folder_length) return REAL(write)(handle, data, size);
    WRITE(REAL(write)(handle, data, size));
}
ssize_t pwrite(int handle, const void *data, size_t size, off_t at) {
    WRITE(REAL(pwrite)(handle, data, size, at));
}
ssize_t pwrite64(int handle, const void *data, size_t size, off64_t at) {
    WRITE(REAL(pwrite64)(handle, data, size, at));
}
ssize_t writev(int handle, const struct iovec *parts, int size) {
    WRITE(REAL(writev)(handle, parts, size));
}

#define BY_HANDLE(word, call) \
    char path[PATH_MAX]; \
    of_handle(handle, path); \
    GUARD(word, path, 0) \
    LEAVE(call)

int fsync(int handle) { BY_HANDLE("fsync", REAL(fsync)(handle)); }
int fdatasync(int handle) { BY_HANDLE("fsync", REAL(fdatasync)(handle)); }
int ftruncate(int handle, off_t size) { BY_HANDLE("truncate", REAL(ftruncate)(handle, size)); }
int ftruncate64(int handle, off64_t size) { BY_HANDLE("truncate", REAL(ftruncate64)(handle, size)); }
int fchmod(int handle, mode_t mode) { BY_HANDLE("chmod", REAL(fchmod)(handle, mode)); }

#define BY_NAME(word, directory, name, space, call) \
    char path[PATH_MAX]; \
    of_name(directory, name, path); \
    GUARD(word, path, space) \
    LEAVE(call)

int rename(const char *from, const char *to) {
    BY_NAME("rename", AT_FDCWD, to, 1, REAL(rename)(from, to));
}
int renameat(int first, const char *from, int second, const char *to) {
    BY_NAME("rename", second, to, 1, REAL(renameat)(first, from, second, to));
}
int link(const char *from, const char *to) {
    BY_NAME("link", AT_FDCWD, to, 1, REAL(link)(from, to));
}
int linkat(int first, const char *from, int second, const char *to, int flags) {
    BY_NAME("link", second, to, 1, REAL(linkat)(first, from, second, to, flags));
}
int symlink(const char *from, const char *to) {
    BY_NAME("link", AT_FDCWD, to, 1, REAL(symlink)(from, to));
}
int unlink(const char *name) { BY_NAME("unlink", AT_FDCWD, name, 0, REAL(unlink)(name)); }
int unlinkat(int directory, const char *name, int flags) {
    BY_NAME("unlink", directory, name, 0, REAL(unlinkat)(directory, name, flags));
}
int rmdir(const char *name) { BY_NAME("rmdir", AT_FDCWD, name, 0, REAL(rmdir)(name)); }
int mkdir(const char *name, mode_t mode) {
    BY_NAME("mkdir", AT_FDCWD, name, 1, REAL(mkdir)(name, mode));
}
int mkdirat(int directory, const char *name, mode_t mode) {
    BY_NAME("mkdir", directory, name, 1, REAL(mkdirat)(directory, name, mode));
}
int chmod(const char *name, mode_t mode) {
    BY_NAME("chmod", AT_FDCWD, name, 0, REAL(chmod)(name, mode));
}
int fchmodat(int directory, const char *name, mode_t mode, int flags) {
    BY_NAME("chmod", directory, name, 0, REAL(fchmodat)(directory, name, mode, flags));
}
