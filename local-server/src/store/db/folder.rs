//! The data folder: made for its owner, kept private, served by one process.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::DbError;

/// Makes the data folder for its owner alone. One that exists keeps its mode: it may be shared on purpose.
pub(super) fn make_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

/// Lets only its owner read the database, which holds password hashes and everybody's rows. SQLite gives the files that it makes beside it
/// the database's mode; those that a crash left keep their own.
pub(super) fn keep_private(path: &Path) -> std::io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    drop(options.open(path)?);
    #[cfg(unix)]
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Locks the data folder for this process.
pub(super) fn lock(path: &Path) -> Result<File, DbError> {
    let open = || File::options().create(true).truncate(false).write(true).open(path);
    let file = open().map_err(|error| DbError::Io { path: path.to_owned(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DbError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(DbError::Io { path: path.to_owned(), error }),
    }
}
