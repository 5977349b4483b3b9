//! The systems that come with Rejoin: migrations and a `rejoin.toml` each, under migrations/systems.

use crate::settings::{Settings, SettingsError};

/// A system that comes with Rejoin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// Its migrations: file name without `.sql`, and text.
    pub(crate) migrations: &'static [(&'static str, &'static str)],
    settings: &'static str,
}

/// Live video production (seed 001): productions with sources, sends and connections, and a shared catalog of equipment.
pub const VIDEO_PRODUCTION: BuiltIn = BuiltIn {
    name: "video-production",
    migrations: &[("V1__video_production", include_str!("../../migrations/systems/video-production/V1__video_production.sql"))],
    settings: include_str!("../../migrations/systems/video-production/rejoin.toml"),
};

/// Data centres (seed 000): sites with buildings, floors, rooms, racks and devices, a shared catalog of device types, and what was done to
/// equipment.
pub const DIGITAL_TWIN: BuiltIn = BuiltIn {
    name: "digital-twin",
    migrations: &[("V1__digital_twin", include_str!("../../migrations/systems/digital-twin/V1__digital_twin.sql"))],
    settings: include_str!("../../migrations/systems/digital-twin/rejoin.toml"),
};

/// Energy management (seed 002): portfolios of sites with meters, assets and energy sources, what they measure, and what could be better.
pub const ENERGY: BuiltIn = BuiltIn {
    name: "energy",
    migrations: &[
        ("V1__energy", include_str!("../../migrations/systems/energy/V1__energy.sql")),
        ("V2__asset_types", include_str!("../../migrations/systems/energy/V2__asset_types.sql")),
    ],
    settings: include_str!("../../migrations/systems/energy/rejoin.toml"),
};

/// Maintenance (seed 003): organizations with their assets, stock and work orders.
pub const CMMS: BuiltIn = BuiltIn {
    name: "cmms",
    migrations: &[
        ("V1__tenants", include_str!("../../migrations/systems/cmms/V1__tenants.sql")),
        ("V2__assets", include_str!("../../migrations/systems/cmms/V2__assets.sql")),
        ("V3__work", include_str!("../../migrations/systems/cmms/V3__work.sql")),
        ("V4__extensions", include_str!("../../migrations/systems/cmms/V4__extensions.sql")),
        ("V5__authors", include_str!("../../migrations/systems/cmms/V5__authors.sql")),
    ],
    settings: include_str!("../../migrations/systems/cmms/rejoin.toml"),
};

/// A visualizer's studio (seed 004): clients' products, and sessions in which images of them are made; as it was, and its migration #010.
pub const VISUALIZER: BuiltIn = BuiltIn {
    name: "visualizer",
    migrations: &[
        ("V1__visualizer", include_str!("../../migrations/systems/visualizer/V1__visualizer.sql")),
        ("V2__collections", include_str!("../../migrations/systems/visualizer/V2__collections.sql")),
    ],
    settings: include_str!("../../migrations/systems/visualizer/rejoin.toml"),
};

impl BuiltIn {
    /// Every one there is.
    pub const ALL: [Self; 5] = [DIGITAL_TWIN, VIDEO_PRODUCTION, ENERGY, CMMS, VISUALIZER];

    /// The system of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|system| system.name == name)
    }

    /// Its `rejoin.toml`.
    ///
    /// # Errors
    /// None, as a test sees to it.
    pub fn settings(&self) -> Result<Settings, SettingsError> {
        Settings::parse(self.settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_has_settings_that_can_be_read_and_name_it() {
        for system in BuiltIn::ALL {
            assert_eq!(system.settings().unwrap().system.as_deref(), Some(system.name));
            assert_eq!(BuiltIn::named(system.name), Some(system));
        }
    }

    #[test]
    fn every_migration_file_is_built_in() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/systems");
        for system in BuiltIn::ALL {
            let mut files: Vec<_> = std::fs::read_dir(folder.join(system.name)).unwrap().map(|file| file.unwrap().file_name()).collect();
            files.retain(|name| name.to_string_lossy().ends_with(".sql"));
            files.sort();
            let built_in: Vec<std::ffi::OsString> = system.migrations.iter().map(|(name, _)| format!("{name}.sql").into()).collect();
            assert_eq!(files, built_in);
        }
    }
}
