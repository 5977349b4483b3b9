-- The work: orders, what they are made from, what they are about, what was done, and who signed for it.

CREATE TABLE work_order_templates (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    name text NOT NULL,
    title text NOT NULL,
    description text,
    priority text,
    estimated_minutes integer CHECK (estimated_minutes >= 0),
    recurrence text,
    active boolean NOT NULL DEFAULT true,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, id)
);
CREATE INDEX idx_work_order_templates_name ON work_order_templates (organization_id, name);

-- One table in eight parts by organization: PostgreSQL wants what it divides by in the key.
CREATE TABLE work_orders (
    id uuid NOT NULL DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    title text NOT NULL,
    description text,
    status text NOT NULL,
    priority text,
    scheduled_for timestamp,
    assigned_to uuid,
    requested_by uuid,
    tsv tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', title), 'A') || setweight(to_tsvector('simple', coalesce(description, '')), 'B')
    ) STORED,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, assigned_to) REFERENCES users (organization_id, id) ON DELETE SET NULL (assigned_to),
    FOREIGN KEY (organization_id, requested_by) REFERENCES users (organization_id, id) ON DELETE SET NULL (requested_by)
) PARTITION BY HASH (organization_id);
DO $$ BEGIN
    FOR n IN 0..7 LOOP
        EXECUTE format('CREATE TABLE work_orders_%s PARTITION OF work_orders FOR VALUES WITH (MODULUS 8, REMAINDER %s)', n, n);
    END LOOP;
END $$;
CREATE INDEX idx_work_orders_org ON work_orders (organization_id);
CREATE INDEX idx_work_orders_tsv ON work_orders USING gin (tsv);
CREATE INDEX idx_work_orders_assigned_to ON work_orders (organization_id, assigned_to, status);
CREATE INDEX idx_work_orders_requested_by ON work_orders (organization_id, requested_by);
CREATE INDEX idx_work_orders_status ON work_orders (organization_id, status, priority);
CREATE INDEX idx_work_orders_scheduled_for ON work_orders (organization_id, scheduled_for);

CREATE TABLE work_order_assets (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    work_order_id uuid NOT NULL,
    asset_id uuid NOT NULL,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, work_order_id, asset_id),
    FOREIGN KEY (organization_id, work_order_id) REFERENCES work_orders (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, asset_id) REFERENCES assets (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_work_order_assets_asset ON work_order_assets (organization_id, asset_id);

CREATE TABLE work_order_parts_used (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    work_order_id uuid NOT NULL,
    part_id uuid,
    quantity integer NOT NULL DEFAULT 1 CHECK (quantity > 0),
    unit_cost numeric(12, 2),
    used_by uuid,
    used_at timestamp NOT NULL DEFAULT now(),
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    FOREIGN KEY (organization_id, work_order_id) REFERENCES work_orders (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, part_id) REFERENCES parts_inventory (organization_id, id) ON DELETE SET NULL (part_id),
    FOREIGN KEY (organization_id, used_by) REFERENCES users (organization_id, id) ON DELETE SET NULL (used_by)
);
CREATE INDEX idx_work_order_parts_used_order ON work_order_parts_used (organization_id, work_order_id);
CREATE INDEX idx_work_order_parts_used_part ON work_order_parts_used (organization_id, part_id, used_at);
CREATE INDEX idx_work_order_parts_used_by ON work_order_parts_used (organization_id, used_by);

-- What was done stays, also when the order or the asset that it was done on is gone.
CREATE TABLE maintenance_logs (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    work_order_id uuid,
    asset_id uuid,
    contractor_id uuid,
    performed_by uuid,
    performed_at timestamp NOT NULL DEFAULT now(),
    kind text,
    notes text NOT NULL,
    minutes integer CHECK (minutes >= 0),
    cost numeric(12, 2),
    readings jsonb,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, id),
    FOREIGN KEY (organization_id, work_order_id) REFERENCES work_orders (organization_id, id) ON DELETE SET NULL (work_order_id),
    FOREIGN KEY (organization_id, asset_id) REFERENCES assets (organization_id, id) ON DELETE SET NULL (asset_id),
    FOREIGN KEY (organization_id, contractor_id) REFERENCES contractors (organization_id, id) ON DELETE SET NULL (contractor_id),
    FOREIGN KEY (organization_id, performed_by) REFERENCES users (organization_id, id) ON DELETE SET NULL (performed_by)
);
CREATE INDEX idx_maintenance_logs_order ON maintenance_logs (organization_id, work_order_id);
CREATE INDEX idx_maintenance_logs_asset ON maintenance_logs (organization_id, asset_id, performed_at);
CREATE INDEX idx_maintenance_logs_contractor ON maintenance_logs (organization_id, contractor_id);
CREATE INDEX idx_maintenance_logs_performed_by ON maintenance_logs (organization_id, performed_by);

-- Of a work order, or of a template that new ones are made from.
CREATE TABLE checklists (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    work_order_id uuid,
    template_id uuid,
    title text NOT NULL,
    position integer NOT NULL DEFAULT 0,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, id),
    CHECK (num_nonnulls(work_order_id, template_id) = 1),
    FOREIGN KEY (organization_id, work_order_id) REFERENCES work_orders (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, template_id) REFERENCES work_order_templates (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_checklists_order ON checklists (organization_id, work_order_id, position);
CREATE INDEX idx_checklists_template ON checklists (organization_id, template_id, position);

CREATE TABLE checklist_items (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    checklist_id uuid NOT NULL,
    position integer NOT NULL DEFAULT 0,
    task text NOT NULL,
    required boolean NOT NULL DEFAULT true,
    done boolean NOT NULL DEFAULT false,
    done_by uuid,
    done_at timestamp,
    note text,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, id),
    FOREIGN KEY (organization_id, checklist_id) REFERENCES checklists (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, done_by) REFERENCES users (organization_id, id) ON DELETE SET NULL (done_by)
);
CREATE INDEX idx_checklist_items_checklist ON checklist_items (organization_id, checklist_id, position);
CREATE INDEX idx_checklist_items_done_by ON checklist_items (organization_id, done_by);

-- Who, when, and the SHA-256 of what was signed. The name stays when the person is gone.
CREATE TABLE checklist_signatures (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    checklist_id uuid NOT NULL,
    signed_by uuid,
    signer_name text NOT NULL,
    signed_at timestamp NOT NULL DEFAULT now(),
    content_hash text NOT NULL CHECK (content_hash ~ '^[0-9a-f]{64}$'),
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    FOREIGN KEY (organization_id, checklist_id) REFERENCES checklists (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, signed_by) REFERENCES users (organization_id, id) ON DELETE SET NULL (signed_by)
);
CREATE INDEX idx_checklist_signatures_checklist ON checklist_signatures (organization_id, checklist_id, signed_at);
CREATE INDEX idx_checklist_signatures_signed_by ON checklist_signatures (organization_id, signed_by);

CREATE TABLE calendar_events (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    work_order_id uuid,
    asset_id uuid,
    assigned_to uuid,
    title text NOT NULL,
    description text,
    location text,
    starts_at timestamp NOT NULL,
    ends_at timestamp,
    all_day boolean NOT NULL DEFAULT false,
    recurrence text,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, id),
    CHECK (ends_at >= starts_at),
    FOREIGN KEY (organization_id, work_order_id) REFERENCES work_orders (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, asset_id) REFERENCES assets (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, assigned_to) REFERENCES users (organization_id, id) ON DELETE SET NULL (assigned_to)
);
CREATE INDEX idx_calendar_events_starts_at ON calendar_events (organization_id, starts_at);
CREATE INDEX idx_calendar_events_order ON calendar_events (organization_id, work_order_id);
CREATE INDEX idx_calendar_events_asset ON calendar_events (organization_id, asset_id);
CREATE INDEX idx_calendar_events_assigned_to ON calendar_events (organization_id, assigned_to, starts_at);

-- On a work order or on an asset, and answers to each other. Two columns instead of a type and an id: so PostgreSQL holds both references.
CREATE TABLE comments (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    work_order_id uuid,
    asset_id uuid,
    parent_id uuid,
    body text NOT NULL,
    tsv tsvector GENERATED ALWAYS AS (to_tsvector('simple', body)) STORED,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, id),
    CHECK (num_nonnulls(work_order_id, asset_id) = 1),
    CHECK (parent_id <> id),
    FOREIGN KEY (organization_id, work_order_id) REFERENCES work_orders (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, asset_id) REFERENCES assets (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, parent_id) REFERENCES comments (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_comments_order ON comments (organization_id, work_order_id, created_at);
CREATE INDEX idx_comments_asset ON comments (organization_id, asset_id, created_at);
CREATE INDEX idx_comments_parent ON comments (organization_id, parent_id);
CREATE INDEX idx_comments_tsv ON comments USING gin (tsv);
