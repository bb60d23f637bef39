-- Statements of mailbox_query.

-- name: query_open
select message, grp, state, attempts, worker, until from open_deliveries
where message between ? and ? and list_contains(?, message)

-- name: query_settled
select message, grp, state, attempts, worker from deliveries
where message between ? and ? and list_contains(?, message)
