-- What an organization adds by itself: tags, fields, rules, words, plugins; files and notices. entity_type and entity_id name rows of several
-- tables, which only rejoin.toml can declare: the kinds that it lists are those of the CHECKs here.

CREATE TABLE tags (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    name text NOT NULL,
    color text,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, id),
    UNIQUE (organization_id, name)
);

CREATE TABLE entity_tags (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    tag_id uuid NOT NULL,
    entity_type text NOT NULL CHECK (entity_type IN ('work_order', 'asset', 'part', 'vendor', 'contractor')),
    entity_id uuid NOT NULL,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, tag_id, entity_type, entity_id),
    FOREIGN KEY (organization_id, tag_id) REFERENCES tags (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_entity_tags_entity ON entity_tags (entity_type, entity_id, organization_id);

CREATE TABLE custom_fields (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    entity_type text NOT NULL CHECK (entity_type IN ('work_order', 'asset', 'part', 'vendor', 'contractor')),
    name text NOT NULL,
    label text NOT NULL,
    field_type text NOT NULL DEFAULT 'text' CHECK (field_type IN ('text', 'number', 'boolean', 'date', 'choice')),
    choices jsonb,
    required boolean NOT NULL DEFAULT false,
    position integer NOT NULL DEFAULT 0,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, id),
    UNIQUE (organization_id, entity_type, name)
);

CREATE TABLE custom_field_values (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    custom_field_id uuid NOT NULL,
    entity_type text NOT NULL CHECK (entity_type IN ('work_order', 'asset', 'part', 'vendor', 'contractor')),
    entity_id uuid NOT NULL,
    value jsonb,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, custom_field_id, entity_id),
    FOREIGN KEY (organization_id, custom_field_id) REFERENCES custom_fields (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_custom_field_values_entity ON custom_field_values (entity_type, entity_id, organization_id);

CREATE TABLE plugins (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    name text NOT NULL,
    version text NOT NULL,
    source text,
    tables jsonb NOT NULL DEFAULT '[]',
    hooks jsonb NOT NULL DEFAULT '[]',
    forms jsonb NOT NULL DEFAULT '[]',
    settings jsonb NOT NULL DEFAULT '{}',
    enabled boolean NOT NULL DEFAULT false,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, name)
);

CREATE TABLE rules_engine (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    name text NOT NULL,
    event text NOT NULL,
    condition jsonb NOT NULL DEFAULT '{}',
    action jsonb NOT NULL,
    position integer NOT NULL DEFAULT 0,
    active boolean NOT NULL DEFAULT true,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid
);
CREATE INDEX idx_rules_engine_event ON rules_engine (organization_id, event, position);

CREATE TABLE i18n_strings (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    locale text NOT NULL,
    key text NOT NULL,
    value text NOT NULL,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, locale, key)
);

-- Can be computed again at any time; stays at the cloud.
CREATE TABLE dashboard_metrics_cache (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    metric text NOT NULL,
    value jsonb NOT NULL,
    computed_at timestamp NOT NULL DEFAULT now(),
    expires_at timestamp,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, metric)
);

-- What is known of a file; its bytes are wherever storage says, under storage_key.
CREATE TABLE attachments (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    entity_type text NOT NULL
        CHECK (entity_type IN ('work_order', 'asset', 'part', 'comment', 'maintenance_log', 'checklist_item')),
    entity_id uuid NOT NULL,
    file_name text NOT NULL,
    content_type text,
    size_bytes bigint CHECK (size_bytes >= 0),
    checksum text,
    storage text NOT NULL DEFAULT 'local' CHECK (storage IN ('s3', 'cloudinary', 'local')),
    storage_key text NOT NULL,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid
);
CREATE INDEX idx_attachments_entity ON attachments (entity_type, entity_id, organization_id);

-- To one person, or where user_id is NULL to everybody in the organization.
CREATE TABLE notifications (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    user_id uuid,
    kind text NOT NULL DEFAULT 'info',
    title text NOT NULL,
    body text,
    entity_type text CHECK (entity_type IN ('work_order', 'asset', 'part', 'comment', 'calendar_event')),
    entity_id uuid,
    read_at timestamp,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    FOREIGN KEY (organization_id, user_id) REFERENCES users (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_notifications_user ON notifications (organization_id, user_id, created_at);
CREATE INDEX idx_notifications_entity ON notifications (entity_type, entity_id, organization_id);
