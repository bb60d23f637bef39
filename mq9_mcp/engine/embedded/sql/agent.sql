-- Statements about agents.

-- name: drop_agent
delete from agents where name = ?

-- name: drop_mailbox_agents
delete from agents where mailbox = ?

-- name: insert_agent
insert into agents values (?, ?, ?, ?, ?, 'available', null, null, ?, ?)

-- name: set_agent_status
update agents set status = ?, load = ?, note = ?, heard_at = ? where name = ?

-- name: open_mailbox
update mailboxes set agent = true where number = ?

-- name: close_mailbox
update mailboxes set agent = false
where number in (select mailbox from agents where name = ? and opened)

-- name: load_agents
select name, owner, mailbox, version, card, status, load, note, opened, heard_at from agents order by name

-- name: mend_agents
delete from agents where mailbox not in (select number from mailboxes)
