-- Which version the tables of each wing have; the journal's own is `user_version`.

CREATE TABLE schemas (
    name TEXT PRIMARY KEY CHECK (name <> ''),
    version INTEGER NOT NULL CHECK (version >= 1)
) WITHOUT ROWID;
