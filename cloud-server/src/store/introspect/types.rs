//! PostgreSQL's types as column types.

use std::collections::HashMap;

use sync_core::value::ColumnType;

use crate::store::error::StoreError;

/// Every type of the database.
pub(super) struct Types(HashMap<u32, PgType>);

struct PgType {
    schema: String,
    name: String,
    /// `b` base, `d` domain, `e` enum.
    kind: String,
    base: u32,
    base_modifier: i32,
    element: u32,
    is_array: bool,
    not_null: bool,
    has_default: bool,
    labels: Vec<String>,
}

/// What a column of some type holds.
pub(super) struct Resolved {
    /// `None`: nothing that a site could hold (tsvector).
    pub(super) ty: Option<ColumnType>,
    pub(super) max_length: Option<u32>,
    /// Whether a domain refuses NULL.
    pub(super) not_null: bool,
    /// Whether a domain has a default of its own.
    pub(super) domain_default: bool,
}

/// `varchar(n)` and `char(n)` keep n + 4 as modifier.
const LENGTH_HEADER: i32 = 4;

impl Types {
    pub(super) async fn read(transaction: &tokio_postgres::Transaction<'_>) -> Result<Self, StoreError> {
        let sql = "SELECT t.oid, n.nspname::text, t.typname::text, t.typtype::text, t.typbasetype, t.typtypmod, t.typelem,
                          t.typcategory = 'A' AND t.typlen = -1 AND t.typdelim = ',', t.typnotnull, t.typdefault IS NOT NULL,
                          ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)
                   FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype IN ('b', 'd', 'e')";
        let rows = transaction.query(sql, &[]).await?;
        let types = rows.iter().map(|row| {
            let found = PgType {
                schema: row.get(1),
                name: row.get(2),
                kind: row.get(3),
                base: row.get(4),
                base_modifier: row.get(5),
                element: row.get(6),
                is_array: row.get(7),
                not_null: row.get(8),
                has_default: row.get(9),
                labels: row.get(10),
            };
            (row.get(0), found)
        });
        Ok(Self(types.collect()))
    }

    pub(super) fn resolve(&self, oid: u32, modifier: i32) -> Resolved {
        let (mut oid, mut modifier) = (oid, modifier);
        let (mut not_null, mut domain_default) = (false, false);
        while let Some(domain) = self.0.get(&oid).filter(|found| found.kind == "d") {
            not_null |= domain.not_null;
            domain_default |= domain.has_default;
            (oid, modifier) = (domain.base, domain.base_modifier);
        }
        let limited = self.0.get(&oid).is_some_and(|found| matches!(found.name.as_str(), "varchar" | "bpchar"));
        let max_length = (limited && modifier > LENGTH_HEADER).then(|| u32::try_from(modifier - LENGTH_HEADER).ok()).flatten();
        Resolved { ty: self.column_type(oid), max_length, not_null, domain_default }
    }

    fn column_type(&self, oid: u32) -> Option<ColumnType> {
        let Some(found) = self.0.get(&oid) else { return Some(ColumnType::Other) };
        if found.kind == "e" {
            return Some(ColumnType::Enum(found.labels.clone()));
        }
        if found.kind == "d" {
            return self.column_type(found.base);
        }
        if found.is_array {
            return self.column_type(found.element).map(|element| ColumnType::Array(Box::new(element)));
        }
        if found.name == "citext" {
            return Some(ColumnType::Text);
        }
        if found.schema != "pg_catalog" {
            return Some(ColumnType::Other);
        }
        Some(match found.name.as_str() {
            "tsvector" => return None,
            "bool" => ColumnType::Bool,
            "int2" => ColumnType::Int2,
            "int4" => ColumnType::Int4,
            "int8" => ColumnType::Int8,
            "float4" => ColumnType::Float4,
            "float8" => ColumnType::Float8,
            "numeric" => ColumnType::Numeric,
            "text" | "varchar" | "name" => ColumnType::Text,
            "bpchar" => ColumnType::Char,
            "uuid" => ColumnType::Uuid,
            "timestamptz" => ColumnType::Timestamptz,
            "timestamp" => ColumnType::Timestamp,
            "date" => ColumnType::Date,
            "time" => ColumnType::Time,
            "bytea" => ColumnType::Bytea,
            "timetz" => ColumnType::Timetz,
            "interval" => ColumnType::Interval,
            "json" => ColumnType::JsonText,
            "jsonb" => ColumnType::Json,
            "inet" => ColumnType::Inet,
            "cidr" => ColumnType::Cidr,
            "macaddr" => ColumnType::Macaddr,
            "macaddr8" => ColumnType::Macaddr8,
            "money" => ColumnType::Money,
            "bit" | "varbit" => ColumnType::Bits,
            _ => ColumnType::Other,
        })
    }
}
