//! What a plan reads in the rows: of which kinds they refer, and how many name no parent.

use cloud_server::settings::Settings;
use cloud_server::store::prepare;
use cloud_server::store::prepare::{Nowhere, PlanEntry};

use crate::Shop;

const SCHEMA: &str = "
    CREATE TYPE taggable AS ENUM ('order', 'line');
    CREATE TABLE orgs (id integer PRIMARY KEY);
    CREATE TABLE work_orders (id integer PRIMARY KEY, org integer NOT NULL REFERENCES orgs);
    CREATE TABLE \"Lines\" (id integer PRIMARY KEY, org integer NOT NULL REFERENCES orgs);
    CREATE TABLE visits (id integer PRIMARY KEY, org integer REFERENCES orgs, work_order integer REFERENCES work_orders);
    CREATE TABLE comments (id integer PRIMARY KEY, commentable_type text, commentable_id integer);
    CREATE TABLE attachments (id integer PRIMARY KEY, \"ownerType\" text NOT NULL, \"ownerId\" text NOT NULL);
    CREATE TABLE tags (id integer PRIMARY KEY, org integer NOT NULL REFERENCES orgs, \"taggableType\" taggable, \"taggableId\" integer);
    CREATE TABLE empty (id integer PRIMARY KEY, subject_type text, subject_id uuid);
    CREATE TABLE logs (id integer PRIMARY KEY, log_type text, org_id integer REFERENCES orgs);
    INSERT INTO orgs VALUES (1);
    INSERT INTO work_orders VALUES (1, 1);
    INSERT INTO visits VALUES (1, 1, NULL), (2, NULL, 1), (3, NULL, NULL), (4, NULL, NULL);
    INSERT INTO comments VALUES (1, 'App\\Models\\WorkOrder', 1), (2, 'line', 1), (3, NULL, NULL);
    INSERT INTO attachments VALUES (1, 'WorkOrder', '1'), (2, 'Person', '1')";

async fn planned(shop: &Shop, settings: &str) -> Vec<PlanEntry> {
    prepare::plan(&shop.db, &Settings::parse(settings).unwrap()).await.unwrap().tables
}

fn entry<'a>(entries: &'a [PlanEntry], table: &str) -> &'a PlanEntry {
    entries.iter().find(|entry| entry.table == table).unwrap()
}

#[tokio::test]
async fn what_looks_like_a_reference_of_several_kinds_is_offered_and_the_offer_works() {
    let shop = Shop::with(SCHEMA).await;
    let plan = planned(&shop, "root = 'orgs'").await;
    let offers = |table: &str| entry(&plan, table).otherwise.clone().unwrap();
    let comments = offers("comments");
    assert_eq!(
        comments,
        "[tables.comments]\nreferences = [{ columns = [\"commentable_id\"], kind = \"commentable_type\", tables = { 'App\\Models\\WorkOrder' = \
         \"work_orders\", line = \"Lines\" }, on_delete = \"restrict\" }]"
    );
    assert_eq!(
        offers("attachments"),
        "[tables.attachments]\n# references = [{ columns = [\"ownerId\"], kind = \"ownerType\", tables = { Person = \"TABLE\", WorkOrder = \
         \"work_orders\" }, on_delete = \"restrict\" }]"
    );
    assert!(
        offers("empty")
            .ends_with("\n# references = [{ columns = [\"subject_id\"], kind = \"subject_type\", tables = { KIND = \"TABLE\" }, on_delete = \"restrict\" }]")
    );
    let note = &entry(&plan, "tags").notes[0];
    assert!(
        note.starts_with("taggableType with taggableId looks like a reference that only rejoin.toml can declare: [tables.tags]\n# "),
        "{note}"
    );
    assert!(entry(&plan, "logs").kinds.is_empty(), "a foreign key says it");
    // What is offered can be written as it is.
    let after = planned(&shop, &format!("root = 'orgs'\n{comments}\n")).await;
    let comments = entry(&after, "comments");
    assert!(comments.synced && comments.kinds.is_empty(), "{comments:?}");
    assert_eq!(comments.nowhere, Some(Nowhere { rows: Some(1), of: Some(3) }));
}

#[tokio::test]
async fn rows_that_name_no_parent_are_counted_unless_that_takes_long() {
    let shop = Shop::with(SCHEMA).await;
    let plan = planned(&shop, "root = 'orgs'").await;
    assert_eq!(entry(&plan, "visits").nowhere, Some(Nowhere { rows: Some(2), of: Some(4) }));
    assert_eq!((entry(&plan, "work_orders").nowhere, entry(&plan, "orgs").nowhere), (None, None), "each row names one");
    shop.sql.batch_execute("BEGIN; LOCK TABLE visits").await.unwrap();
    let plan = planned(&shop, "root = 'orgs'").await;
    assert_eq!(entry(&plan, "visits").nowhere, Some(Nowhere { rows: None, of: None }));
}
