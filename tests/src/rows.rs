//! Rows for a database that nobody told us anything about: every table of its catalog filled in parents-first order with values that fit the
//! types, keys and references. What a check or a trigger refuses is left out.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use tokio_postgres::Client;

/// A column as far as a value for it needs.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    /// The base type's name, without length.
    ty: String,
    /// To cast to.
    sql_type: String,
    labels: Vec<String>,
    length: Option<u64>,
    not_null: bool,
    has_default: bool,
    key: bool,
}

/// A foreign key: own columns, the table referred to, its columns.
#[derive(Debug, Clone)]
struct Reference {
    columns: Vec<String>,
    table: String,
    target: Vec<String>,
}

/// A table of a database.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Its name, quoted where it has to be.
    pub name: String,
    columns: Vec<Column>,
    references: Vec<Reference>,
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The tables of a database, without Rejoin's own, parents first.
pub async fn shapes(client: &Client) -> Vec<Shape> {
    let sql = "SELECT c.oid::regclass::text, a.attname::text, coalesce(b.typname, t.typname)::text, format_type(a.atttypid, a.atttypmod),
                      ARRAY(SELECT enumlabel::text FROM pg_enum WHERE enumtypid = coalesce(b.oid, t.oid) ORDER BY enumsortorder),
                      CASE WHEN coalesce(nullif(a.atttypmod, -1), t.typtypmod) > 4 AND coalesce(b.typname, t.typname) IN ('varchar', 'bpchar')
                           THEN coalesce(nullif(a.atttypmod, -1), t.typtypmod) - 4 END,
                      a.attnotnull OR t.typnotnull, a.atthasdef OR a.attidentity <> '',
                      EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey::int2[]))
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
               WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT IN ('rejoin', 'information_schema')
                 AND n.nspname !~ '^pg_' AND a.attgenerated = '' AND a.attidentity <> 'a' AND a.attname !~ '^rejoin_'
               ORDER BY c.oid::regclass::text, a.attnum";
    let mut shapes: BTreeMap<String, Shape> = BTreeMap::new();
    for row in client.query(sql, &[]).await.unwrap() {
        let name: String = row.get(0);
        let shape = shapes.entry(name.clone()).or_insert_with(|| Shape { name, columns: Vec::new(), references: Vec::new() });
        shape.columns.push(Column {
            name: row.get(1),
            ty: row.get(2),
            sql_type: row.get(3),
            labels: row.get(4),
            length: row.get::<_, Option<i32>>(5).and_then(|length| u64::try_from(length).ok()),
            not_null: row.get(6),
            has_default: row.get(7),
            key: row.get(8),
        });
    }
    let names = "ARRAY(SELECT a.attname::text FROM unnest(k.{}) WITH ORDINALITY u(no, at) JOIN pg_attribute a
                       ON a.attrelid = k.{} AND a.attnum = u.no ORDER BY u.at)";
    let (own, target) = (
        names.replacen("{}", "conkey", 1).replacen("{}", "conrelid", 1),
        names.replacen("{}", "confkey", 1).replacen("{}", "confrelid", 1),
    );
    let sql = format!(
        "SELECT k.conrelid::regclass::text, {own}, k.confrelid::regclass::text, {target} FROM pg_constraint k
         WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY cardinality(k.conkey) DESC, k.conname"
    );
    for row in client.query(&sql, &[]).await.unwrap() {
        if let Some(shape) = shapes.get_mut(&row.get::<_, String>(0)) {
            shape.references.push(Reference { columns: row.get(1), table: row.get(2), target: row.get(3) });
        }
    }
    parents_first(shapes.into_values().collect())
}

fn parents_first(mut rest: Vec<Shape>) -> Vec<Shape> {
    let mut done: Vec<Shape> = Vec::new();
    while !rest.is_empty() {
        let names: BTreeSet<&str> = rest.iter().map(|shape| shape.name.as_str()).collect();
        let sure = |shape: &Shape, reference: &Reference| {
            reference.columns.iter().all(|name| shape.columns.iter().any(|column| column.name == *name && column.not_null))
        };
        let waits = |shape: &Shape, all: bool| {
            let mut references = shape.references.iter();
            references.any(|reference| {
                reference.table != shape.name && names.contains(reference.table.as_str()) && (all || sure(shape, reference))
            })
        };
        let next =
            rest.iter().position(|shape| !waits(shape, true)).or_else(|| rest.iter().position(|shape| !waits(shape, false))).unwrap_or(0);
        done.push(rest.remove(next));
    }
    done
}

/// The same, with references that nobody declares: table, column, table referred to, its column.
pub async fn shapes_with(client: &Client, more: &[[&str; 4]]) -> Vec<Shape> {
    let mut shapes = shapes(client).await;
    for [table, column, target, name] in more {
        if let Some(shape) = shapes.iter_mut().find(|shape| shape.name == *table) {
            let reference =
                Reference { columns: vec![(*column).to_owned()], table: (*target).to_owned(), target: vec![(*name).to_owned()] };
            shape.references.push(reference);
        }
    }
    parents_first(shapes)
}

/// Fills every table with up to so many rows; how many rows each table took, and how many were refused.
pub async fn fill(client: &Client, shapes: &[Shape], rows: usize, random: &mut Rng) -> BTreeMap<String, (usize, usize)> {
    let mut filled = BTreeMap::new();
    for shape in shapes {
        let mut count = (0, 0);
        for _ in 0..rows {
            if add(client, shape, random).await.is_ok() { count.0 += 1 } else { count.1 += 1 }
        }
        filled.insert(shape.name.clone(), count);
    }
    filled
}

/// Adds a row.
///
/// # Errors
/// Why it was refused.
pub async fn add(client: &Client, shape: &Shape, random: &mut Rng) -> Result<(), String> {
    let mut values: BTreeMap<&str, String> = BTreeMap::new();
    for reference in &shape.references {
        let known: Vec<(&String, &String)> = reference.columns.iter().zip(&reference.target).collect();
        let fixed: Vec<String> = known
            .iter()
            .filter_map(|(column, target)| values.get(column.as_str()).map(|value| format!("{}::text = {value}", quote(target))))
            .collect();
        if fixed.len() == known.len() {
            continue;
        }
        let condition = if fixed.is_empty() { "true".to_owned() } else { fixed.join(" AND ") };
        let texts: Vec<String> = reference.target.iter().map(|name| format!("{}::text", quote(name))).collect();
        let sql = format!("SELECT {} FROM {} WHERE {condition}", texts.join(", "), reference.table);
        let parents = client.query(&sql, &[]).await.unwrap();
        if let Some(parent) = random.choice(&parents) {
            for (at, column) in reference.columns.iter().enumerate() {
                if let Some(value) = parent.get::<_, Option<String>>(at) {
                    values.insert(column, literal(&value));
                }
            }
        }
    }
    for column in &shape.columns {
        let refers = shape.references.iter().any(|reference| reference.columns.contains(&column.name));
        let left = if column.key { column.has_default } else { refers || column.has_default && random.u64(..2) == 0 };
        if !values.contains_key(column.name.as_str()) && !left && (column.not_null || random.u64(..4) > 0) {
            values.insert(&column.name, literal(&value(column, random)));
        }
    }
    let cast = |name: &str| shape.columns.iter().find(|column| column.name == name).map_or("text", |column| column.sql_type.as_str());
    let names: Vec<String> = values.keys().map(|name| quote(name)).collect();
    let texts: Vec<String> = values.iter().map(|(name, value)| format!("{value}::{}", cast(name))).collect();
    let rows = if names.is_empty() { "DEFAULT VALUES".to_owned() } else { format!("({}) VALUES ({})", names.join(", "), texts.join(", ")) };
    let sql = format!("INSERT INTO {} {rows}", shape.name);
    let refused =
        |error: tokio_postgres::Error| format!("{sql}: {}", error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string));
    client.batch_execute(&sql).await.map_err(refused)
}

/// Changes a column that is in no key and no reference of a row; whether one was changed.
///
/// # Errors
/// Why it was refused.
pub async fn change(client: &Client, shape: &Shape, random: &mut Rng) -> Result<bool, String> {
    let free: Vec<&Column> = shape
        .columns
        .iter()
        .filter(|column| !column.key && !shape.references.iter().any(|reference| reference.columns.contains(&column.name)))
        .collect();
    let Some(column) = random.choice(&free) else { return Ok(false) };
    let sql = format!("SELECT ctid::text, tableoid::text FROM {}", shape.name);
    let rows = client.query(&sql, &[]).await.unwrap();
    let Some(row) = random.choice(&rows) else { return Ok(false) };
    let sql = format!(
        "UPDATE {} SET {} = {}::{} WHERE ctid = '{}' AND tableoid = {}",
        shape.name,
        quote(&column.name),
        literal(&value(column, random)),
        column.sql_type,
        row.get::<_, String>(0),
        row.get::<_, String>(1)
    );
    let refused =
        |error: tokio_postgres::Error| format!("{sql}: {}", error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string));
    client.batch_execute(&sql).await.map(|()| true).map_err(refused)
}

/// The text form of a random value.
fn value(column: &Column, random: &mut Rng) -> String {
    if let Some(element) = column.ty.strip_prefix('_') {
        let element = Column { ty: element.to_owned(), length: Some(8), labels: Vec::new(), ..column.clone() };
        let items: Vec<String> =
            (0..random.u64(..4)).map(|_| format!("\"{}\"", value(&element, random).replace(['"', '\\'], ""))).collect();
        return format!("{{{}}}", items.join(","));
    }
    if let Some(label) = random.choice(&column.labels) {
        return label.clone();
    }
    let small = random.u64(..30_000);
    match column.ty.as_str() {
        "bool" => small.is_multiple_of(2).to_string(),
        "int2" | "int4" | "int8" | "oid" => small.to_string(),
        "numeric" => format!("{}.{}", small % 90, small % 9),
        "float4" | "float8" => format!("{}.5", small),
        "uuid" => format!("{:08x}-{:04x}-4000-8000-{:012x}", random.u64(..) >> 32, random.u64(..0x1_0000), random.u64(..) >> 16),
        "date" => format!("20{:02}-{:02}-{:02}", small % 30, small % 12 + 1, small % 28 + 1),
        "time" => format!("{:02}:{:02}:00", small % 24, small % 60),
        "timetz" => format!("{:02}:{:02}:00+01", small % 24, small % 60),
        "timestamp" => format!("20{:02}-{:02}-{:02} 10:00:00.{small:06}", small % 30, small % 12 + 1, small % 28 + 1),
        "timestamptz" => format!("20{:02}-{:02}-{:02} 10:00:00.{small:06}+02", small % 30, small % 12 + 1, small % 28 + 1),
        "interval" => format!("{} mons {small} secs", small % 40),
        "json" | "jsonb" => format!("{{\"n\": {small}, \"a\": [1, null]}}"),
        "bytea" => format!("\\x{small:08x}"),
        "inet" => format!("10.{}.{}.1", small % 256, small / 256),
        "cidr" => format!("10.{}.{}.0/24", small % 256, small / 256),
        "macaddr" => format!("08:00:2b:01:{:02x}:{:02x}", small % 256, small / 256),
        "macaddr8" => format!("08:00:2b:01:02:03:{:02x}:{:02x}", small % 256, small / 256),
        "point" => format!("({small},-1.5)"),
        "int4range" | "numrange" | "int8range" => format!("[{small},{})", small + 5),
        "tstzrange" => "[2026-01-01 00:00+00,)".to_owned(),
        "box" => "((1,1),(0,0))".to_owned(),
        "path" => "((0,0),(1,1))".to_owned(),
        "bit" => "10101".to_owned(),
        "varbit" => "101".to_owned(),
        "xml" => format!("<a n=\"{small}\"/>"),
        _ => word(column.length.unwrap_or(12), random),
    }
}

/// Of letters and digits, few enough for the column and many enough to be the only one.
fn word(length: u64, random: &mut Rng) -> String {
    let letters = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let long = length.min(12);
    (0..long).filter_map(|_| random.choice(letters)).map(|letter| char::from(*letter)).collect()
}
