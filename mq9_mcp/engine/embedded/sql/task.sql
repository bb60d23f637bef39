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

-- name: last_checkpoint
select detail from task_events where task = ? and kind = 'checkpoint' order by number desc limit 1

-- name: last_question
select detail from task_events
where task = ? and kind = 'status' and state in ('input-required', 'auth-required')
order by number desc limit 1

-- name: task_history
select number, happened_at, kind, state, who, message, reason, detail from task_events
where task = ? and number <= ? order by number desc limit ?

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

-- name: tasks_of_messages
select message, task from task_messages where message between ? and ? and list_contains(?, message)

-- name: task_steps
select number, happened_at, kind, state, who, message, reason, detail from task_events
where task = ? and number > ? and number <= ? order by number limit ?
