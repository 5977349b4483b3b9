-- Who made and who changed a row: people of the row's own organization. The same for every table, so it is said once.
ALTER TABLE organizations
    ADD FOREIGN KEY (id, created_by) REFERENCES users (organization_id, id) ON DELETE SET NULL (created_by),
    ADD FOREIGN KEY (id, updated_by) REFERENCES users (organization_id, id) ON DELETE SET NULL (updated_by);

DO $$ DECLARE
    name text;
    author text;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'organization_id' AND NOT a.attisdropped
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname
    LOOP
        FOREACH author IN ARRAY ARRAY['created_by', 'updated_by'] LOOP
            EXECUTE format(
                'ALTER TABLE %I ADD FOREIGN KEY (organization_id, %I) REFERENCES users (organization_id, id) ON DELETE SET NULL (%I)',
                name, author, author);
            EXECUTE format('CREATE INDEX %I ON %I (organization_id, %I)', format('idx_%s_%s', name, author), name, author);
        END LOOP;
    END LOOP;
END $$;
