//! The sites' protocol: versioned messages and the one bounded codec. `docs/PROTOCOL.md` tells the conversation.

pub mod codec;
pub mod message;
