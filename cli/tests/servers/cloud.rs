//! A cloud by its commands.

use serde_json::Value;

use crate::process::{Cloud, rejoin, run};

#[test]
fn an_admin_manages_a_cloud_by_the_commands_and_stops_it() {
    let mut cloud = Cloud::start();
    assert!(
        cloud.server.said["oneTimeSecret"].as_str().unwrap().starts_with("rjo_"),
        "the first start makes an admin: {}",
        cloud.server.said
    );

    // Sites.
    let invited = cloud.server.json(&["sites", "add", "studio-2", "--scope", "*"]);
    assert!(invited["token"].as_str().unwrap().starts_with("rje_"));
    let (code, stdout, stderr) = cloud.server.run(&["sites", "add", "studio-2", "--scope", "*"]);
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (5, "", 1), "a name that is taken is a conflict: {stderr}");
    assert_eq!(cloud.server.run(&["sites", "add", "Studio 3", "--scope", "*"]).0, 2, "a name that cannot be one is bad input");
    assert_eq!(cloud.server.run(&["sites", "revoke", "nobody"]).0, 1);
    assert_eq!(cloud.server.run(&["sites", "scopes", "studio-2", "drop", "*"]).0, 0);
    assert_eq!(cloud.server.json(&["sites", "list"])[0]["scopes"], serde_json::json!([]));
    let (code, stdout, _) = cloud.server.run(&["sites", "token", "studio-2"]);
    assert!(code == 0 && stdout.starts_with("rje_") && stdout.lines().count() == 1, "a script can take the token: {stdout}");

    // Users and tokens.
    let made = cloud.server.json(&["users", "add", "ada", "--role", "editor"]);
    assert!(made["oneTimeSecret"].as_str().unwrap().starts_with("rjo_"));
    let token = cloud.server.json(&["tokens", "create", "export", "--user", "ada"]);
    let (url, secret) = (cloud.server.said["url"].as_str().unwrap(), token["secret"].as_str().unwrap());
    let as_ada = |arguments: &[&str]| run(rejoin().args(arguments).args(["--url", url]).env("REJOIN_TOKEN", secret)).0;
    assert_eq!(as_ada(&["status"]), 0);
    assert_eq!(as_ada(&["users", "list"]), 1, "an editor may not");
    assert_eq!(cloud.server.run(&["users", "disable", "ada"]).0, 0);
    assert_eq!(as_ada(&["status"]), 1, "a disabled user's token opens nothing");
    assert_eq!(cloud.server.run(&["users", "enable", "ada"]).0, 0);
    assert_eq!(cloud.server.run(&["tokens", "revoke", token["id"].as_str().unwrap()]).0, 0);
    assert_eq!(as_ada(&["status"]), 1, "a revoked token opens nothing");

    // What a cloud does not do, and what there is not.
    assert_eq!(cloud.server.run(&["sync", "run"]).0, 1);
    assert_eq!(cloud.server.run(&["conflicts", "show", "0198f1c2-0000-7000-8000-000000000000"]).0, 1);
    assert_eq!(cloud.server.json(&["conflicts", "list"]), serde_json::json!([]));
    assert_eq!(cloud.server.json(&["sync", "log"]), serde_json::json!([]));

    let steps = cloud.server.json(&["migrate", "status"]);
    assert!(steps.as_array().unwrap().iter().all(|step| step["appliedOn"].is_string()), "beside the running cloud: {steps}");
    let (code, _, stderr) = cloud.server.run(&["migrate", "up"]);
    assert!(code == 1 && stderr.contains("stop it first"), "{stderr}");

    assert_eq!(cloud.server.stop(), 0, "a stop by SIGTERM is a good end");
    assert_eq!(cloud.server.run(&["status"]).0, 4, "a stopped server cannot be reached");
    let steps: Value =
        serde_json::from_str(&run(rejoin().args(["migrate", "status", "--json", "--data"]).arg(&cloud.server.data)).1).unwrap();
    assert!(steps.as_array().unwrap().iter().all(|step| step["appliedOn"].is_string()), "{steps}");

    // Found again: no second first admin.
    cloud.server.start_again();
    assert_eq!(cloud.server.said["oneTimeSecret"], Value::Null);
    assert_eq!(cloud.server.json(&["users", "list"]).as_array().unwrap().len(), 2);
}

#[test]
fn an_import_is_one_transaction_and_a_second_one_changes_nothing() {
    let cloud = Cloud::start();
    let set = concat!(env!("CARGO_MANIFEST_DIR"), "/src/demo/equipment.ndjson");
    let first = cloud.server.json(&["import", set]);
    let rows = first["rows"]["created"].as_u64().unwrap();
    assert_eq!(rows, 11 + first["portRows"].as_u64().unwrap() + first["slots"].as_u64().unwrap());
    let second = cloud.server.json(&["import", set]);
    assert_eq!(second["rows"], serde_json::json!({ "created": 0, "updated": 0, "unchanged": rows }));

    // One changed line is one changed row; a broken one behind it changes nothing.
    let text = std::fs::read_to_string(set).unwrap();
    let file = cloud.server.data.join("changed.ndjson");
    let changed = text.replacen("\"u_height\": 1.0", "\"u_height\": 3.0", 1);
    assert_ne!(changed, text);
    std::fs::write(&file, format!("{changed}{{\"kind\":\"device\"}}\n")).unwrap();
    let (code, stdout, stderr) = cloud.server.run(&["import", file.to_str().unwrap()]);
    assert!(code == 2 && stdout.is_empty() && stderr.contains("line 12: manufacturer: is missing"), "{code} {stderr}");
    assert_eq!(cloud.server.json(&["import", set])["rows"]["unchanged"], rows, "the broken file changed nothing");
    std::fs::write(&file, changed).unwrap();
    assert_eq!(
        cloud.server.json(&["import", file.to_str().unwrap()])["rows"],
        serde_json::json!({ "created": 0, "updated": 1, "unchanged": rows - 1 })
    );
}
