//! Safeguards of the store that a test build can take away, to show that the tests would notice.
//!
//! A build without the feature `sabotage`, and that is every build for use, has nothing to take away.

/// Whether `MESON_SABOTAGE` names a safeguard that is to be left out.
pub fn without(safeguard: &str) -> bool {
    #[cfg(any(test, feature = "sabotage"))]
    {
        std::env::var("MESON_SABOTAGE").is_ok_and(|names| names.split(',').any(|name| name == safeguard))
    }
    #[cfg(not(any(test, feature = "sabotage")))]
    {
        let _ = safeguard;
        false
    }
}
