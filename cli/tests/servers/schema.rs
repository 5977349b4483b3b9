//! `rejoin doctor` and `rejoin schema plan` beside a running cloud with a site.

use crate::process::{Cloud, rejoin, run};

#[test]
fn a_risky_migration_is_told_before_it_is_run_and_changes_nothing() {
    let cloud = Cloud::start();
    let site = cloud.join("studio-2", &[]);
    assert_eq!(site.json(&["sync", "run"])["pending"], 0);
    let listed = cloud.server.json(&["sites", "list"]);
    let catalog = listed[0]["replicas"][0]["catalog"].as_i64().unwrap();
    assert!(catalog > 0, "{listed}");
    let (code, shown, _) = cloud.server.run(&["sites", "list"]);
    assert!(code == 0 && shown.lines().next().unwrap().contains("CATALOG"), "{shown}");

    let file = cloud.folder.path().join("next.sql");
    let plan = |sql: &str, more: &[&str]| {
        std::fs::write(&file, sql).unwrap();
        cloud.server.run(&[&["schema", "plan", file.to_str().unwrap()], more].concat())
    };
    let risky = "ALTER TABLE sources RENAME note TO remark; ALTER TABLE productions ALTER room SET NOT NULL;";
    let (code, shown, stderr) = plan(risky, &[]);
    assert_eq!(code, 0, "warnings are no failure: {stderr}");
    for words in [
        "column sources.note is renamed to remark",
        "NOT NULL on productions.room",
        &format!("1 site on catalog {catalog}; "),
        "Sent again: 0 rows",
    ] {
        assert!(shown.contains(words), "{words}\nin {shown}");
    }
    let (code, shown, _) = plan(risky, &["--json"]);
    let told: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, told["catalog"].as_i64(), told["sites"][0]["sites"].as_i64()), (0, Some(catalog), Some(1)), "{told}");
    assert!(told["changes"].as_array().unwrap().iter().any(|change| change["warning"].is_string()), "{told}");

    let (code, stdout, stderr) = plan("ALTER TABLE nowhere ADD x text;", &[]);
    assert!(code == 1 && stdout.is_empty() && stderr.contains("the migration fails"), "{code} {stderr}");
    let (code, _, stderr) = cloud.server.run(&["schema", "plan", "/nowhere.sql"]);
    assert!(code == 2 && stderr.contains("there is no file"), "{code} {stderr}");
    assert_eq!(cloud.server.json(&["sites", "list"])[0]["replicas"][0]["catalog"].as_i64(), Some(catalog), "nothing was run");
}

#[test]
fn the_doctor_ends_with_one_where_something_is_wrong_and_names_it() {
    let cloud = Cloud::start();
    let (code, shown, stderr) = cloud.server.run(&["doctor"]);
    assert!(code == 0 && shown.contains("nothing is wrong"), "{code} {shown}{stderr}");
    let healthy = cloud.server.json(&["doctor"]);
    assert_eq!(healthy["wrong"], 0, "{healthy}");

    // Settings that do not fit: the line is named.
    let file = cloud.folder.path().join("rejoin.toml");
    std::fs::write(&file, "root = 'productions'\nglobal = ['nowhere']\n").unwrap();
    let with = ["--settings", file.to_str().unwrap()];
    let (code, shown, stderr) = cloud.server.run(&[&["doctor"], with.as_slice()].concat());
    assert!(code == 1 && stderr.contains("wrong"), "{code} {stderr}");
    assert!(shown.contains("error: rejoin.toml, line 2: global: there is no table nowhere"), "{shown}");
    let (code, shown, _) = cloud.server.run(&[&["doctor", "--json"], with.as_slice()].concat());
    let told: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert!(code == 1 && told["findings"][0]["severity"] == "error", "{told}");

    let (code, _, stderr) =
        run(rejoin().args(["doctor", "--database-url", "postgres://nobody@127.0.0.1:1/none", "--system", "video-production"]));
    assert_eq!((code, stderr.lines().count()), (4, 1), "{stderr}");
}
