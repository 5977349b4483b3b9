-- The built-in system for live video production: productions with their sources, sends and connections, and the shared catalog of
-- equipment. Names of types, indexes and constraints are those that Prisma gives, so that its client can run against these tables.

-- Time-ordered ids (UUIDv7). PostgreSQL 18 brings the function; before that one of the same name is made here.
DO $$ BEGIN
    IF to_regprocedure('pg_catalog.uuidv7()') IS NULL AND to_regprocedure('public.uuidv7()') IS NULL THEN
        CREATE FUNCTION public.uuidv7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $f$
            -- 48 bits of milliseconds laid over a random (version 4) uuid; two more bits make the version 7.
            SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
                       PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
                   52, 1), 53, 1), 'hex')::uuid
        $f$;
    END IF;
END $$;

CREATE TYPE "ProductionStatus" AS ENUM ('PLANNING', 'READY', 'ACTIVE', 'COMPLETED', 'ARCHIVED');
CREATE TYPE "EquipmentCategory" AS ENUM (
    'CAMERA', 'CCU', 'SWITCHER', 'ROUTER', 'LED_PROCESSOR', 'LED_TILE', 'PROJECTOR', 'RECORDER', 'MONITOR', 'CONVERTER'
);
CREATE TYPE "IoArchitecture" AS ENUM ('DIRECT', 'CARD_BASED');
CREATE TYPE "PortType" AS ENUM ('INPUT', 'OUTPUT');

CREATE TABLE productions (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    client text NOT NULL,
    show_name text NOT NULL,
    venue text,
    room text,
    load_in timestamptz,
    load_out timestamptz,
    show_info_url text,
    status "ProductionStatus" NOT NULL DEFAULT 'PLANNING',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    synced_at timestamptz,
    last_modified_by text,
    version integer NOT NULL DEFAULT 1,
    is_deleted boolean NOT NULL DEFAULT false
);

CREATE TABLE equipment_specs (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    category "EquipmentCategory" NOT NULL,
    manufacturer text NOT NULL,
    model text NOT NULL,
    io_architecture "IoArchitecture" NOT NULL,
    card_slots integer,
    format_by_io boolean NOT NULL DEFAULT true,
    is_secondary_device boolean NOT NULL DEFAULT false,
    device_formats jsonb,
    specs jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    synced_at timestamptz,
    last_modified_by text,
    version integer NOT NULL DEFAULT 1,
    is_deleted boolean NOT NULL DEFAULT false
);
CREATE INDEX equipment_specs_category_is_deleted_idx ON equipment_specs (category, is_deleted);
CREATE INDEX equipment_specs_is_secondary_device_idx ON equipment_specs (is_secondary_device);

CREATE TABLE equipment_io_ports (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    equipment_id uuid NOT NULL REFERENCES equipment_specs ON DELETE CASCADE ON UPDATE CASCADE,
    port_type "PortType" NOT NULL,
    io_type text NOT NULL,
    label text,
    format text,
    port_index integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    version integer NOT NULL DEFAULT 1
);
CREATE INDEX equipment_io_ports_equipment_id_idx ON equipment_io_ports (equipment_id);

CREATE TABLE equipment_cards (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    equipment_id uuid NOT NULL REFERENCES equipment_specs ON DELETE CASCADE ON UPDATE CASCADE,
    slot_number integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    version integer NOT NULL DEFAULT 1,
    UNIQUE (equipment_id, slot_number)
);

CREATE TABLE equipment_card_io (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    card_id uuid NOT NULL REFERENCES equipment_cards ON DELETE CASCADE ON UPDATE CASCADE,
    port_type "PortType" NOT NULL,
    io_type text NOT NULL,
    label text,
    format text,
    port_index integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    version integer NOT NULL DEFAULT 1
);
CREATE INDEX equipment_card_io_card_id_idx ON equipment_card_io (card_id);

CREATE TABLE sources (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    production_id uuid NOT NULL REFERENCES productions ON DELETE CASCADE ON UPDATE CASCADE,
    type text NOT NULL,
    name text NOT NULL,
    h_res integer,
    v_res integer,
    rate double precision,
    standard text,
    note text,
    secondary_device text,
    blanking text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    synced_at timestamptz,
    last_modified_by text,
    version integer NOT NULL DEFAULT 1,
    is_deleted boolean NOT NULL DEFAULT false
);
CREATE INDEX sources_production_id_is_deleted_idx ON sources (production_id, is_deleted);
CREATE INDEX sources_type_idx ON sources (type);

CREATE TABLE source_outputs (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    source_id uuid NOT NULL REFERENCES sources ON DELETE CASCADE ON UPDATE CASCADE,
    connector text NOT NULL,
    output_index integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    version integer NOT NULL DEFAULT 1
);
CREATE INDEX source_outputs_source_id_idx ON source_outputs (source_id);

CREATE TABLE sends (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    production_id uuid NOT NULL REFERENCES productions ON DELETE CASCADE ON UPDATE CASCADE,
    type text NOT NULL,
    name text NOT NULL,
    h_res integer,
    v_res integer,
    rate double precision,
    standard text,
    note text,
    secondary_device text,
    output_connector text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    synced_at timestamptz,
    last_modified_by text,
    version integer NOT NULL DEFAULT 1,
    is_deleted boolean NOT NULL DEFAULT false
);
CREATE INDEX sends_production_id_is_deleted_idx ON sends (production_id, is_deleted);
CREATE INDEX sends_type_idx ON sends (type);

-- source_output_id, intermediate_id and destination_id name rows of several tables or of none: no reference is declared.
CREATE TABLE connections (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    production_id uuid NOT NULL REFERENCES productions ON DELETE CASCADE ON UPDATE CASCADE,
    source_id uuid REFERENCES sources ON DELETE SET NULL ON UPDATE CASCADE,
    source_output_id text,
    intermediate_type text,
    intermediate_id text,
    intermediate_input text,
    intermediate_output text,
    destination_type text NOT NULL,
    destination_id text,
    signal_path jsonb,
    note text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    version integer NOT NULL DEFAULT 1,
    is_deleted boolean NOT NULL DEFAULT false
);
CREATE INDEX connections_production_id_idx ON connections (production_id);
CREATE INDEX connections_source_id_idx ON connections (source_id);
