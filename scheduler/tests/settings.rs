//! Settings through the real program: a file, overridden by the environment, overridden by flags.

use std::process::Command;

fn settings(arguments: &[&str], env: &[(&str, &str)]) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_meson-scheduler"))
        .arg("--print-config")
        .args(arguments)
        .envs(env.iter().copied())
        .output()
        .expect("the program was built for this test");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn later_sources_override_earlier_ones() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("settings.toml");
    std::fs::write(&file, "snapshot_every_entries = 1\nlease_ms = 30000\nnode_id = 7\n").expect("a file");
    let file = file.to_string_lossy();
    let env = [
        ("MESON_SNAPSHOT_EVERY_ENTRIES", "2"),
        ("MESON_NODE_ID", "8"),
        ("MESON_ENDPOINTS", "other programs' own"),
    ];
    let given = settings(&["--config", &file, "--node-id", "9"], &env).expect("valid settings");
    for line in ["snapshot_every_entries = 2", "lease_ms = 30000", "node_id = 9"] {
        assert!(given.contains(line), "{line} in\n{given}");
    }
}

#[test]
fn wrong_settings_are_named() {
    let wrong = settings(&[], &[("MESON_LEASE_MS", "soon")]).expect_err("not a number");
    assert!(wrong.contains("LEASE_MS"), "{wrong}");
    let wrong = settings(&["--peers", "1=http://a"], &[]).expect_err("a peer without all addresses");
    assert!(wrong.contains("id=raft-url,grpc-url,http-url"), "{wrong}");
}
