-- Snapshots: one record for each, its database, and who serves. Instants are seconds since 1970 (UTC); JSON is text.

CREATE TABLE snapshots_record (
    customer TEXT NOT NULL CHECK (customer <> ''),
    timestamp TEXT NOT NULL CHECK (timestamp <> ''),
    number TEXT NOT NULL CHECK (length(number) = 19), -- the timestamp with zeros in front, so that text sorts as numbers do
    state TEXT NOT NULL,
    database TEXT,
    fingerprint TEXT NOT NULL,
    discovered_at REAL NOT NULL,
    changed_at REAL NOT NULL,
    pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1)),
    body TEXT NOT NULL,
    PRIMARY KEY (customer, timestamp),
    CHECK (CASE state
        WHEN 'settled' THEN TRUE
        WHEN 'gated' THEN TRUE
        WHEN 'loading' THEN database IS NOT NULL
        WHEN 'loaded' THEN database IS NOT NULL
        WHEN 'verified' THEN database IS NOT NULL
        WHEN 'active' THEN database IS NOT NULL
        WHEN 'superseded' THEN TRUE
        WHEN 'held' THEN database IS NOT NULL
        WHEN 'dropping' THEN database IS NOT NULL
        WHEN 'dropped' THEN database IS NULL
        WHEN 'rejected' THEN TRUE
        WHEN 'failed' THEN TRUE
        WHEN 'quarantined' THEN database IS NULL
        ELSE FALSE END)
) WITHOUT ROWID;
CREATE UNIQUE INDEX snapshots_one_active ON snapshots_record (customer) WHERE state = 'active';
CREATE UNIQUE INDEX snapshots_one_database ON snapshots_record (database COLLATE NOCASE) WHERE database IS NOT NULL;
CREATE INDEX snapshots_in_store ON snapshots_record (customer, number) WHERE database IS NOT NULL;

-- The way back of each customer: what was served before.
CREATE TABLE snapshots_customer (
    customer TEXT PRIMARY KEY,
    alias TEXT NOT NULL UNIQUE COLLATE NOCASE,
    active TEXT,
    previous TEXT,
    switched_at REAL
) WITHOUT ROWID;
