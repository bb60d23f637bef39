"""Which room decides which command. ``decide`` is pure: it reads the state and writes only the plan.

A fetch is not here: it may first have to make its groups, so the engine brings it to ``lease`` itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mq9_mcp.domain import commands as c
from mq9_mcp.domain import push_commands as p
from mq9_mcp.domain import task_commands as t
from mq9_mcp.domain.agent import decide_register, decide_report, decide_unregister
from mq9_mcp.domain.dead import decide_redrive
from mq9_mcp.domain.discovery import decide_discover
from mq9_mcp.domain.group import decide_group_delete, decide_group_list, decide_group_reset
from mq9_mcp.domain.mailbox import (
    decide_create,
    decide_delete,
    decide_drop,
    decide_get,
    decide_list,
    decide_update,
)
from mq9_mcp.domain.message import decide_request, decide_send
from mq9_mcp.domain.park import Unpark, decide_unpark
from mq9_mcp.domain.plan import Plan
from mq9_mcp.domain.push import decide_delete as decide_push_delete
from mq9_mcp.domain.push import decide_report as decide_push_report
from mq9_mcp.domain.push import decide_set as decide_push_set
from mq9_mcp.domain.session import decide_close, decide_reopen
from mq9_mcp.domain.task_request import TaskRequest
from mq9_mcp.domain.task_update import (
    decide_ack_and_update,
    decide_task_cancel,
    decide_task_get,
    decide_task_update,
)

Decide = Callable[[Plan, Any], dict[str, Any]]

DECIDE: dict[type[c.Command], Decide] = {
    c.MailboxCreate: decide_create,
    c.MailboxUpdate: decide_update,
    c.MailboxGet: decide_get,
    c.MailboxList: decide_list,
    c.MailboxDrop: decide_drop,
    c.MailboxSend: decide_send,
    TaskRequest: decide_request,
    Unpark: decide_unpark,
    c.MailboxAck: decide_ack_and_update,
    c.MailboxDelete: decide_delete,
    c.MailboxRedrive: decide_redrive,
    c.GroupList: decide_group_list,
    c.GroupReset: decide_group_reset,
    c.GroupDelete: decide_group_delete,
    c.AgentRegister: decide_register,
    c.AgentUnregister: decide_unregister,
    c.AgentReport: decide_report,
    c.AgentDiscover: decide_discover,
    c.SessionClose: decide_close,
    c.SessionReopen: decide_reopen,
    t.TaskUpdate: decide_task_update,
    t.TaskCancel: decide_task_cancel,
    t.TaskGet: decide_task_get,
    p.PushSet: decide_push_set,
    p.PushRequest: decide_push_set,
    p.PushDelete: decide_push_delete,
    p.PushReport: decide_push_report,
}


def decide(plan: Plan, command: c.Command) -> dict[str, Any]:
    """Fill the plan with the events of ``command`` and return its reply, or refuse."""
    return DECIDE[type(command)](plan, command)
