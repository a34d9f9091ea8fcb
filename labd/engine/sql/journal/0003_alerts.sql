-- What needs a person, and which outlet has been told of it.

CREATE TABLE alerts (
    key TEXT PRIMARY KEY CHECK (key LIKE code || ':%'),
    id INTEGER NOT NULL UNIQUE CHECK (id >= 1), -- another one each time it is raised; receivers tell repeats by it
    code TEXT NOT NULL,
    subject TEXT NOT NULL,
    severity TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'error', 'critical')),
    message TEXT NOT NULL,
    state TEXT NOT NULL,
    count INTEGER NOT NULL CHECK (count >= 0),
    jobs TEXT NOT NULL,
    raised_at REAL NOT NULL,
    changed_at REAL NOT NULL,
    cleared_at REAL,
    acked_at REAL,
    acked_by TEXT,
    acked_note TEXT,
    CHECK ((acked_at IS NULL) = (acked_by IS NULL)),
    CHECK (acked_note IS NULL OR acked_at IS NOT NULL)
) WITHOUT ROWID;

CREATE TABLE alert_deliveries (
    key TEXT NOT NULL REFERENCES alerts (key) ON DELETE CASCADE,
    channel TEXT NOT NULL,
    alert_id INTEGER NOT NULL,
    sent_at REAL NOT NULL,
    reminders INTEGER NOT NULL CHECK (reminders >= 0),
    PRIMARY KEY (key, channel)
) WITHOUT ROWID;
