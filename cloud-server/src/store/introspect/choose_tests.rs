use sync_core::catalog::OnDelete;

use std::collections::BTreeMap;

use sync_core::value::ColumnType;

use super::*;
use crate::store::introspect::{FoundColumn, FoundIndex, FoundReference, Identity};

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
            left_out: false,
            default: None,
            max_length: (sql_type == "varchar(40)").then_some(40),
            missing: None,
            fixed: false,
            secret: false,
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
        notes: Vec::new(),
        filenode: None,
        was_partition: false,
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
        declared: false,
        when: None,
    });
    table
}

fn schema(tables: Vec<FoundTable>) -> Schema {
    Schema { tables, identity: Identity { system: None, database: 1 } }
}

/// What is synced how, by table; what is left out, why.
fn chosen(schema: &Schema, settings: &str) -> BTreeMap<String, String> {
    let (_, plan) = choose(&mut schema.clone(), &Settings::parse(settings).unwrap()).unwrap();
    plan.tables.into_iter().map(|entry| (entry.table, if entry.synced { entry.reason } else { format!("- {}", entry.reason) })).collect()
}

fn refused(schema: &Schema, settings: &str) -> String {
    choose(&mut schema.clone(), &Settings::parse(settings).unwrap()).err().unwrap().to_string()
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
    assert_eq!(found["bookings"], "found through venue_id; a row that names none of them stays at the cloud", "there is no other way");
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
    assert!(refused("root = 'venues'\n[tables.halls]\nscope_through = 'x'").contains("line 3: scope_through: halls.x refers to no other"));
    assert!(refused("root = 'venues'\n[tables.prices]\nscope_through = 'country'").contains("reaches no root"));
}

#[test]
fn names_that_are_not_there_or_not_fit_are_told_with_their_line() {
    let mut shop = shop();
    shop.tables[6].obstacle = Some("has no primary key".to_owned());
    assert_eq!(refused(&shop, "\nroot = 'venue'"), "rejoin.toml, line 2: root: there is no table venue; did you mean venues?");
    assert_eq!(refused(&shop, "root = 'venues'\nglobal = ['audit']"), "rejoin.toml, line 2: global: audit has no primary key");
    assert!(refused(&shop, "root = 'venues'\n[tables.nobody]\npath = 'x'").contains("line 2: tables: there is no table nobody"));
}

#[test]
fn h08_a_column_is_taken_for_ours_only_by_name_type_and_freedom() {
    const GENERAL: &str = "root = 'a'\nsoft_delete = 'is_deleted'\n[stamps]\nversion = 'version'\nupdated_at = 'updated_at'\nlast_modified_by = \
         'by'\nsynced_at = 'synced_at'\n";
    let stamps_of = |table: FoundTable, more: &str| {
        let (chosen, plan) = choose(&mut schema(vec![table]), &Settings::parse(&format!("{GENERAL}{more}")).unwrap()).unwrap();
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
    let (chosen, _) = choose(&mut schema(tables), &settings).unwrap();
    let paths: Vec<&str> = chosen.iter().map(|choice| choice.path.as_str()).collect();
    assert_eq!(paths, ["a", "crm.a", "public.sync"]);
}

#[test]
fn what_the_api_calls_otherwise_must_be_there_and_mean_one_thing() {
    let schema = schema(vec![table(1, "a", &["id:uuid", "kind:text", "made_at:timestamptz", "version:integer"])]);
    let head = "root = 'a'\n[api]\ncase = 'camel'\n[stamps]\nversion = 'version'\n[tables.a]\n";
    let said = "list = 'as'\nnames = { kind = 'Kind' }\nfilters = { sort_of = 'kind', from = 'made_at[gte]' }";
    let (chosen, _) = choose(&mut schema.clone(), &Settings::parse(&format!("{head}{said}")).unwrap()).unwrap();
    let Names { list, names, filters } = chosen[0].names.clone();
    assert_eq!((list.as_deref(), names["kind"].as_str()), (Some("as"), "Kind"));
    assert_eq!(filters["from"], ("made_at".to_owned(), "gte".to_owned()));
    assert_eq!(filters["sort_of"], ("kind".to_owned(), "eq".to_owned()));
    for (said, why) in [
        ("names = { lost = 'x' }", "tables.a.names: there is no synced column lost"),
        ("names = { version = 'x' }", "tables.a.names: there is no synced column version"),
        ("names = { kind = 'madeAt' }", "tables.a.names: \"madeAt\" is what the column made_at is called"),
        ("names = { kind = 'made_at' }", "is what the column made_at is called"),
        ("names = { kind = 'version' }", "is the name of a versioning column"),
        ("names = { kind = 'a.b' }", "is no name"),
        ("filters = { from = 'lost[gte]' }", "tables.a.filters: there is no synced column lost"),
        ("filters = { from = 'made_at[since]' }", "tables.a.filters: there is no operator since"),
        ("filters = { sort = 'kind' }", "\"sort\" is a parameter of every list"),
        ("filters = { madeAt = 'kind' }", "\"madeAt\" is what the column made_at is called"),
        ("list = ''", "tables.a.list: names nothing"),
    ] {
        let error = refused(&schema, &format!("{head}{said}"));
        assert!(error.starts_with("rejoin.toml, line 7: ") && error.contains(why), "{said}: {error}");
    }
}

/// Reports hang from venues, halls and people by ways that may be NULL, and from one another.
fn reports() -> Schema {
    let mut tables = shop().tables;
    let columns = ["id:uuid", "hall_id:uuid", "venue_id:uuid", "parent_id:uuid", "person_id:uuid", "kind:text", "thing:text"];
    let reports = refers(refers(table(8, "reports", &columns), "hall_id", 2), "venue_id", 1);
    tables.push(refers(refers(reports, "parent_id", 8), "person_id", 9));
    tables.push(refers(table(9, "people", &["id:uuid", "hall_id:uuid"]), "hall_id", 2));
    tables.push(refers(table(10, "pages", &["id:uuid", "report_id!:uuid"]), "report_id", 8));
    schema(tables)
}

#[test]
fn where_every_way_can_be_null_all_are_asked_the_shortest_first() {
    let found = chosen(&reports(), "root = 'venues'");
    let end = "; a row that names none of them stays at the cloud";
    assert_eq!(found["reports"], format!("found through venue_id, else hall_id{end}"), "neither itself nor what was found with it");
    assert_eq!(found["people"], format!("found through hall_id{end}"));
    assert_eq!(found["pages"], "found through report_id", "its report is somewhere, or nowhere with it");
    let told = "root = 'venues'\n[tables.reports]\nscope_through = ['person_id', 'hall_id']";
    assert_eq!(chosen(&reports(), told)["reports"], format!("found through person_id, else hall_id{end}"));
    assert!(chosen(&reports(), "root = 'venues'\nglobal = ['people']")["people"].starts_with("global"));
    let told = "root = 'venues'\nglobal = ['people']\n[tables.reports]\nscope_through = 'person_id'";
    assert!(refused(&reports(), told).contains("line 4: scope_through: the table that person_id refers to reaches no root"));
    assert!(refused(&reports(), "root = 'venues'\n[tables.reports]\nscope_through = ['parent_id']").contains("refers to no other table"));
}

const DECLARED: &str = "root = 'venues'\n[tables.reports]\nscope_through = 'thing'
references = [{ columns = ['thing'], kind = 'kind', tables = { hall = 'halls', place = 'countries' } }]";

#[test]
fn a_declared_reference_counts_for_scopes_like_a_foreign_key() {
    let mut schema = reports();
    let (chosen, plan) = choose(&mut schema, &Settings::parse(DECLARED).unwrap()).unwrap();
    let reports = schema.tables.iter().position(|table| table.name == "reports").unwrap();
    let declared: Vec<_> = schema.tables[reports].references.iter().filter(|reference| reference.declared).collect();
    assert_eq!(
        declared.iter().map(|reference| reference.name.as_str()).collect::<Vec<_>>(),
        ["reports.thing>halls", "reports.thing>countries"]
    );
    let choice = chosen.iter().find(|choice| choice.at == reports).unwrap();
    assert_eq!(choice.scope, FoundScope::Through(vec![4]), "countries lead nowhere");
    let entry = |name: &str| plan.tables.iter().find(|entry| entry.table == name).unwrap();
    assert!(entry("reports").reason.starts_with("found through thing where kind is hall; "), "{}", entry("reports").reason);
    assert_eq!(entry("reports").notes.len(), 2, "nothing is indexed: {:?}", entry("reports").notes);
    assert_eq!(entry("countries").travels, Travels::Global, "what a synced table refers to");
}

#[test]
fn a_declared_reference_has_the_type_of_what_it_refers_to_or_is_its_text() {
    let mut schema = reports();
    schema.tables.push(table(11, "kinds", &["code:text"]));
    schema.tables.push(table(12, "numbers", &["no:integer", "other!:integer"]));
    let refused = |text: &str| refused(&schema, &format!("root = 'venues'\n[tables.reports]\nreferences = [{text}]"));
    assert!(refused("{ columns = ['nothing'], table = 'halls' }").contains("line 3: tables.reports.references: the column nothing is not"));
    assert!(refused("{ columns = ['thing'], table = 'nothing' }").contains("there is no table nothing"));
    assert!(refused("{ columns = ['hall_id'], table = 'kinds' }").contains("hall_id is uuid, kinds.code is text: a reference has"));
    assert!(refused("{ columns = ['thing', 'kind'], table = 'halls' }").contains("the key of halls is id: columns must name as many"));
    assert!(refused("{ columns = ['thing'], kind = 'hall_id', tables = { x = 'halls' } }").contains("\"x\" cannot stand in hall_id"));
    let fits = "root = 'venues'\n[tables.reports]\nreferences = [{ columns = ['thing'], table = 'numbers' }, { columns = ['venue_id'], table = 'venues' }]";
    assert_eq!(chosen(&schema, fits)["numbers"], "global: every site holds all of it");
    let text = "root = 'venues'\n[tables.numbers]\nreferences = [{ columns = ['other'], table = 'numbers', on_delete = 'set_null' }]";
    assert!(
        choose(&mut schema, &Settings::parse(text).unwrap())
            .err()
            .unwrap()
            .to_string()
            .contains("other is NOT NULL: on_delete cannot be set_null")
    );
}

#[test]
fn what_looks_like_a_secret_stays_until_it_is_named() {
    let people = |more: &str| {
        let mut schema = schema(vec![table(1, "people", &["id:uuid", "passwordHash!:text", "apiToken:text", "note:text", "hash:text"])]);
        schema.tables[0].indexes.push(FoundIndex { name: "u".to_owned(), unique: true, columns: vec![5] });
        let (chosen, plan) = choose(&mut schema, &Settings::parse(&format!("root = 'people'\n[tables.people]\n{more}")).unwrap())?;
        let synced: Vec<String> =
            schema.tables[0].columns.iter().filter(|column| column.ty.is_some()).map(|column| column.name.clone()).collect();
        Ok::<_, SettingsError>((synced.join(" "), chosen[0].travel, plan.tables[0].clone()))
    };
    let (synced, travel, entry) = people("").unwrap();
    assert_eq!((synced.as_str(), travel), ("id note hash", Travel::Down), "a unique key holds hash; sites cannot give a password");
    let lines: Vec<&str> = entry.left_out.iter().map(|column| column.otherwise.as_str()).collect();
    assert_eq!(lines, ["[tables.people]\nwith = [\"passwordHash\"]", "[tables.people]\nwith = [\"apiToken\"]"]);
    assert_eq!(entry.notes.len(), 2, "{:?}", entry.notes);
    let (synced, travel, entry) = people("with = ['passwordHash']\nwithout = ['note']").unwrap();
    assert_eq!((synced.as_str(), travel), ("id passwordHash hash", Travel::Both));
    assert_eq!(entry.left_out[0].otherwise, "[tables.people]\nwith = [\"passwordHash\", \"apiToken\"]");
    assert_eq!(entry.left_out[1].otherwise, "[tables.people]\nwithout = []");
    assert_eq!(people("travel = 'both'").unwrap().1, Travel::Both);
    let mut twins = schema(vec![table(1, "people", &["id:uuid", "name:text", "Name:text"])]);
    let text = "root = 'people'\n[tables.people]\nwithout = ['name']";
    let (_, plan) = choose(&mut twins, &Settings::parse(text).unwrap()).unwrap();
    assert_eq!(plan.tables[0].left_out[0].otherwise, "[tables.people]\nwithout = [\"Name\"]", "a site holds one of them");
    for (text, words) in [
        ("without = ['id']", "line 3: tables.people.without: the column id is part of the key"),
        ("with = ['x']", "tables.people.with: the column x is not there"),
        ("without = ['note']\npolicies = { note = 'text' }", "the column note stays at the cloud"),
        ("travel = 'up'", "line 3: tables.people.travel: people is the root"),
    ] {
        let error = people(text).err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn the_plan_holds_the_line_that_would_have_it_otherwise() {
    let mut schema = shop();
    schema.tables[6].schema = "old crm".to_owned();
    let (_, plan) = choose(&mut schema, &Settings::parse("root = 'venues'\nglobal = ['prices']\nleft_out = ['halls']").unwrap()).unwrap();
    let line = |name: &str| plan.tables.iter().find(|entry| entry.table == name).unwrap().otherwise.clone();
    assert_eq!(line("venues"), None);
    assert_eq!(line("old crm.audit").unwrap(), "global = [\"prices\", \"old crm.audit\"]");
    assert_eq!(line("bookings").unwrap(), "left_out = [\"halls\", \"bookings\"]");
    assert_eq!(line("halls").unwrap(), "left_out = []");
}
