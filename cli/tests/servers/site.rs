//! A site by its commands.

use serde_json::{Value, json};

use crate::process::{Cloud, Server, rejoin, run, signal};

/// A cloud with one production, and its id.
fn cloud_with_a_production() -> (Cloud, String) {
    let cloud = Cloud::start();
    let id = uuid::Uuid::now_v7().to_string();
    let values = json!({ "id": id, "client": "C", "show_name": "S", "room": "1" });
    api(&cloud.server, "POST", "/api/productions", &values);
    (cloud, id)
}

/// A request to a server with its local token.
fn api(server: &Server, method: &str, path: &str, body: &Value) -> Value {
    let text = std::fs::read_to_string(server.data.join("server.json")).unwrap();
    let token = serde_json::from_str::<Value>(&text).unwrap()["token"].as_str().unwrap().to_owned();
    let url = format!("{}{path}", server.url());
    let (method, body) = (method.parse().unwrap(), body.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    runtime.block_on(async move {
        let response = reqwest::Client::new().request(method, url).bearer_auth(token).json(&body).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.text().await.unwrap());
        response.json().await.unwrap()
    })
}

#[test]
fn a_site_joins_once_serves_ever_after_and_tells_how_its_sync_stands() {
    let (mut cloud, id) = cloud_with_a_production();
    let mut site = cloud.join("studio-2", &[]);
    assert_eq!(site.said["site"], "studio-2");
    assert_eq!(site.json(&["sync", "run"])["pending"], 0);
    assert_eq!(cloud.server.json(&["sites", "list"])[0]["enrolled"], true);

    // Its token is used up, its key lives: the second start needs neither token nor cloud.
    assert_eq!(site.stop(), 0);
    let mut site = Server::start(&["site"], &site.data);
    assert_eq!(api(&site, "GET", &format!("/api/productions/{id}"), &Value::Null)["room"], "1");

    // Paused, an edit waits; asked, it goes.
    assert_eq!(site.json(&["sync", "pause"])["paused"], true);
    api(&site, "PATCH", &format!("/api/productions/{id}"), &json!({ "room": "2" }));
    assert_eq!(site.json(&["sync", "status"])["pending"], 1);
    assert_eq!(site.json(&["sync", "run", "--direction", "download"])["pending"], 1);
    assert_eq!(site.json(&["sync", "run", "--direction", "upload"])["pending"], 0);
    assert_eq!(api(&cloud.server, "GET", &format!("/api/productions/{id}"), &Value::Null)["room"], "2");
    let log = site.json(&["sync", "log", "--limit", "1"]);
    assert_eq!(
        (&log[0]["syncDirection"], &log[0]["status"], &log[0]["serverId"]),
        (&json!("UPLOAD"), &json!("COMPLETED"), &json!("studio-2"))
    );

    // Without the cloud: the site serves, the sync says that it cannot reach it.
    assert_eq!(cloud.server.stop(), 0);
    let (code, stdout, stderr) = site.run(&["sync", "run"]);
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (4, "", 1), "{stderr}");
    assert!(stderr.contains("edits are safe at this site, which tries again by itself"), "{stderr}");
    assert_eq!(site.run(&["status"]).0, 0);
    assert_eq!(site.json(&["status"])["online"], false);
    assert_eq!(site.run(&["users", "add", "ada"]).0, 1, "users are managed at the cloud");
    assert_eq!(site.stop(), 0);
}

#[test]
fn a_site_that_cannot_join_says_why() {
    let cloud = Cloud::start();
    let data = cloud.folder.path().join("nobody");
    let start = |more: &[&str]| run(rejoin().args(["site", "--listen", "127.0.0.1:0", "--data"]).arg(&data).args(more));
    let url = cloud.server.url();
    for (more, code) in [
        (vec![], 2),
        (vec!["--cloud", url], 2),
        (vec!["--cloud", "http://127.0.0.1:1", "--token", "rje_x"], 4),
        (vec!["--cloud", url, "--token", "rje_x"], 1),
        (vec!["--cloud", "http://cloud.example:3001", "--token", "rje_x"], 3),
        (vec!["--cloud", url, "--token", "rje_x", "--tls-cert", "c.pem"], 3),
    ] {
        let (exit, stdout, stderr) = start(&more);
        let said = stderr.lines().filter(|line| line.starts_with("rejoin: ")).count();
        assert_eq!((exit, stdout.as_str(), said), (code, "", 1), "{more:?}: {stderr}");
    }
}

#[test]
fn conflicts_are_shown_and_decided_and_an_outdated_decision_is_5() {
    let (cloud, id) = cloud_with_a_production();
    let site = cloud.join("studio-2", &[]);
    site.json(&["sync", "run"]);
    site.json(&["sync", "pause"]);
    let path = format!("/api/productions/{id}");
    api(&site, "PATCH", &path, &json!({ "room": "site's" }));
    api(&cloud.server, "PATCH", &path, &json!({ "room": "cloud's" }));
    site.json(&["sync", "run"]);

    let list = cloud.server.json(&["conflicts", "list"]);
    let conflict = list[0]["id"].as_str().unwrap();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["kind"], &list[0]["site"]), (1, &json!("update_update"), &json!("studio-2")));
    let (_, shown, _) = cloud.server.run(&["conflicts", "show", conflict]);
    let row = shown.lines().find(|line| line.contains("┆ room")).unwrap();
    assert!(row.contains("site's") && row.contains("cloud's"), "{shown}");

    for (wrong, said) in
        [(["--table", "productionz"], "there is no table productionz; there are: "), (["--site", "studio-9"], "no site studio-9 is known")]
    {
        let (code, stdout, stderr) = cloud.server.run(&[&["conflicts", "list"], &wrong[..]].concat());
        assert_eq!((code, stdout.as_str(), stderr.matches(said).count()), (2, "", 1), "{stderr}");
    }
    assert_eq!(cloud.server.run(&["conflicts", "list", "--table", "sources", "--site", "studio-2"]).0, 0, "there is none of it");
    assert_eq!(cloud.server.run(&["conflicts", "resolve", "--all", "--table", "productionz", "--cloud"]).0, 2);
    assert_eq!((site.run(&["edits", "--table", "productionz"]).0, site.run(&["conflicts", "list", "--site", "studio-9"]).0), (2, 2));
    assert_eq!(cloud.server.run(&["sync", "log", "--site", "studio-9"]).0, 2);

    assert_eq!(site.run(&["conflicts", "resolve", conflict, "--cloud"]).0, 0);
    let (_, list, _) = site.run(&["conflicts", "list"]);
    assert!(list.contains("decided, not sent"), "{list}");

    let resolve = |more: &[&str]| cloud.server.run(&[&["conflicts", "resolve", conflict], more].concat());
    assert_eq!(resolve(&["--manual", "colour=red"]).0, 2, "a field that there is not");
    let (code, _, stderr) = resolve(&["--local", "--revision", "7"]);
    assert!(code == 5 && stderr.lines().count() == 1, "{code} {stderr}");
    assert_eq!(resolve(&["--manual", "room=both"]).0, 0);
    assert_eq!(resolve(&["--local"]).0, 5, "the first decision won");
    site.json(&["sync", "run"]);
    assert_eq!(api(&site, "GET", &path, &Value::Null)["room"], "both");
    assert_eq!(site.json(&["conflicts", "list", "--resolution", "manual"])[0]["resolvedBy"], "local-admin");
}

#[test]
fn a_site_with_a_certificate_authority_of_its_own_is_reached_by_the_commands() {
    let cloud = Cloud::start();
    let site = cloud.join("truck", &["--lan-ca"]);
    assert!(site.url().starts_with("https://"));
    assert_eq!(site.json(&["status"])["server"], "truck", "server.json names the authority");
    let token = std::fs::read_to_string(site.data.join("server.json")).unwrap();
    let token = serde_json::from_str::<Value>(&token).unwrap()["token"].as_str().unwrap().to_owned();
    let from_elsewhere = |more: &[&str]| run(rejoin().args(["status", "--url", site.url(), "--token", &token]).args(more)).0;
    assert_eq!(from_elsewhere(&[]), 4, "a certificate of an unknown authority is not trusted");
    assert_eq!(from_elsewhere(&["--ca", site.said["ca"]["file"].as_str().unwrap()]), 0);
}

#[test]
fn ctrl_c_ends_a_command_with_130() {
    // A server that accepts and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let child = rejoin().args(["status", "--url", &url, "--token", "t"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let _accepted = silent.accept().unwrap();
    signal("INT", child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "rejoin: interrupted\n");
}
