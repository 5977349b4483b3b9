//! What the measurements share: sessions whose processor time can be read, rounds and their medians, tables of figures.

pub mod items;
pub mod log;
pub mod report;
pub mod session;
pub mod writer;

use std::time::Duration;

/// Ids of rows by number.
pub fn uuid(n: u32) -> String {
    format!("0198c0de-0000-7000-8000-{n:012x}")
}

pub fn ms(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

pub fn seconds(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}

/// A number from the environment.
pub fn setting(name: &str, otherwise: i64) -> i64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A line of this process's status, in KiB: `VmRSS:` now, `VmHWM:` at its peak.
pub fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The peak begins anew; what is in use now, in KiB.
pub fn forget_peak() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    memory("VmRSS:")
}
