use std::collections::BTreeMap;

use sync_core::catalog::OnDelete;
use sync_core::policy::Policy;
use sync_core::value::ColumnType;

use super::*;
use crate::store::introspect::{FoundIndex, FoundReference};

/// `goods`: a key, a unique code, a reference, and columns of several types; `version` holds the row's versioning.
fn goods() -> FoundTable {
    let columns = [
        ("id", Some(ColumnType::Uuid)),
        ("code", Some(ColumnType::Int4)),
        ("maker", Some(ColumnType::Int8)),
        ("stock", Some(ColumnType::Int4)),
        ("price", Some(ColumnType::Numeric)),
        ("note", Some(ColumnType::Text)),
        ("tags", Some(ColumnType::Array(Box::new(ColumnType::Text)))),
        ("extra", Some(ColumnType::Json)),
        ("updated_at", Some(ColumnType::Timestamptz)),
        ("search", None),
        ("version", Some(ColumnType::Int4)),
    ];
    let column = |(at, (name, ty)): (usize, (&str, Option<ColumnType>))| FoundColumn {
        attnum: i16::try_from(at + 1).unwrap(),
        name: name.to_owned(),
        sql_type: "x".to_owned(),
        ty,
        left_out: false,
        not_null: at == 0,
        default: None,
        max_length: None,
        missing: None,
        fixed: false,
        secret: false,
    };
    let reference = FoundReference {
        name: "maker".to_owned(),
        columns: vec![3],
        table: 9,
        target: vec![1],
        on_delete: OnDelete::Restrict,
        declared: false,
        when: None,
    };
    FoundTable {
        oid: 1,
        schema: "public".to_owned(),
        name: "goods".to_owned(),
        obstacle: None,
        columns: columns.into_iter().enumerate().map(column).collect(),
        key: vec![1],
        indexes: vec![FoundIndex { name: "code".to_owned(), unique: true, columns: vec![2] }],
        references: vec![reference],
        notes: Vec::new(),
        filenode: None,
        was_partition: false,
    }
}

fn stamps() -> Stamps {
    let [updated_at, last_modified_by, synced_at] = ["rejoin_updated_at", "rejoin_modified_by", "rejoin_synced_at"].map(str::to_owned);
    Stamps { version: "version".to_owned(), updated_at, last_modified_by, synced_at }
}

fn read(text: &str) -> Result<Policies, SettingsError> {
    let settings = Settings::parse(text).unwrap();
    policies(&goods(), &settings, settings.table("public", "goods"), &stamps(), &mut Vec::new())
}

/// The columns that have another policy than `manual`.
fn told(text: &str) -> BTreeMap<String, &'static str> {
    let policies = read(text).unwrap();
    policies.columns.into_iter().filter(|(_, policy)| *policy != Policy::Manual).map(|(name, policy)| (name, policy.as_str())).collect()
}

#[test]
fn a_columns_own_policy_goes_before_the_tables_and_that_before_the_default() {
    assert_eq!(told(""), BTreeMap::from([("updated_at".to_owned(), "max")]), "a time of change is no conflict");
    let found = told("[policy]\ndefault = 'cloud_wins'\n[tables.goods]\npolicy = 'newest'\npolicies = { note = 'text', price = 'manual' }");
    let named = |name: &str| found.get(name).copied();
    assert_eq!((named("note"), named("stock"), named("price"), named("id")), (Some("text"), Some("newest"), None, None));
    // What does not fit a column leaves it to the next one.
    let found = told("[policy]\ndefault = 'local_wins'\n[tables.goods]\npolicy = 'add'");
    let named = |name: &str| found.get(name).copied();
    assert_eq!((named("stock"), named("price"), named("note")), (Some("add"), Some("add"), Some("local_wins")));
    assert_eq!((named("code"), named("maker")), (Some("local_wins"), Some("local_wins")), "a unique or referring number is no amount");
}

#[test]
fn only_a_side_that_wins_decides_for_rows_as_a_whole() {
    let row = |text: &str| read(text).unwrap().table;
    assert_eq!(row("[policy]\ndefault = 'local_wins'"), Policy::LocalWins);
    assert_eq!(row("[policy]\ndefault = 'local_wins'\n[tables.goods]\npolicy = 'newest'"), Policy::Manual);
    assert_eq!(row("[tables.goods]\npolicies = { note = 'cloud_wins' }"), Policy::Manual);
}

#[test]
fn a_group_has_one_policy() {
    let policies = read("[tables.goods]\ngroups = [['price', 'note']]\npolicies = { price = 'newest', note = 'newest' }").unwrap();
    assert_eq!(policies.groups, [["price", "note"]]);
    // A general policy that a group cannot have is not meant for its columns; a time of change in a group follows the group.
    let found = told("[policy]\ndefault = 'text'\n[tables.goods]\ngroups = [['price', 'note', 'updated_at']]");
    assert_eq!(found.get("note"), None);
    assert_eq!(found.get("updated_at"), None);
}

#[test]
fn what_does_not_fit_is_told_with_its_line() {
    for (body, line, words) in [
        ("policies = { colour = 'text' }", 2, "tables.goods.policies: the column colour is not there"),
        ("policies = { version = 'max' }", 2, "the column version holds the row's versioning"),
        ("policies = { search = 'text' }", 2, "the column search is made by PostgreSQL and not synced"),
        ("[tables.goods.policies]\nnote = 'text'\nstock = 'text'", 4, "stock cannot have the policy text: it holds"),
        ("policies = { price = 'union' }", 2, "price cannot have the policy union"),
        ("policies = { note = 'add' }", 2, "note cannot have the policy add"),
        ("policies = { code = 'add' }", 2, "code cannot have the policy add: it is part of a unique key"),
        ("policies = { maker = 'add' }", 2, "maker cannot have the policy add: it refers to another table"),
        ("policies = { id = 'newest' }", 2, "id cannot have the policy newest: it is part of the key"),
        ("groups = [['price', 'weight']]", 2, "tables.goods.groups: the column weight is not there"),
        ("groups = [\n['price'],\n]", 3, "a group has two columns at least"),
        ("groups = [['price', 'note'],\n ['note', 'stock']]", 3, "the column note is in two groups"),
        ("groups = [['price', 'id']]", 2, "the column id is part of the key"),
        ("policies = { note = 'text' }\ngroups = [['price', 'note']]", 3, "note has the policy text: a group has manual"),
        ("policies = { note = 'newest' }\ngroups = [['price', 'note']]", 3, "price has the policy manual and note has newest"),
    ] {
        let error = read(&format!("[tables.goods]\n{body}\n")).unwrap_err();
        assert_eq!(error.line, line, "{body}: {error}");
        assert!(error.to_string().contains(words), "{body}: {error}");
    }
}

#[test]
fn a_kind_and_what_it_names_clash_as_one() {
    let mut table = goods();
    for (kind, to) in [("a", 10), ("b", 11)] {
        let when = Some((6, sync_core::value::Value::Text(kind.into())));
        let reference =
            FoundReference { name: kind.to_owned(), columns: vec![4], table: to, declared: true, when, ..table.references[0].clone() };
        table.references.push(reference);
    }
    let read = |text: &str| {
        let settings = Settings::parse(text).unwrap();
        let mut notes = Vec::new();
        let policies = policies(&table, &settings, settings.table("public", "goods"), &stamps(), &mut notes).unwrap();
        (policies.groups.clone(), policies.of("stock").as_str(), policies.of("note").as_str(), notes.len() - 1)
    };
    let group = |names: &[&str]| vec![names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()];
    assert_eq!(read(""), (group(&["note", "stock"]), "manual", "manual", 0));
    assert_eq!(read("[policy]\ndefault = 'newest'"), (group(&["note", "stock"]), "newest", "newest", 0));
    // What cannot be decided by a rule is decided by a person.
    assert_eq!(read("[tables.goods]\npolicies = { note = 'text' }"), (group(&["note", "stock"]), "manual", "manual", 1));
    // A group of the user's grows by it.
    assert_eq!(read("[tables.goods]\ngroups = [['price', 'note']]"), (group(&["note", "price", "stock"]), "manual", "manual", 0));
}
