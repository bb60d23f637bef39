-- Statements of push targets.

-- name: make_push_ids
create or replace temp table push_ids (task varchar not null, id varchar not null)

-- name: delete_pushes
delete from pushes using push_ids where pushes.task = push_ids.task and pushes.id = push_ids.id

-- name: forget_pushes
delete from pushes where task not in (select id from tasks)

-- name: load_pushes
select record from pushes p
where not done and (disabled_at is null or task in (select id from tasks where ended_at is null)) order by made

-- name: page_pushes
select record from pushes where task = ? order by made

-- name: list_pushes
select p.made, p.record, count(*) over () from pushes p join tasks t on t.id = p.task
where t.principal = $principal and (t.ended_at is null or t.ended_at > $retained)
    and p.made > $after and ($task is null or p.task = $task)
order by p.made limit $limit
