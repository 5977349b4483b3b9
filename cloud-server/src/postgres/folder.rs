//! The folder of a private cluster: made once, owned by one living process, found again after any end.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::account::Account;
use super::{Binaries, Durability, PostgresError, SUPERUSER_ROLE, postmaster};

/// How long a postmaster left behind may take to stop: it writes everything first.
const LEFT_BEHIND_WAIT: Duration = Duration::from_secs(60);
const LOG_TAIL_LINES: usize = 12;
/// A child of this process shares its open files, and so a lock that was let go, until it becomes the program that it is to run.
const LOCK_WAIT: Duration = Duration::from_millis(500);

/// An opened folder. Nobody else can open it until this value is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) dir: PathBuf,
    pub(super) account: Account,
    /// Locked by the system, which lets go when we die.
    _lock: File,
}

impl Folder {
    pub(super) fn open(dir: &Path, account: Account) -> Result<Self, PostgresError> {
        account.make(dir)?;
        let dir = dir.canonicalize().map_err(PostgresError::io("find", dir))?;
        account.check_reaches(&dir)?;
        let path = dir.join("lock");
        // Closed to others: whoever can open it could hold it against us.
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(PostgresError::io("create", &path))?;
        let asked = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { dir, account, _lock: lock }),
                Err(TryLockError::WouldBlock) if asked.elapsed() < LOCK_WAIT => std::thread::sleep(Duration::from_millis(10)),
                Err(TryLockError::WouldBlock) => return Err(PostgresError::InUse { dir }),
                Err(TryLockError::Error(source)) => return Err(PostgresError::Io { action: "lock", path, source }),
            }
        }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The major version that made the data, where there is any.
    pub(super) fn major(&self) -> Result<Option<u32>, PostgresError> {
        Ok(read_if_there(&self.data().join("PG_VERSION"))?.and_then(|text| text.trim().parse().ok()))
    }

    pub(super) fn last_port(&self) -> Option<u16> {
        fs::read_to_string(self.dir.join("port")).ok()?.trim().parse().ok()
    }

    pub(super) fn remember_port(&self, port: u16) -> Result<(), PostgresError> {
        let path = self.dir.join("port");
        fs::write(&path, port.to_string()).map_err(PostgresError::io("write", &path))
    }

    pub(super) fn password(&self) -> Result<String, PostgresError> {
        let path = self.dir.join("password");
        fs::read_to_string(&path).map(|text| text.trim().to_owned()).map_err(PostgresError::io("read", &path))
    }

    /// A fresh log file; the one before is kept beside it.
    pub(super) fn new_log(&self) -> Result<File, PostgresError> {
        let path = self.log_path();
        if path.exists() {
            let before = self.dir.join("postgres.log.1");
            fs::rename(&path, &before).map_err(PostgresError::io("rename", &path))?;
        }
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(PostgresError::io("create", &path))
    }

    pub(super) fn log_tail(&self) -> String {
        last_lines(&fs::read_to_string(self.log_path()).unwrap_or_default(), LOG_TAIL_LINES)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    /// Makes the cluster unless it is there. An attempt that was cut off leaves only `data.new`, which is thrown away.
    pub(super) async fn initialize(&self, binaries: &Binaries, durability: Durability) -> Result<(), PostgresError> {
        let data = self.data();
        if data.join("PG_VERSION").exists() {
            return Ok(());
        }
        let unfinished = self.dir.join("data.new");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(PostgresError::io("remove", &unfinished))?;
        }
        fs::create_dir(&unfinished).map_err(PostgresError::io("create", &unfinished))?;
        fs::set_permissions(&unfinished, PermissionsExt::from_mode(0o700)).map_err(PostgresError::io("close", &unfinished))?;
        self.account.give(&unfinished)?;
        let password = self.new_password()?;
        self.run_initdb(binaries, durability, &unfinished, &password).await?;
        fs::rename(&unfinished, &data).map_err(PostgresError::io("rename", &unfinished))
    }

    async fn run_initdb(&self, binaries: &Binaries, durability: Durability, data: &Path, password: &Path) -> Result<(), PostgresError> {
        let mut command = Command::new(binaries.program("initdb"));
        self.account.run_as(&mut command).arg("-D").arg(data).arg("--pwfile").arg(password);
        command.args(["-U", SUPERUSER_ROLE, "-A", "scram-sha-256", "-E", "UTF8", "--data-checksums", "--no-instructions"]);
        // Text sorts by its bytes, as SQLite sorts it: both servers list rows in the same order.
        command.arg("--locale=C");
        if durability == Durability::Throwaway {
            command.arg("--no-sync");
        }
        command.stdin(Stdio::null());
        let output =
            tokio::process::Command::from(command).output().await.map_err(PostgresError::io("run", &binaries.program("initdb")))?;
        if output.status.success() {
            return Ok(());
        }
        let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Err(PostgresError::Initdb { bin: binaries.dir.clone(), last_line: last_lines(&said, 1) })
    }

    /// Writes a new random password to a file that only its account can read.
    fn new_password(&self) -> Result<PathBuf, PostgresError> {
        let path = self.dir.join("password");
        let new = self.dir.join("password.new");
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(PostgresError::io("create", &new))?;
        let password = hex::encode(rand::random::<[u8; 32]>());
        std::io::Write::write_all(&mut file, password.as_bytes()).map_err(PostgresError::io("write", &new))?;
        self.account.give(&new)?;
        fs::rename(&new, &path).map_err(PostgresError::io("rename", &new))?;
        Ok(path)
    }

    /// Deals with what a former process left: nothing, a living postmaster (stopped, since we hold the lock and its owner is
    /// gone), or a `postmaster.pid` whose process is dead (PostgreSQL sees that) or is by now somebody else's (we remove it).
    pub(super) async fn settle_last_postmaster(&self) -> Result<(), PostgresError> {
        let path = self.data().join("postmaster.pid");
        let Some(pid) = read_if_there(&path)?.and_then(|text| text.lines().next()?.trim().parse::<u32>().ok()) else { return Ok(()) };
        let Some(command) = postmaster::command_line(pid) else { return Ok(()) };
        if !command.contains(&*self.data().to_string_lossy()) {
            return fs::remove_file(&path).map_err(PostgresError::io("remove", &path));
        }
        tracing::warn!(pid, "stopping the PostgreSQL that a former process left behind");
        postmaster::signal(pid, "INT")?;
        let started = Instant::now();
        while postmaster::command_line(pid).is_some() {
            if started.elapsed() > LEFT_BEHIND_WAIT {
                return Err(PostgresError::DoesNotStop { dir: self.dir.clone(), pid });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

fn read_if_there(path: &Path) -> Result<Option<String>, PostgresError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PostgresError::Io { action: "read", path: path.to_path_buf(), source }),
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
