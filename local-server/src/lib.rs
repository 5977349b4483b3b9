//! A Rejoin site: an embedded SQLite that works at full function with the uplink cut, and the daemon that rejoins the cloud.
//!
//! Reading order: [`store`] (the database: schema, capture, records), [`cloud_link`] (the way to the cloud), [`identity`] (how the site
//! joins), [`run`] (one run of the sync), [`daemon`] (when it runs), [`backend`] (the API's ports).

pub mod backend;
pub mod cloud_link;
pub mod daemon;
pub mod fault;
pub mod identity;
pub mod run;
pub mod store;
