"""A hostile engine: tries what an engine must not be able to do, and what it needs. One line each: name, errno or OK."""
import ctypes
import errno
import mmap
import os
import resource
import socket
import sys
import threading

MODEL, SOCKET, BOUND = sys.argv[1], sys.argv[2], int(sys.argv[3])
LIBC = ctypes.CDLL(None, use_errno=True)
NOBODY = 1 << 22  # above every process id


def attempt(name, action):
    try:
        action()
        outcome = "OK"
    except OSError as error:
        outcome = errno.errorcode[error.errno]
    except MemoryError:
        outcome = "ENOMEM"
    print(name, outcome, flush=True)


def call(name, number, *arguments):
    def action():
        ctypes.set_errno(0)
        if LIBC.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    attempt(name, action)


def private(size):
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def thread():
    threading.Thread(target=lambda: None).start()


def listen():
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(SOCKET)
        server.listen()


def connect():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("/nonexistent/socket")


# What it needs.
attempt("read_weights", lambda: open(f"{MODEL}/weights").read())
attempt("list_model", lambda: os.listdir(MODEL))
attempt("own_status", lambda: open("/proc/self/status").read())
attempt("null", lambda: open("/dev/null", "w").write("x"))
attempt("urandom", lambda: open("/dev/urandom", "rb").read(1))
attempt("memory_within_bound", lambda: private(BOUND // 4))
attempt("thread", thread)
attempt("socket_pair", socket.socketpair)
attempt("listen", listen)

# Files of others.
attempt("write_weights", lambda: open(f"{MODEL}/weights", "r+"))
attempt("create_in_model", lambda: open(f"{MODEL}/new", "w"))
attempt("remove_weights", lambda: os.remove(f"{MODEL}/absent"))
attempt("chmod_weights", lambda: os.chmod(f"{MODEL}/weights", 0o444))
attempt("create_beside_socket", lambda: open(f"{os.path.dirname(SOCKET)}/file", "w"))
attempt("other_device", lambda: open("/dev/zero"))
attempt("tpm", lambda: open("/dev/tpm0"))
attempt("tpm_resource_manager", lambda: open("/dev/tpmrm0"))
attempt("passwd", lambda: open("/etc/passwd"))
attempt("list_root", lambda: os.listdir("/"))
attempt("first_process", lambda: open("/proc/1/status"))
attempt("parent", lambda: open(f"/proc/{os.getppid()}/status"))
attempt("kernel_settings", lambda: open("/proc/sys/kernel/hostname"))
# Sockets.
attempt("inet", lambda: socket.socket(socket.AF_INET))
attempt("inet6_datagram", lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("unix_datagram", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
attempt("unix_connect", connect)
# Memory past the bound.
attempt("memory_beyond_bound", lambda: private(BOUND * 2))
attempt("shared_memory", lambda: mmap.mmap(-1, 4096))
call("memfd", 319, 0, 0)
call("locked_memory", 151, 3)
# Processes.
attempt("fork", fork)
call("ptrace", 101, 16, NOBODY, 0, 0)
call("process_vm_readv", 310, NOBODY, 0, 0, 0, 0, 0)
call("pidfd_open", 434, NOBODY, 0)
# The kernel. Arguments that it refuses in its own way, if it looks at them.
call("mount", 165, 0, 0, 0, 0, 0)
call("unshare", 272, -1)
call("bpf", 321, -1, 0, 0)
call("io_uring", 425, 0, 0)
call("keyctl", 250, -1, 0, 0, 0, 0)
call("userfaultfd", 323, -1)
call("kexec", 246, 0, 17, 0, 0)
call("module", 313, -1, 0, 0)
call("perf", 298, 0, 0, -1, -1, 0)
call("reboot", 169, 0, 0, 0, 0)
call("clock", 227, -1, 0)
call("clone3", 435, 0, 0)
call("x32_ptrace", 0x40000000 + 521, 16, NOBODY, 0, 0)

print("core_limit", resource.getrlimit(resource.RLIMIT_CORE)[1])
print("descriptors", len(os.listdir("/proc/self/fd")) - 1)
print("oom_score_adj", open("/proc/self/oom_score_adj").read().strip())
print("environment", ",".join(sorted(f"{name}={value}" for name, value in os.environ.items() if name != "LC_CTYPE")) or "none")
for line in open("/proc/self/status"):
    name, _, value = line.partition(":")
    if name in ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "CapEff", "CapPrm", "CapBnd"):
        print(name, ",".join(value.split()) or "none")
# Last: if it works, nothing follows.
attempt("exec", lambda: os.execv("/bin/true", ["true"]))
