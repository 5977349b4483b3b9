//! A Rejoin site: an embedded SQLite that works at full function with the uplink cut, and the daemon that rejoins the cloud.
//!
//! Reading order: [`app`] (what is started, in which order) and [`config`]; [`store`] (the database: schema, capture, records);
//! [`cloud_link`] (the way to the cloud), [`identity`] (how the site joins), [`run`] (one run of the sync), [`daemon`] (when it runs);
//! [`backend`] (the API's ports), [`lan_ca`] (its own certificates).

pub mod app;
pub mod backend;
pub mod cloud_link;
pub mod config;
pub mod daemon;
pub mod fault;
pub mod identity;
pub mod lan_ca;
pub mod run;
pub mod store;

pub use app::{Site, SiteError};
pub use config::SiteConfig;
