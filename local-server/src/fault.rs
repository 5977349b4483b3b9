//! Points at which a test kills the process, to try what a crash there leaves behind. Compiled only with the feature `fault-points`.

/// Aborts the process, as `kill -9` would, when the environment variable `REJOIN_FAULT` names this point.
///
/// `REJOIN_FAULT=push-sent:3` lets it pass twice and dies the third time.
#[cfg(feature = "fault-points")]
pub fn point(name: &str) {
    use std::sync::Mutex;
    use std::sync::PoisonError;
    static PASSED: Mutex<u32> = Mutex::new(0);
    let Ok(wanted) = std::env::var("REJOIN_FAULT") else { return };
    let (point, count) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    if point != name {
        return;
    }
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    *passed += 1;
    if *passed >= count.parse().unwrap_or(1) {
        std::process::abort();
    }
}

/// Does nothing.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub fn point(_name: &str) {}
