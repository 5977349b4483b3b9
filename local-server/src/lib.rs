//! A Rejoin site: an embedded SQLite that works at full function with the uplink cut, and the daemon that rejoins the cloud.
//!
//! Reading order: [`store`] (the database: schema, capture, records), [`cloud_link`] (the way to the cloud).

pub mod cloud_link;
pub mod fault;
pub mod store;
