//! How the program ends: one meaning for each exit code, one line for each failure.

use std::fmt;
use std::process::ExitCode;

use cloud_server::store::error::StoreError;
use cloud_server::store::prepare::PrepareError;

/// The exit codes, as `rejoin --help` and docs/ERRORS.md list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something failed.
    Failed = 1,
    /// Wrong usage or bad input.
    Usage = 2,
    /// A setting is wrong.
    Config = 3,
    /// A server or a database cannot be reached.
    Unreachable = 4,
    /// A conflict, or a precondition that does not hold any more.
    Conflict = 5,
    /// A check found stored data wrong.
    Check = 6,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
}

/// The end of `--help`.
pub(crate) const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage or bad input, 3 wrong settings, 4 cannot reach the server, \
    5 conflict or outdated precondition, 6 a check found stored data wrong, 130 stopped by Ctrl-C";

impl From<&StoreError> for Exit {
    fn from(error: &StoreError) -> Self {
        if matches!(error, StoreError::Unavailable(_)) { Self::Unreachable } else { Self::Failed }
    }
}

impl From<&PrepareError> for Exit {
    fn from(error: &PrepareError) -> Self {
        match error {
            PrepareError::Settings(_) | PrepareError::Unreached(..) => Self::Usage,
            error => error.store().map_or(Self::Failed, Self::from),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, in one line, and the code to end with.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code.
    pub(crate) exit: Exit,
    /// What happened and what to do.
    pub(crate) message: String,
}

/// What a command returns.
pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl fmt::Display for Failure {
    /// One line, whatever a driver put into its text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, word) in self.message.split_whitespace().enumerate() {
            write!(f, "{}{word}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        assert_eq!(Failure::failed("a\n  b\tc").to_string(), "a b c");
    }
}
