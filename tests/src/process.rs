//! The program itself as child processes, for what only a dying process shows.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Api;

/// How long a server may take to come up.
const START_WAIT: Duration = Duration::from_secs(60);

/// A running `rejoin cloud` or `rejoin site`. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    data: PathBuf,
}

impl Server {
    /// Starts the program with these arguments and waits until it says where it serves. `faults`: the value of REJOIN_FAULT.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn start(program: &Path, data: &Path, arguments: &[&str], fault: Option<&str>) -> Self {
        let _ = std::fs::remove_file(data.join("server.json"));
        let mut command = Command::new(program);
        command.args(arguments).arg("--data").arg(data).stdin(Stdio::null()).stdout(Stdio::null());
        let log = std::fs::File::options().create(true).append(true).open(data.with_extension("log")).unwrap();
        command.stderr(log).env("RUST_LOG", "info").env("NO_COLOR", "1");
        match fault {
            Some(point) => command.env("REJOIN_FAULT", point),
            None => command.env_remove("REJOIN_FAULT"),
        };
        let mut server = Self { child: command.spawn().unwrap(), data: data.to_owned() };
        let deadline = Instant::now() + START_WAIT;
        while server.info().is_none() {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "the server did not come up ({ended:?}):\n{}", server.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    fn info(&self) -> Option<serde_json::Value> {
        let text = std::fs::read(self.data.join("server.json")).ok()?;
        let info: serde_json::Value = serde_json::from_slice(&text).ok()?;
        (info["pid"] == self.child.id()).then_some(info)
    }

    /// A client with the start's own token.
    ///
    /// # Panics
    /// When the server is gone.
    #[must_use]
    pub fn api(&self) -> Api {
        let info = self.info().unwrap();
        Api::new(info["url"].as_str().unwrap(), info["token"].as_str().unwrap())
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.with_extension("log")).unwrap_or_default()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it has ended by itself, waiting for it up to `wait`.
    pub async fn ended(&mut self, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        while Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    /// SIGTERM; the exit code.
    pub async fn terminate(mut self) -> Option<i32> {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(self.ended(Duration::from_secs(60)).await, "the server did not stop:\n{}", self.log());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
