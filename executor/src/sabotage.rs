//! Safeguards that a development build can be told to leave out, to show that the tests would notice.
//!
//! A release build has nothing to leave out.

use std::ffi::OsString;

const VARIABLE: &str = "MESON_SABOTAGE";

/// Whether `MESON_SABOTAGE` names a safeguard that is to be left out.
pub fn without(safeguard: &str) -> bool {
    cfg!(debug_assertions)
        && std::env::var(VARIABLE).is_ok_and(|names| names.split(',').any(|name| name == safeguard))
}

/// What a supervisor, whose environment is empty otherwise, has to be told of it.
pub fn inherited() -> Option<(&'static str, OsString)> {
    std::env::var_os(VARIABLE).filter(|_| cfg!(debug_assertions)).map(|names| (VARIABLE, names))
}
