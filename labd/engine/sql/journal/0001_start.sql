-- The journal: what labd has promised. Instants are seconds since 1970 (UTC); JSON is text.

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    task TEXT NOT NULL CHECK (task <> ''),
    args TEXT NOT NULL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 9),
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL CHECK (max_attempts >= 1),
    rank REAL NOT NULL,
    run_at REAL NOT NULL,
    created_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    expires_at REAL,
    submitted_by TEXT NOT NULL,
    effect TEXT NOT NULL CHECK (effect = 'repeatable' OR effect = 'physical'),
    idempotency_key TEXT,
    tags TEXT NOT NULL DEFAULT '',
    schedule TEXT,
    seq INTEGER NOT NULL,
    hold TEXT,
    result TEXT,
    error TEXT,
    more TEXT NOT NULL,
    -- One chain of comparisons, the frequent states first: five CHECKs with IN lists cost a third of every write.
    CHECK (attempt >= 0 AND CASE state
        WHEN 'running' THEN finished_at IS NULL AND hold IS NULL AND started_at IS NOT NULL AND attempt >= 1
        WHEN 'succeeded' THEN finished_at IS NOT NULL AND hold IS NULL AND started_at IS NOT NULL AND attempt >= 1
        WHEN 'queued' THEN finished_at IS NULL
        WHEN 'waiting' THEN finished_at IS NULL AND hold IS NULL AND started_at IS NOT NULL AND attempt >= 1
        WHEN 'cancelling' THEN finished_at IS NULL AND hold IS NULL
        WHEN 'failed' THEN finished_at IS NOT NULL AND hold IS NULL AND error IS NOT NULL
        WHEN 'cancelled' THEN finished_at IS NOT NULL AND hold IS NULL
        WHEN 'interrupted' THEN finished_at IS NOT NULL AND hold IS NULL AND effect = 'physical'
        ELSE FALSE END)
);
CREATE INDEX jobs_ready ON jobs (queue, rank, id, state) WHERE state = 'queued'; -- state lets it answer the count alone
CREATE INDEX jobs_of_schedule ON jobs (schedule) WHERE schedule IS NOT NULL AND finished_at IS NULL;
CREATE INDEX jobs_held ON jobs (queue) WHERE hold IS NOT NULL;
CREATE INDEX jobs_motion ON jobs (queue) WHERE state = 'queued' AND effect = 'physical';
CREATE INDEX jobs_delayed ON jobs (run_at) WHERE state = 'queued' AND run_at > created_at;
CREATE INDEX jobs_notable ON jobs (state) WHERE state <> 'queued' AND state <> 'succeeded';
CREATE UNIQUE INDEX jobs_idempotency ON jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    job_id INTEGER,
    data TEXT NOT NULL
);
CREATE INDEX events_of_job ON events (job_id) WHERE job_id IS NOT NULL;

CREATE TABLE steps (
    job_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL CHECK (ordinal >= 0),
    body TEXT NOT NULL,
    PRIMARY KEY (job_id, ordinal)
) WITHOUT ROWID;

CREATE TABLE cached (
    key TEXT PRIMARY KEY CHECK (length(key) = 64),
    job_id INTEGER NOT NULL,
    result TEXT,
    made_at REAL NOT NULL,
    until_at REAL
) WITHOUT ROWID;
CREATE INDEX cached_until ON cached (until_at) WHERE until_at IS NOT NULL;

CREATE TABLE queues (
    name TEXT PRIMARY KEY,
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 9),
    concurrency INTEGER NOT NULL CHECK (concurrency >= 0),
    paused_by TEXT,
    paused_reason TEXT,
    paused_at REAL,
    CHECK ((paused_by IS NULL) = (paused_at IS NULL))
) WITHOUT ROWID;

CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    state TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('api', 'settings')),
    created_by TEXT NOT NULL,
    created_at REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    details TEXT NOT NULL,
    prev_hash TEXT NOT NULL CHECK (length(prev_hash) = 64),
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64)
);
CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_keeps_values BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

CREATE TABLE tokens (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
    scopes TEXT NOT NULL,
    created_at REAL NOT NULL,
    created_by TEXT NOT NULL,
    expires_at REAL,
    last_used_at REAL,
    revoked_at REAL
);

CREATE TABLE facts (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
