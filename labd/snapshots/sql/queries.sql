-- name: put_record
INSERT INTO snapshots_record (customer, timestamp, number, state, database, fingerprint, discovered_at, changed_at,
pinned, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (customer, timestamp) DO UPDATE SET number = excluded.number, state = excluded.state,
database = excluded.database, fingerprint = excluded.fingerprint, changed_at = excluded.changed_at,
pinned = excluded.pinned, body = excluded.body;

-- name: keys
-- Every snapshot that has a record; the scan passes them over.
SELECT customer, timestamp FROM snapshots_record;

-- name: live
-- Records that something may still happen to.
SELECT customer, timestamp, number, state, database, fingerprint, discovered_at, changed_at, pinned, body
FROM snapshots_record WHERE database IS NOT NULL OR state IN ('settled', 'gated', 'failed', 'quarantined');

-- name: record
SELECT customer, timestamp, number, state, database, fingerprint, discovered_at, changed_at, pinned, body
FROM snapshots_record WHERE customer = ? AND timestamp = ?;

-- name: page
-- Newest first: by customer, then by number.
SELECT customer, timestamp, number, state, database, fingerprint, discovered_at, changed_at, pinned, body
FROM snapshots_record WHERE (?1 IS NULL OR customer = ?1) AND (?2 IS NULL OR state = ?2)
ORDER BY customer, number DESC, timestamp DESC LIMIT ?3 OFFSET ?4;

-- name: put_customer
INSERT INTO snapshots_customer (customer, alias, active, previous, switched_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (customer) DO UPDATE SET active = excluded.active, previous = excluded.previous,
switched_at = excluded.switched_at;

-- name: customers
SELECT customer, alias, active, previous, switched_at FROM snapshots_customer ORDER BY customer;

-- name: newest
-- The largest number of a customer among snapshots that are or may come to be served.
SELECT timestamp, number FROM snapshots_record WHERE customer = ? AND state NOT IN ('rejected', 'quarantined')
ORDER BY number DESC, timestamp DESC LIMIT 1;
