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
INSERT INTO "audit" VALUES(1,1.79522071271465873719e+09,'labd','daemon.start','demo','{"failed":0,"held":0,"interrupted":0,"pid":19773,"requeued":0,"version":"0.1.0"}','0000000000000000000000000000000000000000000000000000000000000000','7b9c336676c47208b9aac1cb2668dd45864378851560ab9e5b25e6c9d21d8a74');
INSERT INTO "audit" VALUES(2,1.79522071306705713268e+09,'unix:root','job.submit','job 1','{"args":{},"task":"resort.connect"}','7b9c336676c47208b9aac1cb2668dd45864378851560ab9e5b25e6c9d21d8a74','feb0b48d789ebfa5b7dbb4813f75b322066f42675dd61b78112fa9e195cee9f0');
INSERT INTO "audit" VALUES(3,1.79522071353508019453e+09,'unix:root','job.submit','job 2','{"args":{"hotel":"B"},"task":"resort.activate_hotel"}','feb0b48d789ebfa5b7dbb4813f75b322066f42675dd61b78112fa9e195cee9f0','0ad15170b6514489cfd1907894e51193e5f9e8d1ac44fb645977222528582b9d');
INSERT INTO "audit" VALUES(4,1.79522071596569371227e+09,'unix:root','job.submit','job 3','{"args":{"hotel":"D"},"task":"resort.activate_hotel"}','0ad15170b6514489cfd1907894e51193e5f9e8d1ac44fb645977222528582b9d','75193df9c1b19caa2eb8902d93e5e20a701bfc80e89c8b298cf61b5028c163df');
INSERT INTO "audit" VALUES(5,1.79522071645781373981e+09,'unix:root','resort.stop','resort:main','{"cancelled_jobs":[3],"device":"main","reason":""}','75193df9c1b19caa2eb8902d93e5e20a701bfc80e89c8b298cf61b5028c163df','bde08a928be7fea0f20749a5306c4fe412eb9b2461e6513323ac03553eed39ae');
INSERT INTO "audit" VALUES(6,1.79522071660210323336e+09,'unix:root','resort.reset','resort:main','{"by":"anna","device":"main","reason":"ok","stopped":{"at":"2026-11-21T00:25:16.457647Z","by":"unix:root","reason":""}}','bde08a928be7fea0f20749a5306c4fe412eb9b2461e6513323ac03553eed39ae','defddfe71fc201af92f731d61fa3424e82abd264188f30aa9da98cab4664c157');
INSERT INTO "audit" VALUES(7,1.79522071676178479192e+09,'unix:root','job.submit','job 4','{"args":{"hotel":"A"},"task":"resort.activate_hotel"}','defddfe71fc201af92f731d61fa3424e82abd264188f30aa9da98cab4664c157','4256d58ce2cea1938d3c1d0571fc2d80b6dd0048e745c3243bb6299ca2136af3');
INSERT INTO "audit" VALUES(8,1.79522071947537040711e+09,'unix:root','queue.pause','low-priority','{"reason":"night"}','4256d58ce2cea1938d3c1d0571fc2d80b6dd0048e745c3243bb6299ca2136af3','2582c76704c35781028556ca8b2de8ea99b813a57b42f84e4ee53a1bf8620ad1');
INSERT INTO "audit" VALUES(9,1.79522071957404279708e+09,'unix:root','schedule.put','morning','{"anchor_at":null,"args":{},"cron":"0 6 * * 1-5","interval_s":null,"jitter_s":0.0,"misfire":"latest","misfire_limit":10,"name":"morning","overlap":"skip","overlap_limit":2,"paused":false,"priority":null,"queue":null,"tags":[],"task":"resort.get_motor_health","timezone":"UTC"}','2582c76704c35781028556ca8b2de8ea99b813a57b42f84e4ee53a1bf8620ad1','31e14ac6d9f1668d2fb26466762a96bf2e7e73b7b1d8e1efc0abd12b35a5e12b');
INSERT INTO "audit" VALUES(10,1.79522071966212654111e+09,'unix:root','token.create','dashboard','{"expires_in_s":null,"scopes":["read"]}','31e14ac6d9f1668d2fb26466762a96bf2e7e73b7b1d8e1efc0abd12b35a5e12b','a2b4df3209250a1e87229a288fbed6d27fb6d6d0ccb2de040c8acec4da5b9a89');
INSERT INTO "audit" VALUES(11,1.79522072799054646487e+09,'unix:root','job.submit','job 5','{"args":{"hotel":"C"},"task":"resort.activate_hotel"}','a2b4df3209250a1e87229a288fbed6d27fb6d6d0ccb2de040c8acec4da5b9a89','0dfafa11dc4349b8ee37ef37c2ae518cc0522aaadacac2b292c033bdf66b280a');
INSERT INTO "audit" VALUES(12,1.79522072820671892167e+09,'labd','daemon.stop','demo','{}','0dfafa11dc4349b8ee37ef37c2ae518cc0522aaadacac2b292c033bdf66b280a','a6656c23d9d33f0dda4c635a73247d0d57a34d7fc6d56a8550870d9cd4e25e35');
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    job_id INTEGER,
    data TEXT NOT NULL
);
INSERT INTO "events" VALUES(1,1.79522071271473312374e+09,'daemon.started',NULL,'{"version":"0.1.0","pid":19773,"interrupted":0,"requeued":0,"held":0,"failed":0}');
INSERT INTO "events" VALUES(2,1.79522071272088432308e+09,'device.connected',NULL,'{"device":"main","simulated":true,"servo_id":1,"port":"/tmp/ld2/s/run/resort-main.port","model":1060,"model_name":"XL430-W250","firmware":52,"operating_mode":4,"torque_enabled":false,"position_steps":0,"moved_while_away_steps":0,"watchdog_supported":true,"watchdog_found":null}');
INSERT INTO "events" VALUES(3,1.79522071306701850893e+09,'job.submitted',1,'{"task":"resort.connect","queue":"standard","attempt":0}');
INSERT INTO "events" VALUES(4,1.79522071306714367869e+09,'job.started',1,'{"task":"resort.connect","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(5,1.79522071309566903112e+09,'job.succeeded',1,'{"task":"resort.connect","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(6,1.79522071353505301475e+09,'job.submitted',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":0}');
INSERT INTO "events" VALUES(7,1.79522071353519582746e+09,'job.started',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(8,1.79522071356862711905e+09,'job.progress',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":0.0,"total":90.0,"text":"at 0.0 degrees"}');
INSERT INTO "events" VALUES(9,1.79522071410388636596e+09,'job.progress',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":17.1,"total":90.0,"text":"at 17.1 degrees"}');
INSERT INTO "events" VALUES(10,1.79522071464944648743e+09,'job.progress',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":43.2,"total":90.0,"text":"at 43.2 degrees"}');
INSERT INTO "events" VALUES(11,1.7952207151996724605e+09,'job.progress',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":69.7,"total":90.0,"text":"at 69.7 degrees"}');
INSERT INTO "events" VALUES(12,1.79522071575220489502e+09,'job.progress',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":89.8,"total":90.0,"text":"at 89.8 degrees"}');
INSERT INTO "events" VALUES(13,1.79522071586232852928e+09,'job.succeeded',2,'{"task":"resort.activate_hotel","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(14,1.79522071596566700933e+09,'job.submitted',3,'{"task":"resort.activate_hotel","queue":"standard","attempt":0}');
INSERT INTO "events" VALUES(15,1.79522071596583724026e+09,'job.started',3,'{"task":"resort.activate_hotel","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(16,1.79522071599483513826e+09,'job.progress',3,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":0.0,"total":180.0,"text":"at 90.0 degrees"}');
INSERT INTO "events" VALUES(17,1.79522071645776534081e+09,'job.cancelling',3,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"code":"stop_latched","message":"cancelled by unix:root: stopped by unix:root"}');
INSERT INTO "events" VALUES(18,1.7952207164578678608e+09,'device.stop_latched',NULL,'{"device":"main","simulated":true,"by":"unix:root","reason":"","cancelled_jobs":[3]}');
INSERT INTO "events" VALUES(19,1.79522071647048664095e+09,'job.cancelled',3,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"code":"stop_latched","message":"cancelled by unix:root: stopped by unix:root"}');
INSERT INTO "events" VALUES(20,1.7952207164851431846e+09,'device.stop_confirmed',NULL,'{"device":"main","simulated":true,"attempts":2,"wire_ms":0.46478900003421586}');
INSERT INTO "events" VALUES(21,1.79522071660719323158e+09,'device.stop_reset',NULL,'{"device":"main","simulated":true,"by":"anna","reason":"ok"}');
INSERT INTO "events" VALUES(22,1795220716.76176,'job.submitted',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":0}');
INSERT INTO "events" VALUES(23,1.79522071676489782332e+09,'job.started',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(24,1.79522071679902887344e+09,'job.progress',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":0.0,"total":104.0,"text":"at 104.0 degrees"}');
INSERT INTO "events" VALUES(25,1.79522071730293512337e+09,'job.progress',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":15.5,"total":104.0,"text":"at 88.5 degrees"}');
INSERT INTO "events" VALUES(26,1.79522071785628032679e+09,'job.progress',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":42.2,"total":104.0,"text":"at 61.8 degrees"}');
INSERT INTO "events" VALUES(27,1.79522071839405012133e+09,'job.progress',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":68.1,"total":104.0,"text":"at 35.9 degrees"}');
INSERT INTO "events" VALUES(28,1.79522071894047331808e+09,'job.progress',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1,"done":94.3,"total":104.0,"text":"at 9.7 degrees"}');
INSERT INTO "events" VALUES(29,1.79522071937168335915e+09,'job.succeeded',4,'{"task":"resort.activate_hotel","queue":"standard","attempt":1}');
INSERT INTO "events" VALUES(30,1.79522071947543430331e+09,'queue.paused',NULL,'{"queue":"low-priority","by":"unix:root","reason":"night"}');
INSERT INTO "events" VALUES(31,1.79522071957402515416e+09,'schedule.changed',NULL,'{"schedule":"morning","paused":false}');
INSERT INTO "events" VALUES(32,1.79522072799052143099e+09,'job.submitted',5,'{"task":"resort.activate_hotel","queue":"low-priority","attempt":0}');
INSERT INTO "events" VALUES(33,1.79522072820415353779e+09,'daemon.draining',NULL,'{"limit_s":30.0}');
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
INSERT INTO "jobs" VALUES(1,'resort.connect','{}','standard',2,'succeeded',1,1,1.79522083306696891781e+09,1.79522071306696891787e+09,1.79522071306696891787e+09,1.79522071306712770457e+09,1.7952207130956580639e+09,1.79522131306696891787e+09,'unix:root','physical',NULL,'',NULL,5,NULL,'{"device":"main","position_deg":0.0,"position_steps":0,"hotel":"A","torque_enabled":true,"model":"XL430-W250","notes":[]}',NULL,'{"timeout_s":30.0,"resources":["resort:main/link"],"simulated":true}');
INSERT INTO "jobs" VALUES(2,'resort.activate_hotel','{"hotel":"B"}','standard',2,'succeeded',1,1,1.79522083353500390054e+09,1.79522071353500390052e+09,1.79522071353500390052e+09,1.79522071353518128397e+09,1.79522071586231827733e+09,1.79522131353500390051e+09,'unix:root','physical',NULL,'',NULL,13,NULL,'{"device":"main","hotel":"B","position_deg":90.0,"position_steps":1024,"goal_deg":90.0,"travelled_deg":90.0,"duration_s":2.296}',NULL,'{"timeout_s":900.0,"resources":["resort:main","resort:main/link"],"progress":{"done":90.0,"total":90.0,"text":"at 90.0 degrees"},"simulated":true}');
INSERT INTO "jobs" VALUES(3,'resort.activate_hotel','{"hotel":"D"}','standard',2,'cancelled',1,1,1.79522083596563124651e+09,1.79522071596563124662e+09,1.79522071596563124662e+09,1.79522071596582698822e+09,1.79522071647047328944e+09,1.79522131596563124661e+09,'unix:root','physical',NULL,'',NULL,19,NULL,NULL,'{"code":"stop_latched","message":"cancelled by unix:root: stopped by unix:root","type":"JobCancelled","details":{"by":"unix:root"}}','{"timeout_s":900.0,"resources":["resort:main","resort:main/link"],"progress":{"done":12.0,"total":180.0,"text":"at 102.0 degrees"},"simulated":true}');
INSERT INTO "jobs" VALUES(4,'resort.activate_hotel','{"hotel":"A"}','standard',2,'succeeded',1,1,1.7952208367617094516e+09,1.79522071676170945171e+09,1.79522071676170945171e+09,1.79522071676487708093e+09,1.79522071937167358398e+09,1.7952213167617094517e+09,'unix:root','physical',NULL,'',NULL,29,NULL,'{"device":"main","hotel":"A","position_deg":0.0,"position_steps":0,"goal_deg":0.0,"travelled_deg":-103.97,"duration_s":2.576}',NULL,'{"timeout_s":900.0,"resources":["resort:main","resort:main/link"],"progress":{"done":104.0,"total":104.0,"text":"at 0.0 degrees"},"simulated":true}');
INSERT INTO "jobs" VALUES(5,'resort.activate_hotel','{"hotel":"C"}','low-priority',3,'queued',0,1,1.79522090799047684666e+09,1.79522072799047684664e+09,1.79522072799047684664e+09,NULL,NULL,1.79522132799047684668e+09,'unix:root','physical',NULL,'',NULL,32,NULL,NULL,NULL,'{"timeout_s":900.0,"resources":["resort:main","resort:main/link"],"simulated":true}');
CREATE TABLE queues (
    name TEXT PRIMARY KEY,
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 9),
    concurrency INTEGER NOT NULL CHECK (concurrency >= 0),
    paused_by TEXT,
    paused_reason TEXT,
    paused_at REAL,
    CHECK ((paused_by IS NULL) = (paused_at IS NULL))
) WITHOUT ROWID;
INSERT INTO "queues" VALUES('low-priority',3,2,'unix:root','night',1.79522071947536230088e+09);
CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    state TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('api', 'settings')),
    created_by TEXT NOT NULL,
    created_at REAL NOT NULL
) WITHOUT ROWID;
INSERT INTO "schedules" VALUES('morning','{"name":"morning","task":"resort.get_motor_health","args":{},"cron":"0 6 * * 1-5","interval_s":null,"anchor_at":null,"timezone":"UTC","misfire":"latest","misfire_limit":10,"overlap":"skip","overlap_limit":2,"jitter_s":0.0,"queue":null,"priority":null,"tags":[],"paused":false}','{"settled":[[0.0,1795220719.5738876]],"next_run_at":1795413600.0,"last_run_at":null}','api','unix:root',1.7952207195738875866e+09);
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
INSERT INTO "tokens" VALUES(1,'dashboard','1f85833c06c4dd6bb27aca772228bb09551577bc06be2352f5daeba25c977005','["read"]',1.79522071966220903398e+09,'unix:root',NULL,NULL,NULL);
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
