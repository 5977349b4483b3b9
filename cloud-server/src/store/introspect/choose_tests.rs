use sync_core::catalog::OnDelete;

use super::*;
use crate::store::introspect::{FoundIndex, Identity};

/// `name[!]:type`, the key first; `!` is NOT NULL.
fn table(oid: u32, name: &str, columns: &[&str]) -> FoundTable {
    let column = |(at, text): (usize, &&str)| {
        let (name, sql_type) = text.split_once(':').unwrap();
        FoundColumn {
            attnum: i16::try_from(at + 1).unwrap(),
            name: name.trim_end_matches('!').to_owned(),
            sql_type: sql_type.to_owned(),
            ty: Some(match sql_type {
                "uuid" => ColumnType::Uuid,
                "integer" => ColumnType::Int4,
                "boolean" => ColumnType::Bool,
                "timestamptz" => ColumnType::Timestamptz,
                _ => ColumnType::Text,
            }),
            not_null: name.ends_with('!') || at == 0,
            default: None,
            max_length: (sql_type == "varchar(40)").then_some(40),
        }
    };
    FoundTable {
        oid,
        schema: "public".to_owned(),
        name: name.to_owned(),
        obstacle: None,
        columns: columns.iter().enumerate().map(column).collect(),
        key: vec![1],
        indexes: Vec::new(),
        references: Vec::new(),
    }
}

fn refers(mut table: FoundTable, column: &str, to: u32) -> FoundTable {
    let attnum = table.column_named(column).unwrap().attnum;
    table.references.push(FoundReference {
        name: format!("{}_{column}_fkey", table.name),
        columns: vec![attnum],
        table: to,
        target: vec![1],
        on_delete: OnDelete::Restrict,
    });
    table
}

fn schema(tables: Vec<FoundTable>) -> Schema {
    Schema { tables, identity: Identity { system: None, database: 1 } }
}

/// What is synced how, by table; what is left out, why.
fn chosen(schema: &Schema, settings: &str) -> BTreeMap<String, String> {
    let (_, plan) = choose(schema, &Settings::parse(settings).unwrap()).unwrap();
    plan.tables.into_iter().map(|entry| (entry.table, if entry.synced { entry.reason } else { format!("- {}", entry.reason) })).collect()
}

fn refused(schema: &Schema, settings: &str) -> String {
    choose(schema, &Settings::parse(settings).unwrap()).err().unwrap().to_string()
}

fn shop() -> Schema {
    schema(vec![
        table(1, "venues", &["id:uuid"]),
        refers(table(2, "halls", &["id:uuid", "venue_id!:uuid"]), "venue_id", 1),
        refers(refers(table(3, "seats", &["id:uuid", "hall_id!:uuid", "venue_id:uuid"]), "hall_id", 2), "venue_id", 1),
        refers(table(4, "bookings", &["id:uuid", "venue_id:uuid", "country!:uuid"]), "venue_id", 1),
        table(5, "countries", &["id:uuid"]),
        refers(table(6, "prices", &["id:uuid", "country!:uuid"]), "country", 5),
        table(7, "audit", &["id:uuid"]),
    ])
}

#[test]
fn the_shortest_way_that_cannot_be_null_gives_the_scope_and_nothing_leaks() {
    let found = chosen(&shop(), "root = 'venues'");
    assert_eq!(found["venues"], "the root: each row is a scope");
    assert_eq!(found["halls"], "found through venue_id");
    assert_eq!(found["seats"], "found through hall_id", "the shorter way can be NULL");
    assert!(found["bookings"].starts_with("- its way to the root, venue_id, can be NULL"), "{}", found["bookings"]);
    assert!(found["audit"].starts_with("- reaches no root"), "{}", found["audit"]);
    assert!(found["prices"].starts_with("- reaches no root"), "{}", found["prices"]);
}

#[test]
fn what_a_synced_table_refers_to_is_global_and_what_is_listed_too() {
    let mut tables = shop().tables;
    tables[1] = refers(table(2, "halls", &["id:uuid", "venue_id!:uuid", "country:uuid"]), "venue_id", 1);
    tables[1] = refers(tables[1].clone(), "country", 5);
    let found = chosen(&schema(tables.clone()), "root = 'venues'\nglobal = ['prices']");
    assert!(found["countries"].starts_with("global"));
    assert!(found["prices"].starts_with("global"));
    let found = chosen(&schema(tables), "root = 'venues'\nleft_out = ['countries', 'gone']");
    assert_eq!(found["countries"], "- left out by rejoin.toml");
}

#[test]
fn a_way_that_is_told_is_taken_if_it_leads_there() {
    let mut tables = shop().tables;
    tables[2] = refers(table(3, "seats", &["id:uuid", "hall_id!:uuid", "venue_id!:uuid"]), "hall_id", 2);
    tables[2] = refers(tables[2].clone(), "venue_id", 1);
    let schema = schema(tables);
    assert_eq!(chosen(&schema, "root = 'venues'")["seats"], "found through venue_id");
    assert_eq!(chosen(&schema, "root = 'venues'\n[tables.seats]\nscope_through = 'hall_id'")["seats"], "found through hall_id");
    let refused = |text: &str| refused(&schema, text);
    assert_eq!(
        refused("root = 'venues'\n[tables.bookings]\nscope_through = 'venue_id'"),
        "rejoin.toml, line 3: scope_through: bookings.venue_id can be NULL; a row without it would have no scope"
    );
    assert!(refused("root = 'venues'\n[tables.halls]\nscope_through = 'x'").contains("line 3: scope_through: halls.x refers to no other"));
    assert!(refused("root = 'venues'\n[tables.prices]\nscope_through = 'country'").contains("reaches no root"));
}

#[test]
fn names_that_are_not_there_or_not_fit_are_told_with_their_line() {
    let mut shop = shop();
    shop.tables[6].obstacle = Some("has no primary key".to_owned());
    assert_eq!(refused(&shop, "\nroot = 'venue'"), "rejoin.toml, line 2: root: there is no table venue");
    assert_eq!(refused(&shop, "root = 'venues'\nglobal = ['audit']"), "rejoin.toml, line 2: global: audit has no primary key");
    assert!(refused(&shop, "root = 'venues'\n[tables.nobody]\npath = 'x'").contains("line 2: tables: there is no table nobody"));
}

#[test]
fn h08_a_column_is_taken_for_ours_only_by_name_type_and_freedom() {
    const GENERAL: &str = "root = 'a'\nsoft_delete = 'is_deleted'\n[stamps]\nversion = 'version'\nupdated_at = 'updated_at'\nlast_modified_by = \
         'by'\nsynced_at = 'synced_at'\n";
    let stamps_of = |table: FoundTable, more: &str| {
        let (chosen, plan) = choose(&schema(vec![table]), &Settings::parse(&format!("{GENERAL}{more}")).unwrap()).unwrap();
        let stamps = chosen[0].stamps.clone();
        let names = [stamps.version, stamps.updated_at, stamps.last_modified_by, stamps.synced_at];
        (names.join(" "), chosen[0].soft_delete.clone(), plan.tables[0].notes.len())
    };
    let all =
        table(1, "a", &["id:uuid", "version:integer", "updated_at:timestamptz", "by:text", "synced_at:timestamptz", "is_deleted!:boolean"]);
    let mapped = "version updated_at by synced_at".to_owned();
    assert_eq!(stamps_of(all.clone(), ""), (mapped, Some("is_deleted".to_owned()), 0));
    let none = "rejoin_version rejoin_updated_at rejoin_modified_by rejoin_synced_at".to_owned();
    assert_eq!(stamps_of(table(1, "a", &["id:uuid"]), ""), (none.clone(), None, 0));
    let unfit =
        table(1, "a", &["id:uuid", "version:text", "updated_at:text", "by:varchar(40)", "synced_at!:timestamptz", "is_deleted:boolean"]);
    assert_eq!(stamps_of(unfit, ""), (none, None, 5));
    let mut bound = refers(all.clone(), "by", 1);
    bound.indexes.push(FoundIndex { name: "u".to_owned(), unique: true, columns: vec![2] });
    assert_eq!(stamps_of(bound.clone(), "").0, "rejoin_version updated_at rejoin_modified_by synced_at");
    let own = "[tables.a]\nsoft_delete = ''\nstamps = { version = '' }\n";
    assert_eq!(stamps_of(all.clone(), own), ("rejoin_version updated_at by synced_at".to_owned(), None, 0));
    let told = "root = 'a'\n[tables.a]\nstamps = { version = 'by' }";
    assert_eq!(refused(&schema(vec![all]), told), "rejoin.toml, line 3: stamps: a.by is text, not an integer or bigint of its own");
}

#[test]
fn tables_of_one_name_and_paths_of_the_engine_get_paths_of_their_own() {
    let mut other = table(2, "a", &["id:uuid"]);
    other.schema = "crm".to_owned();
    let tables = vec![table(1, "a", &["id:uuid"]), other, table(3, "sync", &["id:uuid"])];
    let settings = Settings::parse("root = 'a'\nglobal = ['crm.a', 'sync']").unwrap();
    let (chosen, _) = choose(&schema(tables), &settings).unwrap();
    let paths: Vec<&str> = chosen.iter().map(|choice| choice.path.as_str()).collect();
    assert_eq!(paths, ["a", "crm.a", "public.sync"]);
}
