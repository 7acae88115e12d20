-- Synthetic data. A practice database as schema version 2 left it; never changed.
BEGIN TRANSACTION;
CREATE TABLE dataflows_practice_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT dataflows_practice_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "dataflows_practice_version" VALUES('0002');
CREATE TABLE import_tracking (
	id INTEGER NOT NULL, 
	file_name TEXT NOT NULL, 
	file_hash TEXT NOT NULL, 
	processed_at DATETIME NOT NULL, 
	therapist_count INTEGER NOT NULL, 
	new_count INTEGER NOT NULL, 
	updated_count INTEGER NOT NULL, 
	unchanged_count INTEGER NOT NULL, 
	deleted_count INTEGER NOT NULL, 
	status TEXT NOT NULL, 
	error TEXT, 
	attempts INTEGER NOT NULL, 
	scrape_date DATETIME, 
	told TEXT, 
	run_id TEXT NOT NULL, 
	CONSTRAINT pk_import_tracking PRIMARY KEY (id)
);
INSERT INTO "import_tracking" VALUES(1,'52074.json','aedbd30439c50ffdb2e78998466d7cda3dd663981ba12e3f9af096fda47c177b','2026-12-01 02:42:09.683855',3,3,0,0,0,'success',NULL,0,'2025-07-01 03:00:00.000000',NULL,'1798688f-d91c-4a97-af2b-5315dd057d75');
INSERT INTO "import_tracking" VALUES(2,'52074.json','c9be936f17b338cfd105ef64e780cf7eb52e99e274a88d41d9e79af229db62e9','2026-12-01 02:42:09.842511',3,0,1,0,1,'partial','1 no_name basic_info.first_name',1,'2025-07-08 03:00:00.000000','failed','6acfdba0-af51-46ec-872c-4c9138e9cd51');
INSERT INTO "import_tracking" VALUES(3,'80331.json','c7e254add89b74356a47d20162ade1870392a6eab04df5102c0083865b1c0162','2026-12-01 02:42:09.980049',8,8,0,0,0,'success',NULL,0,'2025-07-01 03:00:00.000000',NULL,'f1e1e868-8329-4041-804a-03f0c6fe1057');
INSERT INTO "import_tracking" VALUES(4,'80331.json','63796ce555f89029293fd35093684410789b9f7f4bef55552d81c2e2320bf4ac','2026-12-01 02:42:10.119467',0,0,0,0,0,'failed','suspicious',1,'2025-07-08 03:00:00.000000','failed','597dc264-62d3-4613-8276-48845faa9862');
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
INSERT INTO "outbox" VALUES(1,'90b5b23d-3ae4-46ab-a830-4f41b9e0a313','patient.created','patient-events','1','2026-12-01 02:42:08.490332','{"patient_id": 1, "patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "J\u00f6rg", "nachname": "Gro\u00dfmann", "email": "j\u00f6rg.gro\u00dfmann@example.org", "telefon": "030 23125 001", "geburtsdatum": "2000-01-01", "symptome": ["Schlafst\u00f6rungen"], "extra": {"neu": "x"}, "possible_duplicate": false}}',NULL);
INSERT INTO "outbox" VALUES(2,'fa57b767-ac23-461b-924a-a5906973984f','patient.updated','patient-events','1','2026-12-01 02:42:08.665925','{"patient_id": 1, "patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "J\u00f6rg", "nachname": "Gro\u00dfmann", "plz": "52074", "email": "j\u00f6rg.gro\u00dfmann@example.org", "telefon": "030 23125 002", "geburtsdatum": "2000-01-01", "symptome": ["Schlafst\u00f6rungen"], "extra": {"neu": "x"}, "possible_duplicate": false}}',NULL);
INSERT INTO "outbox" VALUES(3,'0510f465-3b8d-4dff-b344-7e2a5b6025df','patient.created','patient-events','2','2026-12-01 02:42:08.997869','{"patient_id": 2, "patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "Anna", "nachname": "Null", "possible_duplicate": true}}',NULL);
INSERT INTO "outbox" VALUES(4,'3c26e67a-6b82-4e0e-894a-f8db0dde2af7','patient.created','patient-events','3','2026-12-01 02:42:09.202228','{"patient_id": 3, "patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "Berta", "nachname": "Muster", "plz": "52062", "email": "berta.muster@example.org", "geburtsdatum": "2000-01-01", "possible_duplicate": false}}',NULL);
INSERT INTO "outbox" VALUES(5,'21129785-0b9d-43a7-b449-2ee2a3e67e0b','therapist.created','therapist-events','1','2026-12-01 02:42:09.683169','{"therapist_id": 1, "therapist_data": {"area": "52XXX", "source_id": "praxis67", "active": true, "salutation": "Herr", "title": "Dr.", "first_name": "Thomas", "last_name": "Muster", "full_name": null, "classification": null, "street": "Musterweg", "house_number": "7", "postal_code": "52074", "city": "Aachen", "phone": "030 23125 101", "email": "thomas.muster@example.org", "fax": null, "languages": ["Deutsch", "Englisch"], "therapy_methods": ["Verhaltenstherapie"], "telephone_hours": null, "extra": null}}',NULL);
INSERT INTO "outbox" VALUES(6,'5a62823c-2f9b-4387-9255-02baccb67233','therapist.created','therapist-events','2','2026-12-01 02:42:09.683169','{"therapist_id": 2, "therapist_data": {"area": "52XXX", "source_id": "praxis68", "active": true, "salutation": "Herr", "title": "Dr.", "first_name": "Jean\u00a0Paul", "last_name": "D\u2019Arc", "full_name": null, "classification": null, "street": "Musterweg", "house_number": "7", "postal_code": "52074", "city": "Aachen", "phone": "030 23125 101", "email": "jean\u00a0paul.d\u2019arc@example.org", "fax": null, "languages": ["Deutsch", "Englisch"], "therapy_methods": ["Verhaltenstherapie"], "telephone_hours": null, "extra": null}}',NULL);
INSERT INTO "outbox" VALUES(7,'06c5ae21-de2a-4d71-ae7a-3f1f3c69f878','therapist.created','therapist-events','3','2026-12-01 02:42:09.683169','{"therapist_id": 3, "therapist_data": {"area": "52XXX", "source_id": "praxis69", "active": true, "salutation": "Herr", "title": "Dr.", "first_name": "Eva", "last_name": "Weg", "full_name": null, "classification": null, "street": "Musterweg", "house_number": "7", "postal_code": "52074", "city": "Aachen", "phone": "030 23125 101", "email": "eva.weg@example.org", "fax": null, "languages": ["Deutsch", "Englisch"], "therapy_methods": ["Verhaltenstherapie"], "telephone_hours": null, "extra": null}}',NULL);
INSERT INTO "outbox" VALUES(8,'7e6c2cd4-b53b-4429-aa9e-24dcafaf3927','therapist.updated','therapist-events','1','2026-12-01 02:42:09.829917','{"therapist_id": 1, "therapist_data": {"area": "52XXX", "source_id": "praxis67", "active": true, "salutation": "Herr", "title": "Dr.", "first_name": "Thomas", "last_name": "Muster", "full_name": null, "classification": null, "street": "Musterweg", "house_number": "7", "postal_code": "52074", "city": "Aachen", "phone": "030 23125 109", "email": "thomas.muster@example.org", "fax": null, "languages": ["Deutsch", "Englisch"], "therapy_methods": ["Verhaltenstherapie"], "telephone_hours": null, "extra": null}}',NULL);
INSERT INTO "outbox" VALUES(9,'01116801-c7b7-41fc-815b-c12c7bc1c322','therapist.deleted','therapist-events','3','2026-12-01 02:42:09.840737','{"therapist_id": 3, "therapist_data": {"active": false, "salutation": "Herr", "title": "Dr.", "first_name": "Eva", "last_name": "Weg", "full_name": null, "classification": null, "street": "Musterweg", "house_number": "7", "postal_code": "52074", "city": "Aachen", "phone": "030 23125 101", "email": "eva.weg@example.org", "fax": null, "languages": ["Deutsch", "Englisch"], "therapy_methods": ["Verhaltenstherapie"], "telephone_hours": null, "extra": null}}',NULL);
INSERT INTO "outbox" VALUES(10,'9c52196a-3bb9-4711-96e5-47c51e8e9bf8','therapist.created','therapist-events','4','2026-12-01 02:42:09.978990','{"therapist_id": 4, "therapist_data": {"area": "80XXX", "source_id": "praxis0", "active": true, "salutation": "Herr", "title": "Dr.", "first_name": "A", "last_name": "Viel", "full_name": null, "classification": null, "street": "Musterweg", "house_number": "7", "postal_code": "52074", "city": "Aachen", "phone": "030 23125 101", "email": "a.viel@example.org", "fax": null, "languages": ["Deutsch", "Englisch"], "therapy_methods": ["Verhaltenstherapie"], "telephone_hours": null, "extra": null}}',NULL);
INSERT INTO "outbox" VALUES(11,'76001dea-ae92-4eca-b836-669603ab1ece','therapist.created','therapist-events','5','2026-12-01 02:42:09.978990','{"therapist_id": 5, "therapist_data": {"area": "80XXX", "source_id": "praxis1", "active": true, "salutation": "Herr", "title": "Dr.", "first_name": "AA", "last_name": "Viel", "full_name": null, "classification": null, "street": "Musterweg", "house_number": "7", "postal_code": "52074", "city": "Aachen", "phone": "030 23125 101", "email": "aa.viel@example.org", "fax": null, "languages": ["Deutsch", "Englisch"], "therapy_methods": ["Verhaltenstherapie"], "telephone_hours": null, "extra": null}}',NULL);
INSERT INTO "outbox" VALUES(12,'290eb91b-9412-434c-930b-bc4538f4f234','therapist.created','therapist-events','6','2026-12-01 02:42:09.978990','{"therapist_id": 6, "therapist_data": {"area": "80XXX", "source_id": "praxis2", "active": true, "salutation": "Herr", "title": "Dr.", "first_name": "AAA", "last_name": "Viel", "full_name": null, "classification": null, "street": "Musterweg", "house_number": "7", "postal_code": "52074", "city": "Aachen", "phone": "030 23125 101", "email": "aaa.viel@example.org", "fax": null, "languages": ["Deutsch", "Englisch"], "therapy_methods": ["Verhaltenstherapie"], "telephone_hours": null, "extra": null}}',NULL);
INSERT INTO "outbox" VALUES(13,'835c9347-e38c-4d9c-9f83-fb186c207f14','therapist.created','therapist-events','7','2026-12-01 02:42:09.978990','{"therapist_id": 7, "therapist_data": {"area": "80XXX", "source_id": "praxis3", "active": true, "salutation": "Herr", "title": "Dr.", "first_name": "AAAA", "last_name": "Viel", "full_name": null, "classification": null, "street": "Musterweg", "house_number": "7", "postal_code": "52074", "city": "Aachen", "phone": "030 23125 101", "email": "aaaa.viel@example.org", "fax": null, "languages": ["Deutsch", "Englisch"], "therapy_methods": ["Verhaltenstherapie"], "telephone_hours": null, "extra": null}}',NULL);
INSERT INTO "outbox" VALUES(14,'55b26f9e-b6a8-47e1-b6cb-8719778af310','therapist.created','therapist-events','8','2026-12-01 02:42:09.978990','{"therapist_id": 8, "therapist_data": {"area": "80XXX", "source_id": "praxis4", "active": true, "salutation": "Herr", "title": "Dr.", "first_name": "AAAAA", "last_name": "Viel", "full_name": null, "classification": null, "street": "Musterweg", "house_number": "7", "postal_code": "52074", "city": "Aachen", "phone": "030 23125 101", "email": "aaaaa.viel@example.org", "fax": null, "languages": ["Deutsch", "Englisch"], "therapy_methods": ["Verhaltenstherapie"], "telephone_hours": null, "extra": null}}',NULL);
INSERT INTO "outbox" VALUES(15,'f4dcc862-41a4-4579-bc17-64ae10765033','therapist.created','therapist-events','9','2026-12-01 02:42:09.978990','{"therapist_id": 9, "therapist_data": {"area": "80XXX", "source_id": "praxis5", "active": true, "salutation": "Herr", "title": "Dr.", "first_name": "AAAAAA", "last_name": "Viel", "full_name": null, "classification": null, "street": "Musterweg", "house_number": "7", "postal_code": "52074", "city": "Aachen", "phone": "030 23125 101", "email": "aaaaaa.viel@example.org", "fax": null, "languages": ["Deutsch", "Englisch"], "therapy_methods": ["Verhaltenstherapie"], "telephone_hours": null, "extra": null}}',NULL);
INSERT INTO "outbox" VALUES(16,'23af0b90-9e39-4e41-8fca-4795f7be372a','therapist.created','therapist-events','10','2026-12-01 02:42:09.978990','{"therapist_id": 10, "therapist_data": {"area": "80XXX", "source_id": "praxis6", "active": true, "salutation": "Herr", "title": "Dr.", "first_name": "AAAAAAA", "last_name": "Viel", "full_name": null, "classification": null, "street": "Musterweg", "house_number": "7", "postal_code": "52074", "city": "Aachen", "phone": "030 23125 101", "email": "aaaaaaa.viel@example.org", "fax": null, "languages": ["Deutsch", "Englisch"], "therapy_methods": ["Verhaltenstherapie"], "telephone_hours": null, "extra": null}}',NULL);
INSERT INTO "outbox" VALUES(17,'cdb16267-9e31-4948-9005-773d825f06a7','therapist.created','therapist-events','11','2026-12-01 02:42:09.978990','{"therapist_id": 11, "therapist_data": {"area": "80XXX", "source_id": "praxis7", "active": true, "salutation": "Herr", "title": "Dr.", "first_name": "AAAAAAAA", "last_name": "Viel", "full_name": null, "classification": null, "street": "Musterweg", "house_number": "7", "postal_code": "52074", "city": "Aachen", "phone": "030 23125 101", "email": "aaaaaaaa.viel@example.org", "fax": null, "languages": ["Deutsch", "Englisch"], "therapy_methods": ["Verhaltenstherapie"], "telephone_hours": null, "extra": null}}',NULL);
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
INSERT INTO "patient_consents" VALUES(1,1,1,'{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}','0b1ab67b','2025-07-05 14:33:55','2025-07-05 14:33:55.000000','c9d2f15683928bb081f004ebeddc722519df362894571c962f8b12e991d9be5f','2026-12-01 02:42:08.492236');
INSERT INTO "patient_consents" VALUES(2,1,2,'{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:34:55Z"}','aaaaaaaaaaaa','2025-07-05 14:34:55','2025-07-05 14:34:55.000000','6a269e4a29da8eb43065610a025a267b1dabd0175703ad90ae8619a9d1eb47e3','2026-12-01 02:42:08.667851');
INSERT INTO "patient_consents" VALUES(3,1,3,'{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:32:55Z"}','bbbbbbbbbbbb','2025-07-05 14:32:55','2025-07-05 14:32:55.000000','440c7389898dac0da638970404b84c92b0acee955fafd57bd82c58980e22be36','2026-12-01 02:42:08.812628');
INSERT INTO "patient_consents" VALUES(4,2,4,'{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}','0b1ab67b','2025-07-05 14:33:55','2025-07-05 14:33:55.000000','d8b61d38a82cd9ca71273842d6d1fc819c8f6ffff5f83ad2f2fe0c36ac36333f','2026-12-01 02:42:08.999853');
INSERT INTO "patient_consents" VALUES(5,3,5,'{"timestamp_utc": "2099-01-01T00:00:00Z"}','cccccccccccc','2025-07-05 14:33:55','2099-01-01 00:00:00.000000','ebb8fb00b0d027bd43d0d51e25a20c75ad4882f0f1206dd29f39fa532bc4b59f','2026-12-01 02:42:09.203906');
INSERT INTO "patient_consents" VALUES(6,3,6,'{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T15:33:55Z"}','dddddddddddd','2025-07-05 15:33:55','2025-07-05 15:33:55.000000','5596c42c5149183d59886d002a49f472def58b13dbeed85ed5327da7c9f6d305','2026-12-01 02:42:09.349675');
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
INSERT INTO "patient_registrations" VALUES(1,1,'c9d2f15683928bb081f004ebeddc722519df362894571c962f8b12e991d9be5f','imported',NULL,'synthetic-registrations','Großmann_Jörg_2025-07-05_0b1ab67b.json',1700000000000001,'Großmann_Jörg_2025-07-05_0b1ab67b.json',600,'2025-07-05 14:33:55.000000','consent','{"patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "J\u00f6rg", "nachname": "Gro\u00dfmann", "email": "j\u00f6rg.gro\u00dfmann@example.org", "geburtsdatum": "2000-01-01", "telefon": "030 23125 001", "symptome": ["Schlafst\u00f6rungen"], "neu": "x"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}, "registration_timestamp": "2025-07-05 14:33:55", "registration_token": "0b1ab67b"}','198cab56-6ffc-45fb-a770-3e44f040bbe9','2026-12-01 02:42:08.491161');
INSERT INTO "patient_registrations" VALUES(2,1,'6a269e4a29da8eb43065610a025a267b1dabd0175703ad90ae8619a9d1eb47e3','updated',NULL,'synthetic-registrations','Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json',1700000000000002,'Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json',544,'2025-07-05 14:34:55.000000','consent','{"patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "J\u00f6rg", "nachname": "Gro\u00dfmann", "email": "j\u00f6rg.gro\u00dfmann@example.org", "geburtsdatum": "2000-01-01", "telefon": "030 23125 002", "plz": "52074"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:34:55Z"}, "registration_timestamp": "2025-07-05 14:34:55", "registration_token": "aaaaaaaaaaaa"}','d3087c0c-b652-47b4-8614-8d2f2a8d6105','2026-12-01 02:42:08.666852');
INSERT INTO "patient_registrations" VALUES(3,1,'440c7389898dac0da638970404b84c92b0acee955fafd57bd82c58980e22be36','superseded',NULL,'synthetic-registrations','Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json',1700000000000003,'Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json',509,'2025-07-05 14:32:55.000000','consent','{"patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "J\u00f6rg", "nachname": "Gro\u00dfmann", "email": "j\u00f6rg.gro\u00dfmann@example.org", "geburtsdatum": "2000-01-01", "ort": "Aachen"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:32:55Z"}, "registration_timestamp": "2025-07-05 14:32:55", "registration_token": "bbbbbbbbbbbb"}','39436ab1-e680-4c55-b067-659b79eeea13','2026-12-01 02:42:08.805715');
INSERT INTO "patient_registrations" VALUES(4,2,'d8b61d38a82cd9ca71273842d6d1fc819c8f6ffff5f83ad2f2fe0c36ac36333f','imported','no_email','synthetic-registrations','Null_Anna_2025-07-05_0b1ab67b.json',1700000000000004,'Null_Anna_2025-07-05_0b1ab67b.json',388,'2025-07-05 14:33:55.000000','consent','{"patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "Anna", "nachname": "Null"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}, "registration_timestamp": "2025-07-05 14:33:55", "registration_token": "0b1ab67b"}','81ec8b4b-f907-4e19-a65f-2966ab5d54b7','2026-12-01 02:42:08.998874');
INSERT INTO "patient_registrations" VALUES(5,3,'ebb8fb00b0d027bd43d0d51e25a20c75ad4882f0f1206dd29f39fa532bc4b59f','imported',NULL,'synthetic-registrations','Muster_Berta_2025-07-05_cccccccccccc.json',1700000000000005,'Muster_Berta_2025-07-05_cccccccccccc.json',432,'2099-01-01 00:00:00.000000','consent','{"patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "Berta", "nachname": "Muster", "email": "berta.muster@example.org", "geburtsdatum": "2000-01-01", "plz": "52062"}, "consent_metadata": {"timestamp_utc": "2099-01-01T00:00:00Z"}, "registration_timestamp": "2025-07-05 14:33:55", "registration_token": "cccccccccccc"}','6141a9e2-5298-4c68-8e8d-ca6e272438b7','2026-12-01 02:42:09.202994');
INSERT INTO "patient_registrations" VALUES(6,3,'5596c42c5149183d59886d002a49f472def58b13dbeed85ed5327da7c9f6d305','superseded',NULL,'synthetic-registrations','Muster_Berta_2025-07-05_dddddddddddd.json',1700000000000006,'Muster_Berta_2025-07-05_dddddddddddd.json',502,'2025-07-05 15:33:55.000000','consent','{"patient_data": {"anrede": "Herr", "geschlecht": "m\u00e4nnlich", "vorname": "Berta", "nachname": "Muster", "email": "berta.muster@example.org", "geburtsdatum": "2000-01-01", "plz": "52066"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T15:33:55Z"}, "registration_timestamp": "2025-07-05 15:33:55", "registration_token": "dddddddddddd"}','d2f393a7-1a7b-4a58-b2ef-64c23f9e3244','2026-12-01 02:42:09.348588');
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
INSERT INTO "patient_tracking" VALUES(1,'synthetic-registrations','Großmann_Jörg_2025-07-05_0b1ab67b.json',1700000000000001,'imported',0,NULL,'c9d2f15683928bb081f004ebeddc722519df362894571c962f8b12e991d9be5f',600,'2025-07-05 14:33:56.000000','Großmann_Jörg_2025-07-05_0b1ab67b.json',1,1,1,'2026-12-01 02:42:08.505445',NULL,'198cab56-6ffc-45fb-a770-3e44f040bbe9','2026-12-01 02:42:08.497346','2026-12-01 02:42:08.505445');
INSERT INTO "patient_tracking" VALUES(2,'synthetic-registrations','Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json',1700000000000002,'updated',0,NULL,'6a269e4a29da8eb43065610a025a267b1dabd0175703ad90ae8619a9d1eb47e3',544,'2025-07-05 14:34:56.000000','Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json',1,2,2,'2026-12-01 02:42:08.683062',NULL,'d3087c0c-b652-47b4-8614-8d2f2a8d6105','2026-12-01 02:42:08.669540','2026-12-01 02:42:08.683062');
INSERT INTO "patient_tracking" VALUES(3,'synthetic-registrations','Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json',1700000000000003,'superseded',0,NULL,'440c7389898dac0da638970404b84c92b0acee955fafd57bd82c58980e22be36',509,'2025-07-05 14:34:57.000000','Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json',1,3,3,'2026-12-01 02:42:08.850156',NULL,'39436ab1-e680-4c55-b067-659b79eeea13','2026-12-01 02:42:08.813624','2026-12-01 02:42:08.850156');
INSERT INTO "patient_tracking" VALUES(4,'synthetic-registrations','Null_Anna_2025-07-05_0b1ab67b.json',1700000000000004,'imported',0,NULL,'d8b61d38a82cd9ca71273842d6d1fc819c8f6ffff5f83ad2f2fe0c36ac36333f',388,'2025-07-05 14:34:58.000000','Null_Anna_2025-07-05_0b1ab67b.json',2,4,4,'2026-12-01 02:42:09.034000',NULL,'81ec8b4b-f907-4e19-a65f-2966ab5d54b7','2026-12-01 02:42:09.006901','2026-12-01 02:42:09.034000');
INSERT INTO "patient_tracking" VALUES(5,'synthetic-registrations','Muster_Berta_2025-07-05_cccccccccccc.json',1700000000000005,'imported',0,NULL,'ebb8fb00b0d027bd43d0d51e25a20c75ad4882f0f1206dd29f39fa532bc4b59f',432,'2025-07-05 14:34:59.000000','Muster_Berta_2025-07-05_cccccccccccc.json',3,5,5,'2026-12-01 02:42:09.231879',NULL,'6141a9e2-5298-4c68-8e8d-ca6e272438b7','2026-12-01 02:42:09.210795','2026-12-01 02:42:09.231879');
INSERT INTO "patient_tracking" VALUES(6,'synthetic-registrations','Muster_Berta_2025-07-05_dddddddddddd.json',1700000000000006,'superseded',0,NULL,'5596c42c5149183d59886d002a49f472def58b13dbeed85ed5327da7c9f6d305',502,'2025-07-05 15:33:56.000000','Muster_Berta_2025-07-05_dddddddddddd.json',3,6,6,'2026-12-01 02:42:09.370292',NULL,'d2f393a7-1a7b-4a58-b2ef-64c23f9e3244','2026-12-01 02:42:09.350414','2026-12-01 02:42:09.370292');
INSERT INTO "patient_tracking" VALUES(7,'synthetic-registrations','Muster_Carl_2025-07-05_eeeeeeeeeeee.json',1700000000000007,'failed',1,'invalid','50dc56239da88fddebc045ebb73e54ada9e719071390b9771e65c8251b3691f4',475,'2025-07-05 14:34:59.000000','Muster_Carl_2025-07-05_eeeeeeeeeeee.json',NULL,NULL,NULL,NULL,'failed','34132b4a-f8be-49db-9835-eba7fefe0c0d','2026-12-01 02:42:09.477153','2026-12-01 02:42:09.477153');
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
INSERT INTO "patients" VALUES(1,'5091c7dce8a5f2f49f3dd8cff87dde34a177e4bcc42947fd5e7c52dfe30f606b','7c571284f2f73f2d04c46e9d624dcea71d7fb8920b7f3b567b7d2c958c75eb75','47fc5edbc7f36ccc2ad33a74d9dffdb5635671120c006a9aa2e5e80ae49f249c',0,'2025-07-05 14:34:55.000000',1700000000000002,'Herr','männlich','Jörg','Großmann',NULL,'52074',NULL,'jörg.großmann@example.org','030 23125 002','2000-01-01',NULL,NULL,NULL,NULL,'["Schlafst\u00f6rungen"]',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"neu": "x"}','2026-12-01 02:42:08.485186','2026-12-01 02:42:08.664523');
INSERT INTO "patients" VALUES(2,NULL,NULL,'382349471ea715276d5f599a764c36b6d4c1224cdb730731c8fe00f22ab8284d',1,'2025-07-05 14:33:55.000000',1700000000000004,'Herr','männlich','Anna','Null',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-12-01 02:42:08.982487','2026-12-01 02:42:08.982487');
INSERT INTO "patients" VALUES(3,'8f7a8ffd88588581a62e9c9b3b153de4ded37eb012dee52785d26244af2ee31b','7e49eca22e463116e6429b49ba50f4af31ad60fdb9a92185f84593d221cadec4','65ab59e93597f013e13c69550922dea6a5dca20352d75e8e4dc0d6959f21dac2',0,'2099-01-01 00:00:00.000000',1700000000000005,'Herr','männlich','Berta','Muster',NULL,'52062',NULL,'berta.muster@example.org',NULL,'2000-01-01',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-12-01 02:42:09.191083','2026-12-01 02:42:09.191083');
CREATE TABLE therapist_changes (
	id INTEGER NOT NULL, 
	therapist_id INTEGER NOT NULL, 
	field TEXT NOT NULL, 
	old_value JSON, 
	new_value JSON, 
	file_name TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	changed_at DATETIME NOT NULL, 
	CONSTRAINT pk_therapist_changes PRIMARY KEY (id), 
	CONSTRAINT fk_therapist_changes_therapist_id_therapists FOREIGN KEY(therapist_id) REFERENCES therapists (id)
);
INSERT INTO "therapist_changes" VALUES(1,1,'phone','"030 23125 101"','"030 23125 109"','52074.json','6acfdba0-af51-46ec-872c-4c9138e9cd51','2026-12-01 02:42:09.811166');
INSERT INTO "therapist_changes" VALUES(2,3,'active','true','false','52074.json','6acfdba0-af51-46ec-872c-4c9138e9cd51','2026-12-01 02:42:09.811166');
CREATE TABLE therapists (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	area TEXT NOT NULL, 
	source_id TEXT, 
	natural_key TEXT, 
	content_hash TEXT NOT NULL, 
	last_seen DATETIME, 
	seen_in TEXT, 
	active BOOLEAN NOT NULL, 
	deleted_at DATETIME, 
	salutation TEXT, 
	title TEXT, 
	first_name TEXT NOT NULL, 
	last_name TEXT NOT NULL, 
	full_name TEXT, 
	classification TEXT, 
	street TEXT, 
	house_number TEXT, 
	postal_code TEXT, 
	city TEXT, 
	phone TEXT, 
	email TEXT, 
	fax TEXT, 
	languages JSON, 
	therapy_methods JSON, 
	telephone_hours JSON, 
	extra JSON, 
	status TEXT DEFAULT 'aktiv' NOT NULL, 
	sperrgrund TEXT, 
	notes TEXT, 
	contact_history JSON, 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL
);
INSERT INTO "therapists" VALUES(1,'52XXX','praxis67','thomas
muster
52074','2ffe5e78f427d952fe31d562c40488e1fec52a46ec113d8f89926f990c4fb5e0','2025-07-08 03:00:00.000000','52074.json',1,NULL,'Herr','Dr.','Thomas','Muster',NULL,NULL,'Musterweg','7','52074','Aachen','030 23125 109','thomas.muster@example.org',NULL,'["Deutsch", "Englisch"]','["Verhaltenstherapie"]',NULL,NULL,'aktiv',NULL,'a note of the operator',NULL,'2026-12-01 02:42:09.671672','2026-12-01 02:42:09.811166');
INSERT INTO "therapists" VALUES(2,'52XXX','praxis68','jean paul
d’arc
52074','abf6d7d9578891065c156f4964e867ff63d33934ad1747d3e34fba4a2baac39b','2025-07-01 03:00:00.000000','52074.json',1,NULL,'Herr','Dr.','Jean Paul','D’Arc',NULL,NULL,'Musterweg','7','52074','Aachen','030 23125 101','jean paul.d’arc@example.org',NULL,'["Deutsch", "Englisch"]','["Verhaltenstherapie"]',NULL,NULL,'aktiv',NULL,'a note of the operator',NULL,'2026-12-01 02:42:09.671672','2026-12-01 02:42:09.671672');
INSERT INTO "therapists" VALUES(3,'52XXX','praxis69','eva
weg
52074','8bd21ecba6fc4e3f71c4efaf570c2c38279f86abf737fc15e980f6bc21372eb9','2025-07-01 03:00:00.000000','52074.json',0,'2025-07-08 03:00:00.000000','Herr','Dr.','Eva','Weg',NULL,NULL,'Musterweg','7','52074','Aachen','030 23125 101','eva.weg@example.org',NULL,'["Deutsch", "Englisch"]','["Verhaltenstherapie"]',NULL,NULL,'aktiv',NULL,'a note of the operator',NULL,'2026-12-01 02:42:09.671672','2026-12-01 02:42:09.811166');
INSERT INTO "therapists" VALUES(4,'80XXX','praxis0','a
viel
52074','033c04eb48990ef1a73b963e9a7008abcc5055da0c97a516d470dad3503d7430','2025-07-01 03:00:00.000000','80331.json',1,NULL,'Herr','Dr.','A','Viel',NULL,NULL,'Musterweg','7','52074','Aachen','030 23125 101','a.viel@example.org',NULL,'["Deutsch", "Englisch"]','["Verhaltenstherapie"]',NULL,NULL,'aktiv',NULL,'a note of the operator',NULL,'2026-12-01 02:42:09.955920','2026-12-01 02:42:09.955920');
INSERT INTO "therapists" VALUES(5,'80XXX','praxis1','aa
viel
52074','8601d710cebea6f2c19d5f1fed4b349822dd02a559cd0f5a2bbb7eb5b7638ead','2025-07-01 03:00:00.000000','80331.json',1,NULL,'Herr','Dr.','AA','Viel',NULL,NULL,'Musterweg','7','52074','Aachen','030 23125 101','aa.viel@example.org',NULL,'["Deutsch", "Englisch"]','["Verhaltenstherapie"]',NULL,NULL,'aktiv',NULL,'a note of the operator',NULL,'2026-12-01 02:42:09.955920','2026-12-01 02:42:09.955920');
INSERT INTO "therapists" VALUES(6,'80XXX','praxis2','aaa
viel
52074','41a8f8fb80d98ad8de6f5a7dd4d59e65b3f6027127b2b1adec6328a635181cf0','2025-07-01 03:00:00.000000','80331.json',1,NULL,'Herr','Dr.','AAA','Viel',NULL,NULL,'Musterweg','7','52074','Aachen','030 23125 101','aaa.viel@example.org',NULL,'["Deutsch", "Englisch"]','["Verhaltenstherapie"]',NULL,NULL,'aktiv',NULL,'a note of the operator',NULL,'2026-12-01 02:42:09.955920','2026-12-01 02:42:09.955920');
INSERT INTO "therapists" VALUES(7,'80XXX','praxis3','aaaa
viel
52074','bfd9bb6933fdb954e9c8eff7fabdf3c6a7f7c1edab6c843dfabee659d6440458','2025-07-01 03:00:00.000000','80331.json',1,NULL,'Herr','Dr.','AAAA','Viel',NULL,NULL,'Musterweg','7','52074','Aachen','030 23125 101','aaaa.viel@example.org',NULL,'["Deutsch", "Englisch"]','["Verhaltenstherapie"]',NULL,NULL,'aktiv',NULL,'a note of the operator',NULL,'2026-12-01 02:42:09.955920','2026-12-01 02:42:09.955920');
INSERT INTO "therapists" VALUES(8,'80XXX','praxis4','aaaaa
viel
52074','dac17ecf83fdfa4966f36d28af95b081e3340cfa5b4548a72c2ff619da0c9c6a','2025-07-01 03:00:00.000000','80331.json',1,NULL,'Herr','Dr.','AAAAA','Viel',NULL,NULL,'Musterweg','7','52074','Aachen','030 23125 101','aaaaa.viel@example.org',NULL,'["Deutsch", "Englisch"]','["Verhaltenstherapie"]',NULL,NULL,'aktiv',NULL,'a note of the operator',NULL,'2026-12-01 02:42:09.955920','2026-12-01 02:42:09.955920');
INSERT INTO "therapists" VALUES(9,'80XXX','praxis5','aaaaaa
viel
52074','d408fd606afbe44477356a327277ef9f2e6b3e5009d6b7b9a649c78247f2e66b','2025-07-01 03:00:00.000000','80331.json',1,NULL,'Herr','Dr.','AAAAAA','Viel',NULL,NULL,'Musterweg','7','52074','Aachen','030 23125 101','aaaaaa.viel@example.org',NULL,'["Deutsch", "Englisch"]','["Verhaltenstherapie"]',NULL,NULL,'aktiv',NULL,'a note of the operator',NULL,'2026-12-01 02:42:09.955920','2026-12-01 02:42:09.955920');
INSERT INTO "therapists" VALUES(10,'80XXX','praxis6','aaaaaaa
viel
52074','15e4ae325e180a9e936e2cdf72fd263aaad93c4e7f830091448e9d7421e0fe22','2025-07-01 03:00:00.000000','80331.json',1,NULL,'Herr','Dr.','AAAAAAA','Viel',NULL,NULL,'Musterweg','7','52074','Aachen','030 23125 101','aaaaaaa.viel@example.org',NULL,'["Deutsch", "Englisch"]','["Verhaltenstherapie"]',NULL,NULL,'aktiv',NULL,'a note of the operator',NULL,'2026-12-01 02:42:09.955920','2026-12-01 02:42:09.955920');
INSERT INTO "therapists" VALUES(11,'80XXX','praxis7','aaaaaaaa
viel
52074','57ed63f5fe8af2e9171cb715afdea97386828c4b542f5d12bd80c8ba19b885e2','2025-07-01 03:00:00.000000','80331.json',1,NULL,'Herr','Dr.','AAAAAAAA','Viel',NULL,NULL,'Musterweg','7','52074','Aachen','030 23125 101','aaaaaaaa.viel@example.org',NULL,'["Deutsch", "Englisch"]','["Verhaltenstherapie"]',NULL,NULL,'aktiv',NULL,'a note of the operator',NULL,'2026-12-01 02:42:09.955920','2026-12-01 02:42:09.955920');
CREATE INDEX ix_patients_email_key ON patients (email_key);
CREATE INDEX ix_patient_registrations_patient_id ON patient_registrations (patient_id);
CREATE INDEX ix_patient_consents_patient_id ON patient_consents (patient_id);
CREATE INDEX ix_patient_consents_registration_id ON patient_consents (registration_id);
CREATE INDEX ix_outbox_unpublished ON outbox (topic, seq) WHERE published_at IS NULL;
CREATE INDEX ix_therapists_area_source_id ON therapists (area, source_id);
CREATE INDEX ix_therapists_natural_key ON therapists (natural_key);
CREATE INDEX ix_therapist_changes_therapist_id ON therapist_changes (therapist_id);
CREATE INDEX ix_import_tracking_file_name ON import_tracking (file_name);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('outbox',17);
INSERT INTO "sqlite_sequence" VALUES('therapists',11);
COMMIT;
