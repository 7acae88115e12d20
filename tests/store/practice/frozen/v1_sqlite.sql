-- Synthetic data. A practice database as schema version 1 left it; never changed.
BEGIN TRANSACTION;
CREATE TABLE dataflows_practice_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT dataflows_practice_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "dataflows_practice_version" VALUES('0001');
CREATE TABLE outbox (
	seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	event_id TEXT NOT NULL, 
	event_type TEXT NOT NULL, 
	topic TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	payload JSON, 
	published_at DATETIME, 
	CONSTRAINT uq_outbox_event_id UNIQUE (event_id)
);
INSERT INTO "outbox" VALUES(1,'0b4adcba-d132-4234-af3c-7a7a861da9aa','patient.created','patient-events','1','2026-11-21 10:35:35.565409','{"patient_id": 1, "patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "J\u00f6rg", "nachname": "Gro\u00dfmann", "email": "j\u00f6rg.gro\u00dfmann@example.org", "telefon": "030 23125 001", "geburtsdatum": "2000-01-01", "symptome": ["Schlafst\u00f6rungen"], "offen_fuer_diga": true, "zeitliche_verfuegbarkeit": {"montag": ["09:00-12:00"]}, "extra": {"neu": "x"}, "possible_duplicate": false}}',NULL);
INSERT INTO "outbox" VALUES(2,'d97cc5dd-f030-4e59-a7c4-9582cffe1bd3','patient.updated','patient-events','1','2026-11-21 10:35:35.572814','{"patient_id": 1, "patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "J\u00f6rg", "nachname": "Gro\u00dfmann", "email": "j\u00f6rg.gro\u00dfmann@example.org", "telefon": "030 23125 002", "geburtsdatum": "2000-01-01", "symptome": ["Schlafst\u00f6rungen"], "offen_fuer_diga": true, "zeitliche_verfuegbarkeit": {"montag": ["09:00-12:00"]}, "extra": {"neu": "x"}, "possible_duplicate": false}}',NULL);
INSERT INTO "outbox" VALUES(3,'b812b9fa-50c9-4e8a-af94-0a8274b16c8e','patient.created','patient-events','2','2026-11-21 10:35:35.580347','{"patient_id": 2, "patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "Anna", "nachname": "Null", "possible_duplicate": true}}',NULL);
CREATE TABLE patient_consents (
	id INTEGER NOT NULL, 
	patient_id INTEGER NOT NULL, 
	registration_id INTEGER NOT NULL, 
	consent_metadata JSON, 
	registration_token TEXT, 
	registration_timestamp TEXT, 
	consented_at DATETIME, 
	file_sha256 TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_patient_consents PRIMARY KEY (id), 
	CONSTRAINT fk_patient_consents_patient_id_patients FOREIGN KEY(patient_id) REFERENCES patients (id), 
	CONSTRAINT fk_patient_consents_registration_id_patient_registrations FOREIGN KEY(registration_id) REFERENCES patient_registrations (id)
);
INSERT INTO "patient_consents" VALUES(1,1,1,'{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}','0b1ab67b','2025-07-05 14:33:55','2025-07-05 14:33:55.000000','d6e3dc9eb99a148faff03234830c10b9dd50ed4be3367f4dd36266dac16216af','2026-11-21 10:35:35.566625');
INSERT INTO "patient_consents" VALUES(2,1,2,'{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:34:55Z"}','aaaaaaaaaaaa','2025-07-05 14:34:55','2025-07-05 14:34:55.000000','057be94c17b6aee49877eb1ec1ba5068b75318936a745d42e15ffa8a71ef8ec6','2026-11-21 10:35:35.573310');
INSERT INTO "patient_consents" VALUES(3,1,3,'{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:32:55Z"}','bbbbbbbbbbbb','2025-07-05 14:32:55','2025-07-05 14:32:55.000000','eacfc2b29b6ba2401136ee441f98f7a1e4d0131d27c37eacdb9de6dd8cb67e79','2026-11-21 10:35:35.576743');
INSERT INTO "patient_consents" VALUES(4,2,4,'{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}','0b1ab67b','2025-07-05 14:33:55','2025-07-05 14:33:55.000000','d8b61d38a82cd9ca71273842d6d1fc819c8f6ffff5f83ad2f2fe0c36ac36333f','2026-11-21 10:35:35.580934');
CREATE TABLE patient_registrations (
	id INTEGER NOT NULL, 
	patient_id INTEGER NOT NULL, 
	sha256 TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	flag TEXT, 
	bucket TEXT NOT NULL, 
	object_name TEXT NOT NULL, 
	generation INTEGER NOT NULL, 
	copy_name TEXT NOT NULL, 
	size INTEGER NOT NULL, 
	registered_at DATETIME NOT NULL, 
	registered_by TEXT NOT NULL, 
	document JSON NOT NULL, 
	run_id TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_patient_registrations PRIMARY KEY (id), 
	CONSTRAINT fk_patient_registrations_patient_id_patients FOREIGN KEY(patient_id) REFERENCES patients (id), 
	CONSTRAINT uq_patient_registrations_sha256 UNIQUE (sha256)
);
INSERT INTO "patient_registrations" VALUES(1,1,'d6e3dc9eb99a148faff03234830c10b9dd50ed4be3367f4dd36266dac16216af','imported',NULL,'synthetic-registrations','Großmann_Jörg_2025-07-05_0b1ab67b.json',1700000000000001,'Großmann_Jörg_2025-07-05_0b1ab67b.json',750,'2025-07-05 14:33:55.000000','consent','{"patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "J\u00f6rg", "nachname": "Gro\u00dfmann", "email": "j\u00f6rg.gro\u00dfmann@example.org", "geburtsdatum": "2000-01-01", "telefon": "030 23125 001", "symptome": ["Schlafst\u00f6rungen"], "neu": "x", "zeitliche_verfuegbarkeit": {"montag": ["09:00-12:00"]}, "offen_fuer_diga": true}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}, "registration_timestamp": "2025-07-05 14:33:55", "registration_token": "0b1ab67b"}','run-1','2026-11-21 10:35:35.565907');
INSERT INTO "patient_registrations" VALUES(2,1,'057be94c17b6aee49877eb1ec1ba5068b75318936a745d42e15ffa8a71ef8ec6','updated',NULL,'synthetic-registrations','Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json',1700000000000002,'Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json',520,'2025-07-05 14:34:55.000000','consent','{"patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "J\u00f6rg", "nachname": "Gro\u00dfmann", "email": "j\u00f6rg.gro\u00dfmann@example.org", "geburtsdatum": "2000-01-01", "telefon": "030 23125 002"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:34:55Z"}, "registration_timestamp": "2025-07-05 14:34:55", "registration_token": "aaaaaaaaaaaa"}','run-1','2026-11-21 10:35:35.573023');
INSERT INTO "patient_registrations" VALUES(3,1,'eacfc2b29b6ba2401136ee441f98f7a1e4d0131d27c37eacdb9de6dd8cb67e79','superseded',NULL,'synthetic-registrations','Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json',1700000000000003,'Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json',484,'2025-07-05 14:32:55.000000','consent','{"patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "J\u00f6rg", "nachname": "Gro\u00dfmann", "email": "j\u00f6rg.gro\u00dfmann@example.org", "geburtsdatum": "2000-01-01"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:32:55Z"}, "registration_timestamp": "2025-07-05 14:32:55", "registration_token": "bbbbbbbbbbbb"}','run-1','2026-11-21 10:35:35.576305');
INSERT INTO "patient_registrations" VALUES(4,2,'d8b61d38a82cd9ca71273842d6d1fc819c8f6ffff5f83ad2f2fe0c36ac36333f','imported','no_email','synthetic-registrations','Null_Anna_2025-07-05_0b1ab67b.json',1700000000000004,'Null_Anna_2025-07-05_0b1ab67b.json',388,'2025-07-05 14:33:55.000000','consent','{"patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "Anna", "nachname": "Null"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}, "registration_timestamp": "2025-07-05 14:33:55", "registration_token": "0b1ab67b"}','run-1','2026-11-21 10:35:35.580632');
CREATE TABLE patient_tracking (
	id INTEGER NOT NULL, 
	bucket TEXT NOT NULL, 
	object_name TEXT NOT NULL, 
	generation INTEGER NOT NULL, 
	status TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	code TEXT, 
	sha256 TEXT, 
	size INTEGER, 
	object_time DATETIME, 
	copy_name TEXT, 
	patient_id INTEGER, 
	registration_id INTEGER, 
	consent_id INTEGER, 
	deleted_at DATETIME, 
	told TEXT, 
	run_id TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_patient_tracking PRIMARY KEY (id), 
	CONSTRAINT fk_patient_tracking_consent_id_patient_consents FOREIGN KEY(consent_id) REFERENCES patient_consents (id), 
	CONSTRAINT fk_patient_tracking_patient_id_patients FOREIGN KEY(patient_id) REFERENCES patients (id), 
	CONSTRAINT fk_patient_tracking_registration_id_patient_registrations FOREIGN KEY(registration_id) REFERENCES patient_registrations (id), 
	CONSTRAINT uq_patient_tracking_bucket_object_name_generation UNIQUE (bucket, object_name, generation)
);
INSERT INTO "patient_tracking" VALUES(1,'synthetic-registrations','Großmann_Jörg_2025-07-05_0b1ab67b.json',1700000000000001,'imported',0,NULL,'d6e3dc9eb99a148faff03234830c10b9dd50ed4be3367f4dd36266dac16216af',750,'2025-07-05 15:00:00.000000','Großmann_Jörg_2025-07-05_0b1ab67b.json',1,1,1,'2026-11-21 10:35:35.582700',NULL,'run-1','2026-11-21 10:35:35.567107','2026-11-21 10:35:35.582700');
INSERT INTO "patient_tracking" VALUES(2,'synthetic-registrations','Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json',1700000000000002,'updated',0,NULL,'057be94c17b6aee49877eb1ec1ba5068b75318936a745d42e15ffa8a71ef8ec6',520,'2025-07-05 15:00:01.000000','Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json',1,2,2,NULL,NULL,'run-1','2026-11-21 10:35:35.573481','2026-11-21 10:35:35.573481');
INSERT INTO "patient_tracking" VALUES(3,'synthetic-registrations','Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json',1700000000000003,'superseded',0,NULL,'eacfc2b29b6ba2401136ee441f98f7a1e4d0131d27c37eacdb9de6dd8cb67e79',484,'2025-07-05 15:00:02.000000','Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json',1,3,3,NULL,NULL,'run-1','2026-11-21 10:35:35.576939','2026-11-21 10:35:35.576939');
INSERT INTO "patient_tracking" VALUES(4,'synthetic-registrations','Null_Anna_2025-07-05_0b1ab67b.json',1700000000000004,'imported',0,NULL,'d8b61d38a82cd9ca71273842d6d1fc819c8f6ffff5f83ad2f2fe0c36ac36333f',388,'2025-07-05 15:00:03.000000','Null_Anna_2025-07-05_0b1ab67b.json',2,4,4,NULL,NULL,'run-1','2026-11-21 10:35:35.581100','2026-11-21 10:35:35.581100');
INSERT INTO "patient_tracking" VALUES(5,'synthetic-registrations','Beispiel_Eva_2025-07-05_0b1ab67b.json',1700000000000009,'dead',5,'not_json',NULL,7,'2025-07-05 15:01:00.000000',NULL,NULL,NULL,NULL,NULL,'dead','run-1','2026-11-21 10:35:35.584565','2026-11-21 10:35:35.584565');
CREATE TABLE patients (
	id INTEGER NOT NULL, 
	identity_key TEXT, 
	email_key TEXT, 
	name_key TEXT NOT NULL, 
	possible_duplicate BOOLEAN NOT NULL, 
	registered_at DATETIME NOT NULL, 
	registered_generation INTEGER NOT NULL, 
	anrede TEXT, 
	geschlecht TEXT, 
	vorname TEXT NOT NULL, 
	nachname TEXT NOT NULL, 
	strasse TEXT, 
	plz TEXT, 
	ort TEXT, 
	email TEXT, 
	telefon TEXT, 
	geburtsdatum DATE, 
	hausarzt TEXT, 
	krankenkasse TEXT, 
	krankenversicherungsnummer TEXT, 
	diagnose TEXT, 
	symptome JSON, 
	erfahrung_mit_psychotherapie BOOLEAN, 
	letzte_sitzung_vorherige_psychotherapie DATE, 
	vertraege_unterschrieben BOOLEAN, 
	psychotherapeutische_sprechstunde BOOLEAN, 
	offen_fuer_gruppentherapie BOOLEAN, 
	offen_fuer_diga BOOLEAN, 
	empfehler_der_unterstuetzung TEXT, 
	zeitliche_verfuegbarkeit JSON, 
	raeumliche_verfuegbarkeit JSON, 
	verkehrsmittel TEXT, 
	bevorzugtes_therapeutengeschlecht TEXT, 
	bevorzugtes_therapieverfahren TEXT, 
	ausgeschlossene_therapeuten JSON, 
	extra JSON, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, 
	CONSTRAINT pk_patients PRIMARY KEY (id), 
	CONSTRAINT uq_patients_identity_key UNIQUE (identity_key)
);
INSERT INTO "patients" VALUES(1,'5091c7dce8a5f2f49f3dd8cff87dde34a177e4bcc42947fd5e7c52dfe30f606b','7c571284f2f73f2d04c46e9d624dcea71d7fb8920b7f3b567b7d2c958c75eb75','47fc5edbc7f36ccc2ad33a74d9dffdb5635671120c006a9aa2e5e80ae49f249c',0,'2025-07-05 14:34:55.000000',1700000000000002,'Herr','männlich','Jörg','Großmann',NULL,NULL,NULL,'jörg.großmann@example.org','030 23125 002','2000-01-01',NULL,NULL,NULL,NULL,'["Schlafst\u00f6rungen"]',NULL,NULL,NULL,NULL,NULL,1,NULL,'{"montag": ["09:00-12:00"]}',NULL,NULL,NULL,NULL,NULL,'{"neu": "x"}','2026-11-21 10:35:35.562484','2026-11-21 10:35:35.571572');
INSERT INTO "patients" VALUES(2,NULL,NULL,'382349471ea715276d5f599a764c36b6d4c1224cdb730731c8fe00f22ab8284d',1,'2025-07-05 14:33:55.000000',1700000000000004,'Herr','männlich','Anna','Null',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-21 10:35:35.579414','2026-11-21 10:35:35.579414');
CREATE INDEX ix_patients_email_key ON patients (email_key);
CREATE INDEX ix_patient_registrations_patient_id ON patient_registrations (patient_id);
CREATE INDEX ix_patient_consents_patient_id ON patient_consents (patient_id);
CREATE INDEX ix_patient_consents_registration_id ON patient_consents (registration_id);
CREATE INDEX ix_outbox_unpublished ON outbox (topic, seq) WHERE published_at IS NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('outbox',3);
COMMIT;
