//! One postmaster process and the watchdog that outlives us.
//!
//! The watchdog is a shell that waits on a pipe which only this process holds open. When the pipe closes, be it because the
//! cluster was stopped, dropped, or because this process was killed, it stops PostgreSQL the orderly way. The system's own
//! "signal at the death of my parent" would do less: it fires at the death of the *thread* that forked, and exists on Linux only.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::folder::Folder;
use super::{Binaries, Durability, PostgresError};

/// How long an orderly stop may take before it is ended by force.
const STOP_WAIT: Duration = Duration::from_secs(60);

/// `$1` is the postmaster. Orders on the pipe: `gone` = it was waited for, leave its number alone; `remove PATH` = remove this
/// folder at the end; no more orders = stop it.
const WATCHDOG: &str = r#"
folder=
while read -r order path; do
    case "$order" in
        gone) [ -n "$folder" ] && rm -rf "$folder"; exit 0 ;;
        remove) folder=$path ;;
    esac
done
kill -INT "$1" 2>/dev/null
[ -n "$folder" ] || exit 0
tries=0
while kill -0 "$1" 2>/dev/null && [ "$tries" -lt 600 ]; do tries=$((tries + 1)); sleep 0.1; done
rm -rf "$folder"
"#;

/// A child process that runs PostgreSQL. Dropping it makes the watchdog stop it.
#[derive(Debug)]
pub(super) struct Postmaster {
    child: Child,
    watchdog: Child,
    program: PathBuf,
    password: String,
    exited: bool,
}

impl Postmaster {
    pub(super) fn spawn(folder: &Folder, binaries: &Binaries, port: u16, durability: Durability) -> Result<Self, PostgresError> {
        let program = binaries.program("postgres");
        let mut command = Command::new(&program);
        folder.account.run_as(&mut command).arg("-D").arg(folder.data()).arg("-p").arg(port.to_string());
        for setting in settings(durability) {
            command.args(["-c", setting]);
        }
        // Nothing of ours may be held open by PostgreSQL, or whoever reads our output would wait for its end.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(folder.new_log()?);
        let password = folder.password()?;
        let mut child = command.spawn().map_err(PostgresError::io("run", &program))?;
        match spawn_watchdog(child.id()) {
            Ok(watchdog) => Ok(Self { child, watchdog, program, password, exited: false }),
            Err(error) => {
                // Without a watchdog it could outlive us; how its end goes does not change the error.
                let _ = child.kill().and_then(|()| child.wait());
                Err(error)
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    pub(super) fn has_exited(&mut self) -> Result<bool, PostgresError> {
        if !self.exited && self.child.try_wait().map_err(PostgresError::io("wait for", &self.program))?.is_some() {
            self.exited = true;
            self.order("gone");
        }
        Ok(self.exited)
    }

    pub(super) async fn stop(mut self) -> Result<(), PostgresError> {
        if self.exited {
            return Ok(());
        }
        drop(self.watchdog.stdin.take());
        let started = Instant::now();
        while !self.has_exited()? {
            if started.elapsed() > STOP_WAIT {
                return self.kill();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.collect_watchdog()
    }

    pub(super) fn kill(&mut self) -> Result<(), PostgresError> {
        if self.exited {
            return Ok(());
        }
        self.child.kill().map_err(PostgresError::io("kill", &self.program))?;
        self.child.wait().map_err(PostgresError::io("wait for", &self.program))?;
        self.exited = true;
        self.order("gone");
        self.collect_watchdog()
    }

    /// Its work is over once the postmaster was waited for: this takes no time.
    fn collect_watchdog(&mut self) -> Result<(), PostgresError> {
        drop(self.watchdog.stdin.take());
        self.watchdog.wait().map(|_| ()).map_err(PostgresError::io("wait for", Path::new("/bin/sh")))
    }

    #[cfg(any(test, feature = "test-support"))]
    pub(super) fn remove_afterwards(&mut self, folder: &Path) -> Result<(), PostgresError> {
        let path = folder.canonicalize().map_err(PostgresError::io("find", folder))?;
        self.order(&format!("remove {}", path.display()));
        Ok(())
    }

    /// A watchdog that somebody killed hears nothing, and then there is nothing to be told either.
    fn order(&mut self, order: &str) {
        if let Some(pipe) = &mut self.watchdog.stdin {
            let _ = writeln!(pipe, "{order}");
        }
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // Only what has ended already is collected: a drop must not wait for a shutdown.
        let _ = self.child.try_wait();
        let _ = self.watchdog.try_wait();
    }
}

fn settings(durability: Durability) -> impl Iterator<Item = &'static str> {
    let common = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "timezone=UTC", "log_timezone=UTC", "logging_collector=off"];
    let own: &[&'static str] = match durability {
        Durability::Durable => &["fsync=on", "synchronous_commit=on", "full_page_writes=on"],
        Durability::Throwaway => {
            &["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300", "autovacuum_naptime=10min"]
        }
    };
    common.into_iter().chain(own.iter().copied())
}

fn spawn_watchdog(pid: u32) -> Result<Child, PostgresError> {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", WATCHDOG, "rejoin-watchdog"]).arg(pid.to_string()).current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(PostgresError::io("run", Path::new("/bin/sh")))
}

/// The command line of a living process.
pub(super) fn command_line(pid: u32) -> Option<String> {
    let line = if Path::new("/proc/self/cmdline").exists() {
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).ok()?).into_owned()
    } else {
        let output = Command::new("ps").args(["-o", "command=", "-p"]).arg(pid.to_string()).output().ok()?;
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // A dead process that nobody collected has an empty one.
    Some(line).filter(|line| !line.trim().is_empty())
}

/// Sends a signal by name to a process that is not our child.
pub(super) fn signal(pid: u32, name: &str) -> Result<(), PostgresError> {
    let shell = Path::new("/bin/sh");
    let script = r#"kill -s "$1" "$2""#;
    let status = Command::new(shell).args(["-c", script, "sh", name]).arg(pid.to_string()).stderr(Stdio::null()).status();
    // A process that is gone meanwhile is what we wanted.
    status.map(|_| ()).map_err(PostgresError::io("run", shell))
}
