-- Synthetic data. A practice database as schema version 2 left it; never changed.
CREATE TABLE public.dataflows_practice_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.import_tracking (
    id bigint NOT NULL,
    file_name text NOT NULL,
    file_hash text NOT NULL,
    processed_at timestamp with time zone NOT NULL,
    therapist_count bigint NOT NULL,
    new_count bigint NOT NULL,
    updated_count bigint NOT NULL,
    unchanged_count bigint NOT NULL,
    deleted_count bigint NOT NULL,
    status text NOT NULL,
    error text,
    attempts bigint NOT NULL,
    scrape_date timestamp with time zone,
    told text,
    run_id text NOT NULL
);
COMMENT ON COLUMN public.import_tracking.file_name IS 'path below the import folder, with /';
COMMENT ON COLUMN public.import_tracking.file_hash IS 'SHA-256 of the bytes; empty where it could not be read';
COMMENT ON COLUMN public.import_tracking.therapist_count IS 'entries in the file';
COMMENT ON COLUMN public.import_tracking.status IS 'success, partial, failed, superseded';
COMMENT ON COLUMN public.import_tracking.error IS 'why it failed, or what was wrong with its entries, as stable names';
COMMENT ON COLUMN public.import_tracking.attempts IS 'how often this content failed, in whole or in part';
COMMENT ON COLUMN public.import_tracking.told IS 'the last state that a mail was written about: failed or dead';
CREATE SEQUENCE public.import_tracking_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.import_tracking_id_seq OWNED BY public.import_tracking.id;
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
CREATE TABLE public.therapist_changes (
    id bigint NOT NULL,
    therapist_id bigint NOT NULL,
    field text NOT NULL,
    old_value jsonb,
    new_value jsonb,
    file_name text NOT NULL,
    run_id text NOT NULL,
    changed_at timestamp with time zone NOT NULL
);
COMMENT ON COLUMN public.therapist_changes.field IS 'a column of therapists';
CREATE SEQUENCE public.therapist_changes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.therapist_changes_id_seq OWNED BY public.therapist_changes.id;
CREATE TABLE public.therapists (
    id bigint NOT NULL,
    area text NOT NULL,
    source_id text,
    natural_key text,
    content_hash text NOT NULL,
    last_seen timestamp with time zone,
    seen_in text,
    active boolean NOT NULL,
    deleted_at timestamp with time zone,
    salutation text,
    title text,
    first_name text NOT NULL,
    last_name text NOT NULL,
    full_name text,
    classification text,
    street text,
    house_number text,
    postal_code text,
    city text,
    phone text,
    email text,
    fax text,
    languages jsonb,
    therapy_methods jsonb,
    telephone_hours jsonb,
    extra jsonb,
    status text DEFAULT 'aktiv'::text NOT NULL,
    sperrgrund text,
    notes text,
    contact_history jsonb,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL
);
COMMENT ON COLUMN public.therapists.area IS 'postcode area of the newest file, such as 52XXX';
COMMENT ON COLUMN public.therapists.source_id IS 'the source''s number within its area, such as praxis67; it may be reused';
COMMENT ON COLUMN public.therapists.natural_key IS 'first name, last name, postcode: trimmed, NFC, case-folded';
COMMENT ON COLUMN public.therapists.content_hash IS 'SHA-256 of the newest entry''s canonical JSON';
COMMENT ON COLUMN public.therapists.last_seen IS 'scrape date of the newest file that shows them; NULL: only seen deleted';
COMMENT ON COLUMN public.therapists.seen_in IS 'that file; decides between files of one date';
COMMENT ON COLUMN public.therapists.deleted_at IS 'scrape date of the file that deleted them; NULL while active';
COMMENT ON COLUMN public.therapists.extra IS 'fields that no column is made for';
COMMENT ON COLUMN public.therapists.status IS 'operator''s: aktiv, gesperrt or inaktiv';
COMMENT ON COLUMN public.therapists.sperrgrund IS 'operator''s';
COMMENT ON COLUMN public.therapists.notes IS 'operator''s';
COMMENT ON COLUMN public.therapists.contact_history IS 'operator''s';
CREATE SEQUENCE public.therapists_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.therapists_id_seq OWNED BY public.therapists.id;
ALTER TABLE ONLY public.import_tracking ALTER COLUMN id SET DEFAULT nextval('public.import_tracking_id_seq'::regclass);
ALTER TABLE ONLY public.outbox ALTER COLUMN seq SET DEFAULT nextval('public.outbox_seq_seq'::regclass);
ALTER TABLE ONLY public.patient_consents ALTER COLUMN id SET DEFAULT nextval('public.patient_consents_id_seq'::regclass);
ALTER TABLE ONLY public.patient_registrations ALTER COLUMN id SET DEFAULT nextval('public.patient_registrations_id_seq'::regclass);
ALTER TABLE ONLY public.patient_tracking ALTER COLUMN id SET DEFAULT nextval('public.patient_tracking_id_seq'::regclass);
ALTER TABLE ONLY public.patients ALTER COLUMN id SET DEFAULT nextval('public.patients_id_seq'::regclass);
ALTER TABLE ONLY public.therapist_changes ALTER COLUMN id SET DEFAULT nextval('public.therapist_changes_id_seq'::regclass);
ALTER TABLE ONLY public.therapists ALTER COLUMN id SET DEFAULT nextval('public.therapists_id_seq'::regclass);
INSERT INTO public.dataflows_practice_version VALUES ('0002');
INSERT INTO public.import_tracking VALUES (1, '52074.json', 'aedbd30439c50ffdb2e78998466d7cda3dd663981ba12e3f9af096fda47c177b', '2026-12-01 02:44:24.624811+00', 3, 3, 0, 0, 0, 'success', NULL, 0, '2025-07-01 03:00:00+00', NULL, '5ce2150e-f6d4-42d5-80a9-e2f4c4e766eb');
INSERT INTO public.import_tracking VALUES (2, '52074.json', 'c9be936f17b338cfd105ef64e780cf7eb52e99e274a88d41d9e79af229db62e9', '2026-12-01 02:44:24.856168+00', 3, 0, 1, 0, 1, 'partial', '1 no_name basic_info.first_name', 1, '2025-07-08 03:00:00+00', 'failed', 'b63a463c-f089-44af-8d40-0b14e4d07400');
INSERT INTO public.import_tracking VALUES (3, '80331.json', 'c7e254add89b74356a47d20162ade1870392a6eab04df5102c0083865b1c0162', '2026-12-01 02:44:25.068554+00', 8, 8, 0, 0, 0, 'success', NULL, 0, '2025-07-01 03:00:00+00', NULL, 'd03fd8b4-e6d8-4091-bea9-3a7b1dbc2eb4');
INSERT INTO public.import_tracking VALUES (4, '80331.json', '63796ce555f89029293fd35093684410789b9f7f4bef55552d81c2e2320bf4ac', '2026-12-01 02:44:25.208469+00', 0, 0, 0, 0, 0, 'failed', 'suspicious', 1, '2025-07-08 03:00:00+00', 'failed', '127debf2-822a-49a2-9a78-26cbe47e27f6');
INSERT INTO public.outbox VALUES (1, 'caa0f5fa-c3cb-4c80-aeb4-1a66fe6cf536', 'patient.created', 'patient-events', '1', '2026-12-01 02:44:22.608934+00', '{"patient_id": 1, "patient_data": {"email": "jörg.großmann@example.org", "extra": {"neu": "x"}, "anrede": "Herr", "telefon": "030 23125 001", "vorname": "Jörg", "nachname": "Großmann", "symptome": ["Schlafstörungen"], "geschlecht": "männlich", "geburtsdatum": "2000-01-01", "possible_duplicate": false}}', NULL);
INSERT INTO public.outbox VALUES (2, '247341e2-5842-4340-9028-42e0345ab6e4', 'patient.updated', 'patient-events', '1', '2026-12-01 02:44:22.897382+00', '{"patient_id": 1, "patient_data": {"plz": "52074", "email": "jörg.großmann@example.org", "extra": {"neu": "x"}, "anrede": "Herr", "telefon": "030 23125 002", "vorname": "Jörg", "nachname": "Großmann", "symptome": ["Schlafstörungen"], "geschlecht": "männlich", "geburtsdatum": "2000-01-01", "possible_duplicate": false}}', NULL);
INSERT INTO public.outbox VALUES (3, '90b7d68a-477f-4a8f-b182-360a8aeedc44', 'patient.created', 'patient-events', '2', '2026-12-01 02:44:23.413551+00', '{"patient_id": 2, "patient_data": {"anrede": "Herr", "vorname": "Anna", "nachname": "Null", "geschlecht": "männlich", "possible_duplicate": true}}', NULL);
INSERT INTO public.outbox VALUES (4, '4ef82384-dec1-4258-835a-6780b357df18', 'patient.created', 'patient-events', '3', '2026-12-01 02:44:23.696986+00', '{"patient_id": 3, "patient_data": {"plz": "52062", "email": "berta.muster@example.org", "anrede": "Herr", "vorname": "Berta", "nachname": "Muster", "geschlecht": "männlich", "geburtsdatum": "2000-01-01", "possible_duplicate": false}}', NULL);
INSERT INTO public.outbox VALUES (5, '1afe20f9-046a-49a7-b387-1fcc7d101b13', 'therapist.created', 'therapist-events', '1', '2026-12-01 02:44:24.615963+00', '{"therapist_id": 1, "therapist_data": {"fax": null, "area": "52XXX", "city": "Aachen", "email": "thomas.muster@example.org", "extra": null, "phone": "030 23125 101", "title": "Dr.", "active": true, "street": "Musterweg", "full_name": null, "languages": ["Deutsch", "Englisch"], "last_name": "Muster", "source_id": "praxis67", "first_name": "Thomas", "salutation": "Herr", "postal_code": "52074", "house_number": "7", "classification": null, "telephone_hours": null, "therapy_methods": ["Verhaltenstherapie"]}}', NULL);
INSERT INTO public.outbox VALUES (6, '9bc84622-02e8-4749-88d3-2fd1eadef462', 'therapist.created', 'therapist-events', '2', '2026-12-01 02:44:24.615963+00', '{"therapist_id": 2, "therapist_data": {"fax": null, "area": "52XXX", "city": "Aachen", "email": "jean paul.d’arc@example.org", "extra": null, "phone": "030 23125 101", "title": "Dr.", "active": true, "street": "Musterweg", "full_name": null, "languages": ["Deutsch", "Englisch"], "last_name": "D’Arc", "source_id": "praxis68", "first_name": "Jean Paul", "salutation": "Herr", "postal_code": "52074", "house_number": "7", "classification": null, "telephone_hours": null, "therapy_methods": ["Verhaltenstherapie"]}}', NULL);
INSERT INTO public.outbox VALUES (7, '47e31a49-dee1-48d4-8679-7fdec84cc0eb', 'therapist.created', 'therapist-events', '3', '2026-12-01 02:44:24.615963+00', '{"therapist_id": 3, "therapist_data": {"fax": null, "area": "52XXX", "city": "Aachen", "email": "eva.weg@example.org", "extra": null, "phone": "030 23125 101", "title": "Dr.", "active": true, "street": "Musterweg", "full_name": null, "languages": ["Deutsch", "Englisch"], "last_name": "Weg", "source_id": "praxis69", "first_name": "Eva", "salutation": "Herr", "postal_code": "52074", "house_number": "7", "classification": null, "telephone_hours": null, "therapy_methods": ["Verhaltenstherapie"]}}', NULL);
INSERT INTO public.outbox VALUES (8, '83ef0294-d2aa-4426-b692-8d690a64c608', 'therapist.updated', 'therapist-events', '1', '2026-12-01 02:44:24.841897+00', '{"therapist_id": 1, "therapist_data": {"fax": null, "area": "52XXX", "city": "Aachen", "email": "thomas.muster@example.org", "extra": null, "phone": "030 23125 109", "title": "Dr.", "active": true, "street": "Musterweg", "full_name": null, "languages": ["Deutsch", "Englisch"], "last_name": "Muster", "source_id": "praxis67", "first_name": "Thomas", "salutation": "Herr", "postal_code": "52074", "house_number": "7", "classification": null, "telephone_hours": null, "therapy_methods": ["Verhaltenstherapie"]}}', NULL);
INSERT INTO public.outbox VALUES (9, '630e0c12-86e1-4078-bd38-b8e7b8c45e6d', 'therapist.deleted', 'therapist-events', '3', '2026-12-01 02:44:24.849455+00', '{"therapist_id": 3, "therapist_data": {"fax": null, "city": "Aachen", "email": "eva.weg@example.org", "extra": null, "phone": "030 23125 101", "title": "Dr.", "active": false, "street": "Musterweg", "full_name": null, "languages": ["Deutsch", "Englisch"], "last_name": "Weg", "first_name": "Eva", "salutation": "Herr", "postal_code": "52074", "house_number": "7", "classification": null, "telephone_hours": null, "therapy_methods": ["Verhaltenstherapie"]}}', NULL);
INSERT INTO public.outbox VALUES (10, 'feef52e7-bace-451b-aa82-7cca9da25d1e', 'therapist.created', 'therapist-events', '4', '2026-12-01 02:44:25.042238+00', '{"therapist_id": 4, "therapist_data": {"fax": null, "area": "80XXX", "city": "Aachen", "email": "a.viel@example.org", "extra": null, "phone": "030 23125 101", "title": "Dr.", "active": true, "street": "Musterweg", "full_name": null, "languages": ["Deutsch", "Englisch"], "last_name": "Viel", "source_id": "praxis0", "first_name": "A", "salutation": "Herr", "postal_code": "52074", "house_number": "7", "classification": null, "telephone_hours": null, "therapy_methods": ["Verhaltenstherapie"]}}', NULL);
INSERT INTO public.outbox VALUES (11, 'e05add3b-ab69-4123-97a8-74ff04ca625f', 'therapist.created', 'therapist-events', '5', '2026-12-01 02:44:25.042238+00', '{"therapist_id": 5, "therapist_data": {"fax": null, "area": "80XXX", "city": "Aachen", "email": "aa.viel@example.org", "extra": null, "phone": "030 23125 101", "title": "Dr.", "active": true, "street": "Musterweg", "full_name": null, "languages": ["Deutsch", "Englisch"], "last_name": "Viel", "source_id": "praxis1", "first_name": "AA", "salutation": "Herr", "postal_code": "52074", "house_number": "7", "classification": null, "telephone_hours": null, "therapy_methods": ["Verhaltenstherapie"]}}', NULL);
INSERT INTO public.outbox VALUES (12, '1dbf841f-8b2a-4186-a847-d1008445ffd1', 'therapist.created', 'therapist-events', '6', '2026-12-01 02:44:25.042238+00', '{"therapist_id": 6, "therapist_data": {"fax": null, "area": "80XXX", "city": "Aachen", "email": "aaa.viel@example.org", "extra": null, "phone": "030 23125 101", "title": "Dr.", "active": true, "street": "Musterweg", "full_name": null, "languages": ["Deutsch", "Englisch"], "last_name": "Viel", "source_id": "praxis2", "first_name": "AAA", "salutation": "Herr", "postal_code": "52074", "house_number": "7", "classification": null, "telephone_hours": null, "therapy_methods": ["Verhaltenstherapie"]}}', NULL);
INSERT INTO public.outbox VALUES (13, 'c04ab978-2cf1-4cd5-9192-08743a776eac', 'therapist.created', 'therapist-events', '7', '2026-12-01 02:44:25.042238+00', '{"therapist_id": 7, "therapist_data": {"fax": null, "area": "80XXX", "city": "Aachen", "email": "aaaa.viel@example.org", "extra": null, "phone": "030 23125 101", "title": "Dr.", "active": true, "street": "Musterweg", "full_name": null, "languages": ["Deutsch", "Englisch"], "last_name": "Viel", "source_id": "praxis3", "first_name": "AAAA", "salutation": "Herr", "postal_code": "52074", "house_number": "7", "classification": null, "telephone_hours": null, "therapy_methods": ["Verhaltenstherapie"]}}', NULL);
INSERT INTO public.outbox VALUES (14, 'cad8400f-3e7b-45f5-ac49-e578edc54d65', 'therapist.created', 'therapist-events', '8', '2026-12-01 02:44:25.042238+00', '{"therapist_id": 8, "therapist_data": {"fax": null, "area": "80XXX", "city": "Aachen", "email": "aaaaa.viel@example.org", "extra": null, "phone": "030 23125 101", "title": "Dr.", "active": true, "street": "Musterweg", "full_name": null, "languages": ["Deutsch", "Englisch"], "last_name": "Viel", "source_id": "praxis4", "first_name": "AAAAA", "salutation": "Herr", "postal_code": "52074", "house_number": "7", "classification": null, "telephone_hours": null, "therapy_methods": ["Verhaltenstherapie"]}}', NULL);
INSERT INTO public.outbox VALUES (15, 'a2ebcdc7-7bc6-4842-8375-35d0fb2d2986', 'therapist.created', 'therapist-events', '9', '2026-12-01 02:44:25.042238+00', '{"therapist_id": 9, "therapist_data": {"fax": null, "area": "80XXX", "city": "Aachen", "email": "aaaaaa.viel@example.org", "extra": null, "phone": "030 23125 101", "title": "Dr.", "active": true, "street": "Musterweg", "full_name": null, "languages": ["Deutsch", "Englisch"], "last_name": "Viel", "source_id": "praxis5", "first_name": "AAAAAA", "salutation": "Herr", "postal_code": "52074", "house_number": "7", "classification": null, "telephone_hours": null, "therapy_methods": ["Verhaltenstherapie"]}}', NULL);
INSERT INTO public.outbox VALUES (16, '0d6221fe-a276-4b3e-80dc-5b9575044747', 'therapist.created', 'therapist-events', '10', '2026-12-01 02:44:25.042238+00', '{"therapist_id": 10, "therapist_data": {"fax": null, "area": "80XXX", "city": "Aachen", "email": "aaaaaaa.viel@example.org", "extra": null, "phone": "030 23125 101", "title": "Dr.", "active": true, "street": "Musterweg", "full_name": null, "languages": ["Deutsch", "Englisch"], "last_name": "Viel", "source_id": "praxis6", "first_name": "AAAAAAA", "salutation": "Herr", "postal_code": "52074", "house_number": "7", "classification": null, "telephone_hours": null, "therapy_methods": ["Verhaltenstherapie"]}}', NULL);
INSERT INTO public.outbox VALUES (17, '4b2f1830-13c9-4070-8b1f-01814dc27f98', 'therapist.created', 'therapist-events', '11', '2026-12-01 02:44:25.042238+00', '{"therapist_id": 11, "therapist_data": {"fax": null, "area": "80XXX", "city": "Aachen", "email": "aaaaaaaa.viel@example.org", "extra": null, "phone": "030 23125 101", "title": "Dr.", "active": true, "street": "Musterweg", "full_name": null, "languages": ["Deutsch", "Englisch"], "last_name": "Viel", "source_id": "praxis7", "first_name": "AAAAAAAA", "salutation": "Herr", "postal_code": "52074", "house_number": "7", "classification": null, "telephone_hours": null, "therapy_methods": ["Verhaltenstherapie"]}}', NULL);
INSERT INTO public.patient_consents VALUES (1, 1, 1, '{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}', '0b1ab67b', '2025-07-05 14:33:55', '2025-07-05 14:33:55+00', 'c9d2f15683928bb081f004ebeddc722519df362894571c962f8b12e991d9be5f', '2026-12-01 02:44:22.624667+00');
INSERT INTO public.patient_consents VALUES (2, 1, 2, '{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:34:55Z"}', 'aaaaaaaaaaaa', '2025-07-05 14:34:55', '2025-07-05 14:34:55+00', '6a269e4a29da8eb43065610a025a267b1dabd0175703ad90ae8619a9d1eb47e3', '2026-12-01 02:44:22.90514+00');
INSERT INTO public.patient_consents VALUES (3, 1, 3, '{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:32:55Z"}', 'bbbbbbbbbbbb', '2025-07-05 14:32:55', '2025-07-05 14:32:55+00', '440c7389898dac0da638970404b84c92b0acee955fafd57bd82c58980e22be36', '2026-12-01 02:44:23.187022+00');
INSERT INTO public.patient_consents VALUES (4, 2, 4, '{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}', '0b1ab67b', '2025-07-05 14:33:55', '2025-07-05 14:33:55+00', 'd8b61d38a82cd9ca71273842d6d1fc819c8f6ffff5f83ad2f2fe0c36ac36333f', '2026-12-01 02:44:23.424738+00');
INSERT INTO public.patient_consents VALUES (5, 3, 5, '{"timestamp_utc": "2099-01-01T00:00:00Z"}', 'cccccccccccc', '2025-07-05 14:33:55', '2099-01-01 00:00:00+00', 'ebb8fb00b0d027bd43d0d51e25a20c75ad4882f0f1206dd29f39fa532bc4b59f', '2026-12-01 02:44:23.703306+00');
INSERT INTO public.patient_consents VALUES (6, 3, 6, '{"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T15:33:55Z"}', 'dddddddddddd', '2025-07-05 15:33:55', '2025-07-05 15:33:55+00', '5596c42c5149183d59886d002a49f472def58b13dbeed85ed5327da7c9f6d305', '2026-12-01 02:44:24.005689+00');
INSERT INTO public.patient_registrations VALUES (1, 1, 'c9d2f15683928bb081f004ebeddc722519df362894571c962f8b12e991d9be5f', 'imported', NULL, 'synthetic-registrations', 'Großmann_Jörg_2025-07-05_0b1ab67b.json', 1700000000000001, 'Großmann_Jörg_2025-07-05_0b1ab67b.json', 600, '2025-07-05 14:33:55+00', 'consent', '{"patient_data": {"neu": "x", "email": "jörg.großmann@example.org", "anrede": "Herr", "telefon": "030 23125 001", "vorname": "Jörg", "nachname": "Großmann", "symptome": ["Schlafstörungen"], "geschlecht": "männlich", "geburtsdatum": "2000-01-01"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}, "registration_token": "0b1ab67b", "registration_timestamp": "2025-07-05 14:33:55"}', '36db47c9-8795-4ecc-9476-b4447ea16e3c', '2026-12-01 02:44:22.612867+00');
INSERT INTO public.patient_registrations VALUES (2, 1, '6a269e4a29da8eb43065610a025a267b1dabd0175703ad90ae8619a9d1eb47e3', 'updated', NULL, 'synthetic-registrations', 'Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json', 1700000000000002, 'Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json', 544, '2025-07-05 14:34:55+00', 'consent', '{"patient_data": {"plz": "52074", "email": "jörg.großmann@example.org", "anrede": "Herr", "telefon": "030 23125 002", "vorname": "Jörg", "nachname": "Großmann", "geschlecht": "männlich", "geburtsdatum": "2000-01-01"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:34:55Z"}, "registration_token": "aaaaaaaaaaaa", "registration_timestamp": "2025-07-05 14:34:55"}', '21f74ec3-6122-44f1-9281-5b572eb116dd', '2026-12-01 02:44:22.898243+00');
INSERT INTO public.patient_registrations VALUES (3, 1, '440c7389898dac0da638970404b84c92b0acee955fafd57bd82c58980e22be36', 'superseded', NULL, 'synthetic-registrations', 'Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json', 1700000000000003, 'Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json', 509, '2025-07-05 14:32:55+00', 'consent', '{"patient_data": {"ort": "Aachen", "email": "jörg.großmann@example.org", "anrede": "Herr", "vorname": "Jörg", "nachname": "Großmann", "geschlecht": "männlich", "geburtsdatum": "2000-01-01"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:32:55Z"}, "registration_token": "bbbbbbbbbbbb", "registration_timestamp": "2025-07-05 14:32:55"}', '0cc9cbe6-b2ae-440c-97f5-d63943b94b5c', '2026-12-01 02:44:23.172878+00');
INSERT INTO public.patient_registrations VALUES (4, 2, 'd8b61d38a82cd9ca71273842d6d1fc819c8f6ffff5f83ad2f2fe0c36ac36333f', 'imported', 'no_email', 'synthetic-registrations', 'Null_Anna_2025-07-05_0b1ab67b.json', 1700000000000004, 'Null_Anna_2025-07-05_0b1ab67b.json', 388, '2025-07-05 14:33:55+00', 'consent', '{"patient_data": {"anrede": "Herr", "vorname": "Anna", "nachname": "Null", "geschlecht": "männlich"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T14:33:55Z"}, "registration_token": "0b1ab67b", "registration_timestamp": "2025-07-05 14:33:55"}', '5fc378aa-7acf-41d9-92fb-88924e776e6c', '2026-12-01 02:44:23.417464+00');
INSERT INTO public.patient_registrations VALUES (5, 3, 'ebb8fb00b0d027bd43d0d51e25a20c75ad4882f0f1206dd29f39fa532bc4b59f', 'imported', NULL, 'synthetic-registrations', 'Muster_Berta_2025-07-05_cccccccccccc.json', 1700000000000005, 'Muster_Berta_2025-07-05_cccccccccccc.json', 432, '2099-01-01 00:00:00+00', 'consent', '{"patient_data": {"plz": "52062", "email": "berta.muster@example.org", "anrede": "Herr", "vorname": "Berta", "nachname": "Muster", "geschlecht": "männlich", "geburtsdatum": "2000-01-01"}, "consent_metadata": {"timestamp_utc": "2099-01-01T00:00:00Z"}, "registration_token": "cccccccccccc", "registration_timestamp": "2025-07-05 14:33:55"}', '640b6d7c-0800-4245-a6ef-d45f3f5875a7', '2026-12-01 02:44:23.700922+00');
INSERT INTO public.patient_registrations VALUES (6, 3, '5596c42c5149183d59886d002a49f472def58b13dbeed85ed5327da7c9f6d305', 'superseded', NULL, 'synthetic-registrations', 'Muster_Berta_2025-07-05_dddddddddddd.json', 1700000000000006, 'Muster_Berta_2025-07-05_dddddddddddd.json', 502, '2025-07-05 15:33:55+00', 'consent', '{"patient_data": {"plz": "52066", "email": "berta.muster@example.org", "anrede": "Herr", "vorname": "Berta", "nachname": "Muster", "geschlecht": "männlich", "geburtsdatum": "2000-01-01"}, "consent_metadata": {"ip_address": "192.0.2.7", "user_agent": "a browser", "timestamp_utc": "2025-07-05T15:33:55Z"}, "registration_token": "dddddddddddd", "registration_timestamp": "2025-07-05 15:33:55"}', '04616129-771b-4b79-833c-2da45188908d', '2026-12-01 02:44:23.99576+00');
INSERT INTO public.patient_tracking VALUES (1, 'synthetic-registrations', 'Großmann_Jörg_2025-07-05_0b1ab67b.json', 1700000000000001, 'imported', 0, NULL, 'c9d2f15683928bb081f004ebeddc722519df362894571c962f8b12e991d9be5f', 600, '2025-07-05 14:33:56+00', 'Großmann_Jörg_2025-07-05_0b1ab67b.json', 1, 1, 1, '2026-12-01 02:44:22.66307+00', NULL, '36db47c9-8795-4ecc-9476-b4447ea16e3c', '2026-12-01 02:44:22.632632+00', '2026-12-01 02:44:22.66307+00');
INSERT INTO public.patient_tracking VALUES (2, 'synthetic-registrations', 'Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json', 1700000000000002, 'updated', 0, NULL, '6a269e4a29da8eb43065610a025a267b1dabd0175703ad90ae8619a9d1eb47e3', 544, '2025-07-05 14:34:56+00', 'Großmann_Jörg_2025-07-05_aaaaaaaaaaaa.json', 1, 2, 2, '2026-12-01 02:44:22.928551+00', NULL, '21f74ec3-6122-44f1-9281-5b572eb116dd', '2026-12-01 02:44:22.907071+00', '2026-12-01 02:44:22.928551+00');
INSERT INTO public.patient_tracking VALUES (3, 'synthetic-registrations', 'Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json', 1700000000000003, 'superseded', 0, NULL, '440c7389898dac0da638970404b84c92b0acee955fafd57bd82c58980e22be36', 509, '2025-07-05 14:34:57+00', 'Großmann_Jörg_2025-07-05_bbbbbbbbbbbb.json', 1, 3, 3, '2026-12-01 02:44:23.221431+00', NULL, '0cc9cbe6-b2ae-440c-97f5-d63943b94b5c', '2026-12-01 02:44:23.192639+00', '2026-12-01 02:44:23.221431+00');
INSERT INTO public.patient_tracking VALUES (4, 'synthetic-registrations', 'Null_Anna_2025-07-05_0b1ab67b.json', 1700000000000004, 'imported', 0, NULL, 'd8b61d38a82cd9ca71273842d6d1fc819c8f6ffff5f83ad2f2fe0c36ac36333f', 388, '2025-07-05 14:34:58+00', 'Null_Anna_2025-07-05_0b1ab67b.json', 2, 4, 4, '2026-12-01 02:44:23.473006+00', NULL, '5fc378aa-7acf-41d9-92fb-88924e776e6c', '2026-12-01 02:44:23.434129+00', '2026-12-01 02:44:23.473006+00');
INSERT INTO public.patient_tracking VALUES (5, 'synthetic-registrations', 'Muster_Berta_2025-07-05_cccccccccccc.json', 1700000000000005, 'imported', 0, NULL, 'ebb8fb00b0d027bd43d0d51e25a20c75ad4882f0f1206dd29f39fa532bc4b59f', 432, '2025-07-05 14:34:59+00', 'Muster_Berta_2025-07-05_cccccccccccc.json', 3, 5, 5, '2026-12-01 02:44:23.745398+00', NULL, '640b6d7c-0800-4245-a6ef-d45f3f5875a7', '2026-12-01 02:44:23.70994+00', '2026-12-01 02:44:23.745398+00');
INSERT INTO public.patient_tracking VALUES (6, 'synthetic-registrations', 'Muster_Berta_2025-07-05_dddddddddddd.json', 1700000000000006, 'superseded', 0, NULL, '5596c42c5149183d59886d002a49f472def58b13dbeed85ed5327da7c9f6d305', 502, '2025-07-05 15:33:56+00', 'Muster_Berta_2025-07-05_dddddddddddd.json', 3, 6, 6, '2026-12-01 02:44:24.033949+00', NULL, '04616129-771b-4b79-833c-2da45188908d', '2026-12-01 02:44:24.008677+00', '2026-12-01 02:44:24.033949+00');
INSERT INTO public.patient_tracking VALUES (7, 'synthetic-registrations', 'Muster_Carl_2025-07-05_eeeeeeeeeeee.json', 1700000000000007, 'failed', 1, 'invalid', '50dc56239da88fddebc045ebb73e54ada9e719071390b9771e65c8251b3691f4', 475, '2025-07-05 14:34:59+00', 'Muster_Carl_2025-07-05_eeeeeeeeeeee.json', NULL, NULL, NULL, NULL, 'failed', 'a30c778f-1175-46ea-88e4-90a3c2bac76f', '2026-12-01 02:44:24.268484+00', '2026-12-01 02:44:24.268484+00');
INSERT INTO public.patients VALUES (1, '5091c7dce8a5f2f49f3dd8cff87dde34a177e4bcc42947fd5e7c52dfe30f606b', '7c571284f2f73f2d04c46e9d624dcea71d7fb8920b7f3b567b7d2c958c75eb75', '47fc5edbc7f36ccc2ad33a74d9dffdb5635671120c006a9aa2e5e80ae49f249c', false, '2025-07-05 14:34:55+00', 1700000000000002, 'Herr', 'männlich', 'Jörg', 'Großmann', NULL, '52074', NULL, 'jörg.großmann@example.org', '030 23125 002', '2000-01-01', NULL, NULL, NULL, NULL, '["Schlafstörungen"]', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"neu": "x"}', '2026-12-01 02:44:22.586422+00', '2026-12-01 02:44:22.890075+00');
INSERT INTO public.patients VALUES (2, NULL, NULL, '382349471ea715276d5f599a764c36b6d4c1224cdb730731c8fe00f22ab8284d', true, '2025-07-05 14:33:55+00', 1700000000000004, 'Herr', 'männlich', 'Anna', 'Null', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-12-01 02:44:23.396458+00', '2026-12-01 02:44:23.396458+00');
INSERT INTO public.patients VALUES (3, '8f7a8ffd88588581a62e9c9b3b153de4ded37eb012dee52785d26244af2ee31b', '7e49eca22e463116e6429b49ba50f4af31ad60fdb9a92185f84593d221cadec4', '65ab59e93597f013e13c69550922dea6a5dca20352d75e8e4dc0d6959f21dac2', false, '2099-01-01 00:00:00+00', 1700000000000005, 'Herr', 'männlich', 'Berta', 'Muster', NULL, '52062', NULL, 'berta.muster@example.org', NULL, '2000-01-01', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-12-01 02:44:23.687323+00', '2026-12-01 02:44:23.687323+00');
INSERT INTO public.therapist_changes VALUES (1, 1, 'phone', '"030 23125 101"', '"030 23125 109"', '52074.json', 'b63a463c-f089-44af-8d40-0b14e4d07400', '2026-12-01 02:44:24.820552+00');
INSERT INTO public.therapist_changes VALUES (2, 3, 'active', 'true', 'false', '52074.json', 'b63a463c-f089-44af-8d40-0b14e4d07400', '2026-12-01 02:44:24.820552+00');
INSERT INTO public.therapists VALUES (2, '52XXX', 'praxis68', 'jean paul
d’arc
52074', 'abf6d7d9578891065c156f4964e867ff63d33934ad1747d3e34fba4a2baac39b', '2025-07-01 03:00:00+00', '52074.json', true, NULL, 'Herr', 'Dr.', 'Jean Paul', 'D’Arc', NULL, NULL, 'Musterweg', '7', '52074', 'Aachen', '030 23125 101', 'jean paul.d’arc@example.org', NULL, '["Deutsch", "Englisch"]', '["Verhaltenstherapie"]', NULL, NULL, 'aktiv', NULL, 'a note of the operator', NULL, '2026-12-01 02:44:24.595698+00', '2026-12-01 02:44:24.595698+00');
INSERT INTO public.therapists VALUES (3, '52XXX', 'praxis69', 'eva
weg
52074', '8bd21ecba6fc4e3f71c4efaf570c2c38279f86abf737fc15e980f6bc21372eb9', '2025-07-01 03:00:00+00', '52074.json', false, '2025-07-08 03:00:00+00', 'Herr', 'Dr.', 'Eva', 'Weg', NULL, NULL, 'Musterweg', '7', '52074', 'Aachen', '030 23125 101', 'eva.weg@example.org', NULL, '["Deutsch", "Englisch"]', '["Verhaltenstherapie"]', NULL, NULL, 'aktiv', NULL, 'a note of the operator', NULL, '2026-12-01 02:44:24.595698+00', '2026-12-01 02:44:24.820552+00');
INSERT INTO public.therapists VALUES (1, '52XXX', 'praxis67', 'thomas
muster
52074', '2ffe5e78f427d952fe31d562c40488e1fec52a46ec113d8f89926f990c4fb5e0', '2025-07-08 03:00:00+00', '52074.json', true, NULL, 'Herr', 'Dr.', 'Thomas', 'Muster', NULL, NULL, 'Musterweg', '7', '52074', 'Aachen', '030 23125 109', 'thomas.muster@example.org', NULL, '["Deutsch", "Englisch"]', '["Verhaltenstherapie"]', NULL, NULL, 'aktiv', NULL, 'a note of the operator', NULL, '2026-12-01 02:44:24.595698+00', '2026-12-01 02:44:24.820552+00');
INSERT INTO public.therapists VALUES (4, '80XXX', 'praxis0', 'a
viel
52074', '033c04eb48990ef1a73b963e9a7008abcc5055da0c97a516d470dad3503d7430', '2025-07-01 03:00:00+00', '80331.json', true, NULL, 'Herr', 'Dr.', 'A', 'Viel', NULL, NULL, 'Musterweg', '7', '52074', 'Aachen', '030 23125 101', 'a.viel@example.org', NULL, '["Deutsch", "Englisch"]', '["Verhaltenstherapie"]', NULL, NULL, 'aktiv', NULL, 'a note of the operator', NULL, '2026-12-01 02:44:25.024235+00', '2026-12-01 02:44:25.024235+00');
INSERT INTO public.therapists VALUES (5, '80XXX', 'praxis1', 'aa
viel
52074', '8601d710cebea6f2c19d5f1fed4b349822dd02a559cd0f5a2bbb7eb5b7638ead', '2025-07-01 03:00:00+00', '80331.json', true, NULL, 'Herr', 'Dr.', 'AA', 'Viel', NULL, NULL, 'Musterweg', '7', '52074', 'Aachen', '030 23125 101', 'aa.viel@example.org', NULL, '["Deutsch", "Englisch"]', '["Verhaltenstherapie"]', NULL, NULL, 'aktiv', NULL, 'a note of the operator', NULL, '2026-12-01 02:44:25.024235+00', '2026-12-01 02:44:25.024235+00');
INSERT INTO public.therapists VALUES (6, '80XXX', 'praxis2', 'aaa
viel
52074', '41a8f8fb80d98ad8de6f5a7dd4d59e65b3f6027127b2b1adec6328a635181cf0', '2025-07-01 03:00:00+00', '80331.json', true, NULL, 'Herr', 'Dr.', 'AAA', 'Viel', NULL, NULL, 'Musterweg', '7', '52074', 'Aachen', '030 23125 101', 'aaa.viel@example.org', NULL, '["Deutsch", "Englisch"]', '["Verhaltenstherapie"]', NULL, NULL, 'aktiv', NULL, 'a note of the operator', NULL, '2026-12-01 02:44:25.024235+00', '2026-12-01 02:44:25.024235+00');
INSERT INTO public.therapists VALUES (7, '80XXX', 'praxis3', 'aaaa
viel
52074', 'bfd9bb6933fdb954e9c8eff7fabdf3c6a7f7c1edab6c843dfabee659d6440458', '2025-07-01 03:00:00+00', '80331.json', true, NULL, 'Herr', 'Dr.', 'AAAA', 'Viel', NULL, NULL, 'Musterweg', '7', '52074', 'Aachen', '030 23125 101', 'aaaa.viel@example.org', NULL, '["Deutsch", "Englisch"]', '["Verhaltenstherapie"]', NULL, NULL, 'aktiv', NULL, 'a note of the operator', NULL, '2026-12-01 02:44:25.024235+00', '2026-12-01 02:44:25.024235+00');
INSERT INTO public.therapists VALUES (8, '80XXX', 'praxis4', 'aaaaa
viel
52074', 'dac17ecf83fdfa4966f36d28af95b081e3340cfa5b4548a72c2ff619da0c9c6a', '2025-07-01 03:00:00+00', '80331.json', true, NULL, 'Herr', 'Dr.', 'AAAAA', 'Viel', NULL, NULL, 'Musterweg', '7', '52074', 'Aachen', '030 23125 101', 'aaaaa.viel@example.org', NULL, '["Deutsch", "Englisch"]', '["Verhaltenstherapie"]', NULL, NULL, 'aktiv', NULL, 'a note of the operator', NULL, '2026-12-01 02:44:25.024235+00', '2026-12-01 02:44:25.024235+00');
INSERT INTO public.therapists VALUES (9, '80XXX', 'praxis5', 'aaaaaa
viel
52074', 'd408fd606afbe44477356a327277ef9f2e6b3e5009d6b7b9a649c78247f2e66b', '2025-07-01 03:00:00+00', '80331.json', true, NULL, 'Herr', 'Dr.', 'AAAAAA', 'Viel', NULL, NULL, 'Musterweg', '7', '52074', 'Aachen', '030 23125 101', 'aaaaaa.viel@example.org', NULL, '["Deutsch", "Englisch"]', '["Verhaltenstherapie"]', NULL, NULL, 'aktiv', NULL, 'a note of the operator', NULL, '2026-12-01 02:44:25.024235+00', '2026-12-01 02:44:25.024235+00');
INSERT INTO public.therapists VALUES (10, '80XXX', 'praxis6', 'aaaaaaa
viel
52074', '15e4ae325e180a9e936e2cdf72fd263aaad93c4e7f830091448e9d7421e0fe22', '2025-07-01 03:00:00+00', '80331.json', true, NULL, 'Herr', 'Dr.', 'AAAAAAA', 'Viel', NULL, NULL, 'Musterweg', '7', '52074', 'Aachen', '030 23125 101', 'aaaaaaa.viel@example.org', NULL, '["Deutsch", "Englisch"]', '["Verhaltenstherapie"]', NULL, NULL, 'aktiv', NULL, 'a note of the operator', NULL, '2026-12-01 02:44:25.024235+00', '2026-12-01 02:44:25.024235+00');
INSERT INTO public.therapists VALUES (11, '80XXX', 'praxis7', 'aaaaaaaa
viel
52074', '57ed63f5fe8af2e9171cb715afdea97386828c4b542f5d12bd80c8ba19b885e2', '2025-07-01 03:00:00+00', '80331.json', true, NULL, 'Herr', 'Dr.', 'AAAAAAAA', 'Viel', NULL, NULL, 'Musterweg', '7', '52074', 'Aachen', '030 23125 101', 'aaaaaaaa.viel@example.org', NULL, '["Deutsch", "Englisch"]', '["Verhaltenstherapie"]', NULL, NULL, 'aktiv', NULL, 'a note of the operator', NULL, '2026-12-01 02:44:25.024235+00', '2026-12-01 02:44:25.024235+00');
SELECT pg_catalog.setval('public.import_tracking_id_seq', 4, true);
SELECT pg_catalog.setval('public.outbox_seq_seq', 17, true);
SELECT pg_catalog.setval('public.patient_consents_id_seq', 6, true);
SELECT pg_catalog.setval('public.patient_registrations_id_seq', 6, true);
SELECT pg_catalog.setval('public.patient_tracking_id_seq', 7, true);
SELECT pg_catalog.setval('public.patients_id_seq', 3, true);
SELECT pg_catalog.setval('public.therapist_changes_id_seq', 2, true);
SELECT pg_catalog.setval('public.therapists_id_seq', 11, true);
ALTER TABLE ONLY public.dataflows_practice_version
    ADD CONSTRAINT dataflows_practice_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.import_tracking
    ADD CONSTRAINT pk_import_tracking PRIMARY KEY (id);
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
ALTER TABLE ONLY public.therapist_changes
    ADD CONSTRAINT pk_therapist_changes PRIMARY KEY (id);
ALTER TABLE ONLY public.therapists
    ADD CONSTRAINT pk_therapists PRIMARY KEY (id);
ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT uq_outbox_event_id UNIQUE (event_id);
ALTER TABLE ONLY public.patient_registrations
    ADD CONSTRAINT uq_patient_registrations_sha256 UNIQUE (sha256);
ALTER TABLE ONLY public.patient_tracking
    ADD CONSTRAINT uq_patient_tracking_bucket_object_name_generation UNIQUE (bucket, object_name, generation);
ALTER TABLE ONLY public.patients
    ADD CONSTRAINT uq_patients_identity_key UNIQUE (identity_key);
CREATE INDEX ix_import_tracking_file_name ON public.import_tracking USING btree (file_name);
CREATE INDEX ix_outbox_unpublished ON public.outbox USING btree (topic, seq) WHERE (published_at IS NULL);
CREATE INDEX ix_patient_consents_patient_id ON public.patient_consents USING btree (patient_id);
CREATE INDEX ix_patient_consents_registration_id ON public.patient_consents USING btree (registration_id);
CREATE INDEX ix_patient_registrations_patient_id ON public.patient_registrations USING btree (patient_id);
CREATE INDEX ix_patients_email_key ON public.patients USING btree (email_key);
CREATE INDEX ix_therapist_changes_therapist_id ON public.therapist_changes USING btree (therapist_id);
CREATE INDEX ix_therapists_area_source_id ON public.therapists USING btree (area, source_id);
CREATE INDEX ix_therapists_natural_key ON public.therapists USING btree (natural_key);
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
ALTER TABLE ONLY public.therapist_changes
    ADD CONSTRAINT fk_therapist_changes_therapist_id_therapists FOREIGN KEY (therapist_id) REFERENCES public.therapists(id);
