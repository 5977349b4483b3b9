//! Drizzle: `generate`, `migrate` and `push` of drizzle-kit, rows by drizzle-orm.

use cloud_server::test_support;

use crate::project::Project;
use crate::scene::{SHOP, Scene};

const TABLES: &str = "schema.ts";

const ENTER: &str = "\r";
const DOWN: &str = "\u{1b}[B";

fn write(scene: &Scene, arguments: &[&str]) {
    scene.project.npx(&[&["tsx", "write.ts"], arguments].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_and_push_beside_us() {
    let database = test_support::database().await;
    let project = Project::new("drizzle", database.url(), "");
    project.npx(&["drizzle-kit", "generate", "--name", "init"]);
    project.npx(&["drizzle-kit", "migrate"]);
    let mut scene = Scene::attach(database, project).await;

    // `generate` compares files with files: our columns are no part of it.
    scene.offline().await;
    scene.project.edit(TABLES, "  city: text(\"city\"),\n", "  city: text(\"city\"),\n  phone: text(\"phone\"),\n");
    scene.project.npx(&["drizzle-kit", "generate", "--name", "phone"]);
    assert!(!scene.project.read("migrations/0001_phone.sql").contains("rejoin"));
    scene.project.npx(&["drizzle-kit", "migrate"]);
    scene.published("phone").await;
    write(&scene, &["insert", "shops", r#"{"id": "00000000-0000-4000-8000-000000000002", "name": "by Drizzle", "phone": "1"}"#]);
    write(&scene, &["insert", "items", r#"{"shopId": "00000000-0000-4000-8000-000000000002", "name": "new", "price": "1.50"}"#]);
    write(&scene, &["update", "items", r#"{"name": "changed"}"#, "9"]);
    write(&scene, &["delete", "items", "{}", "20"]);
    scene.lands().await;
    assert_eq!(scene.at_site("shops/00000000-0000-4000-8000-000000000002", "phone").await, "1");
    assert_eq!(scene.count_at_site("items?name=new").await, 1);
    assert_eq!(scene.at_site("items/9", "name").await, "changed");
    assert_eq!(scene.count_at_site("items?id=20").await, 0);

    // `push` with files that know nothing of us asks twice: who says yes to the second loses our indexes, and no more.
    scene.offline().await;
    scene.world.stop().await;
    scene.project.edit(TABLES, "  phone: text(\"phone\"),\n", "  phone: text(\"phone\"),\n  mail: text(\"mail\"),\n");
    let questions = [("rename column", ENTER), ("Yes, I want to remove", &(DOWN.to_owned() + ENTER))];
    let text = scene.project.npx_answering(&["drizzle-kit", "push"], &[questions[0], (questions[1].0, ENTER)]);
    assert!(text.contains("data-loss") && text.contains("aborted"), "{text}");
    scene.project.is_healthy();
    let text = scene.project.npx_answering(&["drizzle-kit", "push"], &questions);
    assert!(text.contains("cannot drop column rejoin_scope"), "{text}");
    scene.project.is_ill(&["items: the index rejoin_4_feed is gone", "shops: the index rejoin_5_feed is gone"]);
    scene.world.start_again().await;
    scene.lands().await;

    // Who then does as PostgreSQL hints loses a column with its triggers.
    scene.offline().await;
    scene.world.stop().await;
    scene.project.npx(&["drizzle-kit", "generate", "--custom", "--name", "cleanup"]);
    scene.project.write("migrations/0002_cleanup.sql", "ALTER TABLE items DROP COLUMN rejoin_scope CASCADE");
    scene.project.npx(&["drizzle-kit", "migrate"]);
    scene.project.is_ill(&["items.rejoin_scope: a column that Rejoin needs is gone", "items: the trigger ~rejoin_v2_insert is gone"]);
    write(&scene, &["update", "shops", r#"{"name": "while it was gone"}"#, SHOP]);
    write(&scene, &["update", "items", r#"{"name": "while it was gone"}"#, "8"]);
    scene.world.start_again().await;
    scene.lands().await;
    assert_eq!(scene.at_site("items/8", "name").await, "while it was gone");

    // As it is meant: the files name our columns and indexes. No question, nothing dropped.
    scene.offline().await;
    scene.project.write(TABLES, &scene.project.read("with-rejoin.ts"));
    let said = scene.project.npx(&["drizzle-kit", "push", "--verbose"]);
    assert!(said.contains("ADD COLUMN \"fax\"") && !said.contains("DROP"), "{said}");
    scene.published("fax").await;
    write(&scene, &["update", "shops", r#"{"fax": "two"}"#, SHOP]);
    write(&scene, &["insert", "items", &format!(r#"{{"shopId": "{SHOP}", "name": "newest"}}"#)]);
    scene.lands().await;
    assert_eq!(scene.at_site(&format!("shops/{SHOP}"), "fax").await, "two");
    assert_eq!(scene.count_at_site("items?name=newest").await, 1);
}
