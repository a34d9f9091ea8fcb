BEGIN TRANSACTION;
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
INSERT INTO "audit" VALUES(1,1.79522144537451696397e+09,'labd','daemon.start','demo','{"failed":0,"held":0,"interrupted":0,"pid":4098,"requeued":0,"version":"0.1.0"}','0000000000000000000000000000000000000000000000000000000000000000','cc1ca6e8a8b159e4872b5361b9886ff9a46a547ce84c73266923cd69e7a1b6e4');
INSERT INTO "audit" VALUES(2,1.79522144559100389478e+09,'unix:root','job.submit','job 1','{"args":{},"task":"resort.connect"}','cc1ca6e8a8b159e4872b5361b9886ff9a46a547ce84c73266923cd69e7a1b6e4','455f00b5375bc15ba98971e6fea501ffe18ddf40e3f08c9c5ffd127ca9c3faa3');
INSERT INTO "audit" VALUES(3,1.79522144577878189084e+09,'unix:root','job.submit','job 2','{"args":{"hotel":"B"},"task":"resort.activate_hotel"}','455f00b5375bc15ba98971e6fea501ffe18ddf40e3f08c9c5ffd127ca9c3faa3','0bd6237287fe8e64db8358081dffe54df452310670623c4e04c11d46de6f0717');
INSERT INTO "audit" VALUES(4,1.79522144815856790544e+09,'unix:root','job.submit','job 3','{"args":{"hotel":"D"},"task":"resort.activate_hotel"}','0bd6237287fe8e64db8358081dffe54df452310670623c4e04c11d46de6f0717','917a76771e8a87a1fc31ffea7873d3417c967f904320729140434fb51ee7d60a');
INSERT INTO "audit" VALUES(5,1795221448.63775,'unix:root','resort.stop','resort:main','{"cancelled_jobs":[3],"device":"main","reason":""}','917a76771e8a87a1fc31ffea7873d3417c967f904320729140434fb51ee7d60a','b146a87a94154dc3ef9d32872c5eb7f5d711c44a427ca51e55a47d72da8a6bdc');
INSERT INTO "audit" VALUES(6,1.79522144875101304049e+09,'unix:root','resort.reset','resort:main','{"by":"anna","device":"main","reason":"ok","stopped":{"at":"2026-11-21T00:37:28.637592Z","by":"unix:root","reason":""}}','b146a87a94154dc3ef9d32872c5eb7f5d711c44a427ca51e55a47d72da8a6bdc','293e2244bd0d6e047552e925c859ee04a6d537e4d7b85906205750d963685184');
INSERT INTO "audit" VALUES(7,1.79522144887162804602e+09,'unix:root','job.submit','job 4','{"args":{"hotel":"A"},"task":"resort.activate_hotel"}','293e2244bd0d6e047552e925c859ee04a6d537e4d7b85906205750d963685184','83ee1acf18bca6b4b515747b2fd6cadd0d0a3bc3845a27ae0de851b30a1a9418');
INSERT INTO "audit" VALUES(8,1.79522145150725698477e+09,'unix:root','queue.pause','low-priority','{"reason":"night"}','83ee1acf18bca6b4b515747b2fd6cadd0d0a3bc3845a27ae0de851b30a1a9418','1c271c6a5b4a49a324a8b57c5464ac4f93cafb4d2b2c6d1501d68bd2b3b25ed0');
INSERT INTO "audit" VALUES(9,1.79522145160819101335e+09,'unix:root','schedule.put','morning','{"anchor_at":null,"args":{},"cron":"0 6 * * 1-5","interval_s":null,"jitter_s":0.0,"misfire":"latest","misfire_limit":10,"name":"morning","overlap":"skip","overlap_limit":2,"paused":false,"priority":null,"queue":null,"tags":[],"task":"resort.get_motor_health","timezone":"UTC"}','1c271c6a5b4a49a324a8b57c5464ac4f93cafb4d2b2c6d1501d68bd2b3b25ed0','23b925e21db7aa4d70138b84b5727a793b1cb6aecfdeedff20a4c3136d6f8b42');
INSERT INTO "audit" VALUES(10,1.79522145169574809074e+09,'unix:root','token.create','dashboard','{"expires_in_s":null,"scopes":["read"]}','23b925e21db7aa4d70138b84b5727a793b1cb6aecfdeedff20a4c3136d6f8b42','b7c552f7d8447a1fc905c2d10e90ce045ac99dd67e647299ed5bb78b4c9d7e1c');
INSERT INTO "audit" VALUES(11,1.79522145178427791588e+09,'unix:root','job.submit','job 5','{"args":{"hotel":"C"},"task":"resort.activate_hotel"}','b7c552f7d8447a1fc905c2d10e90ce045ac99dd67e647299ed5bb78b4c9d7e1c','9f236b007c29cc3883cadee61ea213aaa65b059b41bb1469315a782f79cb3737');
INSERT INTO "audit" VALUES(12,1.79522145180405592922e+09,'labd','daemon.stop','demo','{}','9f236b007c29cc3883cadee61ea213aaa65b059b41bb1469315a782f79cb3737','22450fd13e518c9e1038be82e67f129fda20dbef9a16aa62104cea0353c08789');
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    job_id INTEGER,
    data TEXT NOT NULL
);
INSERT INTO "events" VALUES(1,1.79522144537459111212e+09,'daemon.started',NULL,'{"version":"0.1.0","pid":4098,"interrupted":0,"requeued":0,"held":0,"failed":0}');
INSERT INTO "events" VALUES(2,1.7952214453899390697e+09,'device.connected',NULL,'{"device":"main","simulated":true,"servo_id":1,"port":"/tmp/ldfix/s/run/resort-main.port","model":1060,"model_name":"XL430-W250","firmware":52,"operating_mode":4,"torque_enabled":false,"position_steps":0,"moved_while_away_steps":0,"watchdog_supported":true,"watchdog_found":null}');
INSERT INTO "events" VALUES(3,1.79522144559096693996e+09,'job.submitted',1,'{"task":"resort.connect","queue":"standard","attempt":0}');
INSERT INTO "events" VALUES(4,1.79522144559110093118e+09,'job.started',1,'{"task":"resort.connect","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(5,1.79522144561032700538e+09,'job.succeeded',1,'{"task":"resort.connect","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(6,1.79522144577875399596e+09,'job.submitted',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":0}');
INSERT INTO "events" VALUES(7,1.79522144577890706059e+09,'job.started',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(8,1.79522144580105400086e+09,'job.progress',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":0.0,"total":90.0,"text":"at 0.0 degrees"}');
INSERT INTO "events" VALUES(9,1.7952214463361749649e+09,'job.progress',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":16.9,"total":90.0,"text":"at 16.9 degrees"}');
INSERT INTO "events" VALUES(10,1.79522144688315105432e+09,'job.progress',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":43.2,"total":90.0,"text":"at 43.2 degrees"}');
INSERT INTO "events" VALUES(11,1.79522144741892194751e+09,'job.progress',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":69.0,"total":90.0,"text":"at 69.0 degrees"}');
INSERT INTO "events" VALUES(12,1.79522144795312094687e+09,'job.progress',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":89.5,"total":90.0,"text":"at 89.5 degrees"}');
INSERT INTO "events" VALUES(13,1.79522144806155490876e+09,'job.succeeded',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(14,1.79522144815853691105e+09,'job.submitted',3,'{"task":"resort.activate_hotel","queue":"standard","attempt":0}');
INSERT INTO "events" VALUES(15,1.79522144815869498252e+09,'job.started',3,'{"task":"resort.activate_hotel","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(16,1.79522144818769192691e+09,'job.progress',3,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":0.0,"total":180.0,"text":"at 90.0 degrees"}');
INSERT INTO "events" VALUES(17,1.79522144863768506051e+09,'job.cancelling',3,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"code":"stop_latched","message":"cancelled by unix:root: stopped by unix:root"}');
INSERT INTO "events" VALUES(18,1.79522144863780593873e+09,'device.stop_latched',NULL,'{"device":"main","simulated":true,"by":"unix:root","reason":"","cancelled_jobs":[3]}');
INSERT INTO "events" VALUES(19,1.79522144864604091644e+09,'job.cancelled',3,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"code":"stop_latched","message":"cancelled by unix:root: stopped by unix:root"}');
INSERT INTO "events" VALUES(20,1.79522144866234898566e+09,'device.stop_confirmed',NULL,'{"device":"main","simulated":true,"attempts":2,"wire_ms":0.47001599978102604}');
INSERT INTO "events" VALUES(21,1.79522144875495505336e+09,'device.stop_reset',NULL,'{"device":"main","simulated":true,"by":"anna","reason":"ok"}');
INSERT INTO "events" VALUES(22,1.79522144887159800525e+09,'job.submitted',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":0}');
INSERT INTO "events" VALUES(23,1.79522144887174105645e+09,'job.started',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(24,1.79522144889066290855e+09,'job.progress',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":0.0,"total":103.4,"text":"at 103.4 degrees"}');
INSERT INTO "events" VALUES(25,1.79522144942909908293e+09,'job.progress',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":17.1,"total":103.4,"text":"at 86.3 degrees"}');
INSERT INTO "events" VALUES(26,1.79522144996719908716e+09,'job.progress',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":43.0,"total":103.4,"text":"at 60.4 degrees"}');
INSERT INTO "events" VALUES(27,1.79522145050488400458e+09,'job.progress',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":68.8,"total":103.4,"text":"at 34.5 degrees"}');
INSERT INTO "events" VALUES(28,1.79522145104207110407e+09,'job.progress',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":94.7,"total":103.4,"text":"at 8.7 degrees"}');
INSERT INTO "events" VALUES(29,1.79522145142004394533e+09,'job.succeeded',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(30,1.79522145150731801989e+09,'queue.paused',NULL,'{"queue":"low-priority","by":"unix:root","reason":"night"}');
INSERT INTO "events" VALUES(31,1.79522145160817408558e+09,'schedule.changed',NULL,'{"schedule":"morning","paused":false}');
INSERT INTO "events" VALUES(32,1.79522145178424906734e+09,'job.submitted',5,'{"task":"resort.activate_hotel","queue":"low-priority","attempt":0}');
INSERT INTO "events" VALUES(33,1.79522145180208301542e+09,'daemon.draining',NULL,'{"limit_s":30.0}');
CREATE TABLE facts (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
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
INSERT INTO "jobs" VALUES(1,'resort.connect','{}','standard',2,'succeeded',1,1,1.7952215655909070968e+09,1.7952214455909070969e+09,1.7952214455909070969e+09,1.79522144559108304978e+09,1.79522144561031293872e+09,1.7952220455909070969e+09,'unix:root','physical',NULL,'',NULL,5,NULL,'{"device":"main","position_deg":0.0,"position_steps":0,"hotel":"A","torque_enabled":true,"model":"XL430-W250","notes":[]}',NULL,'{"timeout_s":30.0,"resources":["resort:main/link"],"simulated":true}');
INSERT INTO "jobs" VALUES(2,'resort.activate_hotel','{"hotel":"B"}','standard',2,'succeeded',1,1,1.79522156577869701392e+09,1.79522144577869701385e+09,1.79522144577869701385e+09,1.79522144577889204023e+09,1.79522144806154298783e+09,1.79522204577869701385e+09,'unix:root','physical',NULL,'',NULL,13,NULL,'{"device":"main","hotel":"B","position_deg":90.0,"position_steps":1024,"goal_deg":90.0,"travelled_deg":90.0,"duration_s":2.262}',NULL,'{"timeout_s":900.0,"resources":["resort:main","resort:main/link"],"progress":{"done":90.0,"total":90.0,"text":"at 90.0 degrees"},"simulated":true}');
INSERT INTO "jobs" VALUES(3,'resort.activate_hotel','{"hotel":"D"}','standard',2,'cancelled',1,1,1.79522156815849208834e+09,1.79522144815849208831e+09,1.79522144815849208831e+09,1.79522144815868401526e+09,1.79522144864602708818e+09,1.79522204815849208831e+09,'unix:root','physical',NULL,'',NULL,19,NULL,NULL,'{"code":"stop_latched","message":"cancelled by unix:root: stopped by unix:root","type":"JobCancelled","details":{"by":"unix:root"}}','{"timeout_s":900.0,"resources":["resort:main","resort:main/link"],"progress":{"done":11.9,"total":180.0,"text":"at 101.9 degrees"},"simulated":true}');
INSERT INTO "jobs" VALUES(4,'resort.activate_hotel','{"hotel":"A"}','standard',2,'succeeded',1,1,1.79522156887155508999e+09,1.79522144887155508993e+09,1.79522144887155508993e+09,1.79522144887172889708e+09,1.79522145142003202444e+09,1.79522204887155508996e+09,'unix:root','physical',NULL,'',NULL,29,NULL,'{"device":"main","hotel":"A","position_deg":0.0,"position_steps":0,"goal_deg":0.0,"travelled_deg":-103.36,"duration_s":2.531}',NULL,'{"timeout_s":900.0,"resources":["resort:main","resort:main/link"],"progress":{"done":103.4,"total":103.4,"text":"at 0.0 degrees"},"simulated":true}');
INSERT INTO "jobs" VALUES(5,'resort.activate_hotel','{"hotel":"C"}','low-priority',3,'queued',0,1,1.79522163178419589995e+09,1.79522145178419589989e+09,1.79522145178419589989e+09,NULL,NULL,1.79522205178419589992e+09,'unix:root','physical',NULL,'',NULL,32,NULL,NULL,NULL,'{"timeout_s":900.0,"resources":["resort:main","resort:main/link"],"simulated":true}');
CREATE TABLE queues (
    name TEXT PRIMARY KEY,
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 9),
    concurrency INTEGER NOT NULL CHECK (concurrency >= 0),
    paused_by TEXT,
    paused_reason TEXT,
    paused_at REAL,
    CHECK ((paused_by IS NULL) = (paused_at IS NULL))
) WITHOUT ROWID;
INSERT INTO "queues" VALUES('low-priority',3,2,'unix:root','night',1.79522145150724697117e+09);
CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    state TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('api', 'settings')),
    created_by TEXT NOT NULL,
    created_at REAL NOT NULL
) WITHOUT ROWID;
INSERT INTO "schedules" VALUES('morning','{"name":"morning","task":"resort.get_motor_health","args":{},"cron":"0 6 * * 1-5","interval_s":null,"anchor_at":null,"timezone":"UTC","misfire":"latest","misfire_limit":10,"overlap":"skip","overlap_limit":2,"jitter_s":0.0,"queue":null,"priority":null,"tags":[],"paused":false}','{"settled":[[0.0,1795221451.608034]],"next_run_at":1795413600.0,"last_run_at":null}','api','unix:root',1.79522145160803389546e+09);
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
INSERT INTO "tokens" VALUES(1,'dashboard','b7f59cabe92f0c80a64f2867671410482a67809ef5b26c29e3e22135e521c623','["read"]',1.79522145169582796097e+09,'unix:root',NULL,NULL,NULL);
CREATE INDEX jobs_ready ON jobs (queue, rank, id, state) WHERE state = 'queued';
CREATE INDEX jobs_of_schedule ON jobs (schedule) WHERE schedule IS NOT NULL AND finished_at IS NULL;
CREATE INDEX jobs_held ON jobs (queue) WHERE hold IS NOT NULL;
CREATE INDEX jobs_motion ON jobs (queue) WHERE state = 'queued' AND effect = 'physical';
CREATE INDEX jobs_delayed ON jobs (run_at) WHERE state = 'queued' AND run_at > created_at;
CREATE INDEX jobs_notable ON jobs (state) WHERE state <> 'queued' AND state <> 'succeeded';
CREATE UNIQUE INDEX jobs_idempotency ON jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX events_of_job ON events (job_id) WHERE job_id IS NOT NULL;
CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_keeps_values BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
COMMIT;
PRAGMA user_version = 1;
