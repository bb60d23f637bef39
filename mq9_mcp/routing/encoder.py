"""Embedding off the event loop: a thread works through what is asked, the urgent before the patient.

Where engine and system can, threads of low priority take the patient ones, so that nobody who waits for an
answer waits for them. A text is embedded once; vectors of late are remembered by the hash of their text.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from mq9_mcp.domain.errors import Unavailable
from mq9_mcp.routing.seam import CannotLoad, Embedder, Load, Model

if TYPE_CHECKING:  # numpy is slow to import: it comes with the engine, after the start
    from mq9_mcp.routing.seam import Vectors

LOW_PRIORITY = sys.platform == "linux"  # a thread has a priority of its own there
NICE = 10
PATIENT = min(os.cpu_count() or 1, 4)  # threads of low priority
REMEMBERED_MAX = 4_096  # vectors, 6 MB
log = logging.getLogger("mq9.routing")


def text_hash(text: str) -> bytes:
    """What a text is known by."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


Embed: TypeAlias = "Callable[[Sequence[str]], Vectors]"


class _Job(NamedTuple):
    text: str
    done: Future[Vectors]


class Encoder:
    """Embeds for a broker; ``load`` makes the engine, in the thread, when it is needed.

    ``formerly`` gives what loads a model by the name that its vectors were kept under.
    """

    def __init__(self, load: Load, formerly: Callable[[str], Load | None] | None = None) -> None:
        self._load = load
        self._formerly = formerly
        self._embedder: Embedder | None = None
        self._trouble: str | None = None
        self._known: OrderedDict[bytes, Vectors] = OrderedDict()
        self._urgent: deque[_Job] = deque()
        self._patient: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._loaded: Future[Model | None] = Future()

    @property
    def model(self) -> Model | None:
        """What vectors are made by; None before it is loaded, and where it cannot be."""
        return self._embedder.model if self._embedder is not None else None

    @property
    def trouble(self) -> str | None:
        """Why there are no vectors, if there are none."""
        return self._trouble

    def former(self, model: str) -> Encoder | None:
        """One for the model of that name, if it can be had here."""
        load = self._formerly(model) if self._formerly is not None else None
        return Encoder(load) if load is not None else None

    async def ready(self) -> Model | None:
        """Load the engine if it is not; None if it cannot be."""
        self._start()
        return await asyncio.wrap_future(self._loaded)

    async def embed(self, texts: Sequence[str], patient: bool = False) -> Vectors:
        """A vector for each text; ``patient`` ones wait until nobody urgent does. Raises ``Unavailable``."""
        import numpy as np

        if not texts:
            return np.zeros((0, 0), np.float32)
        found: dict[str, Vectors] = {}
        jobs: dict[str, Future[Vectors]] = {}
        for text in dict.fromkeys(texts):
            known = self._known.get(text_hash(text))
            if known is not None:
                self._known.move_to_end(text_hash(text))
                found[text] = known
            else:
                jobs[text] = self._put(text, patient)
        if jobs:
            made = await asyncio.gather(*map(asyncio.wrap_future, jobs.values()))
            for text, vector in zip(jobs, made, strict=True):
                found[text] = vector
                self._remember(text, vector)
        return np.stack([found[text] for text in texts])

    def close(self) -> None:
        """End the thread after the text that it is at; who waits for another hears that."""
        with self._wake:
            self._closing = True
            jobs = [*self._urgent, *self._patient]
            self._urgent.clear()
            self._patient.clear()
            self._wake.notify_all()
        for job in jobs:
            if job.done.set_running_or_notify_cancel():
                job.done.set_exception(
                    Unavailable("SHUTTING_DOWN", "the broker is stopping", "connect again in a moment")
                )
        while self._threads:
            self._threads.pop().join()

    def _put(self, text: str, patient: bool) -> Future[Vectors]:
        job = _Job(text, Future())
        self._start()
        with self._wake:
            (self._patient if patient else self._urgent).append(job)
            self._wake.notify_all()
        return job.done

    def _start(self) -> None:
        if not self._threads and not self._closing:
            self._begin(self._work_first, "mq9-embedding")

    def _begin(self, work: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _remember(self, text: str, vector: Vectors) -> None:
        self._known[text_hash(text)] = vector
        while len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)

    # -- in the thread

    def _work_first(self) -> None:
        self._open()
        embed = self._embedder.embed if self._embedder is not None else self._none
        lines = [self._urgent, self._patient]
        patiently = getattr(self._embedder, "patiently", None)
        if LOW_PRIORITY and patiently is not None:
            with self._wake:
                for number in range(0 if self._closing else PATIENT):
                    self._begin(partial(self._work_patiently, patiently), f"mq9-embedding-patient-{number}")
            lines.pop()
        self._work(lines, embed)

    def _work_patiently(self, embed: Embed) -> None:
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        self._work([self._patient], embed)

    def _work(self, lines: Sequence[deque[_Job]], embed: Embed) -> None:
        while True:
            with self._wake:
                while not (any(lines) or self._closing):
                    self._wake.wait()
                if self._closing:
                    return
                job = next(line for line in lines if line).popleft()
            if job.done.set_running_or_notify_cancel():
                _answer(job, embed)

    def _open(self) -> None:
        try:
            self._embedder = self._load()
        except CannotLoad as error:
            self._trouble = str(error)
            log.warning(
                "agents are found by keywords alone: %s", self._trouble, extra={"event": "keywords_only"}
            )
        except BaseException as error:  # a library of machine code may fail in any way
            self._trouble = f"{type(error).__name__}: {error}"
            log.exception("agents are found by keywords alone", extra={"event": "keywords_only"})
        self._loaded.set_result(self.model)

    def _none(self, _texts: Sequence[str]) -> Vectors:
        raise _cannot(self._trouble or "no engine")


def _answer(job: _Job, embed: Embed) -> None:
    import numpy as np

    try:
        [vector] = embed([job.text])
        if not np.isfinite(vector).all():
            raise _cannot("the engine made no numbers of a text")
        job.done.set_result(vector)
    except Unavailable as error:
        job.done.set_exception(error)
    except Exception as error:  # whatever the engine did, the thread goes on with the next text
        log.exception("a text could not be embedded", extra={"event": "embedding_failed"})
        job.done.set_exception(_cannot(f"{type(error).__name__}: {error}"))


def _cannot(why: str) -> Unavailable:
    return Unavailable(
        "STORAGE_UNAVAILABLE",
        f"the text could not be embedded ({why[:200]}); nothing was changed",
        "try again, or name the mailbox with to",
    )
