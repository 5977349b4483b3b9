-- The built-in system for maintenance: organizations, their people, and (V2 to V5) what they maintain, the work on it, and what each
-- organization adds to the schema by itself.
--
-- Every row names its organization, and every reference carries it along: (organization_id, x_id) refers to (organization_id, id). So no row
-- can refer to another organization's, whatever program writes it. Where a reference is cleared, only x_id is.
-- A row with a deleted_at is deleted for people and programs, and still there for audits.

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

CREATE TABLE organizations (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    name text NOT NULL,
    slug text UNIQUE,
    settings jsonb NOT NULL DEFAULT '{}',
    branding jsonb NOT NULL DEFAULT '{}',
    region text,
    locale text NOT NULL DEFAULT 'en',
    time_zone text NOT NULL DEFAULT 'UTC',
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid
);

-- No password hash: what people sign in with is in the engine's own tables, and never at a site.
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    email text NOT NULL UNIQUE,
    name text NOT NULL,
    role text NOT NULL DEFAULT 'technician' CHECK (role IN ('admin', 'manager', 'technician', 'requester', 'viewer')),
    permissions text[] NOT NULL DEFAULT '{}',
    phone text,
    locale text,
    active boolean NOT NULL DEFAULT true,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, id)
);

-- Sessions of a program of your own; Rejoin's are in its own tables. They never leave the cloud.
CREATE TABLE user_sessions (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    user_id uuid NOT NULL,
    refresh_token_hash text NOT NULL,
    ip_address inet,
    user_agent text,
    expires_at timestamp NOT NULL,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    FOREIGN KEY (organization_id, user_id) REFERENCES users (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_user_sessions_user ON user_sessions (organization_id, user_id);
CREATE INDEX idx_user_sessions_refresh_token ON user_sessions (refresh_token_hash);
CREATE INDEX idx_user_sessions_expiry ON user_sessions (expires_at);
