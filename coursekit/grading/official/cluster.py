"""Grade on many machines through Dask: its workers keep graders and are sent notebooks.

Imported only when a scheduler is given. Each worker process gets the solutions once and keeps as
many graders as it has threads. What a worker that is lost was grading goes to another one. Dask's
connections are neither encrypted nor authenticated unless its configuration says so: whoever
reaches scheduler or workers can read solutions and forge grades, so keep them in a network of their
own.
"""

from __future__ import annotations

import hashlib
import queue
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from distributed import Client, Future, KilledWorker, TimeoutError, WorkerPlugin, get_worker

from coursekit.errors import UserError
from coursekit.grading.official.grader import failed
from coursekit.grading.official.pools import ATTEMPTS, Post, Stopped, Workshop
from coursekit.grading.official.results import Grade, Job
from coursekit.grading.official.store import software
from coursekit.grading.official.submissions import read_content

CONNECT_SECONDS = 10
LOOK_SECONDS = 5.0
PATIENCE = 12  # looks without any worker before the batch stops


class Station(WorkerPlugin):
    """The graders of one worker process.

    Args:
        name: Of this batch.
        workshop: Where graders come from.
        needed: The software that the batch is graded with.
    """

    def __init__(self, name: str, workshop: Workshop, needed: dict[str, str]):
        self.name, self.workshop, self.needed = name, workshop, needed

    def setup(self, worker: Any) -> None:
        """Make sure that the worker grades as the others do."""
        found = dict(software())
        other = [name for name in self.needed if found.get(name) != self.needed[name]]
        if other:
            raise UserError(
                f"worker {worker.address} has another version of {', '.join(other)}: install the "
                "same course and packages on every machine"
            )
        self.idle: queue.SimpleQueue[Post] = queue.SimpleQueue()

    def teardown(self, worker: Any) -> None:
        """End the graders."""
        self.workshop.close()
        while True:
            try:
                self.idle.get_nowait().close()
            except queue.Empty:
                return

    def grade(self, job: Job) -> Grade:
        """Grade a submission with a grader that is free."""
        try:
            post = self.idle.get_nowait()
        except queue.Empty:
            post = Post(self.workshop)
        try:
            return post.grade(job)
        finally:
            self.idle.put(post)


def grade_there(name: str, job: Job) -> Grade:
    """Grade a submission on the worker that this is called on."""
    station = get_worker().plugins[name]
    assert isinstance(station, Station)
    return station.grade(job)


class ClusterPool:
    """Grades on the workers of a Dask scheduler; a context manager.

    Args:
        workshop: Where graders come from, on each worker.
        address: The scheduler, "tcp://HOST:PORT".
        label: Names the batch: one that is started again replaces what it left on the workers.

    Raises:
        UserError: When the scheduler does not answer, or has no worker that can grade.
    """

    def __init__(self, workshop: Workshop, address: str, label: str):
        self.address = address
        self._name = f"coursekit-{hashlib.sha256(label.encode()).hexdigest()[:16]}"
        self._station = Station(self._name, workshop, dict(software()))
        self._ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._running: dict[Future, tuple[Job, int]] = {}

    def __enter__(self) -> ClusterPool:
        try:
            self._client = Client(self.address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise UserError(
                f"no Dask scheduler answers at {self.address} within {CONNECT_SECONDS} s: start "
                "one by `dask scheduler`, or leave out --scheduler"
            ) from error
        try:
            self._client.wait_for_workers(1, timeout=CONNECT_SECONDS)
            self._client.register_plugin(self._station, name=self._name)
        except TimeoutError as error:
            self._client.close()
            raise UserError(
                f"the scheduler {self.address} has no worker: start some by `dask worker "
                f"{self.address}`"
            ) from error
        except Exception as error:
            self._client.close()
            raise UserError(f"the workers of {self.address} cannot grade: {error}") from error
        return self

    def grades(self, jobs: Iterable[Job]) -> Iterator[Grade]:
        """Yield a grade for each job, in the order in which they come.

        Raises:
            UserError: When the scheduler is lost, or all workers are for a minute.
        """
        waiting, alone, room = iter(jobs), 0, self._room()
        self._fill(waiting, room)
        while self._running:
            try:
                future = self._ended.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                room = self._room()
                alone = 0 if room else alone + 1
                if alone > PATIENCE:
                    raise UserError(
                        f"the scheduler {self.address} has lost all its workers: start some, then "
                        "run the same command again"
                    ) from None
            else:
                grade = self._result(future)
                if grade is not None:
                    yield grade
            self._fill(waiting, max(room, 1))

    def _room(self) -> int:
        """Return how many submissions may be on their way: two for each thread of a worker."""
        try:
            return 2 * sum(self._client.nthreads().values())
        except (OSError, TimeoutError) as error:
            raise self._lost() from error

    def _lost(self) -> UserError:
        return UserError(
            f"the scheduler {self.address} is lost: start it again, then run the same command again"
        )

    def _fill(self, waiting: Iterator[Job], room: int) -> None:
        while len(self._running) < room and (job := next(waiting, None)) is not None:
            self._submit(job, 1)

    def _submit(self, job: Job, attempt: int) -> None:
        """Send a job; the notebook goes with it, its path means nothing there."""
        try:
            sent = replace(job, content=read_content(job), path="")
        except OSError:
            sent = job  # the worker finds out, too, and says so
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sending large graph", category=UserWarning)
            future = self._client.submit(grade_there, self._name, sent, pure=False)
        self._running[future] = (job, attempt)
        future.add_done_callback(self._ended.put)

    def _result(self, future: Future) -> Grade | None:
        """Return the grade of a job that has ended; None when it was sent once more."""
        job, attempt = self._running.pop(future)
        if future.status == "finished":
            return future.result()
        if future.status == "cancelled":
            raise self._lost()
        error = future.exception()
        if isinstance(error, UserError):
            raise error
        if isinstance(error, Stopped | KilledWorker) or attempt >= ATTEMPTS:
            return failed(job, f"no worker could grade it ({error}): run the command again")
        self._submit(job, attempt + 1)
        return None

    def __exit__(self, *_: object) -> None:
        """Take back what is not done, and end the graders on the workers."""
        try:
            self._client.cancel(list(self._running), force=True)
            self._client.unregister_worker_plugin(self._name)
        except (OSError, TimeoutError):
            return  # the scheduler is gone, and the batch has said so
        finally:
            self._client.close()
