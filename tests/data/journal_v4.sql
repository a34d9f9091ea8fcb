BEGIN TRANSACTION;
CREATE TABLE alert_deliveries (
    key TEXT NOT NULL REFERENCES alerts (key) ON DELETE CASCADE,
    channel TEXT NOT NULL,
    alert_id INTEGER NOT NULL,
    sent_at REAL NOT NULL,
    reminders INTEGER NOT NULL CHECK (reminders >= 0),
    PRIMARY KEY (key, channel)
) WITHOUT ROWID;
INSERT INTO "alert_deliveries" VALUES('low_stock:yellow','ops',1,1795222301.25,0);
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
INSERT INTO "alerts" VALUES('job_failed:test.fail',3,'job_failed','test.fail','error','2 jobs of test.fail have failed; the last, job 8: no answer','device_timeout|task_failed',2,'[7, 8]',1795222310.0,1795222320.0,NULL,1795222330.0,'alice','looked at it');
INSERT INTO "alerts" VALUES('low_stock:yellow',1,'low_stock','yellow','warning','yellow: 412.0 ul are left, less than 5000 ul; `labctl inventory restock`','low',1,'[]',1795222300.5,1795222300.5,NULL,NULL,NULL,NULL);
INSERT INTO "alerts" VALUES('stop_latched:resort:main',4,'stop_latched','resort:main','error','resort main: stopped by bob','resort main: stopped by bob',1,'[]',1795222340.0,1795222340.0,1795222350.0,NULL,NULL,NULL);
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
INSERT INTO "audit" VALUES(1,1.79522225375676393504e+09,'labd','daemon.start','demo','{"failed":0,"held":0,"interrupted":0,"pid":23092,"requeued":0,"version":"0.1.0"}','0000000000000000000000000000000000000000000000000000000000000000','243ee4bafcff7a4b18ba395032e7d900e18ab0f98b8da300b38c13609ca9f68d');
INSERT INTO "audit" VALUES(2,1.7952222539841849804e+09,'unix:root','job.submit','job 1','{"args":{},"task":"resort.connect"}','243ee4bafcff7a4b18ba395032e7d900e18ab0f98b8da300b38c13609ca9f68d','ca870db6a667953a89d9cae95c60c71fa98b49cb81dfe48a2dcf0f91c2cd899b');
INSERT INTO "audit" VALUES(3,1795222254.10418,'unix:root','job.submit','job 2','{"args":{"hotel":"B"},"task":"resort.activate_hotel"}','ca870db6a667953a89d9cae95c60c71fa98b49cb81dfe48a2dcf0f91c2cd899b','9562a2078dfbb05ab0e6e95ad8f7b2c23bb8f171b9195db2ca29c8b6e5f8ce06');
INSERT INTO "audit" VALUES(4,1.79522225658533811573e+09,'unix:root','job.submit','job 3','{"args":{"hotel":"D"},"task":"resort.activate_hotel"}','9562a2078dfbb05ab0e6e95ad8f7b2c23bb8f171b9195db2ca29c8b6e5f8ce06','fec60ef137ca53aae11743004caf82046de091e95f0416bcb932ef7636abb37a');
INSERT INTO "audit" VALUES(5,1.7952222571432869435e+09,'unix:root','resort.stop','resort:main','{"cancelled_jobs":[3],"device":"main","reason":""}','fec60ef137ca53aae11743004caf82046de091e95f0416bcb932ef7636abb37a','4f75f28a8f3c337529b09d80015f84b8918dc9b2b6dde5ce0e44c530d1d9da1d');
INSERT INTO "audit" VALUES(6,1.79522225733287906649e+09,'unix:root','resort.reset','resort:main','{"by":"anna","device":"main","reason":"ok","stopped":{"at":"2026-11-21T00:50:57.143100Z","by":"unix:root","reason":""}}','4f75f28a8f3c337529b09d80015f84b8918dc9b2b6dde5ce0e44c530d1d9da1d','fdbecc0b495dd16651c8f940555d090a060a08584259132c0433ad5244d6d45d');
INSERT INTO "audit" VALUES(7,1.79522225755678391453e+09,'unix:root','job.submit','job 4','{"args":{"hotel":"A"},"task":"resort.activate_hotel"}','fdbecc0b495dd16651c8f940555d090a060a08584259132c0433ad5244d6d45d','a973b2c3e0ac28ca41d22441a24dbe7401b2abf1a9b6c33bbc2e889d81c9abb2');
INSERT INTO "audit" VALUES(8,1.79522226029921793937e+09,'unix:root','queue.pause','low-priority','{"reason":"night"}','a973b2c3e0ac28ca41d22441a24dbe7401b2abf1a9b6c33bbc2e889d81c9abb2','d54ef7428c7d4bb55fcc5622f69ca631f76f1313e8ea5c93c6a5dc49f5583a9b');
INSERT INTO "audit" VALUES(9,1.79522226044378900525e+09,'unix:root','schedule.put','morning','{"anchor_at":null,"args":{},"cron":"0 6 * * 1-5","interval_s":null,"jitter_s":0.0,"misfire":"latest","misfire_limit":10,"name":"morning","overlap":"skip","overlap_limit":2,"paused":false,"priority":null,"queue":null,"tags":[],"task":"resort.get_motor_health","timezone":"UTC"}','d54ef7428c7d4bb55fcc5622f69ca631f76f1313e8ea5c93c6a5dc49f5583a9b','001e2e6a27c9bfcde453ea37e26b2a52c5776642f5e715e8282164f897a2dbe5');
INSERT INTO "audit" VALUES(10,1.79522226058559894565e+09,'unix:root','token.create','dashboard','{"expires_in_s":null,"scopes":["read"]}','001e2e6a27c9bfcde453ea37e26b2a52c5776642f5e715e8282164f897a2dbe5','04da80564150dca9deedeb2f9831aaa44d4231db7e09170042592b7c4a2fdd0b');
INSERT INTO "audit" VALUES(11,1.79522226070997691161e+09,'unix:root','job.submit','job 5','{"args":{"hotel":"C"},"task":"resort.activate_hotel"}','04da80564150dca9deedeb2f9831aaa44d4231db7e09170042592b7c4a2fdd0b','b9544d9a4c25c00158f2bd203785e330c27c17505d1e31e1ab5c444ecd4d07db');
INSERT INTO "audit" VALUES(12,1.79522226073037505147e+09,'labd','daemon.stop','demo','{}','b9544d9a4c25c00158f2bd203785e330c27c17505d1e31e1ab5c444ecd4d07db','75720e0c225082a7f85e62bf2127ac457d6db1a5cfc4934a9c03a95f6b4ce4f4');
CREATE TABLE cached (
    key TEXT PRIMARY KEY CHECK (length(key) = 64),
    job_id INTEGER NOT NULL,
    result TEXT,
    made_at REAL NOT NULL,
    until_at REAL
) WITHOUT ROWID;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    job_id INTEGER,
    data TEXT NOT NULL
);
INSERT INTO "events" VALUES(1,1795222253.74221,'task.reloaded',NULL,'{"files":0,"tasks":0,"faults":0}');
INSERT INTO "events" VALUES(2,1.7952222537568171024e+09,'daemon.started',NULL,'{"version":"0.1.0","pid":23092,"interrupted":0,"requeued":0,"held":0,"failed":0}');
INSERT INTO "events" VALUES(3,1.79522225375727796552e+09,'device.connected',NULL,'{"device":"main","simulated":true,"servo_id":1,"port":"/tmp/ldfix/s/run/resort-main.port","model":1060,"model_name":"XL430-W250","firmware":52,"operating_mode":4,"torque_enabled":false,"position_steps":0,"moved_while_away_steps":0,"watchdog_supported":true,"watchdog_stops_motor":true,"watchdog_found":null}');
INSERT INTO "events" VALUES(4,1.79522225398415088658e+09,'job.submitted',1,'{"task":"resort.connect","queue":"standard","attempt":0}');
INSERT INTO "events" VALUES(5,1.795222253984281063e+09,'job.started',1,'{"task":"resort.connect","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(6,1.79522225399735498429e+09,'job.succeeded',1,'{"task":"resort.connect","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(7,1.79522225410415196423e+09,'job.submitted',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":0}');
INSERT INTO "events" VALUES(8,1795222254.10431,'job.started',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(9,1.795222254124984026e+09,'job.progress',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":0.0,"total":90.0,"text":"at 0.0 degrees"}');
INSERT INTO "events" VALUES(10,1.79522225466327500342e+09,'job.progress',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":17.1,"total":90.0,"text":"at 17.1 degrees"}');
INSERT INTO "events" VALUES(11,1.79522225520913410188e+09,'job.progress',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":43.3,"total":90.0,"text":"at 43.3 degrees"}');
INSERT INTO "events" VALUES(12,1.79522225575408911702e+09,'job.progress',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":69.6,"total":90.0,"text":"at 69.6 degrees"}');
INSERT INTO "events" VALUES(13,1795222256.29591,'job.progress',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":89.6,"total":90.0,"text":"at 89.6 degrees"}');
INSERT INTO "events" VALUES(14,1.79522225640595197672e+09,'job.succeeded',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(15,1.79522225658529496197e+09,'job.submitted',3,'{"task":"resort.activate_hotel","queue":"standard","attempt":0}');
INSERT INTO "events" VALUES(16,1.79522225658558511737e+09,'job.started',3,'{"task":"resort.activate_hotel","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(17,1.7952222566205120087e+09,'job.progress',3,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":0.0,"total":180.0,"text":"at 90.0 degrees"}');
INSERT INTO "events" VALUES(18,1.79522225714322590829e+09,'job.cancelling',3,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"code":"stop_latched","message":"cancelled by unix:root: stopped by unix:root"}');
INSERT INTO "events" VALUES(19,1795222257.14335,'device.stop_latched',NULL,'{"device":"main","simulated":true,"by":"unix:root","reason":"","cancelled_jobs":[3]}');
INSERT INTO "events" VALUES(20,1.79522225715514802939e+09,'job.cancelled',3,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"code":"stop_latched","message":"cancelled by unix:root: stopped by unix:root"}');
INSERT INTO "events" VALUES(21,1.79522225716912889477e+09,'device.stop_confirmed',NULL,'{"device":"main","simulated":true,"attempts":2,"wire_ms":0.2143970004908624}');
INSERT INTO "events" VALUES(22,1.79522225733917808535e+09,'device.stop_reset',NULL,'{"device":"main","simulated":true,"by":"anna","reason":"ok"}');
INSERT INTO "events" VALUES(23,1.79522225755674695972e+09,'job.submitted',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":0}');
INSERT INTO "events" VALUES(24,1.79522225755699396136e+09,'job.started',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(25,1.79522225758273196215e+09,'job.progress',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":0.0,"total":107.0,"text":"at 107.0 degrees"}');
INSERT INTO "events" VALUES(26,1.79522225813008689879e+09,'job.progress',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":17.6,"total":107.0,"text":"at 89.4 degrees"}');
INSERT INTO "events" VALUES(27,1.79522225867474102974e+09,'job.progress',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":43.8,"total":107.0,"text":"at 63.2 degrees"}');
INSERT INTO "events" VALUES(28,1.79522225922085809711e+09,'job.progress',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":70.0,"total":107.0,"text":"at 36.9 degrees"}');
INSERT INTO "events" VALUES(29,1.79522225976487302774e+09,'job.progress',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":96.2,"total":107.0,"text":"at 10.7 degrees"}');
INSERT INTO "events" VALUES(30,1795222260.20189,'job.succeeded',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(31,1.79522226029929208752e+09,'queue.paused',NULL,'{"queue":"low-priority","by":"unix:root","reason":"night"}');
INSERT INTO "events" VALUES(32,1.795222260443762064e+09,'schedule.changed',NULL,'{"schedule":"morning","paused":false}');
INSERT INTO "events" VALUES(33,1795222260.70995,'job.submitted',5,'{"task":"resort.activate_hotel","queue":"low-priority","attempt":0}');
INSERT INTO "events" VALUES(34,1.79522226072787404057e+09,'daemon.draining',NULL,'{"limit_s":30.0}');
CREATE TABLE facts (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "facts" VALUES('alerts.cursor','40');
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
INSERT INTO "jobs" VALUES(1,'resort.connect','{}','standard',2,'succeeded',1,1,1.79522237398409605026e+09,1.79522225398409605023e+09,1.79522225398409605023e+09,1.79522225398426389696e+09,1795222253.99734,1.79522285398409605023e+09,'unix:root','physical',NULL,'',NULL,6,NULL,'{"device":"main","position_deg":0.0,"position_steps":0,"hotel":"A","torque_enabled":true,"model":"XL430-W250","notes":[]}',NULL,'{"timeout_s":30.0,"resources":["resort:main/link"],"simulated":true}');
INSERT INTO "jobs" VALUES(2,'resort.activate_hotel','{"hotel":"B"}','standard',2,'succeeded',1,1,1.79522237410409808157e+09,1.79522225410409808164e+09,1.79522225410409808164e+09,1.79522225410429406167e+09,1.79522225640593600277e+09,1.79522285410409808154e+09,'unix:root','physical',NULL,'',NULL,14,NULL,'{"device":"main","hotel":"B","position_deg":90.0,"position_steps":1024,"goal_deg":90.0,"travelled_deg":90.0,"duration_s":2.282}',NULL,'{"timeout_s":900.0,"resources":["resort:main","resort:main/link"],"progress":{"done":90.0,"total":90.0,"text":"at 90.0 degrees"},"simulated":true}');
INSERT INTO "jobs" VALUES(3,'resort.activate_hotel','{"hotel":"D"}','standard',2,'cancelled',1,1,1.79522237658523297308e+09,1.79522225658523297314e+09,1.79522225658523297314e+09,1.79522225658556199077e+09,1.79522225715513300894e+09,1.79522285658523297305e+09,'unix:root','physical',NULL,'',NULL,20,NULL,NULL,'{"code":"stop_latched","message":"cancelled by unix:root: stopped by unix:root","type":"JobCancelled","details":{"by":"unix:root"}}','{"timeout_s":900.0,"resources":["resort:main","resort:main/link"],"progress":{"done":15.0,"total":180.0,"text":"at 105.0 degrees"},"simulated":true}');
INSERT INTO "jobs" VALUES(4,'resort.activate_hotel','{"hotel":"A"}','standard',2,'succeeded',1,1,1.79522237755669093134e+09,1.79522225755669093127e+09,1.79522225755669093127e+09,1.79522225755697393415e+09,1.79522226020187592506e+09,1.79522285755669093127e+09,'unix:root','physical',NULL,'',NULL,30,NULL,'{"device":"main","hotel":"A","position_deg":0.0,"position_steps":0,"goal_deg":0.0,"travelled_deg":-106.96,"duration_s":2.621}',NULL,'{"timeout_s":900.0,"resources":["resort:main","resort:main/link"],"progress":{"done":107.0,"total":107.0,"text":"at 0.0 degrees"},"simulated":true}');
INSERT INTO "jobs" VALUES(5,'resort.activate_hotel','{"hotel":"C"}','low-priority',3,'queued',0,1,1.79522244070990109445e+09,1.79522226070990109439e+09,1.79522226070990109439e+09,NULL,NULL,1.79522286070990109443e+09,'unix:root','physical',NULL,'',NULL,33,NULL,NULL,NULL,'{"timeout_s":900.0,"resources":["resort:main","resort:main/link"],"simulated":true}');
CREATE TABLE queues (
    name TEXT PRIMARY KEY,
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 9),
    concurrency INTEGER NOT NULL CHECK (concurrency >= 0),
    paused_by TEXT,
    paused_reason TEXT,
    paused_at REAL,
    CHECK ((paused_by IS NULL) = (paused_at IS NULL))
) WITHOUT ROWID;
INSERT INTO "queues" VALUES('low-priority',3,2,'unix:root','night',1.79522226029920697215e+09);
CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    state TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('api', 'settings')),
    created_by TEXT NOT NULL,
    created_at REAL NOT NULL
) WITHOUT ROWID;
INSERT INTO "schedules" VALUES('morning','{"name":"morning","task":"resort.get_motor_health","args":{},"cron":"0 6 * * 1-5","interval_s":null,"anchor_at":null,"timezone":"UTC","misfire":"latest","misfire_limit":10,"overlap":"skip","overlap_limit":2,"jitter_s":0.0,"queue":null,"priority":null,"tags":[],"paused":false}','{"settled":[[0.0,1795222260.443564]],"next_run_at":1795413600.0,"last_run_at":null}','api','unix:root',1.79522226044356393807e+09);
CREATE TABLE schemas (
    name TEXT PRIMARY KEY CHECK (name <> ''),
    version INTEGER NOT NULL CHECK (version >= 1)
) WITHOUT ROWID;
CREATE TABLE steps (
    job_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL CHECK (ordinal >= 0),
    body TEXT NOT NULL,
    PRIMARY KEY (job_id, ordinal)
) WITHOUT ROWID;
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
INSERT INTO "tokens" VALUES(1,'dashboard','29e9ae43c3a21ee2abc5bd43cb07249d5d1019593a06c853f8b61576c39c0751','["read"]',1.79522226058569288253e+09,'unix:root',NULL,NULL,NULL);
CREATE INDEX jobs_ready ON jobs (queue, rank, id, state) WHERE state = 'queued';
CREATE INDEX jobs_of_schedule ON jobs (schedule) WHERE schedule IS NOT NULL AND finished_at IS NULL;
CREATE INDEX jobs_held ON jobs (queue) WHERE hold IS NOT NULL;
CREATE INDEX jobs_motion ON jobs (queue) WHERE state = 'queued' AND effect = 'physical';
CREATE INDEX jobs_delayed ON jobs (run_at) WHERE state = 'queued' AND run_at > created_at;
CREATE INDEX jobs_notable ON jobs (state) WHERE state <> 'queued' AND state <> 'succeeded';
CREATE UNIQUE INDEX jobs_idempotency ON jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX events_of_job ON events (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX cached_until ON cached (until_at) WHERE until_at IS NOT NULL;
CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_keeps_values BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE INDEX jobs_long ON jobs (finished_at, created_at) WHERE finished_at > started_at + 10 OR attempt > 1;
COMMIT;
PRAGMA user_version = 4;
