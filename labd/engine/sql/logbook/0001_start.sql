-- The logbook: chatter that may lose its last moments in a power cut (synchronous=NORMAL).

CREATE TABLE lines (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL,
    at REAL NOT NULL,
    attempt INTEGER NOT NULL,
    level TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX lines_of_job ON lines (job_id);

CREATE TABLE readings (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    subject TEXT NOT NULL,
    name TEXT NOT NULL,
    value REAL NOT NULL
);
CREATE INDEX readings_of_subject ON readings (subject, name, at);
