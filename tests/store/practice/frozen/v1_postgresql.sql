-- Synthetic data. A practice database as schema version 1 left it; never changed.
CREATE TABLE public.dataflows_practice_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.outbox (
    seq bigint NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    topic text NOT NULL,
    key text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    payload jsonb,
    published_at timestamp with time zone
);
COMMENT ON COLUMN public.outbox.key IS 'order is kept per key';
COMMENT ON COLUMN public.outbox.payload IS 'NULL once published or older than 30 days';
CREATE SEQUENCE public.outbox_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.outbox_seq_seq OWNED BY public.outbox.seq;
CREATE TABLE public.patient_consents (
    id bigint NOT NULL,
    patient_id bigint NOT NULL,
    registration_id bigint NOT NULL,
    consent_metadata jsonb,
    registration_token text,
    registration_timestamp text,
    consented_at timestamp with time zone,
    file_sha256 text NOT NULL,
    created_at timestamp with time zone NOT NULL
);
COMMENT ON TABLE public.patient_consents IS 'append-only';
COMMENT ON COLUMN public.patient_consents.consent_metadata IS 'the whole section; NULL where the body had none';
COMMENT ON COLUMN public.patient_consents.registration_timestamp IS 'as it was sent';
COMMENT ON COLUMN public.patient_consents.consented_at IS 'consent_metadata.timestamp_utc';
CREATE SEQUENCE public.patient_consents_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.patient_consents_id_seq OWNED BY public.patient_consents.id;
CREATE TABLE public.patient_registrations (
    id bigint NOT NULL,
    patient_id bigint NOT NULL,
    sha256 text NOT NULL,
    outcome text NOT NULL,
    flag text,
    bucket text NOT NULL,
    object_name text NOT NULL,
    generation bigint NOT NULL,
    copy_name text NOT NULL,
    size bigint NOT NULL,
    registered_at timestamp with time zone NOT NULL,
    registered_by text NOT NULL,
    document jsonb NOT NULL,
    run_id text NOT NULL,
    created_at timestamp with time zone NOT NULL
);
COMMENT ON COLUMN public.patient_registrations.sha256 IS 'of the file''s bytes';
COMMENT ON COLUMN public.patient_registrations.outcome IS 'imported, updated or superseded';
COMMENT ON COLUMN public.patient_registrations.flag IS 'why the patient may be a duplicate: no_email, birth_date, shared_email, unclear';
COMMENT ON COLUMN public.patient_registrations.copy_name IS 'the local copy, in PATIENT_BACKUP_DIR';
COMMENT ON COLUMN public.patient_registrations.size IS 'bytes';
COMMENT ON COLUMN public.patient_registrations.registered_by IS 'where that time is from: consent, body or object';
COMMENT ON COLUMN public.patient_registrations.document IS 'the whole body';
CREATE SEQUENCE public.patient_registrations_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.patient_registrations_id_seq OWNED BY public.patient_registrations.id;
CREATE TABLE public.patient_tracking (
    id bigint NOT NULL,
    bucket text NOT NULL,
    object_name text NOT NULL,
    generation bigint NOT NULL,
    status text NOT NULL,
    attempts integer NOT NULL,
    code text,
    sha256 text,
    size bigint,
    object_time timestamp with time zone,
    copy_name text,
    patient_id bigint,
    registration_id bigint,
    consent_id bigint,
    deleted_at timestamp with time zone,
    told text,
    run_id text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL
);
COMMENT ON COLUMN public.patient_tracking.status IS 'imported, updated, superseded, duplicate_file, failed, dead, unrecognised';
COMMENT ON COLUMN public.patient_tracking.attempts IS 'that failed by the content; faults of others never count';
COMMENT ON COLUMN public.patient_tracking.code IS 'of the last failure';
COMMENT ON COLUMN public.patient_tracking.size IS 'bytes';
COMMENT ON COLUMN public.patient_tracking.deleted_at IS 'when it was known that this generation is gone from the bucket';
COMMENT ON COLUMN public.patient_tracking.told IS 'the last status that a mail was written about';
CREATE SEQUENCE public.patient_tracking_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.patient_tracking_id_seq OWNED BY public.patient_tracking.id;
CREATE TABLE public.patients (
    id bigint NOT NULL,
    identity_key text,
    email_key text,
    name_key text NOT NULL,
    possible_duplicate boolean NOT NULL,
    registered_at timestamp with time zone NOT NULL,
    registered_generation bigint NOT NULL,
    anrede text,
    geschlecht text,
    vorname text NOT NULL,
    nachname text NOT NULL,
    strasse text,
    plz text,
    ort text,
    email text,
    telefon text,
    geburtsdatum date,
    hausarzt text,
    krankenkasse text,
    krankenversicherungsnummer text,
    diagnose text,
    symptome jsonb,
    erfahrung_mit_psychotherapie boolean,
    letzte_sitzung_vorherige_psychotherapie date,
    vertraege_unterschrieben boolean,
    psychotherapeutische_sprechstunde boolean,
    offen_fuer_gruppentherapie boolean,
    offen_fuer_diga boolean,
    empfehler_der_unterstuetzung text,
    zeitliche_verfuegbarkeit jsonb,
    raeumliche_verfuegbarkeit jsonb,
    verkehrsmittel text,
    bevorzugtes_therapeutengeschlecht text,
    bevorzugtes_therapieverfahren text,
    ausgeschlossene_therapeuten jsonb,
    extra jsonb,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL
);
COMMENT ON COLUMN public.patients.identity_key IS 'SHA-256 of e-mail, name and date of birth; NULL without an e-mail';
COMMENT ON COLUMN public.patients.email_key IS 'SHA-256 of the e-mail, trimmed, NFC, case-folded';
COMMENT ON COLUMN public.patients.name_key IS 'SHA-256 of first and last name, likewise';
COMMENT ON COLUMN public.patients.registered_at IS 'of the newest registration';
COMMENT ON COLUMN public.patients.registered_generation IS 'decides between registrations of one moment';
COMMENT ON COLUMN public.patients.extra IS 'fields that no column is made for';
CREATE SEQUENCE public.patients_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.patients_id_seq OWNED BY public.patients.id;
ALTER TABLE ONLY public.outbox ALTER COLUMN seq SET DEFAULT nextval('public.outbox_seq_seq'::regclass);
ALTER TABLE ONLY public.patient_consents ALTER COLUMN id SET DEFAULT nextval('public.patient_consents_id_seq'::regclass);
ALTER TABLE ONLY public.patient_registrations ALTER COLUMN id SET DEFAULT nextval('public.patient_registrations_id_seq'::regclass);
ALTER TABLE ONLY public.patient_tracking ALTER COLUMN id SET DEFAULT nextval('public.patient_tracking_id_seq'::regclass);
ALTER TABLE ONLY public.patients ALTER COLUMN id SET DEFAULT nextval('public.patients_id_seq'::regclass);
INSERT INTO public.dataflows_practice_version (version_num) VALUES ('0001');
INSERT INTO public.outbox (seq, event_id, event_type, topic, key, created_at, payload, published_at) VALUES (1, '020c93de-5c74-4333-a41a-67c832def1e8', 'patient.created', 'patient-events', '1', '2026-11-21 10:35:36.299913+00', '{"patient_id": 1, "patient_data": {"email": "jörg.großmann@example.org", "extra": {"neu": "x"}, "anrede": "Herr", "telefon": "030 23125 001", "vorname": "Jörg", "nachname": "Großmann", "symptome": ["Schlafstörungen"], "geschlecht": "männlich", "geburtsdatum": "2000-01-01", "offen_fuer_diga": true, "possible_duplicate": false, "zeitliche_verfuegbarkeit": {"montag": ["09:00-12:00"]}}}', NULL);
INSERT INTO public.outbox (seq, event_id, event_type, topic, key, created_at, payload, published_at) VALUES (2, 'ae9f4f1f-795a-4842-a763-33bff99a0a5b', 'patient.updated', 'patient-events', '1', '2026-11-21 10:35:36.315177+00', '{"patient_id": 1, "patient_data": {"email": "jörg.großmann@example.org", "extra": {"neu": "x"}, "anrede": "Herr", "telefon": "030 23125 002", "vorname": "Jörg", "nachname": "Großmann", "symptome": ["Schlafstörungen"], "geschlecht": "männlich", "geburtsdatum": "2000-01-01", "offen_fuer_diga": true, "possible_duplicate": false, "zeitliche_verfuegbarkeit": {"montag": ["09:00-12:00"]}}}', NULL);
INSERT INTO public.outbox (seq, event_id, event_type, topic, key, created_at, payload, published_at) VALUES (3, 'e93f1190-e3cf-4c9b-bc05-da58a9b804e1', 'patient.created', 'patient-events', '2', '2026-11-21 10:35:36.330638+00', '{"patient_id": 2, "patient_data": {"anrede": "Herr", "vorname": "Anna", "nachname": "Null", "geschlecht": "männlich", "possible_duplicate": true}}', NULL);
INSERT INTO public.patient_consents (id, patient_id, registration_id, consent_metadata, registration_token, registration_timestamp, consented_at, file_sha256, created_at) VALUES (1, 1, 1, '{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}', '0b1ab67b', '2025-07-05 14:33:55', '2025-07-05 14:33:55+00', 'd6e3dc9eb99a148faff03234830c10b9dd50ed4be3367f4dd36266dac16216af', '2026-11-21 10:35:36.303079+00');
INSERT INTO public.patient_consents (id, patient_id, registration_id, consent_metadata, registration_token, registration_timestamp, consented_at, file_sha256, created_at) VALUES (2, 1, 2, '{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:34:55Z"}', 'aaaaaaaaaaaa', '2025-07-05 14:34:55', '2025-07-05 14:34:55+00', '057be94c17b6aee49877eb1ec1ba5068b75318936a745d42e15ffa8a71ef8ec6', '2026-11-21 10:35:36.316812+00');
INSERT INTO public.patient_consents (id, patient_id, registration_id, consent_metadata, registration_token, registration_timestamp, consented_at, file_sha256, created_at) VALUES (3, 1, 3, '{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:32:55Z"}', 'bbbbbbbbbbbb', '2025-07-05 14:32:55', '2025-07-05 14:32:55+00', 'eacfc2b29b6ba2401136ee441f98f7a1e4d0131d27c37eacdb9de6dd8cb67e79', '2026-11-21 10:35:36.3237+00');
INSERT INTO public.patient_consents (id, patient_id, registration_id, consent_metadata, registration_token, registration_timestamp, consented_at, file_sha256, created_at) VALUES (4, 2, 4, '{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}', '0b1ab67b', '2025-07-05 14:33:55', '2025-07-05 14:33:55+00', 'd8b61d38a82cd9ca71273842d6d1fc819c8f6ffff5f83ad2f2fe0c36ac36333f', '2026-11-21 10:35:36.336625+00');
INSERT INTO public.patient_registrations (id, patient_id, sha256, outcome, flag, bucket, object_name, generation, copy_name, size, registered_at, registered_by, document, run_id, created_at) VALUES (1, 1, 'd6e3dc9eb99a148faff03234830c10b9dd50ed4be3367f4dd36266dac16216af', 'imported', NULL, 'synthetic-registrations', 'Großmann_Jörg_2025-07-05_0b1ab67b.json', 1700000000000001, 'Großmann_Jörg_2025-07-05_0b1ab67b.json', 750, '2025-07-05 14:33:55+00', 'consent', '{"patient_data": {"neu": "x", "email": "jörg.großmann@example.org", "anrede": "Herr", "telefon": "030 23125 001", "vorname": "Jörg", "nachname": "Großmann", "symptome": ["Schlafstörungen"], "geschlecht": "männlich", "geburtsdatum": "2000-01-01", "offen_fuer_diga": true, "zeitliche_verfuegbarkeit": {"montag": ["09:00-12:00"]}}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}, "registration_token": "0b1ab67b", "registration_timestamp": "2025-07-05 14:33:55"}', 'run-1', '2026-11-21 10:35:36.301306+00');
INSERT INTO public.patient_registrations (id, patient_id, sha256, outcome, flag, bucket, object_name, generation, copy_name, size, registered_at, registered_by, document, run_id, created_at) VALUES (2, 1, '057be94c17b6aee49877eb1ec1ba5068b75318936a745d42e15ffa8a71ef8ec6', 'updated', NULL, 'synthetic-registrations', 'Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json', 1700000000000002, 'Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json', 520, '2025-07-05 14:34:55+00', 'consent', '{"patient_data": {"email": "jörg.großmann@example.org", "anrede": "Herr", "telefon": "030 23125 002", "vorname": "Jörg", "nachname": "Großmann", "geschlecht": "männlich", "geburtsdatum": "2000-01-01"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:34:55Z"}, "registration_token": "aaaaaaaaaaaa", "registration_timestamp": "2025-07-05 14:34:55"}', 'run-1', '2026-11-21 10:35:36.315756+00');
INSERT INTO public.patient_registrations (id, patient_id, sha256, outcome, flag, bucket, object_name, generation, copy_name, size, registered_at, registered_by, document, run_id, created_at) VALUES (3, 1, 'eacfc2b29b6ba2401136ee441f98f7a1e4d0131d27c37eacdb9de6dd8cb67e79', 'superseded', NULL, 'synthetic-registrations', 'Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json', 1700000000000003, 'Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json', 484, '2025-07-05 14:32:55+00', 'consent', '{"patient_data": {"email": "jörg.großmann@example.org", "anrede": "Herr", "vorname": "Jörg", "nachname": "Großmann", "geschlecht": "männlich", "geburtsdatum": "2000-01-01"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:32:55Z"}, "registration_token": "bbbbbbbbbbbb", "registration_timestamp": "2025-07-05 14:32:55"}', 'run-1', '2026-11-21 10:35:36.322893+00');
INSERT INTO public.patient_registrations (id, patient_id, sha256, outcome, flag, bucket, object_name, generation, copy_name, size, registered_at, registered_by, document, run_id, created_at) VALUES (4, 2, 'd8b61d38a82cd9ca71273842d6d1fc819c8f6ffff5f83ad2f2fe0c36ac36333f', 'imported', 'no_email', 'synthetic-registrations', 'Null_Anna_2025-07-05_0b1ab67b.json', 1700000000000004, 'Null_Anna_2025-07-05_0b1ab67b.json', 388, '2025-07-05 14:33:55+00', 'consent', '{"patient_data": {"anrede": "Herr", "vorname": "Anna", "nachname": "Null", "geschlecht": "männlich"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}, "registration_token": "0b1ab67b", "registration_timestamp": "2025-07-05 14:33:55"}', 'run-1', '2026-11-21 10:35:36.331142+00');
INSERT INTO public.patient_tracking (id, bucket, object_name, generation, status, attempts, code, sha256, size, object_time, copy_name, patient_id, registration_id, consent_id, deleted_at, told, run_id, created_at, updated_at) VALUES (2, 'synthetic-registrations', 'Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json', 1700000000000002, 'updated', 0, NULL, '057be94c17b6aee49877eb1ec1ba5068b75318936a745d42e15ffa8a71ef8ec6', 520, '2025-07-05 15:00:01+00', 'Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json', 1, 2, 2, NULL, NULL, 'run-1', '2026-11-21 10:35:36.317585+00', '2026-11-21 10:35:36.317585+00');
INSERT INTO public.patient_tracking (id, bucket, object_name, generation, status, attempts, code, sha256, size, object_time, copy_name, patient_id, registration_id, consent_id, deleted_at, told, run_id, created_at, updated_at) VALUES (3, 'synthetic-registrations', 'Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json', 1700000000000003, 'superseded', 0, NULL, 'eacfc2b29b6ba2401136ee441f98f7a1e4d0131d27c37eacdb9de6dd8cb67e79', 484, '2025-07-05 15:00:02+00', 'Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json', 1, 3, 3, NULL, NULL, 'run-1', '2026-11-21 10:35:36.324404+00', '2026-11-21 10:35:36.324404+00');
INSERT INTO public.patient_tracking (id, bucket, object_name, generation, status, attempts, code, sha256, size, object_time, copy_name, patient_id, registration_id, consent_id, deleted_at, told, run_id, created_at, updated_at) VALUES (4, 'synthetic-registrations', 'Null_Anna_2025-07-05_0b1ab67b.json', 1700000000000004, 'imported', 0, NULL, 'd8b61d38a82cd9ca71273842d6d1fc819c8f6ffff5f83ad2f2fe0c36ac36333f', 388, '2025-07-05 15:00:03+00', 'Null_Anna_2025-07-05_0b1ab67b.json', 2, 4, 4, NULL, NULL, 'run-1', '2026-11-21 10:35:36.337724+00', '2026-11-21 10:35:36.337724+00');
INSERT INTO public.patient_tracking (id, bucket, object_name, generation, status, attempts, code, sha256, size, object_time, copy_name, patient_id, registration_id, consent_id, deleted_at, told, run_id, created_at, updated_at) VALUES (1, 'synthetic-registrations', 'Großmann_Jörg_2025-07-05_0b1ab67b.json', 1700000000000001, 'imported', 0, NULL, 'd6e3dc9eb99a148faff03234830c10b9dd50ed4be3367f4dd36266dac16216af', 750, '2025-07-05 15:00:00+00', 'Großmann_Jörg_2025-07-05_0b1ab67b.json', 1, 1, 1, '2026-11-21 10:35:36.340032+00', NULL, 'run-1', '2026-11-21 10:35:36.304711+00', '2026-11-21 10:35:36.340032+00');
INSERT INTO public.patient_tracking (id, bucket, object_name, generation, status, attempts, code, sha256, size, object_time, copy_name, patient_id, registration_id, consent_id, deleted_at, told, run_id, created_at, updated_at) VALUES (5, 'synthetic-registrations', 'Beispiel_Eva_2025-07-05_0b1ab67b.json', 1700000000000009, 'dead', 5, 'not_json', NULL, 7, '2025-07-05 15:01:00+00', NULL, NULL, NULL, NULL, NULL, 'dead', 'run-1', '2026-11-21 10:35:36.342251+00', '2026-11-21 10:35:36.342251+00');
INSERT INTO public.patients (id, identity_key, email_key, name_key, possible_duplicate, registered_at, registered_generation, anrede, geschlecht, vorname, nachname, strasse, plz, ort, email, telefon, geburtsdatum, hausarzt, krankenkasse, krankenversicherungsnummer, diagnose, symptome, erfahrung_mit_psychotherapie, letzte_sitzung_vorherige_psychotherapie, vertraege_unterschrieben, psychotherapeutische_sprechstunde, offen_fuer_gruppentherapie, offen_fuer_diga, empfehler_der_unterstuetzung, zeitliche_verfuegbarkeit, raeumliche_verfuegbarkeit, verkehrsmittel, bevorzugtes_therapeutengeschlecht, bevorzugtes_therapieverfahren, ausgeschlossene_therapeuten, extra, created_at, updated_at) VALUES (1, '5091c7dce8a5f2f49f3dd8cff87dde34a177e4bcc42947fd5e7c52dfe30f606b', '7c571284f2f73f2d04c46e9d624dcea71d7fb8920b7f3b567b7d2c958c75eb75', '47fc5edbc7f36ccc2ad33a74d9dffdb5635671120c006a9aa2e5e80ae49f249c', false, '2025-07-05 14:34:55+00', 1700000000000002, 'Herr', 'männlich', 'Jörg', 'Großmann', NULL, NULL, NULL, 'jörg.großmann@example.org', '030 23125 002', '2000-01-01', NULL, NULL, NULL, NULL, '["Schlafstörungen"]', NULL, NULL, NULL, NULL, NULL, true, NULL, '{"montag": ["09:00-12:00"]}', NULL, NULL, NULL, NULL, NULL, '{"neu": "x"}', '2026-11-21 10:35:36.295631+00', '2026-11-21 10:35:36.313063+00');
INSERT INTO public.patients (id, identity_key, email_key, name_key, possible_duplicate, registered_at, registered_generation, anrede, geschlecht, vorname, nachname, strasse, plz, ort, email, telefon, geburtsdatum, hausarzt, krankenkasse, krankenversicherungsnummer, diagnose, symptome, erfahrung_mit_psychotherapie, letzte_sitzung_vorherige_psychotherapie, vertraege_unterschrieben, psychotherapeutische_sprechstunde, offen_fuer_gruppentherapie, offen_fuer_diga, empfehler_der_unterstuetzung, zeitliche_verfuegbarkeit, raeumliche_verfuegbarkeit, verkehrsmittel, bevorzugtes_therapeutengeschlecht, bevorzugtes_therapieverfahren, ausgeschlossene_therapeuten, extra, created_at, updated_at) VALUES (2, NULL, NULL, '382349471ea715276d5f599a764c36b6d4c1224cdb730731c8fe00f22ab8284d', true, '2025-07-05 14:33:55+00', 1700000000000004, 'Herr', 'männlich', 'Anna', 'Null', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-11-21 10:35:36.328768+00', '2026-11-21 10:35:36.328768+00');
SELECT pg_catalog.setval('public.outbox_seq_seq', 3, true);
SELECT pg_catalog.setval('public.patient_consents_id_seq', 4, true);
SELECT pg_catalog.setval('public.patient_registrations_id_seq', 4, true);
SELECT pg_catalog.setval('public.patient_tracking_id_seq', 5, true);
SELECT pg_catalog.setval('public.patients_id_seq', 2, true);
ALTER TABLE ONLY public.dataflows_practice_version
    ADD CONSTRAINT dataflows_practice_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT pk_outbox PRIMARY KEY (seq);
ALTER TABLE ONLY public.patient_consents
    ADD CONSTRAINT pk_patient_consents PRIMARY KEY (id);
ALTER TABLE ONLY public.patient_registrations
    ADD CONSTRAINT pk_patient_registrations PRIMARY KEY (id);
ALTER TABLE ONLY public.patient_tracking
    ADD CONSTRAINT pk_patient_tracking PRIMARY KEY (id);
ALTER TABLE ONLY public.patients
    ADD CONSTRAINT pk_patients PRIMARY KEY (id);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT uq_outbox_event_id UNIQUE (event_id);
ALTER TABLE ONLY public.patient_registrations
    ADD CONSTRAINT uq_patient_registrations_sha256 UNIQUE (sha256);
ALTER TABLE ONLY public.patient_tracking
    ADD CONSTRAINT uq_patient_tracking_bucket_object_name_generation UNIQUE (bucket, object_name, generation);
ALTER TABLE ONLY public.patients
    ADD CONSTRAINT uq_patients_identity_key UNIQUE (identity_key);
CREATE INDEX ix_outbox_unpublished ON public.outbox USING btree (topic, seq) WHERE (published_at IS NULL);
CREATE INDEX ix_patient_consents_patient_id ON public.patient_consents USING btree (patient_id);
CREATE INDEX ix_patient_consents_registration_id ON public.patient_consents USING btree (registration_id);
CREATE INDEX ix_patient_registrations_patient_id ON public.patient_registrations USING btree (patient_id);
CREATE INDEX ix_patients_email_key ON public.patients USING btree (email_key);
ALTER TABLE ONLY public.patient_consents
    ADD CONSTRAINT fk_patient_consents_patient_id_patients FOREIGN KEY (patient_id) REFERENCES public.patients(id);
ALTER TABLE ONLY public.patient_consents
    ADD CONSTRAINT fk_patient_consents_registration_id_patient_registrations FOREIGN KEY (registration_id) REFERENCES public.patient_registrations(id);
ALTER TABLE ONLY public.patient_registrations
    ADD CONSTRAINT fk_patient_registrations_patient_id_patients FOREIGN KEY (patient_id) REFERENCES public.patients(id);
ALTER TABLE ONLY public.patient_tracking
    ADD CONSTRAINT fk_patient_tracking_consent_id_patient_consents FOREIGN KEY (consent_id) REFERENCES public.patient_consents(id);
ALTER TABLE ONLY public.patient_tracking
    ADD CONSTRAINT fk_patient_tracking_patient_id_patients FOREIGN KEY (patient_id) REFERENCES public.patients(id);
ALTER TABLE ONLY public.patient_tracking
    ADD CONSTRAINT fk_patient_tracking_registration_id_patient_registrations FOREIGN KEY (registration_id) REFERENCES public.patient_registrations(id);
