//! Parked changes: parking them, showing them, resolving them.

mod detail;
mod filter;
mod group;
mod inbox;
mod list;
pub(crate) mod park;
pub(crate) mod resolve;
mod settle;
mod show;

pub use detail::detail;
pub use inbox::groups;
pub use list::{counts, list};
pub use resolve::resolve;
pub use show::get;
