//! The demo's voice. With `--json` the story goes to stderr, so that stdout holds the result alone.

use std::time::Instant;

use serde_json::Value;

use crate::exit::Result;
use crate::output;

/// Tells the story.
pub(crate) struct Tell {
    json: bool,
    since: Instant,
}

impl Tell {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, since: Instant::now() }
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
        if self.json { output::note(text) } else { output::line(text) }
    }
}
