use serde_json::json;

use super::*;

/// A root with a text key, a table that hangs from it by two columns, one that hangs from that, a shared one, and one that hangs from two by
/// ways that need not name a row.
fn catalog() -> Catalog {
    let column = |no: u32, name: &str, ty: serde_json::Value| json!({"no": no, "name": name, "ty": ty, "sql_type": "x", "not_null": true, "default": null, "max_length": null});
    let maybe = |no: u32, name: &str, ty: serde_json::Value| {
        let mut column = column(no, name, ty);
        column["not_null"] = json!(false);
        column
    };
    let table = |no: u32,
                 name: &str,
                 columns: Vec<serde_json::Value>,
                 key: Vec<u32>,
                 references: serde_json::Value,
                 scope: serde_json::Value| {
        json!({
            "no": no, "schema": "public", "name": name, "path": name, "engine": false, "columns": columns, "key": key, "uniques": [],
            "indexes": [], "references": references, "scope": scope, "soft_delete": null,
            "stamps": {"version": "version", "updated_at": "updated_at", "last_modified_by": "rejoin_modified_by", "synced_at": "rejoin_synced_at"},
        })
    };
    let reference = |columns: Vec<u32>, to: u32, target: Vec<u32>| json!([{"name": "up_fkey", "columns": columns, "table": to, "target": target, "on_delete": "cascade"}]);
    let tables = vec![
        table(1, "it's", vec![column(1, "name", json!("text"))], vec![1], json!([]), json!("root")),
        table(
            2,
            "day",
            vec![column(1, "house", json!("text")), column(2, "On", json!("date")), column(3, "price", json!("numeric"))],
            vec![1, 2],
            reference(vec![1], 1, vec![1]),
            json!({"through": 0}),
        ),
        table(
            3,
            "slot",
            vec![column(1, "id", json!("uuid")), column(2, "house", json!("text")), column(3, "day", json!("date"))],
            vec![1],
            reference(vec![2, 3], 2, vec![1, 2]),
            json!({"through": 0}),
        ),
        table(4, "unit", vec![column(1, "id", json!("int8"))], vec![1], json!([]), json!("global")),
        table(
            5,
            "note",
            vec![
                column(1, "id", json!("uuid")),
                maybe(2, "house", json!("text")),
                maybe(3, "kind", json!("text")),
                maybe(4, "about", json!("text")),
            ],
            vec![1],
            json!([
                {"name": "house_fkey", "columns": [2], "table": 1, "target": [1], "on_delete": "cascade"},
                {"name": "note.about>slot", "columns": [4], "table": 3, "target": [1], "on_delete": "cascade", "declared": true,
                 "when": [3, "it's a slot"]},
            ]),
            json!({"through": [1, 0]}),
        ),
    ];
    serde_json::from_value(json!({"version": 1, "system": "s", "api": {}, "tables": tables})).unwrap()
}

#[test]
fn the_generated_sql_is_what_was_reviewed() {
    let catalog = catalog();
    for table in &catalog.tables {
        let naive = BTreeSet::from(["updated_at".to_owned()]);
        insta::assert_snapshot!(format!("capture_{}", table.no), capture(&catalog, table, &naive, table.no.0 != 4, &Places::default()).sql);
    }
}

#[test]
fn the_mark_changes_with_the_text_and_only_with_it() {
    let catalog = catalog();
    let mark = |catalog: &Catalog, naive: &BTreeSet<String>| capture(catalog, &catalog.tables[1], naive, true, &Places::default()).mark;
    let before = mark(&catalog, &BTreeSet::new());
    assert_eq!(before, mark(&catalog, &BTreeSet::new()));
    assert_ne!(before, mark(&catalog, &BTreeSet::from(["updated_at".to_owned()])));
    assert_ne!(before, capture(&catalog, &catalog.tables[1], &BTreeSet::new(), false, &Places::default()).mark);
    let mut renamed = catalog.clone();
    renamed.tables[0].name = "other".to_owned();
    assert_ne!(before, mark(&renamed, &BTreeSet::new()), "the parent's name is in it");
}

#[test]
fn the_engine_adds_only_the_columns_that_the_table_has_not_got() {
    let names: Vec<&str> = stamp_columns(&catalog().tables[0]).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["rejoin_scope", "rejoin_tick", "rejoin_modified_by", "rejoin_synced_at"]);
}
