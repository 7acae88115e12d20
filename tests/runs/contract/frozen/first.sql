BEGIN TRANSACTION;
CREATE TABLE cqc_fetches (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL,
        folder TEXT NOT NULL,
        at TEXT NOT NULL,
        source TEXT NOT NULL,
        url TEXT NOT NULL,
        file TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        etag TEXT,
        last_modified TEXT,
        seconds REAL NOT NULL,
        tries INTEGER NOT NULL,
        good INTEGER NOT NULL
    );
INSERT INTO "cqc_fetches" VALUES(1,'x','/files','2026-01-01T02:00:00.000+00:00','homecare','https://x/a.csv','cqc_homecare_20260101_020304Z.csv',10,2,'ab','"e"',NULL,0.5,2,1);
CREATE TABLE csc_children (
        id INTEGER PRIMARY KEY,
        receiver INTEGER NOT NULL,
        child BLOB NOT NULL,
        held BLOB,
        receipt TEXT,
        in_doubt BLOB,
        reset TEXT,
        table_id INTEGER,
        row_id INTEGER,
        person BLOB,
        unwritten BLOB,
        write_back TEXT,
        fingerprint BLOB,
        status TEXT,
        row_state TEXT,
        at TEXT NOT NULL,
        UNIQUE (receiver, child)
    );
INSERT INTO "csc_children" VALUES(1,1,X'921DF2FEF5B7784D2E779AD8D7C3D72FA03AB518',X'68617368','receipt SYN1',NULL,NULL,1,7,NULL,NULL,NULL,NULL,NULL,NULL,'2026-01-01T02:00:00.000+00:00');
INSERT INTO "csc_children" VALUES(2,1,X'664A27A9E93061950618C0751ACFD6FF0FC29E8B',NULL,NULL,X'646F756274',NULL,1,8,NULL,NULL,NULL,NULL,NULL,NULL,'2026-01-01T02:00:00.000+00:00');
CREATE TABLE csc_receivers (
        id INTEGER PRIMARY KEY, address TEXT NOT NULL, la_code TEXT NOT NULL, UNIQUE (address, la_code)
    );
INSERT INTO "csc_receivers" VALUES(1,'https://COUNCIL.example/api','301');
CREATE TABLE csc_tables (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, receiver INTEGER REFERENCES csc_receivers (id)
    );
INSERT INTO "csc_tables" VALUES(1,'old spelling',1);
CREATE TABLE hospital_batches (
        batch_id TEXT PRIMARY KEY, holder TEXT NOT NULL, parent TEXT, place INTEGER, active INTEGER NOT NULL DEFAULT 0,
        suspect REAL, host TEXT
    );
INSERT INTO "hospital_batches" VALUES('33333333-3333-4333-8333-333333333333','22222222-2222-4222-8222-222222222222',NULL,NULL,0,NULL,NULL);
CREATE TABLE hospital_directories (
        address TEXT PRIMARY KEY, started REAL NOT NULL, counted INTEGER NOT NULL, closed REAL NOT NULL
    );
INSERT INTO "hospital_directories" VALUES('https://directory.example',100.0,20,0.0);
CREATE TABLE hospital_rows (
        batch_id TEXT NOT NULL, place INTEGER NOT NULL, state TEXT NOT NULL, hospital_id INTEGER,
        attempts INTEGER NOT NULL, unanswered INTEGER NOT NULL, given_up REAL, host TEXT, seconds REAL, code TEXT,
        PRIMARY KEY (batch_id, place)
    ) WITHOUT ROWID
    ;
INSERT INTO "hospital_rows" VALUES('33333333-3333-4333-8333-333333333333',0,'created',70,1,0,NULL,NULL,0.5,NULL);
INSERT INTO "hospital_rows" VALUES('33333333-3333-4333-8333-333333333333',1,'unknown',NULL,1,1,5.0,'synthetic',NULL,'no_answer');
CREATE TABLE hospital_uploads (
        run_id TEXT PRIMARY KEY, upload TEXT NOT NULL, occurrence INTEGER NOT NULL, path TEXT NOT NULL,
        rows TEXT NOT NULL, size INTEGER NOT NULL
    );
INSERT INTO "hospital_uploads" VALUES('22222222-2222-4222-8222-222222222222','key',0,'/file.csv','rows',20);
CREATE TABLE items (
        run_id TEXT NOT NULL,
        key TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        started_at TEXT,
        ended_at TEXT,
        code TEXT,
        message TEXT,
        PRIMARY KEY (run_id, key)
    ) WITHOUT ROWID;
INSERT INTO "items" VALUES('11111111-1111-4111-8111-111111111111','7','done',1,NULL,'2026-01-01T02:00:00.000+00:00',NULL,NULL);
INSERT INTO "items" VALUES('22222222-2222-4222-8222-222222222222','1','done',1,NULL,'2026-01-02T02:00:00.000+00:00',NULL,NULL);
INSERT INTO "items" VALUES('22222222-2222-4222-8222-222222222222','2','unknown',1,NULL,'2026-01-02T02:00:00.000+00:00','no_answer',NULL);
CREATE TABLE parts (part TEXT PRIMARY KEY, version INTEGER NOT NULL);
INSERT INTO "parts" VALUES('runs',1);
INSERT INTO "parts" VALUES('cqc',1);
INSERT INTO "parts" VALUES('csc',1);
INSERT INTO "parts" VALUES('hospitals',1);
CREATE TABLE runs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL UNIQUE,
        command TEXT NOT NULL,
        target TEXT NOT NULL,
        batch_id TEXT,
        state TEXT NOT NULL,
        started_at TEXT NOT NULL,
        ended_at TEXT,
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        options TEXT NOT NULL,
        counts TEXT NOT NULL DEFAULT '{}',
        total INTEGER,
        step TEXT NOT NULL DEFAULT '',
        exit_code INTEGER,
        error_code TEXT,
        error TEXT,
        hint TEXT,
        log_file TEXT,
        continued_by TEXT
    );
INSERT INTO "runs" VALUES(1,'11111111-1111-4111-8111-111111111111','csc-submit','table',NULL,'done','2026-01-01T02:00:00.000+00:00','2026-01-01T02:00:00.000+00:00',11,'synthetic','{"full": false}','{"done": 1}',1,'',0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "runs" VALUES(2,'22222222-2222-4222-8222-222222222222','hospitals-bulk','key','33333333-3333-4333-8333-333333333333','resumable','2026-01-02T02:00:00.000+00:00','2026-01-02T02:00:00.000+00:00',12,'synthetic','{"key": "key"}','{"done": 1, "pending": 1}',2,'',130,NULL,NULL,NULL,NULL,NULL);
CREATE INDEX runs_by_target ON runs (command, target, seq);
CREATE INDEX cqc_fetches_by_source ON cqc_fetches (folder, source, good, id)
    ;
CREATE INDEX csc_children_by_row ON csc_children (table_id, row_id);
CREATE INDEX csc_children_to_write ON csc_children (table_id) WHERE write_back IS NOT NULL
    ;
CREATE INDEX hospital_uploads_by_path ON hospital_uploads (path);
CREATE INDEX hospital_uploads_by_rows ON hospital_uploads (rows);
CREATE INDEX hospital_batches_by_parent ON hospital_batches (parent) WHERE parent IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',2);
INSERT INTO "sqlite_sequence" VALUES('cqc_fetches',1);
COMMIT;
