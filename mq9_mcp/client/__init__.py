"""The Python client of a broker: ``Mq9Client``, and ``SyncMq9Client`` for code without an event loop."""

from mq9_mcp.client.client import Mq9Client
from mq9_mcp.client.consumer import Consumer
from mq9_mcp.client.delivery import Reject
from mq9_mcp.client.errors import ConnectionFailed
from mq9_mcp.client.job import Job, SyncJob
from mq9_mcp.client.job_core import LeaseLost, Suspended, TaskCanceled, TaskFailed
from mq9_mcp.client.mq9_names import Mq9Message, Priority
from mq9_mcp.client.sync.client import SyncConsumer, SyncMq9Client
from mq9_mcp.domain.errors import Mq9Error, Refused, Unavailable

__all__ = [
    "ConnectionFailed",
    "Consumer",
    "Job",
    "LeaseLost",
    "Mq9Client",
    "Mq9Error",
    "Mq9Message",
    "Priority",
    "Refused",
    "Reject",
    "Suspended",
    "SyncConsumer",
    "SyncJob",
    "SyncMq9Client",
    "TaskCanceled",
    "TaskFailed",
    "Unavailable",
]
