//! The two systems of the suite: their SQL for the cloud, and the catalogs that introspection makes of it, for a site.

use sync_core::catalog::{
    ApiStyle, Catalog, Column, DefaultValue, Index, JsonCase, ListForm, OnDelete, Reference, ScopeRule, Stamps, Table, TableApi, Travel,
    Unique,
};
use sync_core::id::{CatalogVersion, ColumnNo, TableNo};
use sync_core::value::{ColumnType, Value};

/// A system that the suite runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// The built-in one: soft deletes, cascades, uniques, camelCase, bare lists.
    VideoProduction,
    /// A column of every type, composite keys, RESTRICT; names as they are, lists as pages.
    EveryType,
}

impl System {
    /// What makes its tables in PostgreSQL.
    #[must_use]
    pub fn sql(self) -> &'static str {
        match self {
            Self::VideoProduction => include_str!("../../../migrations/systems/video-production/V1__video_production.sql"),
            Self::EveryType => include_str!("every_type.sql"),
        }
    }

    /// Its `rejoin.toml`.
    #[must_use]
    pub fn settings(self) -> &'static str {
        match self {
            Self::VideoProduction => include_str!("../../../migrations/systems/video-production/rejoin.toml"),
            Self::EveryType => include_str!("every_type.toml"),
        }
    }

    /// Its catalog, as far as stores read it. Numbers are given in the order of the SQL.
    #[must_use]
    pub fn catalog(self) -> Catalog {
        match self {
            Self::VideoProduction => video_production(),
            Self::EveryType => every_type(),
        }
    }
}

fn video_production() -> Catalog {
    let tables = vec![
        full(table(1, "productions", ScopeRule::Root))
            .text("client", true)
            .text("show_name", true)
            .text("venue", false)
            .text("room", false)
            .column("load_in", ColumnType::Timestamptz, "timestamp with time zone", false, None)
            .column("load_out", ColumnType::Timestamptz, "timestamp with time zone", false, None)
            .text("show_info_url", false)
            .choice("status", "ProductionStatus", &["PLANNING", "READY", "ACTIVE", "COMPLETED", "ARCHIVED"], Some("PLANNING"))
            .created_at()
            .soft_delete(),
        full(table(2, "equipment_specs", ScopeRule::Global))
            .path("equipment")
            .choice("category", "EquipmentCategory", &CATEGORIES, None)
            .text("manufacturer", true)
            .text("model", true)
            .choice("io_architecture", "IoArchitecture", &["DIRECT", "CARD_BASED"], None)
            .integer("card_slots", false, None)
            .flag("format_by_io", true)
            .flag("is_secondary_device", false)
            .json("device_formats")
            .json("specs")
            .created_at()
            .soft_delete()
            .index(&["category", "is_deleted"])
            .index(&["is_secondary_device"]),
        port(table(3, "equipment_io_ports", ScopeRule::Global).parent("equipment_id", 2)),
        changed(table(4, "equipment_cards", ScopeRule::Global))
            .parent("equipment_id", 2)
            .integer("slot_number", true, None)
            .created_at()
            .unique(&["equipment_id", "slot_number"]),
        port(table(5, "equipment_card_io", ScopeRule::Global).parent("card_id", 4)),
        signal(full(table(6, "sources", ScopeRule::Through(vec![0])))).text("blanking", false).created_at().soft_delete().of_production(),
        versioned(table(7, "source_outputs", ScopeRule::Through(vec![0])))
            .parent("source_id", 6)
            .text("connector", true)
            .integer("output_index", true, Some(1))
            .created_at()
            .index(&["source_id"]),
        signal(full(table(8, "sends", ScopeRule::Through(vec![0]))))
            .text("output_connector", false)
            .created_at()
            .soft_delete()
            .of_production(),
        changed(table(9, "connections", ScopeRule::Through(vec![0])))
            .parent("production_id", 1)
            .reference("source_id", 6)
            .text("source_output_id", false)
            .text("intermediate_type", false)
            .text("intermediate_id", false)
            .text("intermediate_input", false)
            .text("intermediate_output", false)
            .text("destination_type", true)
            .text("destination_id", false)
            .json("signal_path")
            .text("note", false)
            .created_at()
            .soft_delete()
            .index(&["production_id"])
            .index(&["source_id"]),
    ];
    let api = ApiStyle { case: JsonCase::Camel, list: ListForm::Bare };
    let tables = tables.into_iter().map(|draft| draft.table).collect();
    Catalog { version: CatalogVersion(1), system: "video-production".into(), api, tables }
}

const CATEGORIES: [&str; 10] =
    ["CAMERA", "CCU", "SWITCHER", "ROUTER", "LED_PROCESSOR", "LED_TILE", "PROJECTOR", "RECORDER", "MONITOR", "CONVERTER"];

fn port(table: Draft) -> Draft {
    let parent = table.table.columns[1].name.clone();
    changed(table)
        .choice("port_type", "PortType", &["INPUT", "OUTPUT"], None)
        .text("io_type", true)
        .text("label", false)
        .text("format", false)
        .integer("port_index", false, None)
        .created_at()
        .index(&[&parent])
}

fn signal(table: Draft) -> Draft {
    table
        .parent("production_id", 1)
        .text("type", true)
        .text("name", true)
        .integer("h_res", false, None)
        .integer("v_res", false, None)
        .column("rate", ColumnType::Float8, "double precision", false, None)
        .text("standard", false)
        .text("note", false)
        .text("secondary_device", false)
}

fn every_type() -> Catalog {
    let nullable = |draft: Draft, name: &str, ty, sql: &str| draft.column(name, ty, sql, false, None);
    let mut samples = bare_table(1, "samples").uuid_key();
    for (name, ty, sql) in [
        ("a_bool", ColumnType::Bool, "boolean"),
        ("an_int2", ColumnType::Int2, "smallint"),
        ("an_int4", ColumnType::Int4, "integer"),
        ("an_int8", ColumnType::Int8, "bigint"),
        ("a_float4", ColumnType::Float4, "real"),
        ("a_float8", ColumnType::Float8, "double precision"),
        ("a_numeric", ColumnType::Numeric, "numeric"),
        ("a_text", ColumnType::Text, "text"),
        ("a_varchar", ColumnType::Text, "character varying(5)"),
        ("a_uuid", ColumnType::Uuid, "uuid"),
        ("a_timestamptz", ColumnType::Timestamptz, "timestamp with time zone"),
        ("a_timestamp", ColumnType::Timestamp, "timestamp without time zone"),
        ("a_date", ColumnType::Date, "date"),
        ("a_time", ColumnType::Time, "time without time zone"),
        ("a_bytea", ColumnType::Bytea, "bytea"),
        ("a_jsonb", ColumnType::Json, "jsonb"),
        ("an_enum", ColumnType::Enum(vec!["CALM".into(), "LOUD".into(), "AWAY".into()]), "public.mood"),
        ("an_array", ColumnType::Array(Box::new(ColumnType::Int4)), "integer[]"),
        ("a_text_array", ColumnType::Array(Box::new(ColumnType::Text)), "text[]"),
        ("an_other", ColumnType::Other, "int4range"),
        ("a_price", ColumnType::Numeric, "numeric(6,2)"),
        ("a_positive", ColumnType::Int4, "public.positive"),
        ("a_mask", ColumnType::Bits, "bit(3)"),
    ] {
        samples = nullable(samples, name, ty, sql);
    }
    if let Some(column) = samples.table.columns.iter_mut().find(|column| column.name == "a_varchar") {
        column.max_length = Some(5);
    }
    let mut places = bare_table(2, "places").text("region", true).integer("code", true, None).text("title", true);
    places.table.key = vec![ColumnNo(1), ColumnNo(2)];
    let trips = bare_table(3, "trips")
        .uuid_key()
        .text("from_region", true)
        .integer("from_code", true, None)
        .text("to_region", false)
        .integer("to_code", false, None)
        .references(&["from_region", "from_code"], &places.table, OnDelete::Restrict)
        .references(&["to_region", "to_code"], &places.table, OnDelete::SetNull);
    let mut crates = bare_table(4, "crates").integer("id", true, None).text("label", true);
    crates.table.key = vec![ColumnNo(1)];
    crates.table.api.names.insert(ColumnNo(2), "caption".to_owned());
    crates.table.api.filters.insert("called".to_owned(), (ColumnNo(2), "eq".to_owned()));
    crates.table.api.filters.insert("from".to_owned(), (ColumnNo(1), "gte".to_owned()));
    let remarks = bare_table(5, "remarks")
        .uuid_key()
        .text("kind", true)
        .text("entity_id", false)
        .column("cause_id", ColumnType::Uuid, "uuid", false, None)
        .text("body", false);
    let own = remarks.table.clone();
    let remarks = remarks
        .declared("entity_id", Some("sample"), &samples.table, OnDelete::Cascade)
        .declared("entity_id", Some("crate"), &crates.table, OnDelete::SetNull)
        .declared("cause_id", None, &own, OnDelete::Restrict)
        .index(&["kind", "entity_id"]);
    let tables = [samples, places, trips, crates, remarks].into_iter().map(|draft| draft.table).collect();
    Catalog { version: CatalogVersion(1), system: "every-type".into(), api: ApiStyle::default(), tables }
}

/// A table with a uuid key that the database makes, and the engine's stamps.
fn table(no: u32, name: &str, scope: ScopeRule) -> Draft {
    let mut draft = bare_table(no, name).column("id", ColumnType::Uuid, "uuid", true, Some(DefaultValue::Uuid));
    draft.table.key = vec![ColumnNo(1)];
    draft.table.scope = scope;
    draft
}

fn bare_table(no: u32, name: &str) -> Draft {
    let stamps = Stamps {
        version: "rejoin_version".into(),
        updated_at: "rejoin_updated_at".into(),
        last_modified_by: "rejoin_modified_by".into(),
        synced_at: "rejoin_synced_at".into(),
    };
    let table = Table {
        no: TableNo(no),
        schema: "public".into(),
        name: name.into(),
        path: name.into(),
        engine: false,
        columns: Vec::new(),
        key: Vec::new(),
        uniques: Vec::new(),
        indexes: Vec::new(),
        references: Vec::new(),
        scope: ScopeRule::Global,
        stamps,
        soft_delete: None,
        policy: sync_core::policy::Policy::Manual,
        groups: Vec::new(),
        travel: Travel::Both,
        keep_hours: None,
        generation: 0,
        scope_name: String::new(),
        api: TableApi::default(),
        lease: None,
    };
    Draft { table }
}

/// The user's `version`.
fn versioned(mut draft: Draft) -> Draft {
    draft.table.stamps.version = "version".into();
    draft
}

/// The user's `version` and `updated_at`.
fn changed(draft: Draft) -> Draft {
    let mut draft = versioned(draft);
    draft.table.stamps.updated_at = "updated_at".into();
    draft
}

/// All four of the user's.
fn full(draft: Draft) -> Draft {
    let mut draft = changed(draft);
    draft.table.stamps.last_modified_by = "last_modified_by".into();
    draft.table.stamps.synced_at = "synced_at".into();
    draft
}

struct Draft {
    table: Table,
}

impl Draft {
    fn column(mut self, name: &str, ty: ColumnType, sql_type: &str, not_null: bool, default: Option<DefaultValue>) -> Self {
        let no = ColumnNo(self.table.columns.len() as u32 + 1);
        let sql_type = sql_type.to_owned();
        self.table.columns.push(Column {
            no,
            name: name.into(),
            ty,
            sql_type,
            not_null,
            default,
            max_length: None,
            policy: sync_core::policy::Policy::Manual,
            added: None,
            fixed: false,
        });
        self
    }

    fn uuid_key(mut self) -> Self {
        self = self.column("id", ColumnType::Uuid, "uuid", true, None);
        self.table.key = vec![ColumnNo(1)];
        self
    }

    fn path(mut self, path: &str) -> Self {
        self.table.path = path.into();
        self
    }

    fn text(self, name: &str, not_null: bool) -> Self {
        self.column(name, ColumnType::Text, "text", not_null, None)
    }

    fn integer(self, name: &str, not_null: bool, default: Option<i64>) -> Self {
        let default = default.map(|number| DefaultValue::Constant(Value::Int(number)));
        self.column(name, ColumnType::Int4, "integer", not_null, default)
    }

    fn flag(self, name: &str, default: bool) -> Self {
        self.column(name, ColumnType::Bool, "boolean", true, Some(DefaultValue::Constant(Value::Bool(default))))
    }

    fn json(self, name: &str) -> Self {
        self.column(name, ColumnType::Json, "jsonb", false, None)
    }

    fn choice(self, name: &str, sql_type: &str, labels: &[&str], default: Option<&str>) -> Self {
        let ty = ColumnType::Enum(labels.iter().map(|label| (*label).to_owned()).collect());
        let default = default.map(|label| DefaultValue::Constant(Value::Text(label.to_owned())));
        self.column(name, ty, &format!("public.\"{sql_type}\""), true, default)
    }

    fn created_at(self) -> Self {
        self.column("created_at", ColumnType::Timestamptz, "timestamp with time zone", true, Some(DefaultValue::Now))
    }

    fn soft_delete(mut self) -> Self {
        self = self.flag("is_deleted", false);
        self.table.soft_delete = self.table.columns.last().map(|column| column.no);
        self
    }

    /// A required reference that takes the row along.
    fn parent(self, name: &str, table: u32) -> Self {
        self.refer(name, table, true, OnDelete::Cascade)
    }

    /// An optional reference that is cleared.
    fn reference(self, name: &str, table: u32) -> Self {
        self.refer(name, table, false, OnDelete::SetNull)
    }

    fn refer(mut self, name: &str, table: u32, not_null: bool, on_delete: OnDelete) -> Self {
        self = self.column(name, ColumnType::Uuid, "uuid", not_null, None);
        let columns = self.numbers(&[name]);
        let name = format!("{}_{name}_fkey", self.table.name);
        self.table.references.push(Reference::foreign_key(name, columns, TableNo(table), vec![ColumnNo(1)], on_delete));
        self
    }

    fn references(mut self, names: &[&str], target: &Table, on_delete: OnDelete) -> Self {
        let columns = self.numbers(names);
        let name = format!("{}_{}_fkey", self.table.name, names.join("_"));
        self.table.references.push(Reference::foreign_key(name, columns, target.no, target.key.clone(), on_delete));
        self
    }

    /// A reference that only `rejoin.toml` declares, for rows of one `kind` or for all.
    fn declared(mut self, column: &str, kind: Option<&str>, target: &Table, on_delete: OnDelete) -> Self {
        let columns = self.numbers(&[column]);
        let when = kind.and_then(|kind| Some((*self.numbers(&["kind"]).first()?, Value::Text(kind.to_owned()))));
        let name = format!("public.{}.{column}>public.{}", self.table.name, target.name);
        let reference = Reference::foreign_key(name, columns, target.no, target.key.clone(), on_delete);
        self.table.references.push(Reference { declared: true, when, ..reference });
        self
    }

    fn unique(mut self, names: &[&str]) -> Self {
        let columns = self.numbers(names);
        self.table.uniques.push(Unique { name: format!("{}_{}_key", self.table.name, names.join("_")), columns });
        self
    }

    fn index(mut self, names: &[&str]) -> Self {
        let columns = self.numbers(names);
        self.table.indexes.push(Index { name: format!("{}_{}_idx", self.table.name, names.join("_")), columns });
        self
    }

    fn of_production(self) -> Self {
        self.index(&["production_id", "is_deleted"]).index(&["type"])
    }

    fn numbers(&self, names: &[&str]) -> Vec<ColumnNo> {
        names.iter().filter_map(|name| self.table.column_named(name).map(|column| column.no)).collect()
    }
}
