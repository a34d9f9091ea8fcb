-- Ingestion: definitions, runs, batches, and the ledger of files. Instants are seconds since 1970 (UTC); JSON is text.

CREATE TABLE ingest_definition (
    number INTEGER PRIMARY KEY, -- what runs and files carry; never given twice, since nothing is deleted from here
    id TEXT NOT NULL UNIQUE CHECK (length(id) = 36),
    name TEXT NOT NULL CHECK (name <> ''),
    state TEXT NOT NULL CHECK (state IN ('active', 'paused', 'deleted')),
    destination TEXT NOT NULL CHECK (destination <> ''),
    origin TEXT NOT NULL CHECK (origin IN ('api', 'settings')),
    created_at REAL NOT NULL,
    created_by TEXT NOT NULL,
    updated_at REAL NOT NULL,
    body TEXT NOT NULL,
    facts TEXT NOT NULL
);
CREATE UNIQUE INDEX ingest_one_name ON ingest_definition (name COLLATE NOCASE) WHERE state <> 'deleted';
CREATE UNIQUE INDEX ingest_one_destination ON ingest_definition (destination COLLATE NOCASE) WHERE state <> 'deleted';

CREATE TABLE ingest_run (
    id INTEGER PRIMARY KEY,
    ingestion INTEGER NOT NULL REFERENCES ingest_definition (number),
    job_id INTEGER,
    trigger TEXT NOT NULL CHECK (trigger IN ('manual', 'schedule', 'api', 'retry')),
    state TEXT NOT NULL CHECK (state IN ('running', 'succeeded', 'partial', 'failed', 'cancelled')),
    started_at REAL NOT NULL,
    ended_at REAL CHECK (ended_at >= started_at),
    body TEXT NOT NULL,
    CHECK ((state = 'running') = (ended_at IS NULL))
);
CREATE UNIQUE INDEX ingest_one_going ON ingest_run (ingestion) WHERE state = 'running';
CREATE INDEX ingest_runs_of ON ingest_run (ingestion, id);

-- What goes into one commit. `mark` stands in every row of the table, `token` in the commit; `files` is the composition,
-- kept until it is known what became of the batch.
CREATE TABLE ingest_batch (
    run INTEGER NOT NULL REFERENCES ingest_run (id),
    number INTEGER NOT NULL CHECK (number > 0),
    ingestion INTEGER NOT NULL REFERENCES ingest_definition (number),
    mark INTEGER NOT NULL UNIQUE CHECK (mark > 0),
    token TEXT NOT NULL UNIQUE CHECK (token <> ''),
    state TEXT NOT NULL CHECK (state IN ('open', 'approval', 'settled', 'void')),
    file_count INTEGER NOT NULL CHECK (file_count > 0),
    size_bytes INTEGER NOT NULL,
    taken_at REAL NOT NULL,
    settled_at REAL,
    settled_by INTEGER, -- a run, which may go before an older one that is kept
    approved TEXT NOT NULL DEFAULT '[]',
    report TEXT,
    files TEXT,
    PRIMARY KEY (run, number),
    CHECK ((state IN ('open', 'approval')) = (files IS NOT NULL)),
    CHECK ((state IN ('open', 'approval')) = (settled_at IS NULL)),
    CHECK (state <> 'approval' OR report IS NOT NULL),
    CHECK ((settled_at IS NULL) = (settled_by IS NULL))
);
CREATE INDEX ingest_batches_open ON ingest_batch (ingestion) WHERE files IS NOT NULL;

-- Which version of which file; `sha256` and `loaded_at` are of what was loaded last, the rest of the version.
CREATE TABLE ingest_file (
    ingestion INTEGER NOT NULL REFERENCES ingest_definition (number),
    path TEXT NOT NULL CHECK (path <> ''),
    version TEXT NOT NULL CHECK (version <> ''),
    state TEXT NOT NULL,
    run INTEGER,
    batch INTEGER,
    size_bytes INTEGER NOT NULL,
    modified_at REAL NOT NULL,
    seen_at REAL NOT NULL,
    loaded_at REAL,
    sha256 TEXT,
    rows INTEGER NOT NULL DEFAULT 0,
    rescued INTEGER NOT NULL DEFAULT 0,
    duration_s REAL NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    fault TEXT,
    PRIMARY KEY (ingestion, path),
    CHECK ((run IS NULL) = (batch IS NULL)),
    CHECK (CASE state
        WHEN 'pending' THEN TRUE
        WHEN 'loaded' THEN loaded_at IS NOT NULL AND batch IS NOT NULL
        WHEN 'quarantined' THEN fault IS NOT NULL AND batch IS NOT NULL
        WHEN 'ignored' THEN batch IS NULL
        WHEN 'held' THEN fault IS NOT NULL AND batch IS NULL
        WHEN 'vanished' THEN batch IS NOT NULL
        ELSE FALSE END)
) WITHOUT ROWID;
-- Nearly all files are loaded; the few others are found without a look at these.
CREATE INDEX ingest_not_loaded ON ingest_file (ingestion, state) WHERE state <> 'loaded';

-- Sums by state, kept by the database itself, so that a million files cost a look at ten rows.
CREATE TABLE ingest_sum (
    ingestion INTEGER NOT NULL,
    state TEXT NOT NULL,
    files INTEGER NOT NULL CHECK (files >= 0),
    rows INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (ingestion, state)
) WITHOUT ROWID;
CREATE TRIGGER ingest_file_came AFTER INSERT ON ingest_file BEGIN
    INSERT INTO ingest_sum VALUES (NEW.ingestion, NEW.state, 1, NEW.rows, NEW.size_bytes)
    ON CONFLICT DO UPDATE SET files = files + 1, rows = rows + NEW.rows, size_bytes = size_bytes + NEW.size_bytes;
END;
CREATE TRIGGER ingest_file_went AFTER DELETE ON ingest_file BEGIN
    UPDATE ingest_sum SET files = files - 1, rows = rows - OLD.rows, size_bytes = size_bytes - OLD.size_bytes
    WHERE ingestion = OLD.ingestion AND state = OLD.state;
END;
CREATE TRIGGER ingest_file_changed AFTER UPDATE ON ingest_file BEGIN
    UPDATE ingest_sum SET files = files - 1, rows = rows - OLD.rows, size_bytes = size_bytes - OLD.size_bytes
    WHERE ingestion = OLD.ingestion AND state = OLD.state;
    INSERT INTO ingest_sum VALUES (NEW.ingestion, NEW.state, 1, NEW.rows, NEW.size_bytes)
    ON CONFLICT DO UPDATE SET files = files + 1, rows = rows + NEW.rows, size_bytes = size_bytes + NEW.size_bytes;
END;

CREATE TABLE ingest_schema (
    ingestion INTEGER NOT NULL REFERENCES ingest_definition (number),
    version INTEGER NOT NULL CHECK (version > 0),
    columns TEXT NOT NULL,
    changes TEXT NOT NULL,
    run INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    path TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (ingestion, version)
) WITHOUT ROWID;
