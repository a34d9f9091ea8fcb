-- name: put_definition
INSERT INTO ingest_definition (number, id, name, state, destination, origin, created_at, created_by, updated_at, body,
facts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (number) DO UPDATE SET name = excluded.name, state = excluded.state, destination = excluded.destination,
origin = excluded.origin, updated_at = excluded.updated_at, body = excluded.body, facts = excluded.facts;

-- name: put_facts
UPDATE ingest_definition SET facts = ? WHERE number = ?;

-- name: definitions
SELECT number, id, name, state, destination, origin, created_at, created_by, updated_at, body, facts
FROM ingest_definition ORDER BY number;

-- name: put_run
INSERT INTO ingest_run (id, ingestion, job_id, trigger, state, started_at, ended_at, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET state = excluded.state, ended_at = excluded.ended_at, body = excluded.body;

-- name: going_runs
SELECT id, ingestion, job_id, trigger, state, started_at, ended_at, body FROM ingest_run WHERE state = 'running';

-- name: last_run
SELECT max(id) FROM ingest_run;

-- name: run
SELECT id, ingestion, job_id, trigger, state, started_at, ended_at, body FROM ingest_run WHERE id = ?;

-- name: runs
-- Newest first, of all ingestions.
SELECT id, ingestion, job_id, trigger, state, started_at, ended_at, body FROM ingest_run
WHERE ?1 IS NULL AND (?2 IS NULL OR state = ?2) AND id < coalesce(?3, 9223372036854775807)
ORDER BY id DESC LIMIT ?4;

-- name: runs_of
-- Newest first, of one.
SELECT id, ingestion, job_id, trigger, state, started_at, ended_at, body FROM ingest_run
WHERE ingestion = ?1 AND (?2 IS NULL OR state = ?2) AND id < coalesce(?3, 9223372036854775807)
ORDER BY id DESC LIMIT ?4;

-- name: runs_total
SELECT count(*) FROM ingest_run;

-- name: old_runs
-- Ended before an instant; neither the newest of its ingestion nor one with a batch that is open.
SELECT r.id, r.ingestion FROM ingest_run AS r WHERE r.ended_at < ?1
AND r.id < (SELECT max(id) FROM ingest_run WHERE ingestion = r.ingestion)
AND NOT EXISTS (SELECT 1 FROM ingest_batch AS b WHERE b.run = r.id AND b.files IS NOT NULL)
ORDER BY r.id LIMIT ?2;

-- name: lowest_runs
SELECT r.id, r.ingestion FROM ingest_run AS r WHERE r.state <> 'running'
AND r.id < (SELECT max(id) FROM ingest_run WHERE ingestion = r.ingestion)
AND NOT EXISTS (SELECT 1 FROM ingest_batch AS b WHERE b.run = r.id AND b.files IS NOT NULL)
ORDER BY r.id LIMIT ?1;

-- name: delete_batches_of
DELETE FROM ingest_batch WHERE run IN (SELECT value FROM json_each(?));

-- name: delete_runs
DELETE FROM ingest_run WHERE id IN (SELECT value FROM json_each(?));

-- name: files_left
SELECT EXISTS (SELECT 1 FROM ingest_file WHERE ingestion = ?);

-- name: forget_some
DELETE FROM ingest_file WHERE ingestion = ?1 AND path IN (SELECT path FROM ingest_file WHERE ingestion = ?1 LIMIT ?2);

-- name: add_batch
INSERT INTO ingest_batch (run, number, ingestion, mark, token, state, file_count, size_bytes, taken_at, files)
VALUES (?, ?, ?, ?, ?, 'open', ?, ?, ?, ?);

-- name: change_batch
UPDATE ingest_batch SET state = ?3, approved = ?4, report = ?5 WHERE run = ?1 AND number = ?2 AND files IS NOT NULL;

-- name: end_batch
UPDATE ingest_batch SET state = ?3, report = ?4, settled_at = ?5, settled_by = ?6, files = NULL
WHERE run = ?1 AND number = ?2 AND files IS NOT NULL;

-- name: open_batches
SELECT run, number, ingestion, mark, token, state, file_count, size_bytes, taken_at, settled_at, settled_by, approved,
report FROM ingest_batch WHERE files IS NOT NULL ORDER BY run, number;

-- name: batches
SELECT run, number, ingestion, mark, token, state, file_count, size_bytes, taken_at, settled_at, settled_by, approved,
report FROM ingest_batch WHERE run = ? ORDER BY number;

-- name: composition
SELECT files FROM ingest_batch WHERE run = ? AND number = ? AND files IS NOT NULL;

-- name: known_between
-- What of a stretch of paths is nothing to look at if it is listed with the same version, as a JSON object of versions.
-- Nearly all of a listing is that, and walking along the ledger costs a third of looking every path up.
SELECT json_group_object(path, version) FROM (SELECT path, version FROM ingest_file
WHERE ingestion = ?1 AND path BETWEEN ?2 AND ?3
AND (state = 'loaded' OR NOT (state = 'vanished' OR (state = 'pending' AND batch IS NULL))) ORDER BY path LIMIT ?4);

-- name: compare
-- What of a page of a listing is to be looked at: new, another version, back after it had vanished, or asked for again.
SELECT e.value, f.version, f.state, f.run, f.batch, f.sha256, f.rows, f.loaded_at, f.attempts
FROM json_each(?2) AS e LEFT JOIN ingest_file AS f ON f.ingestion = ?1 AND f.path = e.value ->> 0
WHERE f.version IS NOT e.value ->> 1
OR (f.state <> 'loaded' AND (f.state = 'vanished' OR (f.state = 'pending' AND f.batch IS NULL)));

-- name: waiting
SELECT path, version, size_bytes, modified_at, state, run, batch, sha256, rows, loaded_at, attempts FROM ingest_file
INDEXED BY ingest_not_loaded WHERE ingestion = ? AND state <> 'loaded' AND state = 'pending' AND batch IS NULL ORDER BY path LIMIT ?;

-- name: take
-- Files of a new batch, as JSON: [[path, version, size_bytes, modified_at], ...].
INSERT INTO ingest_file (ingestion, path, version, state, run, batch, size_bytes, modified_at, seen_at)
SELECT ?1, value ->> 0, value ->> 1, 'pending', ?2, ?3, value ->> 2, value ->> 3, ?4 FROM json_each(?5) WHERE TRUE
ON CONFLICT (ingestion, path) DO UPDATE SET state = 'pending', run = excluded.run, batch = excluded.batch,
seen_at = CASE WHEN version = excluded.version THEN seen_at ELSE excluded.seen_at END,
attempts = CASE WHEN version = excluded.version THEN attempts ELSE 0 END,
version = excluded.version, size_bytes = excluded.size_bytes, modified_at = excluded.modified_at, fault = NULL;

-- name: take_over
-- Files that are in the table by commits which are not known, as JSON: [[path, version, rows], ...].
INSERT INTO ingest_file (ingestion, path, version, state, run, batch, size_bytes, modified_at, seen_at, loaded_at, rows)
SELECT ?1, value ->> 0, value ->> 1, 'loaded', ?2, ?3, 0, 0, ?4, ?4, value ->> 2 FROM json_each(?5) WHERE TRUE
ON CONFLICT (ingestion, path) DO UPDATE SET state = 'loaded', run = excluded.run, batch = excluded.batch,
version = excluded.version, size_bytes = 0, modified_at = 0, seen_at = excluded.seen_at,
loaded_at = excluded.loaded_at, sha256 = NULL, rows = excluded.rows, rescued = 0, attempts = 0, fault = NULL;

-- name: fill
INSERT INTO ingest_file (ingestion, path, version, state, run, batch, size_bytes, modified_at, seen_at, loaded_at)
SELECT f.ingestion, f.path, f.version, f.state, f.run, f.batch, e.value ->> 2, e.value ->> 3, f.seen_at, f.loaded_at
FROM json_each(?4) AS e CROSS JOIN ingest_file AS f ON f.ingestion = ?1 AND f.path = e.value ->> 0
WHERE f.version = e.value ->> 1 AND f.run = ?2 AND f.batch = ?3
ON CONFLICT (ingestion, path) DO UPDATE SET size_bytes = excluded.size_bytes, modified_at = excluded.modified_at;

-- name: known_tokens
SELECT value FROM json_each(?) WHERE value IN (SELECT token FROM ingest_batch);

-- name: mark
-- Changed files that are not to be loaded.
INSERT INTO ingest_file (ingestion, path, version, state, size_bytes, modified_at, seen_at, fault)
SELECT ?1, value ->> 0, value ->> 1, ?2, value ->> 2, value ->> 3, ?3, ?4 FROM json_each(?5) WHERE TRUE
ON CONFLICT (ingestion, path) DO UPDATE SET state = excluded.state, run = NULL, batch = NULL, attempts = 0,
version = excluded.version, size_bytes = excluded.size_bytes, modified_at = excluded.modified_at,
seen_at = excluded.seen_at, fault = excluded.fault;

-- name: settle
-- What became of the files of a batch, as JSON: [[path, version, state, rows, rescued, sha256, fault, duration_s], ...].
-- Only what
-- is still pending in that batch is touched. `same` keeps the rows of the version that is in the table.
-- An upsert, since CROSS JOIN makes it look up each file by its key; an UPDATE FROM would read the whole ledger.
INSERT INTO ingest_file (ingestion, path, version, state, run, batch, size_bytes, modified_at, seen_at, loaded_at,
sha256, rows, rescued, fault, attempts, duration_s)
SELECT f.ingestion, f.path, f.version,
CASE e.value ->> 2 WHEN 'same' THEN 'loaded' WHEN 'changed' THEN 'pending' ELSE e.value ->> 2 END,
iif(e.value ->> 2 = 'changed', NULL, f.run), iif(e.value ->> 2 = 'changed', NULL, f.batch),
f.size_bytes, f.modified_at, f.seen_at,
CASE e.value ->> 2 WHEN 'loaded' THEN ?4 WHEN 'same' THEN coalesce(f.loaded_at, ?4) ELSE f.loaded_at END,
CASE e.value ->> 2 WHEN 'loaded' THEN e.value ->> 5 WHEN 'same' THEN coalesce(e.value ->> 5, f.sha256) ELSE f.sha256 END,
iif(e.value ->> 2 = 'loaded', e.value ->> 3, f.rows), iif(e.value ->> 2 = 'loaded', e.value ->> 4, f.rescued),
e.value ->> 6, f.attempts + 1, e.value ->> 7
FROM json_each(?5) AS e CROSS JOIN ingest_file AS f ON f.ingestion = ?1 AND f.path = e.value ->> 0
WHERE f.version = e.value ->> 1 AND f.state = 'pending' AND f.run = ?2 AND f.batch = ?3
ON CONFLICT (ingestion, path) DO UPDATE SET state = excluded.state, run = excluded.run, batch = excluded.batch,
loaded_at = excluded.loaded_at, sha256 = excluded.sha256, rows = excluded.rows, rescued = excluded.rescued,
fault = excluded.fault, attempts = excluded.attempts, duration_s = excluded.duration_s;

-- name: put_back
-- Files of a batch that is not in the table, by its composition.
INSERT INTO ingest_file (ingestion, path, version, state, run, batch, size_bytes, modified_at, seen_at, fault, attempts)
SELECT f.ingestion, f.path, f.version, ?4, NULL, NULL, f.size_bytes, f.modified_at, f.seen_at, ?5, f.attempts + ?6
FROM ingest_batch AS b CROSS JOIN json_each(b.files) AS e
CROSS JOIN ingest_file AS f ON f.ingestion = ?1 AND f.path = e.value ->> 0
WHERE b.run = ?2 AND b.number = ?3 AND f.state = 'pending' AND f.run = ?2 AND f.batch = ?3
ON CONFLICT (ingestion, path) DO UPDATE SET state = excluded.state, run = NULL, batch = NULL, fault = excluded.fault,
attempts = excluded.attempts;

-- name: file
SELECT path, version, state, run, batch, size_bytes, modified_at, seen_at, loaded_at, sha256, rows, rescued,
duration_s, attempts, fault FROM ingest_file WHERE ingestion = ? AND path = ?;

-- name: files
SELECT path, version, state, run, batch, size_bytes, modified_at, seen_at, loaded_at, sha256, rows, rescued,
duration_s, attempts, fault FROM ingest_file WHERE ingestion = ?1 AND path > ?5 AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR run = ?3)
AND (?4 IS NULL OR path GLOB ?4) ORDER BY path LIMIT ?6;

-- name: files_not_loaded
-- The same for every state but `loaded`, over the small index.
SELECT path, version, state, run, batch, size_bytes, modified_at, seen_at, loaded_at, sha256, rows, rescued,
duration_s, attempts, fault FROM ingest_file INDEXED BY ingest_not_loaded WHERE ingestion = ?1 AND state <> 'loaded' AND state = ?2
AND path > ?5 AND (?3 IS NULL OR run = ?3) AND (?4 IS NULL OR path GLOB ?4) ORDER BY path LIMIT ?6;

-- name: counts
SELECT state, files, rows, size_bytes FROM ingest_sum WHERE ingestion = ? AND files > 0;

-- name: askable
SELECT path FROM ingest_file WHERE ingestion = ?1 AND path IN (SELECT value FROM json_each(?3))
AND state IN (SELECT value FROM json_each(?2));

-- name: askable_after
SELECT path FROM ingest_file WHERE ingestion = ?1 AND path > ?3 AND state IN (SELECT value FROM json_each(?2))
ORDER BY path LIMIT ?4;

-- name: requeue
-- A changed file that was passed over is taken in its newest version.
UPDATE ingest_file SET state = 'pending', run = NULL, batch = NULL, fault = NULL
WHERE ingestion = ?1 AND path IN (SELECT value FROM json_each(?3)) AND state IN (SELECT value FROM json_each(?2));

-- name: forget
DELETE FROM ingest_file WHERE ingestion = ?1
AND path IN (SELECT path FROM ingest_file WHERE ingestion = ?1 ORDER BY path LIMIT ?2);

-- name: put_schema
INSERT INTO ingest_schema (ingestion, version, columns, changes, run, batch, path, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING;

-- name: schemas
SELECT version, columns, changes, run, batch, path, at FROM ingest_schema WHERE ingestion = ? ORDER BY version DESC;
