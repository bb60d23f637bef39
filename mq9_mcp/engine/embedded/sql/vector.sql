-- Statements about vectors of texts.

-- name: find_vectors
select text_hash, vector from vectors
where model = ? and version = ? and text_hash in (select unnest(?::blob[]))

-- name: vector_models
select model, version, count(*) from vectors group by model, version

-- name: prune_vectors
delete from vectors where model <> ? or version <> ? or text_hash not in (select unnest(?::blob[]))
