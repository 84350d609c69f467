"""A confined process computes, reads libraries and does nothing else: every denial is tried."""

import contextlib
import ctypes
import errno
import faulthandler
import importlib
import json
import mmap
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from coursekit.errors import UserError
from coursekit.grading.official import sandbox, seccomp
from coursekit.grading.official.sandbox import Limits, SandboxError

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not seccomp.supported(), reason="it needs Linux on x86_64 or aarch64"
)

ROOT = Path(__file__).parents[2]
NOBODY = 65534
USERS = ["own", "nobody"] if hasattr(os, "getuid") and os.getuid() == 0 else ["own"]
MB = 1 << 20
ARM = os.uname().machine == "aarch64"
libc = ctypes.CDLL(None, use_errno=True)


def raw(x86, arm, *arguments):
    """Make a system call by its number; raise OSError when it fails."""
    number = arm if ARM else x86
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def become(user):
    """Turn the process of root into one of an ordinary user, as one that a shell started."""
    if user == "nobody":
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        libc.prctl(4, 1, 0, 0, 0)  # dumpable, so that its files in /proc are its own


def in_child(action, seconds=60):
    """Call `action` in a forked child; return (its result, the child's exit status)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            faulthandler.disable()  # a child that aborts says nothing
            try:
                said = {"result": action()}
            except BaseException as error:
                said = {"raised": f"{type(error).__name__}: {error}"}
            os.write(writing, json.dumps(said).encode())
        finally:
            os._exit(0)
    os.close(writing)
    deadline, data = time.monotonic() + seconds, b""
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while left := max(0.0, deadline - time.monotonic()):
            if not select.select([pipe], [], [], left)[0]:
                os.kill(child, signal.SIGKILL)
                continue
            if not (chunk := pipe.read(1 << 16)):
                break
            data += chunk
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = json.loads(data) if data else {"result": None}
    assert "raised" not in said, said["raised"]
    return said["result"], status


@pytest.fixture(scope="session")
def lacking():
    """Return the protections that this machine cannot give; tests of the others still run."""
    return [protection.name for protection in sandbox.missing()]


@pytest.fixture(params=USERS)
def user(request):
    return request.param


@pytest.fixture
def anyones():
    """Make folders that every user can use, below none that only their owner can enter."""
    with contextlib.ExitStack() as made:

        def folder():
            path = Path(made.enter_context(tempfile.TemporaryDirectory()))
            path.chmod(0o777)
            return path

        yield folder


@pytest.fixture
def scratch(anyones):
    return str(anyones())


@pytest.fixture
def confined(user, scratch, lacking):
    """Run an action in a confined child: confined(action, limits, keep, without) -> result."""

    def run(action, limits=None, keep=None, without=(), ends=0):
        def child():
            become(user)
            left_out = {*without, *lacking}
            if "namespaces" not in left_out:
                sandbox.enter_namespaces()
            sandbox.confine(sandbox.readable_paths(), scratch, limits or Limits(), left_out, keep)
            return action()

        result, status = in_child(child)
        assert status == ends
        return result

    return run


def needs(lacking, name):
    if name in lacking:
        pytest.skip(f"this machine has no {name}")


def tried(attempts):
    """Make each attempt; return for each "allowed" or the name of its error."""
    results = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except OSError as error:
            results[name] = errno.errorcode.get(error.errno or 0, type(error).__name__)
        else:
            results[name] = "allowed"
    return results


def kinds_of_sockets():
    return {
        "inet": lambda: socket.socket(socket.AF_INET),
        "inet6": lambda: socket.socket(socket.AF_INET6),
        "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "packet": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "vsock": lambda: socket.socket(40, socket.SOCK_STREAM),
        "alg": lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET),
        "a pair of datagram sockets": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
    }


def test_no_socket_can_be_made(confined, lacking):
    needs(lacking, "seccomp")
    attempts = kinds_of_sockets()
    assert confined(lambda: tried(attempts)) == dict.fromkeys(attempts, "EPERM")


def test_names_are_not_resolved(confined):
    importlib.import_module("encodings.idna")
    attempt = {"dns": lambda: socket.getaddrinfo("example.org", 80)}
    assert confined(lambda: tried(attempt))["dns"] != "allowed"


def test_a_pair_of_stream_sockets_works_inside_of_the_process(confined):
    def echo():
        here, there = socket.socketpair()
        here.sendall(b"x" * 1000)
        return len(there.recv(2000))

    assert confined(echo) == 1000


def processes():
    parent = os.getpid()  # of the confined child that is to come
    return {
        "fork": os.fork,
        "vfork": lambda: raw(58, 220, 0x4100 | 17),
        "clone": lambda: raw(56, 220, 17, 0, 0, 0, 0),
        "clone into a user namespace": lambda: raw(56, 220, 0x10000000 | 17, 0, 0, 0, 0),
        "execve": lambda: os.execv(sys.executable, [sys.executable, "-c", ""]),
        "execveat": lambda: raw(322, 281, -100, 0, 0, 0, 0),
        "ptrace": lambda: raw(101, 117, 16, parent, 0, 0),
        "process_vm_readv": lambda: raw(310, 270, parent, 0, 0, 0, 0, 0),
        "process_vm_writev": lambda: raw(311, 271, parent, 0, 0, 0, 0, 0),
        "kcmp": lambda: raw(312, 272, os.getpid(), parent, 0, 0, 0),
        "pidfd_open": lambda: raw(434, 434, parent, 0),
        "pidfd_getfd": lambda: raw(438, 438, 0, 0, 0),
        "pidfd_send_signal": lambda: raw(424, 424, 0, 0, 0, 0),
        "process_mrelease": lambda: raw(448, 448, 0, 0),
        "kill its parent": lambda: os.kill(parent, 0),
        "kill all": lambda: os.kill(-1, 0),
        "tkill": lambda: raw(200, 130, parent, 0),
        "tgkill another": lambda: raw(234, 131, parent, parent, 0),
        "rt_sigqueueinfo": lambda: raw(129, 138, parent, 0, 0),
        "rt_tgsigqueueinfo": lambda: raw(297, 240, parent, parent, 0, 0),
        "own a pipe for another": lambda: __import__("fcntl").fcntl(0, 8, parent),
        "limits of another": lambda: resource.prlimit(parent, resource.RLIMIT_CPU),
        "priority": lambda: os.setpriority(os.PRIO_PROCESS, parent, 19),
        "affinity of another": lambda: os.sched_setaffinity(parent, {0}),
        "sched_setscheduler": lambda: raw(144, 119, parent, 0, 0),
        "sched_setattr": lambda: raw(314, 274, parent, 0, 0),
        "setsid": os.setsid,
        "setpgid": lambda: os.setpgid(0, 0),
        "outlive its parent": lambda: raw(157, 167, 1, 0, 0, 0, 0),
        "be traced": lambda: raw(157, 167, 4, 1, 0, 0, 0),
    }


def test_no_process_can_be_started_or_reached(confined, lacking):
    needs(lacking, "seccomp")
    attempts = processes()
    assert confined(lambda: tried(attempts)) == dict.fromkeys(attempts, "EPERM")
    glibc_falls_back = {"clone3": lambda: raw(435, 435, 0, 0), "openat2": lambda: raw(437, 437, 0)}
    assert confined(lambda: tried(glibc_falls_back)) == {"clone3": "ENOSYS", "openat2": "ENOSYS"}


KERNEL = {
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "mount": (165, 40), "umount2": (166, 39), "fsopen": (430, 430),
    "fsmount": (432, 432), "open_tree": (428, 428), "move_mount": (429, 429),
    "mount_setattr": (442, 442), "setns": (308, 268), "unshare": (272, 97),
    "pivot_root": (155, 41), "chroot": (161, 51), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224),
    "swapoff": (168, 225), "quotactl": (179, 60), "personality": (135, 92), "acct": (163, 89),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262), "inotify_init1": (294, 26), "syslog": (103, 116),
    "seccomp": (317, 277), "landlock_create_ruleset": (444, 444), "sync": (162, 81),
    "mlockall": (151, 230), "vmsplice": (316 - 38, 75), "process_madvise": (440, 440),
    "setsockopt": (54, 208), "bind": (49, 200), "connect": (42, 203), "listen": (50, 201),
    "accept4": (288, 242), "setuid": (105, 146), "capset": (126, 91),
}  # fmt: skip


def test_no_other_part_of_the_kernel_can_be_called(confined, lacking):
    needs(lacking, "seccomp")
    attempts = {name: lambda n=n: raw(*n, -1, 0, 0, 0, 0, 0) for name, n in KERNEL.items()}
    assert confined(lambda: tried(attempts)) == dict.fromkeys(KERNEL, "EPERM")


@pytest.fixture
def outside(anyones, user):
    """Make a file that belongs to the user of the confined process, outside of the scratch."""
    place = anyones() / "solution.txt"
    place.write_text("secret")
    if user == "nobody":
        os.chown(place, NOBODY, NOBODY)
    return place


def readers(outside):
    parent = os.getpid()
    listed = [outside.parent, outside.anchor, Path.home(), ROOT, ROOT / "solutions", ROOT / "tests"]
    opened = [outside, ROOT / "pyproject.toml", "/etc/passwd", "/etc/hostname"]
    processes = ["self/mem", "self/smaps", "self/environ", "self/status"]
    processes += [f"{parent}/{name}" for name in ("mem", "environ", "cmdline", "maps", "fd")]
    opened += [f"/proc/{name}" for name in [*processes, "mounts", "kallsyms", "meminfo"]]
    opened += ["/dev/shm", "/tmp", "/proc", "/dev/mem", "/dev/tty", "/sys/class"]
    return {
        **{f"list {path}": lambda p=path: os.listdir(p) for path in listed},
        **{f"open {path}": lambda p=path: os.open(p, os.O_RDONLY) for path in opened},
    }


def test_nothing_outside_can_be_read(confined, lacking, outside):
    needs(lacking, "landlock")
    attempts = readers(outside)
    results = confined(lambda: tried(attempts))
    harmless = {"EACCES", "ENOENT", "ENOTDIR", "ENXIO", "EPERM"}
    assert {name: said for name, said in results.items() if said not in harmless} == {}
    exist = [name for name in results if Path(name.split()[1]).exists() and "/proc/" not in name]
    assert {results[name] for name in exist} <= {"EACCES", "EPERM", "ENXIO"}
    assert len(exist) >= 12


def writers(outside):
    return {
        "write": lambda: os.open(outside, os.O_WRONLY),
        "append": lambda: os.open(outside, os.O_RDWR | os.O_APPEND),
        "empty": lambda: os.open(outside, os.O_RDONLY | os.O_TRUNC),
        "create": lambda: os.open(outside.with_name("new"), os.O_CREAT | os.O_WRONLY),
        "truncate": lambda: os.truncate(outside, 0),
        "remove": lambda: os.unlink(outside),
        "rename": lambda: os.rename(outside, outside.with_name("other")),
        "take": lambda: os.rename(outside, "taken"),
        "give": lambda: os.rename("mine", outside.with_name("given")),
        "make a folder": lambda: os.mkdir(outside.with_name("folder")),
        "hard link in": lambda: os.link(outside, "linked"),
        "hard link out": lambda: os.link("mine", outside.with_name("linked")),
        "symlink": lambda: os.symlink(outside, "pointer"),
        "pipe": lambda: os.mkfifo("pipe"),
        "device": lambda: os.mknod("device", 0o020666, os.makedev(1, 3)),
        "chmod": lambda: os.chmod(outside, 0o777),
        "chown": lambda: os.chown(outside, os.getuid(), os.getgid()),
        "utime": lambda: os.utime(outside, (0, 0)),
        "attribute": lambda: os.setxattr(outside, "user.x", b"x"),
        "package": lambda: os.open(sandbox.__file__, os.O_WRONLY),
        "shared memory": lambda: os.open(f"/dev/shm/new{os.getpid()}", os.O_CREAT | os.O_RDWR),
        "temporary": lambda: os.open(f"/tmp/new{os.getpid()}", os.O_CREAT | os.O_RDWR),
        "zero": lambda: os.open("/dev/zero", os.O_WRONLY),
    }


def test_nothing_outside_can_be_changed(confined, lacking, outside):
    needs(lacking, "landlock")
    needs(lacking, "seccomp")
    before = outside.stat()

    def attempt():
        Path("mine").write_text("x")
        return tried(writers(outside))

    results = confined(attempt)
    assert {k: v for k, v in results.items() if v not in ("EPERM", "EACCES", "EXDEV")} == {}
    after = outside.stat()
    assert outside.read_text() == "secret"
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (
        before.st_mode, before.st_mtime_ns, before.st_nlink,
    )  # fmt: skip
    assert os.listdir(outside.parent) == [outside.name]


def test_a_symlink_that_leads_out_of_the_scratch_is_refused(confined, lacking, scratch, outside):
    needs(lacking, "landlock")
    os.symlink(outside, Path(scratch, "way"))
    os.symlink(outside.parent, Path(scratch, "folder"))
    attempts = {
        "file": lambda: os.open("way", os.O_RDONLY),
        "folder": lambda: os.listdir("folder"),
        "through": lambda: os.open(f"folder/{outside.name}", os.O_WRONLY),
    }
    without = ["namespaces"]  # whose file system would hide them
    assert confined(lambda: tried(attempts), without=without) == dict.fromkeys(attempts, "EACCES")


def test_the_scratch_is_home_and_can_be_used(confined, scratch, lacking):
    def use():
        Path("a").write_text("x" * 10)
        os.mkdir("folder")
        Path("folder/b").write_text("y")
        os.rename("a", "c")
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"z")
        os.unlink("folder/b")
        os.rmdir("folder")
        Path("/dev/null").write_text("gone")
        with Path("c").open("r+") as file:
            file.truncate(3)
        home = {os.environ[name] for name in ("HOME", "TMPDIR", "MPLCONFIGDIR")}
        return [os.getcwd(), sorted(home), os.listdir("."), Path("c").read_text()]

    assert confined(use) == [scratch, [scratch], ["c"], "xxx"]
    assert os.listdir(scratch) == (["c"] if "namespaces" in lacking else [])


def grab(flags, size, times):
    """Map memory and write to it; return how many megabytes could be had."""
    held = []
    for _ in range(times):
        try:
            held.append(mmap.mmap(-1, size * MB, flags | mmap.MAP_ANONYMOUS))
        except OSError:
            break
    return len(held) * size


@pytest.mark.parametrize("flags", [mmap.MAP_PRIVATE, mmap.MAP_SHARED], ids=["private", "shared"])
def test_memory_is_limited(confined, flags):
    got = confined(lambda: grab(flags, 16, 100), Limits(memory=256 * MB))
    assert 128 <= got <= 256


def test_a_list_that_grows_ends_in_a_memory_error(confined):
    def grow():
        blocks = []
        try:
            while True:
                blocks.append(bytearray(8 * MB))
        except MemoryError:
            return len(blocks) * 8

    # Memory that the process had freed before is its own.
    assert 64 <= confined(grow, Limits(memory=128 * MB)) <= 512


def test_a_file_is_limited(confined):
    def flood():
        with open("big", "wb", buffering=0) as file:
            written = 0
            while True:
                try:
                    written += file.write(bytes(MB))
                except OSError as error:
                    return [errno.errorcode[error.errno], written // MB, os.stat("big").st_size]

    assert confined(flood, Limits(file_size=8 * MB)) == ["EFBIG", 8, 8 * MB]


def test_all_files_together_are_limited(confined, lacking):
    needs(lacking, "namespaces")

    def flood():
        number = 0
        try:
            while number < 100:
                Path(f"file{number}").write_bytes(bytes(MB))
                number += 1
        except OSError as error:
            return [errno.errorcode[error.errno], number]

    why, number = confined(flood, Limits(disk=16 * MB))
    assert (why, 12 <= number <= 16) == ("ENOSPC", True)


def test_the_number_of_files_is_limited(confined, lacking):
    needs(lacking, "namespaces")

    def flood():
        number = 0
        try:
            while number < 10_000:
                os.close(os.open(f"f{number}", os.O_CREAT | os.O_WRONLY))
                number += 1
        except OSError as error:
            return [errno.errorcode[error.errno], number]

    why, number = confined(flood)
    assert (why, 4000 <= number <= 4096) == ("ENOSPC", True)


def test_open_files_are_limited(confined):
    def flood():
        opened = []
        try:
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            return [errno.errorcode[error.errno], len(opened)]

    why, number = confined(flood, Limits(open_files=20))
    assert (why, number <= 20) == ("EMFILE", True)


def test_processor_time_is_limited(confined):
    def burn():
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        while True:
            pass

    assert confined(burn, Limits(processor_seconds=1), ends=-signal.SIGKILL) is None


def test_threads_work(confined):
    def count():
        results = []
        threads = [threading.Thread(target=lambda i=i: results.append(i)) for i in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(results)

    assert confined(count) == list(range(20))


def start_threads(stack):
    threading.stack_size(stack)
    end, number = threading.Event(), 0
    try:
        while number < 3000:
            threading.Thread(target=end.wait, daemon=True).start()
            number += 1
    except RuntimeError:
        return number
    finally:
        end.set()
    return number


def test_threads_are_limited(confined, lacking, user):
    if "namespaces" in lacking or (user == "own" and os.getuid() == 0):
        # The kernel counts none of root's; their stacks fill the address space.
        assert confined(lambda: start_threads(MB), Limits(memory=256 * MB)) <= 256
    else:
        assert confined(lambda: start_threads(1 << 16), Limits(threads=40)) <= 40


def test_no_core_is_dumped_and_no_message_queue_or_locked_memory_is_had(confined):
    names = ["CORE", "MSGQUEUE", "MEMLOCK"]

    def limits():
        return [resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in names]

    assert confined(limits) == [[0, 0]] * 3


def test_limits_cannot_be_raised(confined):
    def attempt():
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        except (OSError, ValueError) as error:
            return type(error).__name__

    assert confined(attempt) == "ValueError"


def test_no_capability_is_left(confined):
    def read():
        head, data = ctypes.create_string_buffer(8), ctypes.create_string_buffer(24)
        head.raw = (0x20080522).to_bytes(4, "little") + bytes(4)
        assert libc.capget(head, data) == 0
        bounding = [libc.prctl(23, n, 0, 0, 0) for n in range(41)]
        return [
            data.raw.hex(),
            sum(bounding),
            libc.prctl(39, 0, 0, 0, 0),
            libc.prctl(3, 0, 0, 0, 0),
        ]

    capabilities, bounding, no_new_privileges, dumpable = confined(read)
    assert (capabilities, no_new_privileges, dumpable) == ("00" * 24, 1, 0)
    assert bounding == 0 or os.getuid() != 0


@pytest.mark.skipif(ARM, reason="it needs an entry of another architecture")
def test_a_call_through_the_entry_of_i386_kills(confined, lacking):
    needs(lacking, "seccomp")

    def enter():
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(b"\x53\xb8\x14\x00\x00\x00\xcd\x80\x5b\xc3")  # getpid by int 0x80
        address = ctypes.addressof(ctypes.c_char.from_buffer(code))
        return ctypes.CFUNCTYPE(ctypes.c_int)(address)()

    confined(enter, ends=-signal.SIGSYS)


@pytest.mark.skipif(ARM, reason="x32 is a part of x86_64")
def test_x32_calls_look_absent(confined, lacking):
    needs(lacking, "seccomp")
    attempts = {
        "socket": lambda: raw(0x40000000 | 41, 0, 1, 1, 0),
        "execve": lambda: raw(0x40000000 | 520, 0, 0, 0, 0),
    }
    assert confined(lambda: tried(attempts)) == dict.fromkeys(attempts, "ENOSYS")


def test_a_process_can_abort_itself_but_no_other(confined):
    confined(lambda: signal.raise_signal(signal.SIGTERM), ends=-signal.SIGTERM)
    confined(os.abort, ends=-signal.SIGABRT)


def test_descriptors_that_are_not_kept_are_closed(confined, lacking):
    kept, lost = os.pipe(), os.pipe()

    def report():  # through what was kept: the pipe of `in_child` is closed as well
        opened = [number for number in range(256) if _is_open(number)]
        os.write(kept[1], json.dumps(opened).encode())
        os._exit(7)

    confined(report, keep=[kept[1]], ends=7)
    reported = json.loads(os.read(kept[0], 1000))
    for number in (*kept, *lost):
        os.close(number)
    own_map = [] if "landlock" in lacking else [3]
    assert reported == [0, 1, 2, *own_map, kept[1]]


def _is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def test_it_dies_with_its_parent(scratch, lacking):
    def parent():
        reading, writing = os.pipe()
        if "namespaces" not in lacking:
            sandbox.enter_namespaces()
        if os.fork() == 0:
            sandbox.confine(sandbox.readable_paths(), scratch, Limits(), lacking)
            os.write(writing, b"x")
            while True:
                signal.pause()
        os.read(reading, 1)  # it is confined

    # The orphan holds the pipe of `in_child`: that this returns in time shows that it has ended.
    start = time.monotonic()
    assert in_child(parent, seconds=30) == (None, 0)
    assert time.monotonic() - start < 20


def refusal(action):
    def run():
        try:
            action()
        except (SandboxError, ValueError) as error:
            return f"{type(error).__name__}: {error}"

    said, status = in_child(run)
    assert status == 0
    return said


def confine(scratch, *without, readable=()):
    sandbox.confine(readable, scratch, Limits(), without)


def test_what_was_asked_for_and_fails_is_an_error(scratch, lacking):
    said = refusal(lambda: confine(scratch, "namespace"))
    assert said.startswith("ValueError: without must name some of")
    assert "call enter_namespaces()" in refusal(lambda: confine(scratch))
    needs(lacking, "landlock")
    missing = refusal(lambda: confine(scratch, "namespaces", readable=["/no/such/place"]))
    assert missing.startswith("SandboxError: landlock: ")
    assert "/no/such/place" in missing
    assert "SandboxError: the folder" in refusal(lambda: confine("/no/such/folder", "namespaces"))


def test_a_process_with_several_threads_is_refused(scratch):
    def attempt():
        end = threading.Event()
        thread = threading.Thread(target=end.wait)
        thread.start()
        try:
            confine(scratch, "namespaces")
        finally:
            end.set()
            thread.join()

    assert "several threads" in refusal(attempt)


def test_an_orphan_of_the_zygote_is_refused(scratch, lacking):
    needs(lacking, "namespaces")

    def attempt():
        sandbox.enter_namespaces()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            if os.fork():
                os._exit(0)  # the grandchild's parent is not the zygote
            try:
                confine(scratch, "landlock", "seccomp", "limits")
            except SandboxError as error:
                os.write(writing, str(error).encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        raise SandboxError(os.read(reading, 1000).decode())

    assert "the process that entered the namespaces has ended" in refusal(attempt)


def test_landlock_alone_denies_files_and_connections(confined, lacking, outside):
    needs(lacking, "landlock")
    importlib.import_module("encodings.idna")
    server = socket.create_server(("127.0.0.1", 0))

    def connect():
        socket.create_connection(server.getsockname(), timeout=5)

    attempts = {"tcp": connect, "read": lambda: outside.read_text()}
    without = ["seccomp", "namespaces", "limits"]
    assert confined(lambda: tried(attempts), without=without) == dict.fromkeys(attempts, "EACCES")
    server.close()


def test_namespaces_alone_deny_the_network(confined, lacking):
    needs(lacking, "namespaces")
    importlib.import_module("encodings.idna")
    server = socket.create_server(("127.0.0.1", 0))
    attempts = {
        "here": lambda: socket.create_connection(server.getsockname(), timeout=5),
        "there": lambda: socket.create_connection(("192.0.2.1", 80), timeout=5),
    }
    without = ["seccomp", "landlock", "limits"]
    results = confined(lambda: tried(attempts), without=without)
    assert results == dict.fromkeys(attempts, "ENETUNREACH")
    server.close()


def test_landlock_alone_keeps_signals_inside(confined, lacking):
    needs(lacking, "landlock")
    if sandbox.landlock.version() < 6:
        pytest.skip("this kernel's Landlock has no scope for signals")
    attempt = {"kill": lambda: os.kill(os.getppid(), 0)}
    without = ["seccomp", "namespaces", "limits"]
    assert confined(lambda: tried(attempt), without=without) == {"kill": "EPERM"}


def test_the_readable_paths_hold_no_part_of_the_course_but_the_package():
    paths = [Path(path) for path in sandbox.readable_paths()]
    package = Path(sandbox.__file__).parents[2]
    assert package in paths
    assert all(path.exists() for path in paths)
    secret = [ROOT, ROOT / "solutions", ROOT / "tests", Path.home(), Path("/tmp"), Path("/etc")]
    for place in [*secret, Path("/proc"), Path("/home"), Path("/proc/self")]:
        assert not any(path in (place, *place.parents) for path in paths), place
    assert [p for p in paths if "proc" in p.parts] == [Path("/proc/cpuinfo")]


def test_every_protection_is_tried():
    tried_out = sandbox.protections()
    assert [protection.name for protection in tried_out] == list(sandbox.PROTECTIONS)
    for protection in tried_out:
        assert protection.works == (not protection.detail)


def simulated(errors):
    """Say what is missing, and what `demand` says, where some system calls fail."""

    def child():
        libc.prctl(38, 1, 0, 0, 0)
        seccomp.install(seccomp.refusing(errors))
        try:
            said = str(sandbox.demand())
        except UserError as error:
            said = str(error)
        return [[p.name for p in sandbox.missing()], said, len(sandbox.demand(unsafe=True))]

    return in_child(child)[0]


@pytest.mark.parametrize(
    ("call", "code", "name", "help_"),
    [
        ("landlock_create_ruleset", errno.EOPNOTSUPP, "landlock", "add landlock to the list lsm="),
        ("landlock_create_ruleset", errno.ENOSYS, "landlock", "it needs Linux 5.13 or later"),
        ("landlock_restrict_self", errno.EPERM, "landlock", "allow the landlock system calls"),
        ("unshare", errno.EPERM, "namespaces", "allow unprivileged user namespaces"),
        ("unshare", errno.ENOSPC, "namespaces", "allow unprivileged user namespaces"),
        ("seccomp", errno.EPERM, "seccomp", "forbids filters of system calls"),
        ("prlimit64", errno.EPERM, "limits", "refuses to set them"),
    ],
)
def test_a_protection_that_is_missing_is_named_with_what_to_do(lacking, call, code, name, help_):
    if lacking:
        pytest.skip(f"this machine has no {' or '.join(lacking)} to begin with")
    names, said, number = simulated({call: code})
    assert (names, number) == ([name], 1)
    assert said.startswith("this machine cannot be protected from learners' code (no ")
    assert f"no {name}: " in said
    assert help_ in said
    assert said.endswith(f"--unsafe to run their code with your rights, without {name}")
    assert "\n" not in said


def test_a_setting_that_forbids_namespaces_is_named(monkeypatch, tmp_path):
    settings = tmp_path / "kernel"
    settings.mkdir()
    (settings / "apparmor_restrict_unprivileged_userns").write_text("1\n")
    monkeypatch.setattr(sandbox, "SETTINGS", tmp_path)
    why = sandbox.why_no_namespaces(OSError(errno.EACCES, "Permission denied"))
    assert why.endswith("sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0")


@pytest.mark.parametrize(("system", "word"), [("darwin", "macOS"), ("win32", "Windows")])
def test_other_systems_are_sent_to_linux(monkeypatch, system, word):
    monkeypatch.setattr(sandbox.sys, "platform", system)
    assert [p.works for p in sandbox.protections()] == [False] * 4
    with pytest.raises(UserError, match=f"protection needs Linux, this is {word}.*grade on Linux"):
        sandbox.demand()
    assert len(sandbox.demand(unsafe=True)) == 4


LIBRARIES = Path(__file__).with_name("confined_libraries.py")


@pytest.mark.slow
@pytest.mark.parametrize("user", USERS)
def test_libraries_work_inside(user, scratch, lacking):
    command = [sys.executable, str(LIBRARIES), scratch, user, *lacking]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results == dict.fromkeys(results, "works")
    assert len(results) == 12
