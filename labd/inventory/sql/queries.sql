-- name: put_claim
INSERT INTO inventory_claim (job_id, reservoir, needed_pl, remaining_pl, overridden, told, life)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (job_id, reservoir) DO UPDATE SET needed_pl = excluded.needed_pl, remaining_pl = excluded.remaining_pl,
overridden = excluded.overridden, told = excluded.told, life = excluded.life;

-- name: delete_claims
DELETE FROM inventory_claim WHERE job_id = ?;

-- name: claims
-- Open claims with the state of their job, NULL where it is gone.
SELECT claim.job_id, claim.reservoir, claim.needed_pl, claim.remaining_pl, claim.overridden, claim.told, claim.life,
jobs.state FROM inventory_claim AS claim LEFT JOIN jobs ON jobs.id = claim.job_id ORDER BY claim.job_id, claim.reservoir;

-- name: steps_of_job
SELECT DISTINCT step FROM inventory_movement WHERE job_id = ? AND step IS NOT NULL;

-- name: steps_of_claims
-- Steps that jobs with open claims have told.
SELECT DISTINCT job_id, step FROM inventory_movement WHERE step IS NOT NULL
AND job_id IN (SELECT job_id FROM inventory_claim);

-- name: put_reservoir
INSERT INTO inventory_reservoir (key, place, body, configured, initialized, removed_at, settled_s)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET place = excluded.place, body = excluded.body, configured = excluded.configured,
initialized = excluded.initialized, removed_at = excluded.removed_at, settled_s = excluded.settled_s;

-- name: reservoirs
SELECT key, place, body, configured, initialized, removed_at, settled_s FROM inventory_reservoir ORDER BY place, key;

-- name: balances
-- The last movement of every reservoir, found by the index however many there are, and the last one that settled its
-- level: reservations come and go without.
SELECT movement.reservoir, movement.ordinal, movement.level_after_pl, movement.reserved_after_pl,
(SELECT at FROM inventory_movement WHERE reservoir = held.key AND kind NOT IN ('reservation', 'release')
ORDER BY ordinal DESC LIMIT 1), (SELECT ledger_s FROM inventory_movement WHERE reservoir = held.key
AND kind NOT IN ('reservation', 'release') ORDER BY ordinal DESC LIMIT 1) FROM inventory_reservoir AS held JOIN inventory_movement AS movement
ON movement.reservoir = held.key AND movement.ordinal =
(SELECT max(ordinal) FROM inventory_movement WHERE reservoir = held.key);

-- name: last_movement
SELECT max(id), (SELECT at FROM inventory_movement ORDER BY id DESC LIMIT 1),
(SELECT ledger_s FROM inventory_movement ORDER BY id DESC LIMIT 1), (SELECT max(id) FROM inventory_measurement)
FROM inventory_movement;

-- name: put_clock
INSERT INTO inventory_clock (id, ledger_s, wall, simulated) VALUES (1, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET ledger_s = excluded.ledger_s, wall = excluded.wall, simulated = excluded.simulated;

-- name: clock
SELECT ledger_s, wall, simulated FROM inventory_clock;

-- name: add_measurement
INSERT INTO inventory_measurement (id, reservoir, at, ledger_s, level_pl, computed_pl, actor) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: measurements
-- The newest of a reservoir, oldest first.
SELECT * FROM (SELECT id, reservoir, at, ledger_s, level_pl, computed_pl, actor FROM inventory_measurement
WHERE reservoir = ? ORDER BY id DESC LIMIT ?) ORDER BY id;

-- name: latest_measurements
-- The last measurement of every reservoir.
SELECT held.key, one.level_pl - one.computed_pl FROM inventory_reservoir AS held JOIN inventory_measurement AS one
ON one.id = (SELECT max(id) FROM inventory_measurement WHERE reservoir = held.key);

-- name: history_newest
SELECT id, reservoir, ordinal, kind, at, ledger_s, volume_pl, level_before_pl, level_after_pl, reserve_pl,
reserved_before_pl, reserved_after_pl, actor, cause, job_id, step, operation, details FROM inventory_movement
WHERE id < ?1 AND id > ?2 AND (?3 IS NULL OR reservoir = ?3) AND (?4 IS NULL OR kind = ?4)
AND (?5 IS NULL OR job_id = ?5) AND (?6 IS NULL OR actor = ?6) AND (?7 IS NULL OR operation = ?7)
AND (?8 IS NULL OR at >= ?8) AND (?9 IS NULL OR at <= ?9) ORDER BY id DESC LIMIT ?10;

-- name: history_oldest
SELECT id, reservoir, ordinal, kind, at, ledger_s, volume_pl, level_before_pl, level_after_pl, reserve_pl,
reserved_before_pl, reserved_after_pl, actor, cause, job_id, step, operation, details FROM inventory_movement
WHERE id < ?1 AND id > ?2 AND (?3 IS NULL OR reservoir = ?3) AND (?4 IS NULL OR kind = ?4)
AND (?5 IS NULL OR job_id = ?5) AND (?6 IS NULL OR actor = ?6) AND (?7 IS NULL OR operation = ?7)
AND (?8 IS NULL OR at >= ?8) AND (?9 IS NULL OR at <= ?9) ORDER BY id LIMIT ?10;

-- name: replay
-- A stretch of one reservoir's movements, for the proof that they make its balance.
SELECT ordinal, kind, volume_pl, level_before_pl, level_after_pl, reserve_pl, reserved_before_pl, reserved_after_pl
FROM inventory_movement WHERE reservoir = ? AND ordinal > ? ORDER BY ordinal LIMIT ?;

-- name: claimed
SELECT reservoir, sum(remaining_pl) FROM inventory_claim GROUP BY reservoir;

-- The MongoDB outlet's: the movements are its queue.

-- name: outbox_top
SELECT max(id) FROM inventory_movement;

-- name: outbox_movements
SELECT id, reservoir, kind, at, volume_pl, level_before_pl, level_after_pl, actor, cause, operation, details
FROM inventory_movement WHERE id > ? ORDER BY id LIMIT ?;

-- name: outbox_named
-- When the movements of a JSON list of ids were made.
SELECT id, at FROM inventory_movement WHERE id IN (SELECT value FROM json_each(?));

-- name: outbox_latest
-- The last movement of every reservoir that settled its level.
SELECT movement.id, movement.reservoir, movement.kind, movement.at, movement.volume_pl, movement.level_before_pl,
movement.level_after_pl, movement.actor, movement.cause, movement.operation, movement.details
FROM inventory_reservoir AS held JOIN inventory_movement AS movement ON movement.reservoir = held.key
AND movement.ordinal = (SELECT ordinal FROM inventory_movement WHERE reservoir = held.key
AND kind NOT IN ('reservation', 'release') ORDER BY ordinal DESC LIMIT 1) ORDER BY movement.id;

-- name: outbox_reservoirs
SELECT key, body, removed_at FROM inventory_reservoir ORDER BY place, key LIMIT ?;

-- name: taken_after
-- What was used, and the first movement of each reservoir, behind a movement.
SELECT id, reservoir, kind, volume_pl, ledger_s FROM inventory_movement
WHERE id > ? AND (kind = 'consumption' OR ordinal = 1) ORDER BY id LIMIT ?;

-- name: evaporated_after
-- What was booked as evaporated from a reservoir behind an instant of the ledger's time, with the lid meanwhile.
SELECT ledger_s, volume_pl, details ->> 'lid' FROM inventory_movement
WHERE reservoir = ? AND kind = 'evaporation' AND ledger_s > ? ORDER BY ordinal;

-- name: measured_after
-- The newest measurement of each reservoir that was measured behind one.
SELECT reservoir, max(id) FROM inventory_measurement WHERE id > ? GROUP BY reservoir;

-- name: first_movements
-- Since when each reservoir has been there, in the ledger's time.
SELECT movement.reservoir, movement.ledger_s FROM inventory_reservoir AS held JOIN inventory_movement AS movement
ON movement.reservoir = held.key AND movement.ordinal = 1;

-- name: taken_by_day
-- What was used up to a movement, by reservoir and day of the ledger's time: last instant, sum, and sum of squares in ul.
SELECT reservoir, max(ledger_s), total(-volume_pl) * 1e-6, total((volume_pl * 1e-6) * (volume_pl * 1e-6))
FROM inventory_movement WHERE id <= ? AND kind = 'consumption'
GROUP BY reservoir, CAST(ledger_s / 86400 AS INTEGER) ORDER BY 2;

-- name: history_of_job
-- As history_newest for one job, by its index: the conditions that may be absent would hide it.
SELECT id, reservoir, ordinal, kind, at, ledger_s, volume_pl, level_before_pl, level_after_pl, reserve_pl,
reserved_before_pl, reserved_after_pl, actor, cause, job_id, step, operation, details FROM inventory_movement
WHERE job_id = ?5 AND id < ?1 AND id > ?2 AND (?3 IS NULL OR reservoir = ?3) AND (?4 IS NULL OR kind = ?4)
AND (?6 IS NULL OR actor = ?6) AND (?7 IS NULL OR operation = ?7)
AND (?8 IS NULL OR at >= ?8) AND (?9 IS NULL OR at <= ?9) ORDER BY id DESC LIMIT ?10;
