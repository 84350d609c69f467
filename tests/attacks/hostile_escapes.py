"""Attempts to leave the learner's process: files, other processes, the network, the kernel."""

from __future__ import annotations

from catalog import Kit, attack


@attack()
def planted_files(kit: Kit) -> bytes:
    """Read solutions, other learners' notebooks, the grades and files of the teacher."""
    return kit.code(
        """
        def read(path):
            data = Path(path).read_bytes()
            return search(path, data) or len(data)
        for place in (@@solution@@, @@neighbor@@, @@secret@@):
            attempt("read", read, place)
        for place in (@@course@@, @@submissions@@, @@out@@, @@home@@):
            attempt("list", os.listdir, place)
            attempt("walk", lambda: [search(p, p.read_bytes()) for p in Path(place).rglob("*.*")
                                     if p.is_file()] or 1 / 0)
        import glob, sqlite3
        attempt("glob", lambda: glob.glob(@@out@@ + "/**", recursive=True)[1])
        attempt("database", lambda: sqlite3.connect(@@out@@ + "/grades.db").execute("select 1"))
        attempt("mmap", np.memmap, @@secret@@)
        attempt("from_file", torch.from_file, @@secret@@, False, 4, dtype=torch.uint8)
        attempt("torch.load", torch.load, @@secret@@)
        for place in ("/etc/passwd", "/proc/version", "/sys/kernel/notes", "/dev/kmsg", "/dev/mem"):
            attempt(place, os.open, place, os.O_RDONLY)
        """
    )


@attack()
def writing_outside(kit: Kit) -> bytes:
    """Write to grades, notebooks, the course's own code and every folder above."""
    return kit.code(
        """
        import coursekit
        code = os.path.dirname(coursekit.__file__)
        for place in (@@solution@@, @@neighbor@@, @@secret@@, code + "/__init__.py", os.__file__):
            attempt("append", os.open, place, os.O_WRONLY | os.O_APPEND)
            attempt("both", os.open, place, os.O_RDWR)
        for place in (@@secret@@, @@neighbor@@):
            attempt("truncate", os.truncate, place, 0)
            attempt("empty", os.open, place, os.O_RDONLY | os.O_TRUNC)
            attempt("remove", os.remove, place)
            attempt("rename", os.rename, place, place + ".old")
            attempt("move here", os.rename, place, "mine")
        for place in (code, "/tmp", "/dev/shm", "/var/tmp", @@tmp@@, ".."):
            attempt("unnamed", os.open, place, os.O_WRONLY | os.O_TMPFILE, 0o600)
        for place in (@@drop@@, @@out@@, @@submissions@@):
            attempt("folder", os.mkdir, place + "/@@attack@@")
            attempt("move there", os.rename, "x", place + "/@@attack@@.x")
        """
    )


@attack()
def metadata_of_others(kit: Kit) -> bytes:
    """Change permissions, owners, times and attributes of files that may not be opened."""
    return kit.code(
        """
        for place in (@@secret@@, @@neighbor@@, @@solution@@):
            attempt("chmod", os.chmod, place, 0o000)
            attempt("lchown", os.lchown, place, 65534, 65534)
            attempt("utime", os.utime, place, (1, 1))
            attempt("xattr", os.setxattr, place, "user.evil", b"1")
            attempt("remove xattr", os.removexattr, place, "user.planted")
        for place in (@@drop@@, @@out@@, @@submissions@@):
            attempt("chmod folder", os.chmod, place, 0o000)
        attempt("chroot", os.chroot, ".")
        """
    )


@attack()
def links_out(kit: Kit) -> bytes:
    """Reach files through links, pipes, devices and sockets that are made in the scratch folder."""
    return kit.code(
        """
        attempt("symlink", os.symlink, @@secret@@, "link")
        attempt("read link", lambda: Path("link").read_bytes())
        attempt("hard link", os.link, @@secret@@, "hard")
        attempt("device", os.mknod, "device", 0o600 | 0o020000, os.makedev(1, 1))
        attempt("disk", os.mknod, "disk", 0o600 | 0o060000, os.makedev(254, 0))
        attempt("pipe", os.mkfifo, "pipe")
        def bind():
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind("here")
        attempt("socket", bind)
        attempt("up", os.open, "../" * 20 + @@secret@@.lstrip("/"), os.O_RDONLY)
        attempt("handle", called, 303, -100, ctypes.c_char_p(@@secret@@.encode()), 0, 0, 0)
        attempt("open handle", called, 304, -100, ctypes.c_char_p(b"x" * 64), 0)
        attempt("openat2", called, 437, -100, ctypes.c_char_p(@@secret@@.encode()),
                ctypes.c_char_p(bytes(24)), 24)
        """
    )


@attack()
def proc_files(kit: Kit) -> bytes:
    """Read and write through /proc: memory, maps, environments, descriptors, roots of processes."""
    return kit.code(
        """
        own = {"self", "thread-self", str(os.getpid())}
        for process in sorted(own | {"1", str(os.getppid()), str(os.getsid(0))}):
            # A process may know the map of its memory, its working directory and its namespaces.
            known = set() if process not in own else {"maps", "cwd/.", "ns/net"}
            for name in {"mem", "maps", "environ", "cmdline", "fd/3", "stat", "syscall", "auxv",
                         "root/etc/passwd", "cwd/.", "task", "ns/net"} - known:
                attempt(f"{process}/{name}", os.open, f"/proc/{process}/{name}", os.O_RDONLY)
            for name in ("mem", "oom_score_adj", "coredump_filter", "comm", "setgroups", "uid_map"):
                attempt(f"write {process}/{name}", os.open, f"/proc/{process}/{name}", os.O_RDWR)
        for name in ("sys/kernel/core_pattern", "sysrq-trigger", "sys/kernel/hostname", "kcore"):
            attempt(name, os.open, f"/proc/{name}", os.O_RDWR)
        attempt("list", os.listdir, "/proc")
        """
    )


@attack()
def memory_of_others(kit: Kit) -> bytes:
    """Read and write the memory of the processes above: ptrace, process_vm_readv, pidfd_getfd."""
    return kit.code(
        """
        for process in {os.getppid(), os.getsid(0), os.getpgrp()} - {os.getpid(), 0, 1}:
            attempt("attach", called, 101, 16, process, 0, 0)
            attempt("seize", called, 101, 0x4206, process, 0, 0)
            here = (ctypes.c_long * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
            there = (ctypes.c_long * 2)(id(os), 8)
            for number in (310, 311):
                attempt("process_vm", called, number, process, here, 1, there, 1, 0)
            attempt("pidfd_open", called, 434, process, 0)
            attempt("pidfd_getfd", called, 438, 3, 3, 0)
            attempt("process_madvise", called, 440, 3, there, 1, 4, 0)
            attempt("kcmp", called, 312, os.getpid(), process, 1, 0, 0)
        attempt("traceme", called, 101, 0, 0, 0, 0)
        """
    )


@attack()
def priorities_of_others(kit: Kit) -> bytes:
    """Slow down or limit the processes above: renice, affinity, scheduler, prlimit, I/O class."""
    return kit.code(
        """
        attempt("renice group", os.setpriority, os.PRIO_PGRP, 0, 19)
        for parent in {os.getppid(), os.getsid(0)} - {os.getpid(), 0, 1}:
            attempt("renice", os.setpriority, os.PRIO_PROCESS, parent, 19)
            attempt("affinity", os.sched_setaffinity, parent, {0})
            attempt("scheduler", os.sched_setscheduler, parent, os.SCHED_IDLE, os.sched_param(0))
            attempt("limit", resource.prlimit, parent, resource.RLIMIT_CPU, (1, 1))
            attempt("read limit", resource.prlimit, parent, resource.RLIMIT_CPU)
            attempt("ioprio", called, 251, 1, parent, 3 << 13)
        """
    )


@attack()
def signals_to_others(kit: Kit) -> bytes:
    """Kill and stop the parent, its group, its session, and ask whether all could be reached."""
    return kit.code(
        """
        parent = os.getppid()
        for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL, signal.SIGUSR1):
            if parent > 1:
                attempt("kill parent", os.kill, parent, number)
                attempt("tkill", called, 200, parent, int(number))
                attempt("tgkill", called, 234, parent, parent, int(number))
                about = ctypes.create_string_buffer(128)
                attempt("sigqueue", called, 129, parent, int(number), about)
        attempt("init", os.kill, 1, 0)
        attempt("everybody", os.kill, -1, 0)
        for near in range(1, 6):
            attempt("sibling", os.kill, os.getpid() - near, 0)
        attempt("pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(parent), 0))
        """
    )


@attack()
def network(kit: Kit) -> bytes:
    """Speak to the listener and to names: TCP, UDP, IPv6, Unix, abstract, netlink, raw, vsock."""
    return kit.code(
        """
        address = ("127.0.0.1", @@port@@)
        def speak(family, kind, to, protocol=0):
            with socket.socket(family, kind, protocol) as connection:
                connection.settimeout(1)
                connection.connect(to)
                connection.send(b"@@attack@@")
        attempt("tcp", speak, socket.AF_INET, socket.SOCK_STREAM, address)
        attempt("udp", speak, socket.AF_INET, socket.SOCK_DGRAM, address)
        mapped = ("::ffff:127.0.0.1", address[1])
        attempt("tcp6", speak, socket.AF_INET6, socket.SOCK_STREAM, mapped)
        attempt("unix", speak, socket.AF_UNIX, socket.SOCK_STREAM, @@listener@@)
        attempt("unix datagram", speak, socket.AF_UNIX, socket.SOCK_DGRAM, @@listener@@)
        attempt("abstract", speak, socket.AF_UNIX, socket.SOCK_STREAM, @@abstract@@)
        for label, family in (("netlink", 16), ("packet", 17), ("vsock", 40), ("alg", 38),
                              ("xdp", 44), ("inet", 2), ("inet6", 10), ("unix", 1)):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
                attempt(f"open {label}", socket.socket, family, kind)
        attempt("pair", socket.socketpair, socket.AF_UNIX, socket.SOCK_DGRAM)
        attempt("name", socket.getaddrinfo, "localhost.invalid", 80)
        def serve():
            with socket.create_server(("127.0.0.1", 0)) as server:
                return server.getsockname()
        attempt("serve", serve)
        import urllib.request
        page = f"http://127.0.0.1:{address[1]}/@@attack@@"
        attempt("http", urllib.request.urlopen, page, None, 1)
        def to_name():
            with socket.socket(fileno=os.dup(3)) as channel:
                return channel.sendto(b"x", @@listener@@)
        attempt("sendto", to_name)
        """
    )


@attack()
def fork_server(kit: Kit) -> bytes:
    """Ask the fork server, the zygote and the examiner for processes outside of the sandbox."""
    return kit.code(
        """
        import gc, glob
        from coursekit.kernels import forkserver
        words = [o for o in gc.get_objects() if type(o) is dict
                 for o in list(o.values()) if type(o) is str]
        places = {w for w in words if "coursekit-fork-" in w or w.endswith("/socket")}
        places |= {*glob.glob(@@tmp@@ + "/*/*"), @@tmp@@ + "/coursekit-fork-0/socket"}
        for place in sorted(places)[:20]:
            attempt("fork", forkserver.ForkServer.connect(place).fork, "os:system",
                    "touch " + @@drop@@ + "/forked")
        import json
        for words in ({"do": "end"}, {"do": "start"}, {"target": "os:abort", "argument": None}):
            for fd in range(4, 64):
                try:
                    took(f"wrote to {fd}: {os.write(fd, json.dumps(words).encode())}")
                except OSError as error:
                    DENIED.append(error.strerror) if fd == 4 else None
        """
    )


@attack()
def programs(kit: Kit) -> bytes:
    """Start programs in every way that Python and libc have."""
    return kit.code(
        """
        touch = "touch " + @@drop@@ + "/@@attack@@-program"
        def status(function, *args):
            got = function(*args)
            if got:
                raise OSError(f"status {got}")
            return got
        attempt("system", status, os.system, touch)
        attempt("libc system", status, libc.system, touch.encode())
        attempt("popen", lambda: os.popen(touch).read())
        attempt("run", subprocess.run, touch.split())
        attempt("shell", lambda: subprocess.run(touch, shell=True, check=True))
        attempt("spawn", os.posix_spawn, "/bin/touch", touch.split(), {})
        attempt("vfork spawn", lambda: status(os.spawnv, os.P_WAIT, "/bin/touch", touch.split()))
        attempt("exec", os.execv, sys.executable, [sys.executable, "-c", "print(1)"])
        attempt("fexec", called, 322, 3, ctypes.c_char_p(b""), 0, 0, 0x1000)
        def in_memory():
            fd = os.memfd_create("program")
            os.write(fd, b"#!/bin/sh\\n" + touch.encode())
            os.execve(fd, ["x"], {})
        attempt("memfd", in_memory)
        import pty
        attempt("pty", lambda: pty.fork()[0] or libc._exit(0))
        """
    )


@attack()
def forks(kit: Kit) -> bytes:
    """Fork by Python, multiprocessing and bare system calls; a child says so and ends."""
    return kit.code(
        """
        def child():
            took("a forked process")
            libc._exit(0)
        def forked(function, *args):
            got = function(*args)
            if got < 0:
                raise OSError(ctypes.get_errno(), "refused")
            return child() if got == 0 else got
        attempt("fork", forked, os.fork)
        attempt("forkpty", lambda: forked(lambda: os.forkpty()[0]))
        attempt("syscall fork", forked, called, 57)
        attempt("libc fork", forked, libc.fork)
        attempt("clone", forked, called, 56, 17, 0, 0, 0, 0)
        attempt("clone parent", forked, called, 56, 17 | 0x8000, 0, 0, 0, 0)
        attempt("clone into namespaces", forked, called, 56, 17 | 0x30000000, 0, 0, 0, 0)
        arguments = ctypes.create_string_buffer(88)
        struct.pack_into("Q", arguments, 32, 17)
        attempt("clone3", forked, called, 435, arguments, 88)
        import multiprocessing
        for method in ("fork", "spawn", "forkserver"):
            def start(method=method):
                process = multiprocessing.get_context(method).Process(target=child)
                process.start()
                process.join()
            attempt(method, start)
        attempt("pool", lambda: multiprocessing.get_context("fork").Pool(1).map(abs, [1]))
        """
    )


@attack()
def fork_bomb(kit: Kit) -> bytes:
    """Fork in a loop; every child stays for a while."""
    return kit.code(
        """
        def bomb():
            for _ in range(60):
                if os.fork() == 0:
                    time.sleep(15)
                    libc._exit(0)
            return "sixty processes"
        attempt("bomb", bomb)
        """
    )


@attack()
def kernel_interfaces(kit: Kit) -> bytes:
    """Call what the kernel offers beside files: io_uring, bpf, keys, namespaces, mounts."""
    return kit.code(
        """
        CALLS = {"io_uring_setup": (425, 4, bytes(120)), "bpf": (321, 0, bytes(64), 64),
                 "userfaultfd": (323, 0), "perf_event_open": (298, bytes(128), 0, -1, -1, 0),
                 "add_key": (248, b"user", b"evil", b"x", 1, -3), "keyctl": (250, 0, -3, 1),
                 "request_key": (249, b"user", b"evil", None, -3),
                 "unshare user": (272, 0x10000000),
                 "unshare net": (272, 0x40000000), "unshare mount": (272, 0x20000),
                 "setns": (308, 3, 0), "pivot_root": (155, b".", b"."),
                 "fsopen": (430, b"tmpfs", 0),
                 "open_tree": (428, -100, b"/", 1), "move_mount": (429, -100, b".", -100, b".", 0),
                 "swapon": (167, b"x", 0), "reboot": (169, 0), "kexec": (246, 0, 0, 0, 0),
                 "init_module": (175, b"", 0, b""), "acct": (163, b"x"),
                 "syslog": (103, 3, bytes(9), 9),
                 "personality": (135, 0x0040000), "iopl": (172, 3), "ioperm": (173, 0x80, 1, 1),
                 "memfd_secret": (447, 0), "fanotify": (300, 0, 0), "inotify": (294, 0),
                 "setsid": (112,), "capset": (126, bytes(8), bytes(24)),
                 "quotactl": (179, 0, b"x", 0, None),
                 "name_to_handle": (303, -100, b".", bytes(64), 0, 0),
                 "vmsplice": (278, 3, None, 0, 0), "process_mrelease": (448, 3, 0),
                 "dumpable": (157, 4, 1), "no ptracer": (157, 0x59616D61, -1),
                 "seccomp": (317, 1, 0, None),
                 "set mm": (157, 35, 1, 0, 0, 0), "modify_ldt": (154, 0, None, 0),
                 "x32": (0x40000000 | 39,)}
        for label, (number, *given) in CALLS.items():
            args = [ctypes.c_char_p(a) if isinstance(a, bytes) else a for a in given]
            attempt(label, called, number, *args)
        """
    )


@attack()
def shared_memory_that_stays(kit: Kit) -> bytes:
    """Leave shared memory, message queues, semaphores and keys behind for another submission."""
    return kit.code(
        """
        attempt("shmget", called, 29, 0x5EED, 4096, 0o1666)
        attempt("msgget", called, 68, 0x5EED, 0o1666)
        attempt("semget", called, 64, 0x5EED, 1, 0o1666)
        name = ctypes.c_char_p(b"evil")
        attempt("mq_open", called, 240, name, os.O_CREAT | os.O_RDWR, 0o666, None)
        from multiprocessing import shared_memory
        attempt("shm_open", shared_memory.SharedMemory, "evil", True, 4096)
        attempt("torch shared", lambda: torch.zeros(4).share_memory_().is_shared())
        """
    )
