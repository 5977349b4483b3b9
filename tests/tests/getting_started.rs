//! docs/GETTING-STARTED.md, command by command, as it stands there. Only the ports are other ones, since two programs cannot share one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One `$ ` line with its `> ` lines, and the lines of output that the page shows.
struct Step {
    command: String,
    shown: Vec<String>,
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let (true, Some(command)) = (inside, line.strip_prefix("$ ")) {
            steps.push(Step { command: command.to_owned(), shown: Vec::new() });
        } else if let (true, Some(step)) = (inside, steps.last_mut()) {
            match line.strip_prefix("> ") {
                Some(more) => step.command.push_str(&format!("\n{more}")),
                None => step.shown.push(line.to_owned()),
            }
        }
    }
    steps
}

/// Whether a text is as shown, where `...` stands for anything.
fn matches(shown: &str, text: &str) -> bool {
    let mut parts = shown.split("...");
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut open = false;
    for part in parts {
        open = part.is_empty();
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    open || rest.is_empty()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn what_is_shown_may_leave_things_out() {
    assert!(matches("{\"status\":\"ok\",...}", "{\"status\":\"ok\",\"timestamp\":1}"));
    assert!(matches("...", "") && matches("a...", "abc") && matches("...c", "abc"));
    assert!(!matches("a", "ab") && !matches("...b", "abc") && !matches("x...", "abc"));
}

#[tokio::test]
async fn every_command_of_the_page_does_what_it_says() {
    let database = cloud_server::test_support::database().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let home = tempfile::tempdir().unwrap();
    let (cloud, site) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let page = fs::read_to_string(root.join("docs/GETTING-STARTED.md")).unwrap();
    let page = page.replace("127.0.0.1:3001", &cloud).replace("127.0.0.1:3002", &site);
    let steps = steps(&page);
    assert!(steps.len() > 20, "the commands are found");

    let outputs = home.path().join("outputs");
    fs::create_dir(&outputs).unwrap();
    let mut script = "set -euo pipefail\n".to_owned();
    for (no, step) in steps.iter().enumerate() {
        script.push_str(&format!("echo '+ step {no}' >&2\nexec >'{}/{no}'\n{}\n", outputs.display(), step.command));
    }
    let errors = fs::File::create(home.path().join("errors")).unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(root).process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    // Cargo's own variables would make the inner cargo build everything again.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO")) {
        bash.env_remove(name);
    }
    let old_home = std::env::var("HOME").unwrap_or_default();
    for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        bash.env(name, std::env::var(name).unwrap_or_else(|_| format!("{old_home}/{folder}")));
    }
    bash.env("HOME", home.path()).env("DATABASE_URL", database.url());
    bash.env("REJOIN_CLOUD_LISTEN", &cloud).env("REJOIN_SITE_LISTEN", &site);

    let mut bash = bash.spawn().unwrap();
    let started = Instant::now();
    let status = loop {
        match bash.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if started.elapsed() > Duration::from_secs(900) => break None,
            None => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    // Whatever is left of its servers; nothing is after the last step.
    let left = Command::new("kill").args(["-KILL", "--", &format!("-{}", bash.id())]).stderr(Stdio::null()).status().unwrap();
    drop(bash.wait());

    let told = || {
        let files = ["errors", "rejoin-tour/cloud.log", "rejoin-tour/venue.log"];
        files.map(|file| format!("--- {file}\n{}", fs::read_to_string(home.path().join(file)).unwrap_or_default())).join("\n")
    };
    assert!(status.is_some_and(|status| status.success()), "a command failed: {status:?}\n{}", told());
    assert!(!left.success(), "the last step leaves nothing running");
    for (no, step) in steps.iter().enumerate() {
        let output = fs::read_to_string(outputs.join(no.to_string())).unwrap();
        let (shown, output) = (step.shown.join("\n"), output.trim_end());
        assert!(matches(shown.trim_end(), output), "$ {}\nshown:\n{shown}\ngot:\n{output}\n{}", step.command, told());
    }
}
