"""The broker in numbers, as Prometheus reads them; labels come from tables in code, never from callers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.registry import Collector

from mq9_mcp import __version__
from mq9_mcp.broker.broker import Broker
from mq9_mcp.doors.guard import Load
from mq9_mcp.engine.base import Condition, Figures

__all__ = ["CONTENT_TYPE", "Metrics"]


class Metrics(Collector):
    """The metrics of one broker, in a registry of their own."""

    def __init__(self, broker: Broker, load: Load) -> None:
        self.broker = broker
        self.load = load
        self.registry = CollectorRegistry(auto_describe=False)
        self._counting = asyncio.Lock()  # two scrapes at a time would count twice for nothing
        self._figures: Figures
        self._condition: Condition
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    async def text(self) -> bytes:
        """The page."""
        async with self._counting:
            self._figures = await self.broker.engine.figures()
            self._condition = self.broker.engine.condition()
            return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Every metric; what the engine knows was asked before."""
        info = InfoMetricFamily("mq9", "The version that runs")
        info.add_metric([], {"version": __version__})
        yield info
        yield from self._calls()
        yield from self._engine()

    def _calls(self) -> Iterator[Metric]:
        tally, load = self.broker.tally, self.load
        commands = CounterMetricFamily(
            "mq9_commands", "Commands by name and outcome", labels=("command", "outcome")
        )
        for (name, outcome), count in list(tally.outcomes.items()):
            commands.add_metric([name, outcome], count)
        yield commands
        seconds = HistogramMetricFamily(
            "mq9_command_seconds",
            "Seconds until the reply, of commands that wait for nobody",
            labels=("command",),
        )
        for name, spread in list(tally.seconds.items()):
            seconds.add_metric([name], spread.buckets(), spread.total)
        yield seconds
        refused = CounterMetricFamily(
            "mq9_refused", "Requests refused before they reached a door", labels=("code",)
        )
        for code, count in list(load.refused.items()):
            refused.add_metric([code], count)
        yield refused
        yield _counter("mq9_faults", "Requests that ended in a fault of the broker itself", load.faults)
        yield _gauge("mq9_connections", "Connections that are open", self.load.connections)
        yield _gauge(
            "mq9_calls_in_work", "Calls in work, without those that wait", load.calls - load.waiting()
        )
        yield _gauge("mq9_calls_waiting", "Calls that wait for mail or for a rung", self.broker.waiting)

    def _engine(self) -> Iterator[Metric]:
        figures = self._figures
        yield _gauge("mq9_mailboxes", "Mailboxes", figures.mailboxes)
        yield _gauge("mq9_messages", "Messages that are not settled, in all mailboxes", figures.messages)
        yield _gauge("mq9_message_bytes", "Bytes of the messages that are not settled", figures.message_bytes)
        age = 0.0
        if figures.oldest_at is not None:
            age = max(0, self.broker.clock.now() - figures.oldest_at) / 1000
        yield _gauge(
            "mq9_oldest_message_age_seconds", "Age of the oldest visible message that is not settled", age
        )
        yield _gauge("mq9_leases", "Leases that are held", figures.leases)
        yield _gauge(
            "mq9_dead_letters", "Messages in dead letter mailboxes that nobody settled", figures.dead_letters
        )
        yield _gauge("mq9_parked", "Messages that wait for an agent that fits", figures.parked)
        yield _gauges("mq9_tasks", "Tasks that are open", "state", figures.tasks)
        yield _gauges("mq9_push_targets", "Push targets of tasks", "state", figures.pushes)
        posts = CounterMetricFamily(
            "mq9_push_posts", "Posts to push targets since the start", labels=["outcome"]
        )
        for outcome, count in self.broker.tally.posts.items():
            posts.add_metric([outcome], count)
        yield posts
        yield _gauges("mq9_agents", "Agents that are registered", "status", figures.agents)
        yield _gauge(
            "mq9_fold_lag_records", "Records on disk that are not in the tables yet", figures.fold_lag_records
        )
        yield _gauge(
            "mq9_fold_lag_bytes", "Bytes on disk that are not in the tables yet", figures.fold_lag_bytes
        )
        yield _gauge("mq9_storage_ok", "1 if changes can be stored now", not self._condition.trouble)
        yield _gauge(
            "mq9_disk_free_bytes", "Room on the disk of the data directory", self._condition.free_bytes
        )
        for name, text, spread in (
            ("mq9_commit_records", "Records in a commit", figures.commit_records),
            ("mq9_commit_bytes", "Bytes of a commit", figures.commit_bytes),
        ):
            yield HistogramMetricFamily(name, text, buckets=spread.buckets(), sum_value=spread.total)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _gauges(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)
