-- Statements of tasks.

-- name: make_task_ids
create or replace temp table task_ids (id varchar not null)

-- name: delete_tasks
delete from tasks using task_ids where tasks.id = task_ids.id

-- name: forget_tasks
delete from tasks where ended_at <= ?

-- name: forget_task_events
delete from task_events where happened_at <= ? and task not in (select id from tasks)

-- name: forget_task_messages
delete from task_messages where message not in (select id from messages)

-- name: load_tasks
select record from tasks where ended_at is null order by first

-- name: load_task_messages
select t.message, t.task from task_messages t join messages m on m.id = t.message where m.ended_seq is null

-- name: page_task
select record from tasks where id = ? and (ended_at is null or ended_at > ?)

-- name: task_details
select number, kind, state, detail from task_events
where task = ? and number <= ? and detail is not null order by number

-- name: task_outline
select number, kind, state, case when kind = 'artifact' then json_merge_patch(detail, '{"parts": null}') else detail end
from task_events where task = ? and number <= ? and kind in ('artifact', 'progress', 'status') and detail is not null
qualify kind = 'artifact' or row_number() over (partition by kind order by number desc) = 1 order by number

-- name: last_checkpoint
select detail from task_events where task = ? and kind = 'checkpoint' order by number desc limit 1

-- name: last_question
select detail from task_events
where task = ? and kind = 'status' and state in ('input-required', 'auth-required')
order by number desc limit 1

-- name: task_history
select number, happened_at, kind, state, who, message, reason, detail from (
    select *, sum(coalesce(strlen(detail), 0)) over (order by number desc) - coalesce(strlen(detail), 0) as before
    from (select * from task_events where task = ? and number <= ? order by number desc limit ?)
) where before < ? order by number desc

-- name: task_said
select number, happened_at, kind, state, who, message, reason, detail from task_events
where task = ? and number <= ? and detail is not null
    and kind in ('submitted', 'answer', 'follow_up', 'message', 'status')
order by number desc limit ?

-- name: mend_tasks
delete from tasks where ended_at is null and (
    cast(json_extract(record, '$.mailbox') as bigint) not in (select number from mailboxes)
    or cast(json_extract(record, '$.work') as bigint) not in (
        select 0 union all select id from messages where ended_seq is null
    )
)

-- name: mend_task_messages
insert into task_messages
select message, min(task) from (
    select first as message, id as task from tasks
    union all select cast(json_extract(record, '$.work') as bigint), id from tasks where ended_at is null
    union all select message, task from task_events
) named
where message in (select id from messages) and task in (select id from tasks)
    and message not in (select message from task_messages)
group by message

-- name: tasks_of_messages
select message, task from task_messages where message between ? and ? and list_contains(?, message)

-- name: task_steps
select number, happened_at, kind, state, who, message, reason, detail from (
    select *, sum(coalesce(strlen(detail), 0)) over (order by number) - coalesce(strlen(detail), 0) as before
    from (select * from task_events where task = ? and number > ? and number <= ? order by number limit ?)
) where before < ? order by number

-- name: outcomes
with of_askers as (
    select
        t.id, t.mailbox, t.owner, t.asker, t.principal, t.state, t.created_at, t.ended_at, t.first,
        row_number() over (
            partition by t.mailbox, t.principal, case when t.principal = $local then t.asker end
            order by t.ended_at desc, t.first desc
        ) as of_asker
    from tasks t
    join agents a on a.name = t.mailbox and a.mailbox = cast(json_extract(t.record, '$.mailbox') as bigint)
    where list_contains($states, t.state)
        and t.mailbox in (select mailbox from tasks where ended_at >= $after union select unnest($agents))
), of_agents as (
    select * from of_askers qualify row_number() over (
        partition by mailbox order by of_asker > $of_asker, ended_at desc, first desc
    ) <= $of_agent
)
select
    n.mailbox, n.owner, n.asker, n.principal, n.state, n.created_at, n.ended_at,
    coalesce(json_extract_string(e.detail, '$.verified') = 'true', false),
    left(array_to_string(json_extract_string(e.detail, '$.parts[*].text'), chr(10)), $characters)
from of_agents n join task_events e on e.task = n.id and e.number = 1
order by n.ended_at desc, n.first desc
