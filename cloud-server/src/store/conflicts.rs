//! Parked changes: parking them, showing them, resolving them.
//!
//! Deciding reads in this order: `resolve` (one decision, checked), `stored` (the conflict), `family` (what hangs from it), `plan` with
//! `same_row` and `besides` (what it writes), `settle` with `put` (writing it) and `hang` (what stays open), `journal` (keeping what was written), `undo`.

mod besides;
mod detail;
mod family;
mod filter;
mod group;
mod hang;
mod inbox;
pub(crate) mod journal;
mod list;
pub(crate) mod losses;
mod many;
pub(crate) mod park;
mod plan;
mod put;
pub(crate) mod resolve;
mod same_row;
mod settle;
mod show;
mod stored;
mod trial;
mod undo;

/// Why a number of GENERATED ALWAYS AS IDENTITY stays as it is, after its column's name.
pub(crate) const FIXED: &str = "is made by PostgreSQL alone (GENERATED ALWAYS AS IDENTITY) and cannot be changed";

pub use besides::{BesidesOf, besides};
pub use detail::detail;
pub use family::dependents;
pub use inbox::groups;
pub use list::{counts, list};
pub use many::{Renew, resolve_many};
pub use resolve::resolve;
pub use show::get;
pub use trial::try_policies;
pub use undo::undoable;
