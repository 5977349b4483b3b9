-- The kinds of assets that there are from the start. Their ids are the same in every database, so that files and programs can name them.
INSERT INTO asset_types (id, code, name) VALUES
    ('019b0000-0000-7000-8000-0000000000c1', 'CONS', 'Consumption'),
    ('019b0000-0000-7000-8000-0000000000c2', 'PROD', 'Production'),
    ('019b0000-0000-7000-8000-0000000000c3', 'C/I', 'Consumption and injection'),
    ('019b0000-0000-7000-8000-0000000000c4', 'INJ', 'Injection');
