-- What is maintained and with what: assets, stock, and the firms and people outside.

CREATE TABLE vendors (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    name text NOT NULL,
    contact_name text,
    email text,
    phone text,
    website text,
    address text,
    latitude double precision CHECK (latitude BETWEEN -90 AND 90),
    longitude double precision CHECK (longitude BETWEEN -180 AND 180),
    notes text,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, id)
);
CREATE INDEX idx_vendors_name ON vendors (organization_id, name);
CREATE INDEX idx_vendors_place ON vendors (organization_id, latitude, longitude);

CREATE TABLE contractors (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    vendor_id uuid,
    name text NOT NULL,
    trade text,
    email text,
    phone text,
    license_number text,
    insured_until date,
    hourly_rate numeric(12, 2),
    address text,
    latitude double precision CHECK (latitude BETWEEN -90 AND 90),
    longitude double precision CHECK (longitude BETWEEN -180 AND 180),
    notes text,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, id),
    FOREIGN KEY (organization_id, vendor_id) REFERENCES vendors (organization_id, id) ON DELETE SET NULL (vendor_id)
);
CREATE INDEX idx_contractors_vendor ON contractors (organization_id, vendor_id);
CREATE INDEX idx_contractors_name ON contractors (organization_id, name);
CREATE INDEX idx_contractors_place ON contractors (organization_id, latitude, longitude);

CREATE TABLE assets (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    parent_id uuid,
    vendor_id uuid,
    name text NOT NULL,
    type text NOT NULL,
    serial text,
    manufacturer text,
    model text,
    status text NOT NULL DEFAULT 'operational',
    description text,
    location text,
    latitude double precision CHECK (latitude BETWEEN -90 AND 90),
    longitude double precision CHECK (longitude BETWEEN -180 AND 180),
    installed_on date,
    warranty_until date,
    tsv tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', name), 'A')
        || setweight(to_tsvector('simple', type || ' ' || coalesce(serial, '') || ' ' || coalesce(manufacturer, '') || ' ' || coalesce(model, '')), 'B')
        || setweight(to_tsvector('simple', coalesce(description, '') || ' ' || coalesce(location, '')), 'C')
    ) STORED,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, id),
    CHECK (parent_id <> id),
    FOREIGN KEY (organization_id, parent_id) REFERENCES assets (organization_id, id) ON DELETE SET NULL (parent_id),
    FOREIGN KEY (organization_id, vendor_id) REFERENCES vendors (organization_id, id) ON DELETE SET NULL (vendor_id)
);
CREATE INDEX idx_assets_parent ON assets (organization_id, parent_id);
CREATE INDEX idx_assets_vendor ON assets (organization_id, vendor_id);
CREATE INDEX idx_assets_type_status ON assets (organization_id, type, status);
CREATE INDEX idx_assets_serial ON assets (organization_id, serial);
CREATE INDEX idx_assets_place ON assets (organization_id, latitude, longitude);
CREATE INDEX idx_assets_tsv ON assets USING gin (tsv);

-- quantity is no CHECK's business: what was taken from a shelf while the link was down is gone, even if two took the last one.
CREATE TABLE parts_inventory (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    organization_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    vendor_id uuid,
    name text NOT NULL,
    part_number text,
    description text,
    location text,
    unit text NOT NULL DEFAULT 'each',
    quantity integer NOT NULL DEFAULT 0,
    reorder_point integer NOT NULL DEFAULT 0 CHECK (reorder_point >= 0),
    reorder_quantity integer CHECK (reorder_quantity > 0),
    unit_cost numeric(12, 2),
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    deleted_at timestamp,
    created_by uuid,
    updated_by uuid,
    UNIQUE (organization_id, id),
    FOREIGN KEY (organization_id, vendor_id) REFERENCES vendors (organization_id, id) ON DELETE SET NULL (vendor_id)
);
CREATE INDEX idx_parts_inventory_vendor ON parts_inventory (organization_id, vendor_id);
CREATE INDEX idx_parts_inventory_number ON parts_inventory (organization_id, part_number);
CREATE INDEX idx_parts_inventory_location ON parts_inventory (organization_id, location);
CREATE INDEX idx_parts_inventory_low ON parts_inventory (organization_id, name) WHERE quantity <= reorder_point AND deleted_at IS NULL;
