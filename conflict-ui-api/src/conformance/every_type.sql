-- A system for tests: a table with a column of every type, a composite key, two references to one table, RESTRICT.

CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TYPE mood AS ENUM ('CALM', 'LOUD', 'AWAY');

CREATE TABLE samples (
    id uuid PRIMARY KEY,
    a_bool boolean,
    an_int2 smallint,
    an_int4 integer,
    an_int8 bigint,
    a_float4 real,
    a_float8 double precision,
    a_numeric numeric,
    a_text text,
    a_varchar varchar(5),
    a_uuid uuid,
    a_timestamptz timestamptz,
    a_timestamp timestamp,
    a_date date,
    a_time time,
    a_bytea bytea,
    a_jsonb jsonb,
    an_enum mood,
    an_array integer[],
    a_text_array text[],
    an_other int4range,
    a_price numeric(6, 2),
    a_positive positive,
    a_mask bit(3)
);

CREATE TABLE places (
    region text NOT NULL,
    code integer NOT NULL,
    title text NOT NULL,
    PRIMARY KEY (region, code)
);

CREATE TABLE trips (
    id uuid PRIMARY KEY,
    from_region text NOT NULL,
    from_code integer NOT NULL,
    to_region text,
    to_code integer,
    FOREIGN KEY (from_region, from_code) REFERENCES places ON DELETE RESTRICT,
    FOREIGN KEY (to_region, to_code) REFERENCES places ON DELETE SET NULL
);

CREATE TABLE crates (id integer PRIMARY KEY, label text NOT NULL);

-- About a sample or a crate, as `kind` says; the database declares none of its references.
CREATE TABLE remarks (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    entity_id text,
    cause_id uuid,
    body text
);
CREATE INDEX remarks_kind_entity_id_idx ON remarks (kind, entity_id);
