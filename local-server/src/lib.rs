//! A Rejoin site: an embedded SQLite that works at full function with the uplink cut, and the daemon that rejoins the cloud.

pub mod cloud_link;
pub mod fault;
