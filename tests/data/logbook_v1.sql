BEGIN TRANSACTION;
CREATE TABLE lines (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL,
    at REAL NOT NULL,
    attempt INTEGER NOT NULL,
    level TEXT NOT NULL,
    text TEXT NOT NULL
);
INSERT INTO "lines" VALUES(1,2,1.79522225410893797878e+09,1,'info','from 0.00 degrees to hotel B at 90.00 degrees: +90.00 degrees of the motor');
INSERT INTO "lines" VALUES(2,3,1.79522225659296107286e+09,1,'info','from 90.00 degrees to hotel D at 270.00 degrees: +180.00 degrees of the motor');
INSERT INTO "lines" VALUES(3,4,1.79522225756255102155e+09,1,'info','from 106.96 degrees to hotel A at 0.00 degrees: -106.96 degrees of the motor');
CREATE TABLE readings (
    id INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    subject TEXT NOT NULL,
    name TEXT NOT NULL,
    value REAL NOT NULL
);
CREATE INDEX lines_of_job ON lines (job_id);
CREATE INDEX readings_of_subject ON readings (subject, name, at);
COMMIT;
PRAGMA user_version = 1;
