//! Whom PostgreSQL runs as: it refuses root, so root lends it another user.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::PostgresError;

/// The user that PostgreSQL's processes run as and that its files belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Account {
    /// This process' own.
    Own,
    /// Another one, because we are root.
    Lent {
        /// Its name.
        name: &'static str,
        /// Its user id.
        uid: u32,
        /// Its group id.
        gid: u32,
    },
}

impl Account {
    /// `postgres` or, without it, `nobody` when we are root; else our own.
    pub(super) fn for_server() -> Result<Self, PostgresError> {
        if id(&["-u"]) != Some(0) {
            return Ok(Self::Own);
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| Some(Self::Lent { name, uid: id(&["-u", name])?, gid: id(&["-g", name])? }))
            .ok_or(PostgresError::NoAccount)
    }

    /// Lets `command` run as this account, in a process group of its own: Ctrl-C at the terminal is for us, who then stop
    /// PostgreSQL when nobody needs it any more.
    pub(super) fn run_as<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.current_dir("/").env("LC_ALL", "C").env_remove("PGDATA").process_group(0);
        if let Self::Lent { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// Gives a file or folder to this account.
    pub(super) fn give(&self, path: &Path) -> Result<(), PostgresError> {
        let Self::Lent { uid, gid, .. } = self else { return Ok(()) };
        chown(path, Some(*uid), Some(*gid)).map_err(PostgresError::io("change the owner of", path))
    }

    /// Makes `folder` and what is missing above it, open to this account whatever the umask says: others may pass through, and learn nothing
    /// but names that they know already.
    pub(super) fn make(&self, folder: &Path) -> Result<(), PostgresError> {
        let missing: Vec<&Path> = folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
        fs::create_dir_all(folder).map_err(PostgresError::io("create", folder))?;
        if matches!(self, Self::Lent { .. }) {
            for made in missing {
                let mode = made.metadata().map_err(PostgresError::io("look at", made))?.permissions().mode();
                fs::set_permissions(made, PermissionsExt::from_mode(mode | 0o011)).map_err(PostgresError::io("open", made))?;
            }
        }
        Ok(())
    }

    /// Checks that this account may enter `folder` and every folder above it.
    pub(super) fn check_reaches(&self, folder: &Path) -> Result<(), PostgresError> {
        let Self::Lent { name, uid, gid } = self else { return Ok(()) };
        let folder = folder.canonicalize().map_err(PostgresError::io("find", folder))?;
        // From the top: the outermost closed folder is the one to open.
        let mut ancestors: Vec<&Path> = folder.ancestors().collect();
        ancestors.reverse();
        for ancestor in ancestors {
            let metadata = ancestor.metadata().map_err(PostgresError::io("look at", ancestor))?;
            let mode = metadata.permissions().mode();
            let bit = if metadata.uid() == *uid {
                0o100
            } else if metadata.gid() == *gid {
                0o010
            } else {
                0o001
            };
            if mode & bit == 0 {
                return Err(PostgresError::NotSearchable { folder: ancestor.to_path_buf(), user: (*name).to_owned() });
            }
        }
        Ok(())
    }
}

/// The command `id`, which knows every source of users that the system has.
fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_on_the_way_is_named() {
        let top = tempfile::tempdir().unwrap();
        fs::set_permissions(top.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let closed = top.path().join("closed");
        fs::create_dir_all(closed.join("data")).unwrap();
        fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();

        let stranger = Account::Lent { name: "nobody", uid: 65_534, gid: 65_534 };
        let refused = stranger.check_reaches(&closed.join("data")).unwrap_err();
        assert!(matches!(&refused, PostgresError::NotSearchable { folder, .. } if folder.ends_with("closed")), "{refused}");
        fs::set_permissions(&closed, PermissionsExt::from_mode(0o711)).unwrap();
        stranger.check_reaches(&closed.join("data")).unwrap();
        Account::Own.check_reaches(Path::new("/nowhere")).unwrap();
    }
}
