-- The stock ledger. Volumes are whole picolitres, instants seconds since 1970 (UTC), ledger_s the ledger's own seconds.

CREATE TABLE inventory_reservoir (
    key TEXT PRIMARY KEY COLLATE NOCASE CHECK (key <> ''),
    place INTEGER NOT NULL,
    body TEXT NOT NULL,
    configured TEXT,  -- as the settings file had it when it was last applied; NULL: made by hand
    initialized INTEGER NOT NULL DEFAULT 0 CHECK (initialized IN (0, 1)),
    settled_s REAL NOT NULL DEFAULT 0,  -- evaporation before this is in the movements, though it may have been nothing
    removed_at REAL
) WITHOUT ROWID;

CREATE TABLE inventory_movement (
    id INTEGER PRIMARY KEY,
    reservoir TEXT NOT NULL REFERENCES inventory_reservoir (key) DEFERRABLE INITIALLY DEFERRED,
    ordinal INTEGER NOT NULL CHECK (ordinal >= 1),
    kind TEXT NOT NULL,
    at REAL NOT NULL,
    ledger_s REAL NOT NULL,
    volume_pl INTEGER NOT NULL,
    level_before_pl INTEGER NOT NULL,
    level_after_pl INTEGER NOT NULL,
    reserve_pl INTEGER NOT NULL,
    reserved_before_pl INTEGER NOT NULL,
    reserved_after_pl INTEGER NOT NULL CHECK (reserved_after_pl >= 0),
    actor TEXT NOT NULL,
    cause TEXT NOT NULL,
    job_id INTEGER,
    step TEXT,
    operation INTEGER NOT NULL CHECK (operation <= id),
    details TEXT NOT NULL,
    CHECK (level_after_pl = level_before_pl + volume_pl),
    CHECK (reserved_after_pl = reserved_before_pl + reserve_pl),
    CHECK (CASE kind
        WHEN 'reservation' THEN volume_pl = 0 AND reserve_pl > 0 AND job_id IS NOT NULL
        WHEN 'consumption' THEN reserve_pl <= 0 AND (reserve_pl = 0 OR reserve_pl >= volume_pl)
        WHEN 'release' THEN volume_pl = 0 AND reserve_pl < 0
        WHEN 'evaporation' THEN volume_pl < 0 AND reserve_pl = 0 AND level_after_pl >= 0
        WHEN 'restock' THEN volume_pl >= 0 AND reserve_pl = 0
        WHEN 'adjustment' THEN reserve_pl = 0
        ELSE FALSE END),
    UNIQUE (reservoir, ordinal)
);
CREATE UNIQUE INDEX inventory_movement_step ON inventory_movement (job_id, step, reservoir, kind) WHERE step IS NOT NULL;
CREATE INDEX inventory_movement_job ON inventory_movement (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX inventory_movement_kind ON inventory_movement (kind, id) WHERE kind IN ('restock', 'adjustment');

CREATE TRIGGER inventory_movement_keeps_rows BEFORE DELETE ON inventory_movement
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER inventory_movement_keeps_values BEFORE UPDATE ON inventory_movement
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- What jobs may still take: the working set of the open reservations.
CREATE TABLE inventory_claim (
    job_id INTEGER NOT NULL,
    reservoir TEXT NOT NULL,  -- its reservation has been checked
    needed_pl INTEGER NOT NULL CHECK (needed_pl >= 0),
    remaining_pl INTEGER NOT NULL CHECK (remaining_pl BETWEEN 0 AND needed_pl),
    overridden INTEGER NOT NULL CHECK (overridden IN (0, 1)),
    told INTEGER NOT NULL CHECK (told IN (0, 1)),
    life INTEGER NOT NULL CHECK (life >= 0),
    PRIMARY KEY (job_id, reservoir)
) WITHOUT ROWID;

-- Every movement follows the one before it. A first reservation is its claim; what becomes of a claim afterwards, and
-- what is special about it, is put there whole. One trigger, as it runs for every row of an admission.
CREATE TRIGGER inventory_movement_follows AFTER INSERT ON inventory_movement
BEGIN
    SELECT RAISE(ABORT, 'a movement does not follow the one before it')
    WHERE CASE NEW.ordinal WHEN 1 THEN NEW.level_before_pl <> 0 OR NEW.reserved_before_pl <> 0
        ELSE NOT EXISTS (
            SELECT 1 FROM inventory_movement AS last
            WHERE last.reservoir = NEW.reservoir AND last.ordinal = NEW.ordinal - 1
            AND last.level_after_pl = NEW.level_before_pl AND last.reserved_after_pl = NEW.reserved_before_pl
        ) END;
    INSERT OR IGNORE INTO inventory_claim (job_id, reservoir, needed_pl, remaining_pl, overridden, told, life)
    SELECT NEW.job_id, NEW.reservoir, NEW.reserve_pl, NEW.reserve_pl, 0, 0, 0 WHERE NEW.kind = 'reservation';
END;

CREATE TABLE inventory_measurement (
    id INTEGER PRIMARY KEY,
    reservoir TEXT NOT NULL REFERENCES inventory_reservoir (key) DEFERRABLE INITIALLY DEFERRED,
    at REAL NOT NULL,
    ledger_s REAL NOT NULL,
    level_pl INTEGER NOT NULL CHECK (level_pl >= 0),
    computed_pl INTEGER NOT NULL,
    actor TEXT NOT NULL
);
CREATE INDEX inventory_measurement_of ON inventory_measurement (reservoir, id);

-- The ledger's own timeline, and whether this stock is real.
CREATE TABLE inventory_clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    ledger_s REAL NOT NULL CHECK (ledger_s >= 0),
    wall REAL NOT NULL,
    simulated INTEGER NOT NULL CHECK (simulated IN (0, 1))
);
