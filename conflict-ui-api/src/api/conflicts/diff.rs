//! The differences between two texts, word by word.

use std::time::Duration;

use serde::Serialize;
use similar::{ChangeTag, TextDiff};
use sync_core::limits::DIFF_BYTES_MAX;

/// How long one text is looked at; what is found by then is true, though perhaps not the shortest.
const PATIENCE: Duration = Duration::from_millis(50);

/// Who has a part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Both.
    Same,
    /// Only the cloud.
    Cloud,
    /// Only the site.
    Local,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// Who has it.
    pub op: Op,
    /// The part.
    pub text: String,
}

/// The parts of both texts in order: those of `same` and `cloud` make the cloud's text, those of `same` and `local` the site's. `None` where
/// the texts are equal or too long.
pub(super) fn between(cloud: &str, local: &str) -> Option<Vec<Segment>> {
    if cloud == local || cloud.len().max(local.len()) > DIFF_BYTES_MAX {
        return None;
    }
    let diff = TextDiff::configure().timeout(PATIENCE).diff_unicode_words(cloud, local);
    let mut segments: Vec<Segment> = Vec::new();
    for change in diff.iter_all_changes() {
        let op = match change.tag() {
            ChangeTag::Equal => Op::Same,
            ChangeTag::Delete => Op::Cloud,
            ChangeTag::Insert => Op::Local,
        };
        match segments.last_mut().filter(|last| last.op == op) {
            Some(last) => last.text.push_str(change.value()),
            None => segments.push(Segment { op, text: change.value().to_owned() }),
        }
    }
    Some(segments)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn side(segments: &[Segment], op: Op) -> String {
        segments.iter().filter(|part| part.op == Op::Same || part.op == op).map(|part| part.text.as_str()).collect()
    }

    #[test]
    fn words_are_marked_and_long_texts_are_not_looked_at() {
        let part = |op, text: &str| Segment { op, text: text.to_owned() };
        let parts = between("Käse am Morgen", "Käse am Abend").unwrap();
        assert_eq!(parts, [part(Op::Same, "Käse am "), part(Op::Cloud, "Morgen"), part(Op::Local, "Abend")]);
        assert_eq!(between("a", "a"), None);
        assert_eq!(between(&"x".repeat(DIFF_BYTES_MAX + 1), "a"), None);
    }

    proptest! {
        #[test]
        fn the_parts_make_both_texts(cloud in "[ab é\n👩‍🚀]{0,40}", local in "[ab é\n👩‍🚀]{0,40}") {
            if let Some(parts) = between(&cloud, &local) {
                prop_assert_eq!((side(&parts, Op::Cloud), side(&parts, Op::Local)), (cloud, local));
            }
        }
    }
}
