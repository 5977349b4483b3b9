//! Rejoin's pure core: what sites and cloud agree on. No IO, no clock, no randomness, no SQL: time and seeds are arguments.
//!
//! Reading order:
//! - [`id`], [`value`], [`json`]: a newtype per identity, the one value model, canonical equality;
//! - [`catalog`]: tables, columns, references, and how a row finds its scope; [`mod@reference`]: what a row refers to;
//! - [`change`]: rows, images, what a push carries and what the cloud answers;
//! - [`policy`]: what becomes of a column that both sides changed;
//! - [`reconcile`]: `(current, incoming) -> decision`, the cloud's half of the merge;
//! - [`site`]: `step(row, event) -> row`, the site's half;
//! - [`conflict`]: kinds, resolutions, and what a resolution writes; [`dependents`]: what hangs from a conflict, as a tree; [`verdict`]: what
//!   both sides did to each column;
//! - [`figures`]: sums and averages that are the same on both databases;
//! - [`write`](mod@write): an API draft made into a row;
//! - [`wire`]: messages and the bounded codec; [`sync_log`], [`backoff`], [`limits`].

pub mod backoff;
pub mod catalog;
pub mod change;
pub mod conflict;
pub mod dependents;
pub mod figures;
pub mod id;
pub mod json;
pub mod limits;
pub mod motion;
pub mod policy;
pub mod reconcile;
pub mod reference;
pub mod site;
pub mod sync_log;
pub mod value;
pub mod verdict;
pub mod wire;
pub mod write;
