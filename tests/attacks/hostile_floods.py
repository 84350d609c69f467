"""Attempts to take all time, memory, disk, descriptors or output, and to die in every way."""

from __future__ import annotations

from catalog import Kit, attack

LOOPS = "too long"
DEATHS = "ended its process"


@attack(honest=15.0, shows=LOOPS)
def endless_loop(kit: Kit) -> bytes:
    """Loop in one function, the others being right."""
    return kit.one("while True:\n    pass")


@attack(honest=15.0, shows=LOOPS)
def loop_that_swallows_exceptions(kit: Kit) -> bytes:
    """Loop, catch every exception and ignore every signal, alarms included."""
    return kit.one(
        """
        for number in signal.valid_signals():
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                continue
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            try:
                while True:
                    time.sleep(0.01)
            except BaseException:
                continue
        """
    )


@attack(honest=15.0, shows=LOOPS)
def loop_in_c(kit: Kit) -> bytes:
    """Stay in a C function that no signal interrupts and that holds the interpreter's lock."""
    return kit.one("re.match('(a+)+$', 'a' * 64 + 'b')")


@attack(honest=15.0, shows=LOOPS)
def loop_in_the_cell(kit: Kit) -> bytes:
    """Loop while the answer cell runs."""
    return kit.one("tell()", "while True: time.sleep(10**9)")


@attack(honest=15.0, shows=LOOPS)
def deadlock(kit: Kit) -> bytes:
    """Wait for a lock that nobody gives back, with threads that wait for each other."""
    return kit.one(
        """
        lock = threading.Lock()
        lock.acquire()
        threading.Thread(target=lock.acquire).start()
        lock.acquire()
        """
    )


@attack(honest=15.0, shows=LOOPS)
def stopped_process(kit: Kit) -> bytes:
    """Stop itself with SIGSTOP, or wait for ever where that is refused."""
    return kit.one(
        """
        try:
            os.kill(os.getpid(), signal.SIGSTOP)
        except OSError:
            called(234, os.getpid(), threading.get_native_id(), int(signal.SIGSTOP))
        signal.pause()
        """
    )


@attack(shows=LOOPS)
def loop_in_several_tasks(kit: Kit) -> bytes:
    """Loop in three functions, one after the other."""
    return kit.code(
        "", "tell()", "time.sleep(10**9) if len(args) == 2 else any(iter(int, 1)) or tell()"
    )


@attack(honest=1.0, shows="")
def just_below_the_limit(kit: Kit) -> bytes:
    """Take much of the limit in every call."""
    return kit.code("", "time.sleep(1.5)\nreturn args[0].fill_(0.5)", "tell()")


@attack(honest=15.0, shows="")
def loop_in_finalizers(kit: Kit) -> bytes:
    """Loop in __del__, in atexit and in a thread that keeps the interpreter from ending."""
    return kit.one(
        """
        class Lasting:
            def __del__(self):
                while True:
                    time.sleep(1)
        import atexit, weakref
        atexit.register(time.sleep, 10**9)
        threading.Thread(target=time.sleep, args=(10**9,)).start()
        kept = Lasting()
        weakref.finalize(kept, time.sleep, 10**9)
        kept.again = kept
        raise Tried("loops are laid")
        """
    )


@attack(honest=15.0, shows=LOOPS)
def loop_in_the_exception(kit: Kit) -> bytes:
    """Raise an exception whose text takes for ever."""
    return kit.one(
        """
        class Slow(Exception):
            def __str__(self):
                while True:
                    time.sleep(1)
        raise Slow
        """
    )


@attack(honest=15.0, shows="")
def private_memory(kit: Kit) -> bytes:
    """Take 6 GB of private memory, in one piece and in small ones."""
    return kit.one(
        """
        kept = []
        try:
            kept.append(bytearray(6 << 30))
        except MemoryError:
            for _ in range(96):
                kept.append(mmap.mmap(-1, 64 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
                kept[-1][::4096] = bytes(16 << 10)
        took("6 GB of memory")
        """
    )


@attack(honest=15.0, shows="")
def shared_memory(kit: Kit) -> bytes:
    """Take 6 GB of shared memory, which limits of data do not count, and of files in memory."""
    return kit.one(
        """
        kept = []
        for _ in range(96):
            kept.append(mmap.mmap(-1, 64 << 20, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS))
            kept[-1][::4096] = bytes(16 << 10)
        took("6 GB of shared memory")
        """
    )


@attack(honest=15.0, shows="")
def memory_in_files(kit: Kit) -> bytes:
    """Take 6 GB through memfd_create and mapped files of the scratch folder."""
    return kit.one(
        """
        attempt("memfd", os.memfd_create, "x")
        kept = []
        for number in range(96):
            file = os.open(f"file{number}", os.O_CREAT | os.O_RDWR)
            os.ftruncate(file, 60 << 20)
            kept.append(mmap.mmap(file, 60 << 20, mmap.MAP_SHARED))
            os.close(file)
            kept[-1][::4096] = bytes(15 << 10)
        took("6 GB of mapped files")
        """
    )


@attack(honest=15.0, shows="")
def memory_of_torch(kit: Kit) -> bytes:
    """Take 8 GB by tensors."""
    return kit.one("kept = [torch.ones(1 << 27) for _ in range(16)]\ntook('8 GB of tensors')")


@attack(honest=15.0, shows="")
def locked_and_kernel_memory(kit: Kit) -> bytes:
    """Take memory of the kernel: full pipes, full sockets, page tables of sparse maps."""
    return kit.one(
        """
        kept = []
        for _ in range(500):
            r, w = os.pipe()
            os.set_blocking(w, False)
            kept.append((r, w, os.write(w, bytes(1 << 16))))
            attempt("larger pipe", fcntl.fcntl, w, 1031, 1 << 20)
            one, two = socket.socketpair()
            one.setblocking(False)
            kept.append((one, two, one.send(bytes(1 << 20))))
        took("five hundred pipes and sockets")
        """
    )


@attack(honest=15.0, shows="")
def large_files(kit: Kit) -> bytes:
    """Fill the disk: a large file, an unlinked one, a sparse one of a terabyte."""
    return kit.one(
        """
        def fill(name, size):
            with open(name, "wb") as file:
                for _ in range(size >> 20):
                    file.write(bytes(1 << 20))
            return size
        attempt("one file of 200 MB", fill, "large", 200 << 20)
        def sparse():
            with open("sparse", "wb") as file:
                file.truncate(1 << 40)
            return "a terabyte"
        attempt("sparse", sparse)
        file = os.open("f", os.O_CREAT | os.O_RDWR)
        attempt("fallocate", lambda: os.posix_fallocate(file, 0, 1 << 30) or "a gigabyte")
        def many():
            for number in range(40):
                fill(f"medium{number}", 50 << 20)
            return "2 GB in files"
        attempt("many", many)
        def unlinked():
            kept = []
            for number in range(20):
                kept.append(open("gone", "wb"))
                os.unlink("gone")
                kept[-1].write(bytes(60 << 20))
            return "1 GB unlinked"
        attempt("unlinked", unlinked)
        tell()
        """
    )


@attack(honest=15.0, shows="")
def many_small_files(kit: Kit) -> bytes:
    """Create files and nested folders by the hundred thousand, some that cannot be removed."""
    return kit.one(
        """
        os.mkdir("locked")
        Path("locked/x").write_text("x")
        os.umask(0o777)
        for number in range(200_000):
            try:
                os.close(os.open(f"file{number}", os.O_CREAT | os.O_WRONLY))
            except OSError as error:
                DENIED.append(f"{number} {error.strerror}")
                break
        depth = 0
        while depth < 2000:
            try:
                os.mkdir("d", 0o700 if depth < 1990 else 0)
                os.chdir("d")
            except OSError as error:
                DENIED.append(f"{depth} {error.strerror}")
                break
            depth += 1
        tell()
        """
    )


@attack(honest=15.0, shows="")
def many_descriptors(kit: Kit) -> bytes:
    """Open files until none is left, so that the channel's next use fails."""
    return kit.one(
        """
        kept = []
        while len(kept) < 5000:
            kept.append(os.open("/dev/null", os.O_RDONLY))
        took("5000 descriptors")
        """
    )


@attack(honest=15.0, shows="")
def endless_output(kit: Kit) -> bytes:
    """Print without end, on every stream, in Python and below."""
    return kit.one(
        """
        text = "x" * (1 << 20)
        while True:
            print(text)
            print(text, file=sys.__stderr__)
            os.write(1, text.encode())
            os.write(2, text.encode())
        """
    )


@attack(honest=15.0, shows="")
def many_threads(kit: Kit) -> bytes:
    """Start two thousand threads that wait, and let each start more."""
    return kit.one(
        """
        for _ in range(2000):
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        torch.set_num_threads(64)
        tell()
        """
    )
