//! The demo's voice. With `--json` the story goes to stderr, so that stdout holds the result alone; and where nobody sits there, to nobody.

use std::io::{self, IsTerminal};
use std::time::Instant;

use serde_json::Value;

use crate::exit::Result;
use crate::output;

/// Tells the story.
pub(crate) struct Tell {
    json: bool,
    place: Place,
    since: Instant,
}

/// Where the story goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Stdout,
    Stderr,
    Nowhere,
}

impl Place {
    /// `quiet`: nobody asked for the story, and the servers do not stay up for whoever reads it.
    fn choose(json: bool, quiet: bool, terminal: bool) -> Self {
        match (json, quiet && !terminal) {
            (false, _) => Self::Stdout,
            (true, false) => Self::Stderr,
            (true, true) => Self::Nowhere,
        }
    }
}

impl Tell {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { json, place: Place::choose(json, quiet, io::stderr().is_terminal()), since: Instant::now() }
    }

    /// A new act.
    pub(crate) fn act(&self, text: &str) -> Result {
        self.say(&format!("\n{text} ({:.1} s)", self.since.elapsed().as_secs_f64()))
    }

    /// Something that happened.
    pub(crate) fn line(&self, text: &str) -> Result {
        self.say(&format!("  - {text}"))
    }

    /// Something to look at.
    pub(crate) fn block(&self, text: &str) -> Result {
        text.lines().try_for_each(|line| self.say(&format!("    {line}")))
    }

    /// What came out of it: with `--json` the one line on stdout.
    pub(crate) fn result(&self, result: &Value) -> Result {
        if self.json {
            return output::json(result);
        }
        let members = result.as_object().into_iter().flatten();
        output::fields(members.map(|(name, value)| (name.as_str(), value.to_string())))
    }

    fn say(&self, text: &str) -> Result {
        match self.place {
            Place::Stdout => output::line(text),
            Place::Stderr => output::note(text),
            Place::Nowhere => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_is_told_where_somebody_listens() {
        assert_eq!(Place::choose(false, true, false), Place::Stdout);
        assert_eq!(Place::choose(true, true, true), Place::Stderr);
        assert_eq!(Place::choose(true, true, false), Place::Nowhere);
        assert_eq!(Place::choose(true, false, false), Place::Stderr);
    }
}
