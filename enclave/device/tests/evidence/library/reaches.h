/* What a library that was taken over would try, and what the real one cannot do without. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int opened(int descriptor) {
    if (descriptor < 0) return 0;
    close(descriptor);
    return 1;
}

static int wrote(const char *name, const char *mode) {
    FILE *file = beside(name, mode);
    if (!file) return 0;
    fclose(file);
    return 1;
}

static int in_tmp(void) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/hanzo-probe-%d", getpid());
    int reached = opened(open(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
    if (reached) unlink(path);
    return reached;
}

static int directory(void) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/hanzo-probe-dir-%d", getpid());
    int reached = mkdir(path, 0700) == 0;
    if (reached) rmdir(path);
    return reached;
}

static int forked(void) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    if (child > 0) waitpid(child, 0, 0);
    return child > 0;
}

static int another_program(void) {
    char *none[] = {0};
    execve("/does/not/exist", none, none);
    return errno == ENOENT; /* EPERM where it is not even looked for */
}

static int ring(void) {
    char parameters[120] = {0};
    return opened((int)syscall(SYS_io_uring_setup, 1, parameters));
}

/* Names of all that could be done, each with a space behind it. */
static void reach(char *out, size_t length) {
    struct { const char *name; int reached; } tried[] = {
        {"tcp", opened(socket(AF_INET, SOCK_STREAM, 0))},
        {"udp", opened(socket(AF_INET, SOCK_DGRAM, 0))},
        {"unix", opened(socket(AF_UNIX, SOCK_STREAM, 0))},
        {"netlink", opened(socket(AF_NETLINK, SOCK_RAW, 0))},
        {"new-file", wrote("written", "w")},
        {"old-file", wrote("scenario", "a")},
        {"tmp", in_tmp()},
        {"directory", directory()},
        {"passwd", opened(open("/etc/passwd", O_RDONLY))},
        {"fork", forked()},
        {"exec", another_program()},
        {"io-uring", ring()},
        /* Last: from here on a signal would stop this process. */
        {"ptrace", ptrace(PTRACE_TRACEME, 0, 0, 0) == 0},
    };
    out[0] = 0;
    for (size_t at = 0; at < sizeof tried / sizeof *tried; at++)
        if (tried[at].reached) snprintf(out + strlen(out), length - strlen(out), "%s ", tried[at].name);
}

/* Names of what NVIDIA's library does at its start and could not be done. */
static void need(char *out, size_t length) {
    out[0] = 0;
    char path[96];
    snprintf(path, sizeof path, "/proc/self/task/%ld/comm", (long)syscall(SYS_gettid));
    int name = open(path, O_WRONLY);
    if (name < 0 || write(name, "cuda", 4) != 4) snprintf(out + strlen(out), length - strlen(out), "comm ");
    if (name >= 0) close(name);
    int file = memfd_create("cuda", 0);
    void *shared = MAP_FAILED;
    if (file >= 0 && ftruncate(file, 1 << 20) == 0)
        shared = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED) snprintf(out + strlen(out), length - strlen(out), "memfd ");
    else ((char *)shared)[0] = 1;
    shared = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) snprintf(out + strlen(out), length - strlen(out), "shared ");
    if (!opened(open("/dev/zero", O_RDWR))) snprintf(out + strlen(out), length - strlen(out), "zero ");
    if (!opened(open("/proc/cpuinfo", O_RDONLY))) snprintf(out + strlen(out), length - strlen(out), "cpuinfo ");
}
