"""Places where submissions are graded: on this machine by threads, each with a grader of its own.

A pool takes jobs from an iterator only as fast as it grades, so that however long a batch is, few
notebooks are in memory. Its other kind is :mod:`coursekit.grading.official.cluster`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Protocol

from coursekit.errors import UserError
from coursekit.grading.official.grader import Grader, failed, start_server
from coursekit.grading.official.results import FAILED, Grade, Job
from coursekit.grading.official.submissions import read_content
from coursekit.kernels.forkserver import ForkServer, NoForkServer

ATTEMPTS = 3
END_SECONDS = 30.0


class Grading(Protocol):
    """What grades one submission after the other; used by one thread."""

    def grade(self, job: Job) -> Grade:
        """Grade a submission; blocks. An exception means that another grader is needed."""
        ...

    def close(self) -> None:
        """End its processes."""
        ...


class Workshop(Protocol):
    """What makes graders."""

    def make(self) -> Grading:
        """Return a new grader."""
        ...

    def close(self) -> None:
        """End what the graders share, which ends a grading under way."""
        ...


class Graders:
    """Makes graders that share one warm server; it can be sent to another machine.

    Args:
        solutions: The instructor's notebooks by exercise.
        seconds: The time limit of a cell or call.
        unsafe: Grade although a protection is missing.
    """

    def __init__(self, solutions: Mapping[str, bytes], seconds: float, unsafe: bool):
        self.solutions, self.seconds, self.unsafe = dict(solutions), seconds, unsafe
        self._start()

    def _start(self) -> None:
        self._server: ForkServer | None = None
        self._closed = False
        self._turn = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        names = ("solutions", "seconds", "unsafe")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._start()

    def make(self) -> Grading:
        """Return a new grader; a server that has died is replaced.

        Raises:
            UserError: When none can be started.
        """
        with self._turn:
            if self._closed:
                raise Stopped
            if self._server is None:
                self._server = start_server()
            try:
                return Grader(
                    self.solutions, server=self._server, seconds=self.seconds, unsafe=self.unsafe
                )
            except NoForkServer:
                self._server.close()
                self._server = None
                raise

    def close(self) -> None:
        """End the server with all its processes."""
        with self._turn:
            self._closed = True
            if self._server is not None:
                self._server.close()
                self._server = None


class Stopped(Exception):
    """The pool is closing; nothing more is to be graded."""


class Post:
    """Grades one submission after the other, and replaces a grader that breaks.

    Args:
        workshop: Where graders come from.
    """

    def __init__(self, workshop: Workshop):
        self._workshop = workshop
        self._grader: Grading | None = None

    def grade(self, job: Job) -> Grade:
        """Grade a submission; after three graders have failed at it, the grade says so.

        Raises:
            UserError: When no grader can be started.
            Stopped: When the workshop is closed.
        """
        try:
            job = replace(job, content=read_content(job))
        except OSError as error:
            reason = f"the file cannot be read any more ({error.strerror or error})"
            return self._failed(job, reason)
        reason = ""
        for _ in range(ATTEMPTS):
            grader = self._ready()
            try:
                grade = grader.grade(job)
            except Exception as error:  # whatever it is, another grader may do better
                reason = f"{type(error).__name__}: {error}"
            else:
                if grade.status != FAILED:
                    return replace(grade, learner=job.learner, file=job.file, sha256=job.sha256)
                reason = grade.reason
            self.close()
        return self._failed(job, reason)

    @staticmethod
    def _failed(job: Job, reason: str) -> Grade:
        line = " ".join(reason.split())
        return failed(job, f"the grader failed {ATTEMPTS} times: {line}: run the command again")

    def _ready(self) -> Grading:
        """Return the grader, a new one if need be; a start that fails is tried again."""
        for attempt in range(ATTEMPTS):
            if self._grader is None:
                try:
                    self._grader = self._workshop.make()
                except Stopped:
                    raise
                except Exception as error:
                    if attempt == ATTEMPTS - 1:
                        raise UserError(f"no grader can be started: {error}") from error
        assert self._grader is not None
        return self._grader

    def close(self) -> None:
        """End the grader."""
        grader, self._grader = self._grader, None
        if grader is not None:
            grader.close()


class LocalPool:
    """Grades on this machine; a context manager.

    Args:
        workshop: Where graders come from; closed with the pool.
        count: How many submissions are graded at once.
    """

    def __init__(self, workshop: Workshop, count: int):
        self._workshop, self._count = workshop, count
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Grade | BaseException] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"grading-{number}", daemon=True)
            for number in range(count)
        ]

    def __enter__(self) -> LocalPool:
        for thread in self._threads:
            thread.start()
        return self

    def grades(self, jobs: Iterable[Job]) -> Iterator[Grade]:
        """Yield a grade for each job, in the order in which they come.

        Raises:
            UserError: When no grader can be started.
        """
        waiting, running = iter(jobs), 0
        for job in islice(waiting, 2 * self._count):
            self._inbox.put(job)
            running += 1
        while running:
            result = self._outbox.get()
            if isinstance(result, BaseException):
                raise result
            following = next(waiting, None)
            if following is None:
                running -= 1
            else:
                self._inbox.put(following)
            yield result

    def _work(self) -> None:
        post = Post(self._workshop)
        try:
            while (job := self._inbox.get()) is not None and not self._stopping.is_set():
                self._outbox.put(post.grade(job))
        except Stopped:
            return
        except BaseException as error:  # it belongs to whoever reads the grades
            self._outbox.put(error)
        finally:
            post.close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End all processes; when something went wrong, without waiting for gradings."""
        self._stopping.set()
        if kind is not None:
            self._workshop.close()
        for _number in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            thread.join(END_SECONDS)
        self._workshop.close()
