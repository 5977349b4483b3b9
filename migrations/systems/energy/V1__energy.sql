-- The built-in system for energy management: portfolios and their sites; meters with the assets and energy sources behind them; links to the
-- grid, measurements and recommendations. Names of types, indexes and constraints are those that Drizzle gives, so that its client can run
-- against these tables.

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

CREATE TYPE direction_enum AS ENUM ('in', 'out', 'bi');
CREATE TYPE relationship_enum AS ENUM ('energy_flow', 'data_flow', 'dependency');
CREATE TYPE industry_type_enum AS ENUM (
    'biotech', 'datacenter', 'logistics', 'manufacturing', 'food', 'healthcare', 'education', 'hospitality', 'office', 'retail', 'other'
);
CREATE TYPE meter_category_enum AS ENUM ('CONS', 'PROD', 'INJ', 'STOR');
CREATE TYPE reading_frequency_enum AS ENUM ('1min', '5min', '15min', 'hourly', 'daily');
CREATE TYPE quality_enum AS ENUM ('good', 'bad', 'estimated');

CREATE TABLE portfolios (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    name text NOT NULL,
    description text,
    active boolean NOT NULL DEFAULT true,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sites (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    portfolio_id uuid NOT NULL CONSTRAINT sites_portfolio_id_portfolios_id_fk REFERENCES portfolios ON DELETE CASCADE,
    name text NOT NULL,
    location text,
    industry_type industry_type_enum NOT NULL,
    active boolean NOT NULL DEFAULT true,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sites_portfolio_id_idx ON sites (portfolio_id);

CREATE TABLE meters (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    site_id uuid NOT NULL CONSTRAINT meters_site_id_sites_id_fk REFERENCES sites ON DELETE CASCADE,
    name text NOT NULL,
    category meter_category_enum NOT NULL,
    reading_frequency reading_frequency_enum NOT NULL DEFAULT '15min',
    active boolean NOT NULL DEFAULT true,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX meters_site_id_category_idx ON meters (site_id, category);

CREATE TABLE asset_types (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    code text NOT NULL CONSTRAINT asset_types_code_unique UNIQUE,
    name text NOT NULL,
    description text,
    active boolean NOT NULL DEFAULT true,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE assets (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    meter_id uuid NOT NULL CONSTRAINT assets_meter_id_meters_id_fk REFERENCES meters ON DELETE CASCADE,
    parent_id uuid CONSTRAINT assets_parent_id_assets_id_fk REFERENCES assets ON DELETE CASCADE,
    asset_type_id uuid NOT NULL CONSTRAINT assets_asset_type_id_asset_types_id_fk REFERENCES asset_types,
    name text NOT NULL,
    -- What it is in the plant: compressor, chiller, lighting and so on.
    kind text,
    active boolean NOT NULL DEFAULT true,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX assets_meter_id_idx ON assets (meter_id);
CREATE INDEX assets_parent_id_idx ON assets (parent_id);
CREATE INDEX assets_asset_type_id_idx ON assets (asset_type_id);

CREATE TABLE asset_connections (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    from_asset_id uuid NOT NULL CONSTRAINT asset_connections_from_asset_id_assets_id_fk REFERENCES assets ON DELETE CASCADE,
    to_asset_id uuid NOT NULL CONSTRAINT asset_connections_to_asset_id_assets_id_fk REFERENCES assets ON DELETE CASCADE,
    direction direction_enum NOT NULL,
    relationship relationship_enum NOT NULL,
    active boolean NOT NULL DEFAULT true,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX asset_connections_from_asset_id_idx ON asset_connections (from_asset_id);
CREATE INDEX asset_connections_to_asset_id_idx ON asset_connections (to_asset_id);

CREATE TABLE energy_sources (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    meter_id uuid NOT NULL CONSTRAINT energy_sources_meter_id_meters_id_fk REFERENCES meters ON DELETE CASCADE,
    name text NOT NULL,
    -- solar, wind, battery, generator, chp, hydrogen, grid and so on.
    source_type text NOT NULL,
    capacity_kw double precision,
    -- Grams of CO2 equivalent for a kWh.
    carbon_intensity double precision,
    active boolean NOT NULL DEFAULT true,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX energy_sources_meter_id_idx ON energy_sources (meter_id);

CREATE TABLE grid_links (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    site_id uuid NOT NULL CONSTRAINT grid_links_site_id_sites_id_fk REFERENCES sites ON DELETE CASCADE,
    name text NOT NULL,
    -- As seen from the site: in is consumption, out is injection.
    direction direction_enum NOT NULL,
    capacity_kw double precision,
    tariff jsonb,
    active boolean NOT NULL DEFAULT true,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX grid_links_site_id_idx ON grid_links (site_id);

-- Rows are added and never changed. What entity_id names is said by entity_type; rejoin.toml declares it.
CREATE TABLE measurements (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    entity_type text NOT NULL CONSTRAINT measurements_entity_type_check CHECK (entity_type IN ('meter', 'asset', 'energy_source')),
    entity_id uuid NOT NULL,
    metric text NOT NULL CONSTRAINT measurements_metric_check CHECK (metric IN ('power', 'energy', 'voltage', 'current')),
    value double precision NOT NULL,
    -- kW, kWh, V, A and so on.
    unit text NOT NULL,
    "timestamp" timestamptz NOT NULL,
    quality quality_enum NOT NULL DEFAULT 'good',
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX measurements_entity_metric_timestamp_idx ON measurements (entity_type, entity_id, metric, "timestamp");

CREATE TABLE recommendations (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    site_id uuid NOT NULL CONSTRAINT recommendations_site_id_sites_id_fk REFERENCES sites ON DELETE CASCADE,
    -- efficiency, renewable, storage and so on.
    category text NOT NULL,
    title text NOT NULL,
    description text,
    -- Money a year.
    estimated_savings double precision,
    -- A share: 0.25 is 25 % a year.
    roi double precision,
    -- Tonnes of CO2 equivalent a year.
    carbon_reduction double precision,
    status text NOT NULL DEFAULT 'new',
    active boolean NOT NULL DEFAULT true,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX recommendations_site_id_status_idx ON recommendations (site_id, status);
