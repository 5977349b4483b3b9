//! Files that only their owner can read: keys, tokens, and `server.json`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

/// The file in a server's data folder by which programs on the same machine find it and need no sign-in.
pub const SERVER_FILE: &str = "server.json";

/// Writes a file of mode 0600, whole or not at all: a temporary file, fsync, rename, fsync of the folder.
///
/// # Errors
/// The folder cannot be written.
pub fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(".new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut open = options.open(&temporary)?;
    open.write_all(bytes)?;
    open.sync_all()?;
    fs::rename(&temporary, file)?;
    File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Says in `server.json` where the server is and how its machine's programs may come in. `ca`: the certificate authority of its own.
///
/// # Errors
/// The folder cannot be written.
pub fn announce(folder: &Path, url: &str, token: &str, ca: Option<&Path>) -> io::Result<PathBuf> {
    let file = folder.join(SERVER_FILE);
    let mut told = json!({ "url": url, "token": token, "pid": std::process::id() });
    if let Some(ca) = ca {
        told["ca"] = json!(ca);
    }
    write(&file, told.to_string().as_bytes())?;
    Ok(file)
}
