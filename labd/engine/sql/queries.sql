-- name: highest_ids
-- The numbers to go on from.
SELECT (SELECT max(id) FROM jobs), (SELECT max(seq) FROM events), (SELECT max(id) FROM tokens);

-- name: job_span
-- The numbers of the jobs that are kept, each from one end of the table.
SELECT (SELECT min(id) FROM jobs), (SELECT max(id) FROM jobs);

-- name: going
-- Jobs that were under way when the last daemon ended.
SELECT * FROM jobs WHERE state IN ('running', 'waiting', 'cancelling')
AND state <> 'queued' AND state <> 'succeeded';

-- name: queued_by_queue
-- Depth of each queue, from the index alone.
SELECT queue, count(*) FROM jobs WHERE state = 'queued' GROUP BY queue;

-- name: notable_by_state
-- How many jobs stand in each state but queued and succeeded, from the index alone.
SELECT state, count(*) FROM jobs
WHERE state <> 'queued' AND state <> 'succeeded' GROUP BY state;

-- name: ready_after
-- The next jobs of a queue behind a rank, in the order they will run; one without a delay is ready whatever the clock says.
SELECT * FROM jobs WHERE state = 'queued' AND queue = ? AND (rank, id) > (?, ?) AND hold IS NULL
AND (run_at <= ? OR run_at <= created_at)
ORDER BY rank, id LIMIT ?;

-- name: delayed_after
-- The next jobs that become ready later.
SELECT * FROM jobs WHERE state = 'queued' AND run_at > created_at AND (run_at, id) > (?, ?) AND run_at > ? AND hold IS NULL
ORDER BY run_at, id LIMIT ?;

-- name: pausing_after
-- Jobs between two attempts, and runs of schedules, that wait beyond an instant.
SELECT * FROM jobs WHERE state = 'queued' AND run_at > created_at AND run_at > ?
AND (attempt > 0 OR schedule IS NOT NULL);

-- name: newest_instant
-- The latest instant among the last events since a step of the clock was told.
WITH recent AS (SELECT seq, at, kind FROM events ORDER BY seq DESC LIMIT 2000)
SELECT max(at) FROM recent WHERE seq > coalesce((SELECT max(seq) FROM recent WHERE kind = 'clock.stepped'), 0);

-- name: held_by_queue
SELECT queue, count(*) FROM jobs WHERE hold IS NOT NULL GROUP BY queue;

-- name: queued_physical
-- Queued jobs that would touch a device; few, since each expires within minutes.
SELECT * FROM jobs INDEXED BY jobs_motion WHERE state = 'queued' AND effect = 'physical';

-- name: job
SELECT * FROM jobs WHERE id = ?;

-- name: job_by_key
SELECT * FROM jobs WHERE idempotency_key = ?;

-- name: jobs_by_keys
SELECT * FROM jobs WHERE idempotency_key IN (SELECT value FROM json_each(?));

-- name: events_after
SELECT seq, at, kind, job_id, data FROM events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?;

-- name: events_of_job
SELECT seq, at, kind, job_id, data FROM events WHERE job_id = ? ORDER BY seq LIMIT 1000;

-- name: oldest_event
SELECT min(seq) FROM events;

-- name: ended_before
-- Candidates for retention: the lowest ids that ended before an instant.
SELECT id FROM jobs WHERE id > ? AND finished_at < ? AND state IN ('succeeded', 'failed', 'cancelled')
ORDER BY id LIMIT ?;

-- name: jobs_total
SELECT count(*) FROM jobs;

-- name: ended_lowest
-- Candidates for retention by count: the lowest ids that have ended.
SELECT id FROM jobs WHERE id > ? AND state IN ('succeeded', 'failed', 'cancelled') ORDER BY id LIMIT ?;

-- name: delete_jobs
DELETE FROM jobs WHERE id IN (SELECT value FROM json_each(?)) AND state IN ('succeeded', 'failed', 'cancelled');

-- name: delete_events_of_jobs
DELETE FROM events WHERE job_id IN (SELECT value FROM json_each(?));

-- name: delete_events_before
-- Events without a job, by age; those of jobs go with their job.
DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq < ? AND at < ? AND job_id IS NULL LIMIT ?);

-- name: put_queue
INSERT INTO queues (name, priority, concurrency, paused_by, paused_reason, paused_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET priority = excluded.priority, concurrency = excluded.concurrency,
paused_by = excluded.paused_by, paused_reason = excluded.paused_reason, paused_at = excluded.paused_at;

-- name: queues
SELECT name, priority, concurrency, paused_by, paused_reason, paused_at FROM queues;

-- name: put_schedule
INSERT INTO schedules (name, spec, state, origin, created_by, created_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, state = excluded.state, origin = excluded.origin;

-- name: schedules
SELECT name, spec, state, origin, created_by, created_at FROM schedules ORDER BY name;

-- name: delete_schedule
DELETE FROM schedules WHERE name = ?;

-- name: add_audit
INSERT INTO audit (id, at, actor, action, subject, details, prev_hash, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: last_audit
SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1;

-- name: audit_page
SELECT id, at, actor, action, subject, details, prev_hash, hash FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?;

-- name: audit_after
SELECT id, at, actor, action, subject, details, prev_hash, hash FROM audit WHERE id > ? ORDER BY id LIMIT ?;

-- name: put_token
INSERT INTO tokens (id, name, hash, scopes, created_at, created_by, expires_at, last_used_at, revoked_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET last_used_at = excluded.last_used_at, revoked_at = excluded.revoked_at;

-- name: tokens
SELECT id, name, hash, scopes, created_at, created_by, expires_at, last_used_at, revoked_at FROM tokens ORDER BY id;

-- name: put_fact
INSERT INTO facts (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: delete_fact
DELETE FROM facts WHERE key = ?;

-- name: fact
SELECT value FROM facts WHERE key = ?;

-- name: facts_between
SELECT key, value FROM facts WHERE key >= ? AND key < ? ORDER BY key;

-- name: lines_of_job
SELECT id, at, attempt, level, text FROM lines WHERE job_id = ? AND id > ? ORDER BY id LIMIT ?;

-- name: add_line
INSERT INTO lines (job_id, at, attempt, level, text) VALUES (?, ?, ?, ?, ?);

-- name: delete_lines
DELETE FROM lines WHERE job_id IN (SELECT value FROM json_each(?));

-- name: open_of_schedule
-- Jobs of a schedule that have not ended.
SELECT * FROM jobs WHERE schedule = ? AND schedule IS NOT NULL AND finished_at IS NULL LIMIT 1000;

-- name: delete_lines_before
-- Ids grow with time, so the oldest stand first.
DELETE FROM lines WHERE id IN (SELECT id FROM lines WHERE at < ? ORDER BY id LIMIT ?);

-- name: delete_readings_before
DELETE FROM readings WHERE id IN (SELECT id FROM readings WHERE at < ? ORDER BY id LIMIT ?);

-- name: put_step
INSERT INTO steps (job_id, ordinal, body) VALUES (?, ?, ?)
ON CONFLICT (job_id, ordinal) DO UPDATE SET body = excluded.body;

-- name: steps_of_job
SELECT body FROM steps WHERE job_id = ? ORDER BY ordinal;

-- name: delete_step
DELETE FROM steps WHERE job_id = ? AND ordinal = ?;

-- name: delete_steps_of_jobs
DELETE FROM steps WHERE job_id IN (SELECT value FROM json_each(?));

-- name: waiting
SELECT * FROM jobs WHERE state = 'waiting' AND state <> 'queued' AND state <> 'succeeded';

-- name: cached
SELECT job_id, result, made_at FROM cached WHERE key = ? AND (until_at IS NULL OR until_at > ?);

-- name: put_cached
INSERT INTO cached (key, job_id, result, made_at, until_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET job_id = excluded.job_id, result = excluded.result, made_at = excluded.made_at,
until_at = excluded.until_at;

-- name: delete_cached_before
DELETE FROM cached WHERE until_at IS NOT NULL AND until_at < ?;

-- name: delete_cached_of_jobs
DELETE FROM cached WHERE job_id IN (SELECT value FROM json_each(?));

-- name: alerts
SELECT key, id, code, subject, severity, message, state, count, jobs, raised_at, changed_at, cleared_at,
acked_at, acked_by, acked_note FROM alerts ORDER BY id;

-- name: put_alert
INSERT INTO alerts (key, id, code, subject, severity, message, state, count, jobs, raised_at, changed_at, cleared_at,
acked_at, acked_by, acked_note) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET id = excluded.id, subject = excluded.subject, severity = excluded.severity,
message = excluded.message, state = excluded.state, count = excluded.count, jobs = excluded.jobs,
raised_at = excluded.raised_at, changed_at = excluded.changed_at, cleared_at = excluded.cleared_at,
acked_at = excluded.acked_at, acked_by = excluded.acked_by, acked_note = excluded.acked_note;

-- name: delete_alert
DELETE FROM alerts WHERE key = ?;

-- name: alert_deliveries
SELECT key, channel, alert_id, sent_at, reminders FROM alert_deliveries;

-- name: put_alert_delivery
-- An alert that is gone meanwhile has no deliveries to keep.
INSERT INTO alert_deliveries (key, channel, alert_id, sent_at, reminders)
SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM alerts WHERE key = ?1)
ON CONFLICT (key, channel) DO UPDATE SET alert_id = excluded.alert_id, sent_at = excluded.sent_at,
reminders = excluded.reminders;

-- name: first_event_since
-- The number from which events are at an instant or later. Numbers rise with time, so halving finds it; where the wall
-- clock was set back it is one such place.
WITH RECURSIVE search (low, high) AS (
    SELECT coalesce((SELECT min(seq) FROM events), 0), coalesce((SELECT max(seq) + 1 FROM events), 0)
    UNION ALL
    SELECT
        iif((SELECT at FROM events WHERE seq >= (low + high) / 2 ORDER BY seq LIMIT 1) < ?1, (low + high) / 2 + 1, low),
        iif((SELECT at FROM events WHERE seq >= (low + high) / 2 ORDER BY seq LIMIT 1) < ?1, high, (low + high) / 2)
    FROM search WHERE low < high
)
SELECT low FROM search WHERE low >= high;

-- name: first_audit_since
-- The same for entries of the audit.
WITH RECURSIVE search (low, high) AS (
    SELECT coalesce((SELECT min(id) FROM audit), 0), coalesce((SELECT max(id) + 1 FROM audit), 0)
    UNION ALL
    SELECT
        iif((SELECT at FROM audit WHERE id >= (low + high) / 2 ORDER BY id LIMIT 1) < ?1, (low + high) / 2 + 1, low),
        iif((SELECT at FROM audit WHERE id >= (low + high) / 2 ORDER BY id LIMIT 1) < ?1, high, (low + high) / 2)
    FROM search WHERE low < high
)
SELECT low FROM search WHERE low >= high;

-- name: attempts_started
-- Starts of attempts between two numbers, the newest first.
SELECT seq, job_id FROM events WHERE seq >= ?1 AND seq < ?2 AND kind = 'job.started' ORDER BY seq DESC LIMIT ?3;

-- name: reaching_into
-- Jobs made before an instant that may have an attempt at it: those that are going, and long ones that ended later.
SELECT id FROM (SELECT id FROM jobs WHERE state IN ('running', 'waiting', 'cancelling')
    AND state <> 'queued' AND state <> 'succeeded' AND created_at < ?1 ORDER BY id DESC LIMIT ?2)
UNION
SELECT id FROM (SELECT id FROM jobs INDEXED BY jobs_long WHERE (finished_at > started_at + 10 OR attempt > 1)
    AND finished_at > ?1 AND created_at < ?1 ORDER BY finished_at LIMIT ?2);

-- name: moves_of_jobs
-- What is drawn of jobs: their moves from state to state, in order.
SELECT job_id, seq, at, kind, json_extract(data, '$.attempt') FROM events
WHERE job_id IN (SELECT value FROM json_each(?1)) AND kind IN ('job.started', 'job.resumed', 'job.waiting',
'job.cancelling', 'job.succeeded', 'job.failed', 'job.cancelled', 'job.interrupted', 'job.retrying', 'job.requeued')
ORDER BY job_id, seq LIMIT ?2;

-- name: faces_of_jobs
SELECT id, task, queue, state, json_extract(more, '$.resources'), json_extract(more, '$.parent_id'),
coalesce(json_extract(more, '$.simulated'), 0) FROM jobs WHERE id IN (SELECT value FROM json_each(?1));

-- name: loose_events
-- Events that are no job's, between two numbers, the newest first; those of runs on devices among them.
SELECT seq, at, kind, job_id, data FROM events WHERE seq >= ?1 AND seq < ?2
AND (job_id IS NULL OR kind LIKE 'device.%') ORDER BY seq DESC LIMIT ?3;

-- name: device_events
-- The newest events of devices between two numbers.
SELECT seq, at, kind, job_id, data FROM events WHERE seq >= ?1 AND seq < ?2 AND kind LIKE 'device.%'
ORDER BY seq DESC LIMIT ?3;

-- name: audit_span
SELECT id, at, actor, action, subject FROM audit WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3;

-- name: daemon_starts
-- Starts of the daemon from an entry on, each with the entry before it.
SELECT s.at, p.at, p.action FROM audit AS s LEFT JOIN audit AS p ON p.id = s.id - 1
WHERE s.id >= ?1 AND s.id < ?2 AND s.action = 'daemon.start' ORDER BY s.id DESC LIMIT ?3;

-- name: signs_before
-- When something happened before a number, the newest first; without what a start does about jobs that were going.
SELECT at FROM events WHERE seq < ?1 AND kind NOT IN ('job.requeued', 'job.interrupted', 'job.held', 'job.released')
ORDER BY seq DESC LIMIT ?2;
