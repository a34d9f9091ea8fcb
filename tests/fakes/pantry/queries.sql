-- name: notes
SELECT what, job_id FROM pantry_notes ORDER BY id;

-- name: orphans
-- Notes of an admission whose job is not there.
SELECT what, job_id FROM pantry_notes WHERE what = 'admit' AND job_id NOT IN (SELECT id FROM jobs);
