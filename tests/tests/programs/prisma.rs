//! Prisma: `db push` and `migrate`, with its engine from npm alone.

use cloud_server::test_support;
use serde_json::json;

use crate::project::Project;
use crate::scene::{SHOP, Scene};

const MODEL: &str = "schema.prisma";

/// A project whose tables `db push` made, attached.
async fn scene() -> (Scene, test_support::Database) {
    let (database, shadow) = (test_support::database().await, test_support::database().await);
    let project = Project::new("prisma", database.url(), shadow.url());
    project.npx(&["prisma", "db", "push"]);
    (Scene::attach(database, project).await, shadow)
}

fn write(scene: &Scene, model: &str, method: &str, arguments: &serde_json::Value) {
    scene.project.node(&["write.mjs", model, method, &arguments.to_string()]);
}

/// The model without these of our columns.
fn without(model: &str, columns: &[&str]) -> String {
    let ours = |line: &&str| !columns.iter().any(|column| line.trim_start().starts_with(column));
    model.lines().filter(ours).map(|line| line.to_owned() + "\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_db_push_drops_is_named_and_put_back() {
    let (mut scene, _shadow) = scene().await;

    // As it is meant: our columns are in the model.
    scene.offline().await;
    scene.project.npx(&["prisma", "db", "pull"]);
    scene.project.edit(MODEL, "model shops {\n", "model shops {\n  phone String?\n");
    let pulled = scene.project.read(MODEL);
    scene.project.npx(&["prisma", "db", "push"]);
    scene.published("phone").await;
    assert_eq!((scene.columns("shops").await, scene.columns("items").await), (6, 6));
    let data = json!({"data": {"name": "by Prisma", "phone": "1", "items": {"create": [{"name": "new", "price": "1.50"}]}}});
    write(&scene, "shops", "create", &data);
    write(&scene, "items", "update", &json!({"where": {"id": 9}, "data": {"name": "changed"}}));
    write(&scene, "items", "delete", &json!({"where": {"id": 20}}));
    scene.lands().await;
    assert_eq!(scene.count_at_site("shops?name=by%20Prisma&phone=1").await, 1);
    assert_eq!(scene.count_at_site("items?name=new").await, 1);
    assert_eq!(scene.at_site("items/9", "name").await, "changed");
    assert_eq!(scene.count_at_site("items?id=20").await, 0);

    // A model that knows nothing of us: asked first, and with the flag it gets as far as our indexes.
    scene.offline().await;
    scene.world.stop().await;
    scene.project.write(MODEL, &without(&pulled, &["rejoin_", "@@index([rejoin_"]));
    let said = scene.project.try_npx(&["prisma", "db", "push"]);
    assert!(!said.ok && said.text.contains("drop the column `rejoin_scope`"), "{}", said.text);
    scene.project.is_healthy();
    let said = scene.project.try_npx(&["prisma", "db", "push", "--accept-data-loss"]);
    assert!(!said.ok && said.text.contains("cannot drop column rejoin_scope"), "{}", said.text);
    scene.project.is_ill(&["items: the index rejoin_4_feed is gone", "shops: the index rejoin_5_feed is gone"]);
    // One that keeps only those two: the others go. The program goes on meanwhile.
    let some = without(&pulled, &["rejoin_version", "rejoin_updated_at", "rejoin_modified_by", "rejoin_synced_at"]);
    scene.project.write(MODEL, &some);
    scene.project.npx(&["prisma", "db", "push", "--accept-data-loss"]);
    assert_eq!((scene.columns("shops").await, scene.columns("items").await), (2, 2));
    scene.project.is_ill(&["shops.rejoin_version: a column that Rejoin needs is gone", "items.rejoin_synced_at"]);
    write(&scene, "shops", "update", &json!({"where": {"id": SHOP}, "data": {"name": "while it was gone"}}));
    write(&scene, "items", "delete", &json!({"where": {"id": 19}}));
    scene.world.start_again().await;
    scene.project.is_healthy();
    scene.lands().await;
    assert_eq!(scene.at_site(&format!("shops/{SHOP}"), "name").await, "while it was gone");
    assert_eq!(scene.count_at_site("items?id=19").await, 0);

    // The same beside a running cloud.
    scene.offline().await;
    scene.project.write(MODEL, &without(&pulled, &["rejoin_synced_at"]));
    scene.project.npx(&["prisma", "db", "push", "--accept-data-loss"]);
    write(&scene, "items", "update", &json!({"where": {"id": 8}, "data": {"name": "changed"}}));
    for table in ["shops", "items"] {
        scene.until(&format!("SELECT count(rejoin_synced_at) = count(*) FROM (SELECT to_jsonb(t) ->> 'rejoin_synced_at' AS rejoin_synced_at FROM {table} t) t")).await;
    }
    scene.lands().await;
    assert_eq!(scene.at_site("items/8", "name").await, "changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_need_to_know_nothing_of_us() {
    let (mut scene, _shadow) = scene().await;
    scene.offline().await;
    let diff = ["prisma", "migrate", "diff", "--script"];

    // The baseline of a database that was not made by migrations.
    let said = scene.project.try_npx(&["prisma", "migrate", "deploy"]);
    assert!(!said.ok && said.text.contains("P3005"), "{}", said.text);
    let init = scene.project.npx(&[&diff[..], &["--from-empty", "--to-schema-datamodel", MODEL]].concat());
    scene.project.write("migrations/migration_lock.toml", "provider = \"postgresql\"\n");
    scene.project.write("migrations/0_init/migration.sql", &init);
    scene.project.npx(&["prisma", "migrate", "resolve", "--applied", "0_init"]);

    // What `migrate dev` would make: against a shadow database, which knows nothing of us. A renamed column is edited in, as Prisma's manual says.
    scene.project.edit(MODEL, "  city  String?\n", "  city  String?\n  stars Int @default(3)\n");
    scene.project.edit(MODEL, "  name    String\n", "  title   String\n");
    let made = scene.project.npx(&[&diff[..], &["--from-migrations", "migrations", "--to-schema-datamodel", MODEL]].concat());
    assert!(!made.contains("rejoin"), "{made}");
    assert!(made.contains("ADD COLUMN     \"stars\"") && made.contains("DROP COLUMN \"name\""), "{made}");
    let sql: String = made
        .lines()
        .filter(|line| !line.contains("\"title\""))
        .map(|line| {
            let renamed = "ALTER TABLE \"items\" RENAME COLUMN \"name\" TO \"title\";";
            if line.contains("DROP COLUMN \"name\"") { renamed.to_owned() } else { line.to_owned() + "\n" }
        })
        .collect();
    scene.project.write("migrations/1_stars/migration.sql", &sql);
    scene.project.npx(&["prisma", "migrate", "deploy"]);
    assert!(scene.project.npx(&["prisma", "migrate", "status"]).contains("up to date"));
    scene.published("title").await;
    scene.project.npx(&["prisma", "generate"]);
    write(&scene, "shops", "create", &json!({"data": {"name": "five stars", "stars": 5, "items": {"create": [{"title": "new"}]}}}));
    write(&scene, "items", "update", &json!({"where": {"id": 9}, "data": {"title": "changed"}}));
    write(&scene, "items", "delete", &json!({"where": {"id": 20}}));
    scene.name = "title";
    scene.lands().await;
    assert_eq!(scene.at_site(&format!("shops/{SHOP}"), "stars").await, 3);
    assert_eq!(scene.count_at_site("shops?name=five%20stars&stars=5").await, 1);
    assert_eq!((scene.at_site("items/9", "title").await, scene.count_at_site("items?title=new").await), (json!("changed"), 1));
    assert_eq!(scene.count_at_site("items?id=20").await, 0);

    // `migrate dev` is for a database of one's own: here it wants to drop everything, and does nothing.
    let text = scene.project.npx_answering(&["prisma", "migrate", "dev", "--create-only", "--name", "more"], &[]);
    assert!(text.contains("Drift detected") && text.contains("rejoin_scope") && text.contains("All data will be lost"), "{text}");
    scene.offline().await;
    scene.lands().await;
}
