-- The built-in system for data centres: regions and their sites, each with buildings, floors, rooms, racks and devices; the shared catalog of
-- device types, people with their preferences, and what was done to equipment. Names of types, indexes and constraints are those that Drizzle
-- gives, so that its client can run against these tables.

-- Racks and U positions in one index, for the slot of a device. A trusted extension: the database's owner may add it.
CREATE EXTENSION IF NOT EXISTS btree_gist;

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

CREATE TYPE site_status AS ENUM ('AI_READY', 'IN_PROGRESS', 'LEGACY');
CREATE TYPE device_category AS ENUM ('RACK', 'SERVER', 'SWITCH', 'STORAGE', 'NETWORK', 'GPU_SERVER', 'PDU', 'UPS', 'BLADE');
CREATE TYPE status_4d AS ENUM ('EXISTING_RETAINED', 'EXISTING_REMOVED', 'PROPOSED', 'FUTURE', 'MODIFIED');
CREATE TYPE modification_type AS ENUM ('move', 'add', 'remove', 'edit');
CREATE TYPE phase AS ENUM ('AS_IS', 'TO_BE', 'FUTURE');
CREATE TYPE user_role AS ENUM ('admin', 'editor', 'viewer');

CREATE TABLE regions (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    code text NOT NULL CONSTRAINT regions_code_unique UNIQUE,
    name text NOT NULL,
    description text,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);

CREATE TABLE sites (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    code text NOT NULL CONSTRAINT sites_code_unique UNIQUE,
    name text NOT NULL,
    region_id uuid NOT NULL CONSTRAINT sites_region_id_regions_id_fk REFERENCES regions,
    -- Degrees.
    latitude real NOT NULL CONSTRAINT sites_latitude_check CHECK (latitude BETWEEN -90 AND 90),
    longitude real NOT NULL CONSTRAINT sites_longitude_check CHECK (longitude BETWEEN -180 AND 180),
    rack_count integer NOT NULL DEFAULT 0,
    ai_ready_racks integer NOT NULL DEFAULT 0,
    status site_status NOT NULL DEFAULT 'LEGACY',
    address text,
    timezone text,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);
CREATE INDEX site_location_idx ON sites (latitude, longitude);
CREATE INDEX site_region_idx ON sites (region_id);

CREATE TABLE buildings (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    site_id uuid NOT NULL CONSTRAINT buildings_site_id_sites_id_fk REFERENCES sites ON DELETE CASCADE,
    name text NOT NULL,
    glb_uri text,
    -- {"position": [x, y, z], "rotationEuler": [x, y, z], "scale": [x, y, z]}, as in rooms and racks.
    transform_world jsonb NOT NULL,
    floor_count integer DEFAULT 1,
    area_sqm real,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);
CREATE INDEX building_site_idx ON buildings (site_id);

CREATE TABLE floors (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    building_id uuid NOT NULL CONSTRAINT floors_building_id_buildings_id_fk REFERENCES buildings ON DELETE CASCADE,
    name text NOT NULL,
    -- 0 is the ground; below it negative.
    level integer NOT NULL,
    elevation_m real DEFAULT 0,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);
CREATE INDEX floor_building_idx ON floors (building_id);

CREATE TABLE rooms (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    floor_id uuid NOT NULL CONSTRAINT rooms_floor_id_floors_id_fk REFERENCES floors ON DELETE CASCADE,
    name text NOT NULL,
    transform_in_building jsonb NOT NULL,
    area_sqm real,
    cooling_capacity_kw real,
    power_capacity_kw real,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);
CREATE INDEX room_floor_idx ON rooms (floor_id);

CREATE TABLE racks (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    room_id uuid NOT NULL CONSTRAINT racks_room_id_rooms_id_fk REFERENCES rooms ON DELETE CASCADE,
    name text NOT NULL,
    u_height integer NOT NULL DEFAULT 42 CONSTRAINT racks_u_height_check CHECK (u_height >= 1),
    position_in_room jsonb NOT NULL,
    power_kw_limit real NOT NULL DEFAULT 12.0,
    current_power_kw real NOT NULL DEFAULT 0,
    weight_kg_limit real,
    is_ai_ready boolean DEFAULT false,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);
CREATE INDEX rack_room_idx ON racks (room_id);

CREATE TABLE device_types (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    code text NOT NULL CONSTRAINT device_types_code_unique UNIQUE,
    category device_category NOT NULL,
    name text,
    description text,
    -- The path of a model file (GLB).
    model_ref text,
    u_height integer NOT NULL,
    power_kw real,
    btu_hr real,
    gpu_slots integer,
    weight_kg real,
    depth_mm integer,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);

CREATE TABLE devices (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    rack_id uuid NOT NULL CONSTRAINT devices_rack_id_racks_id_fk REFERENCES racks ON DELETE CASCADE,
    device_type_id uuid NOT NULL CONSTRAINT devices_device_type_id_device_types_id_fk REFERENCES device_types,
    -- The same for the rows of one piece of equipment in several phases.
    logical_equipment_id text,
    name text NOT NULL,
    u_start integer NOT NULL CONSTRAINT devices_u_start_check CHECK (u_start >= 1),
    u_height integer NOT NULL CONSTRAINT devices_u_height_check CHECK (u_height >= 1),
    status_4d status_4d NOT NULL DEFAULT 'EXISTING_RETAINED',
    power_kw real NOT NULL DEFAULT 0,
    serial_number text,
    asset_tag text,
    purchase_date timestamp,
    warranty_expiry timestamp,
    notes text,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    -- Two devices that are there never share a U of a rack. Looked at once a statement is through, not row by row, so that devices can change
    -- places in one statement; what a site sends is looked at when all of a part is written.
    CONSTRAINT devices_slot EXCLUDE USING gist (rack_id WITH =, int4range(u_start, u_start + u_height) WITH &&)
        WHERE (is_active AND status_4d <> 'EXISTING_REMOVED') DEFERRABLE INITIALLY IMMEDIATE
);
CREATE INDEX device_rack_idx ON devices (rack_id);
CREATE INDEX device_device_type_idx ON devices (device_type_id);
CREATE INDEX device_status_idx ON devices (status_4d);
CREATE INDEX device_logical_idx ON devices (logical_equipment_id);

CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    email text NOT NULL CONSTRAINT users_email_unique UNIQUE,
    name text,
    role user_role NOT NULL DEFAULT 'viewer',
    avatar_url text,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);

CREATE TABLE user_preferences (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    user_id uuid NOT NULL CONSTRAINT user_preferences_user_id_unique UNIQUE
        CONSTRAINT user_preferences_user_id_users_id_fk REFERENCES users ON DELETE CASCADE,
    -- currentPhase, colorMode, statusVisibility, showBuilding, showOrigin, showCompass, currentView3D, xrayMode.
    preferences jsonb NOT NULL,
    updated_at timestamp NOT NULL DEFAULT now()
);

CREATE TABLE equipment_history (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    device_id uuid CONSTRAINT equipment_history_device_id_devices_id_fk REFERENCES devices ON DELETE SET NULL,
    -- What it was called then: it outlives the device.
    device_name text NOT NULL,
    modification_type modification_type NOT NULL,
    target_phase phase,
    scheduled_date timestamp,
    is_applied boolean NOT NULL DEFAULT false,
    -- {"rackId": "..", "uPosition": n}, both.
    from_location jsonb,
    to_location jsonb,
    -- {"from": "..", "to": ".."}
    status_change jsonb,
    notes text,
    user_id uuid CONSTRAINT equipment_history_user_id_users_id_fk REFERENCES users,
    created_at timestamp NOT NULL DEFAULT now()
);
CREATE INDEX history_device_idx ON equipment_history (device_id);
CREATE INDEX history_date_idx ON equipment_history (created_at);
CREATE INDEX history_user_idx ON equipment_history (user_id);
