//! Catalogs to test with.

use local_server::store::install::install;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use sync_core::catalog::{
    ApiStyle, Catalog, Column, DefaultValue, Index, OnDelete, Reference, ScopeRule, Stamps, Table, TableApi, Travel, Unique,
};
use sync_core::id::{CatalogVersion, ColumnNo, TableNo};
use sync_core::value::{ColumnType, Value};

/// A column that may be NULL.
pub(crate) fn column(no: u32, name: &str, ty: ColumnType) -> Column {
    Column {
        no: ColumnNo(no),
        name: name.into(),
        sql_type: "text".into(),
        ty,
        not_null: false,
        default: None,
        max_length: None,
        policy: sync_core::policy::Policy::Manual,
        added: None,
        fixed: false,
    }
}

/// The stamps of a table that has none of its own.
pub(crate) fn engine_stamps() -> Stamps {
    Stamps {
        version: "rejoin_version".into(),
        updated_at: "rejoin_updated_at".into(),
        last_modified_by: "rejoin_modified_by".into(),
        synced_at: "rejoin_synced_at".into(),
    }
}

/// The stamps of a table that has all of them.
pub(crate) fn own_stamps() -> Stamps {
    Stamps {
        version: "version".into(),
        updated_at: "updated_at".into(),
        last_modified_by: "last_modified_by".into(),
        synced_at: "synced_at".into(),
    }
}

/// A table with columns numbered from 1, the first of which is its key.
pub(crate) fn table(no: u32, name: &str, columns: Vec<Column>) -> Table {
    Table {
        no: TableNo(no),
        schema: "public".into(),
        name: name.into(),
        path: name.into(),
        engine: false,
        key: vec![columns[0].no],
        columns,
        uniques: vec![],
        indexes: vec![],
        references: vec![],
        scope: ScopeRule::Global,
        stamps: own_stamps(),
        soft_delete: None,
        policy: sync_core::policy::Policy::Manual,
        groups: vec![],
        travel: Travel::Both,
        keep_hours: None,
        generation: 0,
        scope_name: String::new(),
        api: TableApi::default(),
        lease: None,
    }
}

/// A reference from one column to the first column of another table.
pub(crate) fn reference(name: &str, column: u32, to: u32, on_delete: OnDelete) -> Reference {
    Reference::foreign_key(name.into(), vec![ColumnNo(column)], TableNo(to), vec![ColumnNo(1)], on_delete)
}

pub(crate) fn unique(name: &str, columns: &[u32]) -> Unique {
    Unique { name: name.into(), columns: columns.iter().copied().map(ColumnNo).collect() }
}

pub(crate) fn index(name: &str, columns: &[u32]) -> Index {
    Index { name: name.into(), columns: columns.iter().copied().map(ColumnNo).collect() }
}

pub(crate) fn catalog(tables: Vec<Table>) -> Catalog {
    Catalog { version: CatalogVersion(1), system: "test".into(), api: ApiStyle::default(), tables }
}

/// `t (id, a, b, u unique)` and its children `c (id, t -> t cascade, x)`.
pub(crate) fn capture_catalog() -> Catalog {
    let mut t = table(
        1,
        "t",
        vec![
            column(1, "id", ColumnType::Text),
            column(2, "a", ColumnType::Int8),
            column(3, "b", ColumnType::Text),
            column(4, "u", ColumnType::Text),
        ],
    );
    t.uniques = vec![unique("t_u", &[4])];
    let mut c = table(2, "c", vec![column(1, "id", ColumnType::Text), column(2, "t", ColumnType::Text), column(3, "x", ColumnType::Int8)]);
    c.references = vec![reference("c_t", 2, 1, OnDelete::Cascade)];
    c.stamps = engine_stamps();
    catalog(vec![t, c])
}

/// As [`capture_catalog`], with keys that are leased numbers; and `lines (org, no leased, x)`.
pub(crate) fn leased_catalog() -> Catalog {
    let mut tables = capture_catalog().tables;
    let leased = |no: u32, name: &str| Column { not_null: true, default: Some(DefaultValue::Leased), ..column(no, name, ColumnType::Int8) };
    for table in &mut tables {
        table.columns[0] = leased(1, "id");
    }
    tables[1].columns[1].ty = ColumnType::Int8;
    let org = Column { not_null: true, ..column(1, "org", ColumnType::Int8) };
    let mut lines = table(3, "lines", vec![org, leased(2, "no"), column(3, "x", ColumnType::Int8)]);
    lines.key = vec![ColumnNo(1), ColumnNo(2)];
    tables.push(lines);
    catalog(tables)
}

/// The engine's tables and those of a catalog, in an open database.
pub(crate) fn build(connection: &Connection, catalog: &Catalog) {
    for migration in [
        include_str!("../../../migrations/sqlite/V1__engine.sql"),
        include_str!("../../../migrations/sqlite/V2__conflicts.sql"),
        include_str!("../../../migrations/sqlite/V3__schema.sql"),
    ] {
        connection.execute_batch(migration).unwrap();
    }
    install(connection, None, catalog, "venue").unwrap();
}

/// Runs statements as the sync writer does: no triggers, no foreign keys.
pub(crate) fn as_sync(connection: &Connection, sql: &str) {
    for switch in [DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY] {
        connection.set_db_config(switch, false).unwrap();
    }
    connection.execute_batch(sql).unwrap();
    for switch in [DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY] {
        connection.set_db_config(switch, true).unwrap();
    }
}

/// A small system: productions (the root), their sources and sends, and kinds, which are global.
///
/// `sources` refer to a production (cascade) and to a kind by its secondary unique key; `sends` to a source (set null) and to themselves
/// (restrict).
pub(crate) fn system_catalog() -> Catalog {
    let required = |column: Column| Column { not_null: true, ..column };
    let with = |column: Column, default: DefaultValue| Column { default: Some(default), ..column };
    let id = || with(required(column(1, "id", ColumnType::Uuid)), DefaultValue::Uuid);
    let deleted = |no| with(required(column(no, "is_deleted", ColumnType::Bool)), DefaultValue::Constant(Value::Bool(false)));
    let mut productions = table(
        1,
        "productions",
        vec![
            id(),
            required(column(2, "show_name", ColumnType::Text)),
            with(
                required(column(3, "status", ColumnType::Enum(vec!["PLANNING".into(), "ACTIVE".into()]))),
                DefaultValue::Constant(Value::Text("PLANNING".into())),
            ),
            with(required(column(4, "created_at", ColumnType::Timestamptz)), DefaultValue::Now),
            deleted(5),
            column(6, "load_in", ColumnType::Timestamptz),
        ],
    );
    productions.scope = ScopeRule::Root;
    productions.soft_delete = Some(ColumnNo(5));
    let mut sources = table(
        2,
        "sources",
        vec![
            id(),
            required(column(2, "production_id", ColumnType::Uuid)),
            required(column(3, "name", ColumnType::Text)),
            column(4, "slot", ColumnType::Int4),
            column(5, "rate", ColumnType::Float8),
            column(6, "specs", ColumnType::Json),
            column(7, "kind", ColumnType::Text),
            deleted(8),
            with(required(column(9, "serial", ColumnType::Int8)), DefaultValue::Cloud),
        ],
    );
    sources.scope = ScopeRule::Through(vec![0]);
    sources.soft_delete = Some(ColumnNo(8));
    sources.uniques = vec![unique("sources_slot", &[2, 4])];
    sources.indexes = vec![index("sources_by_production", &[2, 8])];
    sources.references = vec![
        reference("sources_production", 2, 1, OnDelete::Cascade),
        Reference { target: vec![ColumnNo(2)], ..reference("sources_kind", 7, 4, OnDelete::Restrict) },
    ];
    let mut sends = table(
        3,
        "sends",
        vec![
            id(),
            required(column(2, "production_id", ColumnType::Uuid)),
            column(3, "source_id", ColumnType::Uuid),
            column(4, "parent_id", ColumnType::Uuid),
            column(5, "price", ColumnType::Numeric),
        ],
    );
    sends.scope = ScopeRule::Through(vec![0]);
    sends.stamps = engine_stamps();
    sends.references = vec![
        reference("sends_production", 2, 1, OnDelete::Cascade),
        reference("sends_source", 3, 2, OnDelete::SetNull),
        reference("sends_parent", 4, 3, OnDelete::Restrict),
    ];
    let mut kinds = table(
        4,
        "kinds",
        vec![
            required(column(1, "maker", ColumnType::Text)),
            required(column(2, "code", ColumnType::Text)),
            required(column(3, "model", ColumnType::Text)),
        ],
    );
    kinds.key = vec![ColumnNo(1), ColumnNo(3)];
    kinds.uniques = vec![unique("kinds_code", &[2])];
    kinds.stamps = engine_stamps();
    let mut users = table(5, "users", vec![column(1, "name", ColumnType::Text), column(2, "role", ColumnType::Text)]);
    (users.engine, users.schema, users.stamps) = (true, "rejoin".into(), engine_stamps());
    catalog(vec![productions, sources, sends, kinds, users])
}

/// The engine's own synced tables, as the cloud's introspection publishes them.
pub(crate) fn engine_tables() -> Vec<Table> {
    use ColumnType::{Array, Bool, Enum, Int4, Int8, Json, Text, Timestamptz, Uuid};
    let engine = |no: u32, name: &str, scope: ScopeRule, columns: &[(&str, ColumnType)]| {
        let columns = columns.iter().zip(1..).map(|((name, ty), no)| column(no, name, ty.clone())).collect();
        Table { engine: true, schema: "rejoin".into(), stamps: engine_stamps(), scope, ..table(no, name, columns) }
    };
    let resolution = Enum(["PENDING", "CLOUD_WINS", "LOCAL_WINS", "MANUAL"].map(str::to_owned).into());
    let conflicts = [
        ("id", Uuid),
        ("table_name", Text),
        ("record_id", Text),
        ("cloud_version", Int8),
        ("local_version", Int8),
        ("cloud_data", Json),
        ("local_data", Json),
        ("cloud_updated_at", Timestamptz),
        ("local_updated_at", Timestamptz),
        ("resolution", resolution),
        ("resolved_at", Timestamptz),
        ("resolved_by", Text),
        ("created_at", Timestamptz),
        ("kind", Text),
        ("reason", Text),
        ("columns", Array(Box::new(Text))),
        ("base_data", Json),
        ("cloud_record_id", Text),
        ("table_no", Int4),
        ("site_id", Uuid),
        ("site_name", Text),
        ("replica", Uuid),
        ("push_no", Int8),
        ("root_id", Uuid),
        ("revision", Int8),
        ("held", Bool),
        ("group_id", Uuid),
        ("policy", Text),
        ("cloud_modified_by", Text),
        ("local_modified_by", Text),
    ];
    let users = [("name", Text), ("role", Text), ("password_hash", Text), ("one_time_hash", Text), ("disabled", Bool)];
    let tokens = [
        ("id", Text),
        ("user_name", Text),
        ("label", Text),
        ("secret_hash", Text),
        ("created_at", Timestamptz),
        ("expires_at", Timestamptz),
    ];
    vec![
        engine(101, "sync_conflicts", ScopeRule::Site, &conflicts),
        engine(102, "users", ScopeRule::Global, &users),
        engine(103, "tokens", ScopeRule::Global, &tokens),
    ]
}
