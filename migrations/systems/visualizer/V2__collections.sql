-- Migration #010: three tables and what refers to them renamed, one column renamed, columns added with their defaults, eight new tables.
-- Nothing is dropped and made anew, so rows and sites' unsent edits stay what they are.

ALTER TABLE studio_session RENAME TO collection_session;
ALTER TABLE message RENAME COLUMN studio_session_id TO collection_session_id;
ALTER TABLE collection_session RENAME CONSTRAINT studio_session_pkey TO collection_session_pkey;
ALTER TABLE collection_session RENAME CONSTRAINT studio_session_client_id_fkey TO collection_session_client_id_fkey;
ALTER TABLE collection_session RENAME CONSTRAINT studio_session_user_id_fkey TO collection_session_user_id_fkey;
ALTER TABLE message RENAME CONSTRAINT message_studio_session_id_fkey TO message_collection_session_id_fkey;
ALTER INDEX studio_session_client RENAME TO collection_session_client;
ALTER INDEX studio_session_user RENAME TO collection_session_user;
ALTER INDEX message_session RENAME TO message_collection_session;

ALTER TABLE flow RENAME TO generation_flow;
ALTER TABLE generation_flow RENAME COLUMN studio_session_id TO collection_session_id;
ALTER TABLE generation_flow ALTER COLUMN collection_session_id DROP NOT NULL;
ALTER TABLE generation_flow ADD COLUMN is_favorite boolean NOT NULL DEFAULT false;
ALTER TABLE generation_flow RENAME CONSTRAINT flow_pkey TO generation_flow_pkey;
ALTER TABLE generation_flow RENAME CONSTRAINT flow_studio_session_id_fkey TO generation_flow_collection_session_id_fkey;
ALTER TABLE generation_flow RENAME CONSTRAINT flow_product_id_fkey TO generation_flow_product_id_fkey;
ALTER INDEX flow_session RENAME TO generation_flow_collection_session;
ALTER INDEX flow_product RENAME TO generation_flow_product;

ALTER TABLE generated_image RENAME TO generated_asset;
ALTER TABLE generated_asset RENAME COLUMN r2_key TO asset_url;
ALTER TABLE generated_asset
    ADD COLUMN asset_type text NOT NULL DEFAULT 'image',
    ADD COLUMN asset_analysis jsonb,
    ADD COLUMN analysis_version text,
    ADD COLUMN approval_status text NOT NULL DEFAULT 'pending',
    ADD COLUMN approved_at timestamptz,
    ADD COLUMN approved_by text REFERENCES "user" ON DELETE SET NULL;
ALTER TABLE generated_asset RENAME CONSTRAINT generated_image_pkey TO generated_asset_pkey;
ALTER TABLE generated_asset RENAME CONSTRAINT generated_image_flow_id_fkey TO generated_asset_flow_id_fkey;
ALTER TABLE generated_asset RENAME CONSTRAINT generated_image_r2_key TO generated_asset_asset_url;
ALTER INDEX generated_image_flow RENAME TO generated_asset_flow;
CREATE INDEX generated_asset_approval_status ON generated_asset (approval_status);
CREATE INDEX generated_asset_approved_by ON generated_asset (approved_by);

-- What opens a store stays at the cloud: columns named token do.
CREATE TABLE store_connection (
    id text PRIMARY KEY,
    client_id text NOT NULL REFERENCES client ON DELETE CASCADE,
    store_type text NOT NULL,
    store_url text NOT NULL,
    access_token text,
    refresh_token text,
    token_expires_at timestamptz,
    status text NOT NULL DEFAULT 'connected',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (client_id, store_type, store_url)
);
ALTER TABLE product
    ADD COLUMN is_favorite boolean NOT NULL DEFAULT false,
    ADD COLUMN source text NOT NULL DEFAULT 'uploaded' CHECK (source IN ('imported', 'uploaded')),
    ADD COLUMN erp_id text,
    ADD COLUMN erp_sku text,
    ADD COLUMN erp_url text,
    ADD COLUMN store_connection_id text REFERENCES store_connection ON DELETE SET NULL,
    ADD COLUMN analysis_data jsonb,
    ADD COLUMN analysis_version text,
    ADD COLUMN analyzed_at timestamptz;
CREATE INDEX product_store_connection ON product (store_connection_id);
CREATE INDEX product_erp_id ON product (erp_id);

CREATE TABLE generated_asset_product (
    id text PRIMARY KEY,
    generated_asset_id text NOT NULL REFERENCES generated_asset (id) ON DELETE CASCADE,
    product_id text NOT NULL REFERENCES product (id) ON DELETE CASCADE,
    is_primary boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (generated_asset_id, product_id)
);
CREATE INDEX generated_asset_product_product ON generated_asset_product (product_id);

CREATE TABLE tag (
    id text PRIMARY KEY,
    client_id text NOT NULL REFERENCES client ON DELETE CASCADE,
    name text NOT NULL,
    color text,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (client_id, name)
);

CREATE TABLE tag_assignment (
    id text PRIMARY KEY,
    tag_id text NOT NULL REFERENCES tag ON DELETE CASCADE,
    entity_type text NOT NULL,
    entity_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tag_id, entity_type, entity_id)
);
CREATE INDEX tag_assignment_entity ON tag_assignment (entity_type, entity_id);

CREATE TABLE user_favorite (
    id text PRIMARY KEY,
    user_id text NOT NULL REFERENCES "user" ON DELETE CASCADE,
    entity_type text NOT NULL,
    entity_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, entity_type, entity_id)
);
CREATE INDEX user_favorite_entity ON user_favorite (entity_type, entity_id);

CREATE TABLE generation_event (
    id text PRIMARY KEY,
    generation_flow_id text NOT NULL REFERENCES generation_flow ON DELETE CASCADE,
    user_id text REFERENCES "user" ON DELETE SET NULL,
    event_type text NOT NULL,
    metadata jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX generation_event_flow ON generation_event (generation_flow_id, created_at);
CREATE INDEX generation_event_type ON generation_event (event_type, created_at);
CREATE INDEX generation_event_user ON generation_event (user_id);

CREATE TABLE store_sync_log (
    id text PRIMARY KEY,
    store_connection_id text NOT NULL REFERENCES store_connection ON DELETE CASCADE,
    product_id text REFERENCES product ON DELETE SET NULL,
    action text NOT NULL,
    status text NOT NULL DEFAULT 'success',
    error text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX store_sync_log_connection ON store_sync_log (store_connection_id, created_at);
CREATE INDEX store_sync_log_product ON store_sync_log (product_id);

CREATE TABLE inspiration_image (
    id text PRIMARY KEY,
    collection_session_id text NOT NULL REFERENCES collection_session ON DELETE CASCADE,
    url text NOT NULL,
    note text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX inspiration_image_session ON inspiration_image (collection_session_id);
