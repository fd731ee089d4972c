//! Safeguards that a development build can be told to leave out, to show that the tests would notice.
//!
//! A release build has nothing to leave out.

/// Whether `MESON_SABOTAGE` names a safeguard that is to be left out.
pub fn without(safeguard: &str) -> bool {
    cfg!(debug_assertions)
        && std::env::var("MESON_SABOTAGE").is_ok_and(|names| names.split(',').any(|name| name == safeguard))
}
