//! Servers as processes.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// The program, with nothing of this machine's settings.
pub(crate) fn rejoin() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin"));
    command.env_clear();
    for kept in ["PATH", "HOME", "PG_BIN"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
}

/// Runs a command to its end: exit code, stdout, stderr.
pub(crate) fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A server process. Dropping it kills the process, and a private PostgreSQL goes with it.
pub(crate) struct Server {
    child: Child,
    arguments: Vec<String>,
    /// Its data folder.
    pub(crate) data: PathBuf,
    /// What it said when it served.
    pub(crate) said: Value,
}

impl Server {
    /// Starts `rejoin ARGUMENTS --data DATA` on a free port, and waits until it serves.
    pub(crate) fn start(arguments: &[&str], data: &Path) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let (child, said) = serve(&arguments, data);
        Self { child, arguments, data: data.to_owned(), said }
    }

    /// Starts it again after a stop, with other arguments or the same.
    pub(crate) fn start_again(&mut self) {
        (self.child, self.said) = serve(&self.arguments, &self.data);
    }

    /// Where it serves.
    pub(crate) fn url(&self) -> &str {
        self.said["url"].as_str().unwrap()
    }

    /// Runs a client command against it: exit code, stdout, stderr.
    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        run(rejoin().args(arguments).arg("--data").arg(&self.data))
    }

    /// A client command that must succeed, with its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let (code, stdout, stderr) = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        serde_json::from_str(&stdout).unwrap()
    }

    /// Asks it to stop by SIGTERM; its exit code.
    pub(crate) fn stop(&mut self) -> i32 {
        signal("TERM", self.child.id());
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process of ours.
pub(crate) fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

fn serve(arguments: &[String], data: &Path) -> (Child, Value) {
    let mut command = rejoin();
    command.args(arguments).args(["--listen", "127.0.0.1:0", "--json", "--data"]).arg(data);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{arguments:?} did not start: {line:?}"));
    (child, said)
}

/// A `rejoin cloud` in a folder of its own.
pub(crate) struct Cloud {
    /// The server; goes before the folder.
    pub(crate) server: Server,
    /// The folder, for sites too.
    pub(crate) folder: tempfile::TempDir,
}

impl Cloud {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { server: Server::start(&["cloud"], &folder.path().join("cloud")), folder }
    }

    /// A site that joins it.
    pub(crate) fn join(&self, name: &str, more: &[&str]) -> Server {
        let invited = self.server.json(&["sites", "add", name, "--scope", "*"]);
        let token = invited["token"].as_str().unwrap();
        Server::start(&[&["site", "--cloud", self.server.url(), "--token", token], more].concat(), &self.folder.path().join(name))
    }
}
