//! The commands against a real cloud with a private PostgreSQL.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A `rejoin cloud` of its own. Dropping it kills the process; its PostgreSQL goes with it.
struct Cloud {
    child: Child,
    data: PathBuf,
    /// What it said when it served.
    said: Value,
    _folder: tempfile::TempDir,
}

fn rejoin() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", std::env::var_os("HOME").unwrap_or_default());
    command
}

impl Cloud {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("cloud");
        let (child, said) = serve(&data);
        Self { child, data, said, _folder: folder }
    }

    /// Runs a client command against it: exit code, stdout, stderr.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        run(rejoin().args(arguments).arg("--data").arg(&self.data))
    }

    /// A client command that must succeed, with its JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let (code, stdout, stderr) = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        serde_json::from_str(&stdout).unwrap()
    }

    /// Asks it to stop by SIGTERM, and waits.
    fn stop(&mut self) -> i32 {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(data: &Path) -> (Child, Value) {
    let mut command = rejoin();
    command.args(["cloud", "--listen", "127.0.0.1:0", "--json", "--data"]).arg(data);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the cloud did not start: {line:?}"));
    (child, said)
}

fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn an_admin_manages_a_cloud_by_the_commands_and_stops_it() {
    let mut cloud = Cloud::start();
    assert!(cloud.said["oneTimeSecret"].as_str().unwrap().starts_with("rjo_"), "the first start makes an admin: {}", cloud.said);

    // Sites.
    let invited = cloud.json(&["sites", "add", "studio-2", "--scope", "*"]);
    assert!(invited["token"].as_str().unwrap().starts_with("rje_"));
    let (code, stdout, stderr) = cloud.run(&["sites", "add", "studio-2", "--scope", "*"]);
    assert_eq!((code, stdout.as_str(), stderr.lines().count()), (5, "", 1), "a name that is taken is a conflict: {stderr}");
    assert_eq!(cloud.run(&["sites", "add", "Studio 3", "--scope", "*"]).0, 2, "a name that cannot be one is bad input");
    assert_eq!(cloud.run(&["sites", "revoke", "nobody"]).0, 1);
    assert_eq!(cloud.run(&["sites", "scopes", "studio-2", "drop", "*"]).0, 0);
    assert_eq!(cloud.json(&["sites", "list"])[0]["scopes"], serde_json::json!([]));
    let (code, stdout, _) = cloud.run(&["sites", "token", "studio-2"]);
    assert!(code == 0 && stdout.starts_with("rje_") && stdout.lines().count() == 1, "a script can take the token: {stdout}");

    // Users and tokens.
    let made = cloud.json(&["users", "add", "ada", "--role", "editor"]);
    assert!(made["oneTimeSecret"].as_str().unwrap().starts_with("rjo_"));
    let token = cloud.json(&["tokens", "create", "export", "--user", "ada"]);
    let (url, secret) = (cloud.said["url"].as_str().unwrap(), token["secret"].as_str().unwrap());
    let as_ada = |arguments: &[&str]| run(rejoin().args(arguments).args(["--url", url]).env("REJOIN_TOKEN", secret)).0;
    assert_eq!(as_ada(&["status"]), 0);
    assert_eq!(as_ada(&["users", "list"]), 1, "an editor may not");
    assert_eq!(cloud.run(&["users", "disable", "ada"]).0, 0);
    assert_eq!(as_ada(&["status"]), 1, "a disabled user's token opens nothing");
    assert_eq!(cloud.run(&["users", "enable", "ada"]).0, 0);
    assert_eq!(cloud.run(&["tokens", "revoke", token["id"].as_str().unwrap()]).0, 0);
    assert_eq!(as_ada(&["status"]), 1, "a revoked token opens nothing");

    // What a cloud does not do, and what there is not.
    assert_eq!(cloud.run(&["sync", "run"]).0, 1);
    assert_eq!(cloud.run(&["conflicts", "show", "0198f1c2-0000-7000-8000-000000000000"]).0, 1);
    assert_eq!(cloud.json(&["conflicts", "list"]), serde_json::json!([]));
    assert_eq!(cloud.json(&["sync", "log"]), serde_json::json!([]));

    assert_eq!(cloud.stop(), 0, "a stop by SIGTERM is a good end");
    assert_eq!(cloud.run(&["status"]).0, 4, "a stopped server cannot be reached");
    let steps: Value = serde_json::from_str(&run(rejoin().args(["migrate", "status", "--json", "--data"]).arg(&cloud.data)).1).unwrap();
    assert!(steps.as_array().unwrap().iter().all(|step| step["appliedOn"].is_string()), "{steps}");

    // Found again: no second first admin.
    let (child, said) = serve(&cloud.data);
    cloud.child = child;
    assert_eq!(said["oneTimeSecret"], Value::Null);
    assert_eq!(cloud.json(&["users", "list"]).as_array().unwrap().len(), 2);
}

#[test]
fn an_import_is_one_transaction_and_a_second_one_changes_nothing() {
    let cloud = Cloud::start();
    let set = concat!(env!("CARGO_MANIFEST_DIR"), "/src/demo/equipment.ndjson");
    let first = cloud.json(&["import", set]);
    let rows = first["rows"]["created"].as_u64().unwrap();
    assert_eq!(rows, 11 + first["portRows"].as_u64().unwrap() + first["slots"].as_u64().unwrap());
    let second = cloud.json(&["import", set]);
    assert_eq!(second["rows"], serde_json::json!({ "created": 0, "updated": 0, "unchanged": rows }));

    // One changed line is one changed row; a broken one behind it changes nothing.
    let text = std::fs::read_to_string(set).unwrap();
    let file = cloud.data.join("changed.ndjson");
    let changed = text.replacen("\"u_height\": 1.0", "\"u_height\": 3.0", 1);
    assert_ne!(changed, text);
    std::fs::write(&file, format!("{changed}{{\"kind\":\"device\"}}\n")).unwrap();
    let (code, stdout, stderr) = cloud.run(&["import", file.to_str().unwrap()]);
    assert!(code == 2 && stdout.is_empty() && stderr.contains("line 12: manufacturer: is missing"), "{code} {stderr}");
    assert_eq!(cloud.json(&["import", set])["rows"]["unchanged"], rows, "the broken file changed nothing");
    std::fs::write(&file, changed).unwrap();
    assert_eq!(
        cloud.json(&["import", file.to_str().unwrap()])["rows"],
        serde_json::json!({ "created": 0, "updated": 1, "unchanged": rows - 1 })
    );
}
