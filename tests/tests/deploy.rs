//! What operators run stays true: settings, flags, programs, users and replicas that deploy/ names exist, and systemd
//! accepts the units.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use meson_chaos_tests::binary_path;
use meson_tests::{Findings, output_of, root};
use serde_json::Value;

/// Where the units expect the programs.
const INSTALLED: &str = "/usr/local/bin/";

/// A setting that came with systemd 254; what an older one says of it is no fault.
const NEWER_SETTING: &str = "'DelegateSubgroup'";

#[test]
fn the_schedulers_example_has_all_settings_with_their_defaults() -> anyhow::Result<()> {
    let example = settings(&read("deploy/meson-scheduler.toml")?);
    let defaults = settings(&printed("meson-scheduler", &[], &[])?);
    let names = |settings: &BTreeMap<String, String>| settings.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&example), names(&defaults));
    for (name, value) in &example {
        let own = ["data_dir", "peers"].contains(&name.as_str());
        assert!(own || defaults[name] == *value, "{name} is {value}, and by default {}", defaults[name]);
    }
    printed("meson-scheduler", &["--config", &path("deploy/meson-scheduler.toml")], &[])?;
    Ok(())
}

#[test]
fn the_executors_example_is_accepted() -> anyhow::Result<()> {
    let file = path("deploy/meson-executor.toml");
    let printed = settings(&printed("meson-executor", &["--config", &file], &[])?);
    for (name, value) in settings(&read("deploy/meson-executor.toml")?) {
        let kept = printed.get(&name).with_context(|| format!("{name} is no setting"))?;
        assert!(value.contains("iB") || *kept == value, "{name}: {value} became {kept}");
    }
    Ok(())
}

#[test]
fn units_name_programs_flags_and_users_that_exist() -> anyhow::Result<()> {
    let mut findings = Findings::default();
    let users = read("deploy/systemd/meson.sysusers.conf")?;
    let mut commands = 0;
    for unit in units()? {
        let text = std::fs::read_to_string(&unit)?;
        for line in text.lines() {
            if let Some(user) = line.strip_prefix("User=") {
                let known = users.lines().any(|line| line.starts_with(&format!("u {user} ")));
                if !known {
                    findings.add(unit.display(), format!("no user {user}"), "add it to meson.sysusers.conf");
                }
            }
            let Some((_, call)) = line.split_once(INSTALLED).filter(|_| line.starts_with("Exec")) else {
                continue;
            };
            commands += 1;
            if let Some(wrong) = wrong_call(call)? {
                findings.add(unit.display(), wrong, "see --help of the program");
            }
        }
    }
    ensure!(commands >= 3, "{commands} of our programs are started by units");
    findings.conclude()
}

#[test]
fn systemd_accepts_the_units() -> anyhow::Result<()> {
    let programs = binary_path("meson-scheduler")?;
    let programs = format!("{}/", programs.parent().context("it is in a folder")?.display());
    let copies = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("units");
    std::fs::create_dir_all(&copies)?;
    let mut arguments = vec!["verify".to_owned(), "--man=no".to_owned()];
    for unit in units()? {
        let copy = copies.join(unit.file_name().context("a unit has a name")?);
        std::fs::write(&copy, std::fs::read_to_string(&unit)?.replace(INSTALLED, &programs))?;
        arguments.push(copy.display().to_string());
    }
    let verified = Command::new("systemd-analyze")
        .args(&arguments)
        .output()
        .context("systemd-analyze is missing: run scripts/setup test")?;
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    // It speaks of units of this machine too, which are not ours to judge.
    let ours = said.lines().filter(|line| line.contains("meson-") && !line.contains(NEWER_SETTING));
    let wrong: Vec<&str> = ours.collect();
    ensure!(verified.status.success() && wrong.is_empty(), "systemd-analyze: {}\n{said}", verified.status);
    Ok(())
}

#[test]
fn the_compose_file_is_a_trio_that_the_programs_accept() -> anyhow::Result<()> {
    let compose: Value = serde_saphyr::from_str(&read("deploy/compose/compose.yaml")?)?;
    let services = compose["services"].as_object().context("there are services")?;
    let volumes = compose["volumes"].as_object().context("there are volumes")?;
    let names: BTreeSet<&str> = services.keys().map(String::as_str).collect();
    let (mut replicas, mut executors) = (BTreeSet::new(), 0);
    for (name, service) in services {
        let environment =
            service["environment"].as_object().with_context(|| format!("{name}: environment"))?;
        let environment: Vec<(&str, &str)> = environment
            .iter()
            .map(|(key, value)| Ok((key.as_str(), value.as_str().context("variables are text")?)))
            .collect::<anyhow::Result<_>>()?;
        let program = service["command"][0].as_str().with_context(|| format!("{name}: command"))?;
        let given = printed(program, &[], &environment).with_context(|| name.clone())?;
        only_settings(&environment, &settings(&given)).with_context(|| name.clone())?;
        let addresses = match program {
            "meson-scheduler" => "MESON_PEERS",
            "meson-executor" => "MESON_ENDPOINTS",
            other => anyhow::bail!("{name}: {other} is not known here"),
        };
        let (_, addresses) = environment.iter().find(|(key, _)| *key == addresses).context("no addresses")?;
        let hosts: BTreeSet<&str> = hosts(addresses).collect();
        assert_eq!(hosts.len(), 3, "{name}: {addresses}");
        assert!(hosts.is_subset(&names), "{name}: {addresses}");
        if program == "meson-scheduler" {
            let id = settings(&given)["node_id"].clone();
            // A replica is reached under its own number.
            assert!(
                addresses.contains(&format!("{id}=http://{name}:7401,")),
                "{name} is not {id}: {addresses}"
            );
            replicas.insert(id);
        } else {
            executors += 1;
        }
        let volume = service["volumes"][0].as_str().and_then(|volume| volume.split_once(':'));
        let (volume, place) = volume.with_context(|| format!("{name}: a volume"))?;
        assert!(volumes.contains_key(volume) && place == "/var/lib/meson", "{name}: {volume}:{place}");
    }
    assert_eq!((replicas.len(), executors), (3, 1));
    Ok(())
}

#[test]
fn the_image_has_programs_settings_and_packages_that_exist() -> anyhow::Result<()> {
    let text = read("deploy/container/Containerfile")?.replace("\\\n", " ");
    let of = |instruction: &str| {
        let prefix = format!("{instruction} ");
        let found = text.lines().find_map(|line| line.strip_prefix(prefix.as_str()).map(str::to_owned));
        found.with_context(|| format!("no {instruction}"))
    };
    let environment = of("ENV")?;
    let environment: Vec<(&str, &str)> =
        environment.split_whitespace().filter_map(|pair| pair.split_once('=')).collect();
    let given = settings(&printed("meson-scheduler", &[], &environment)?);
    only_settings(&environment, &given)?;
    for (name, value) in &environment {
        assert!(
            given.values().any(|given| given.trim_matches('"') == *value),
            "{name}={value} has no effect"
        );
    }
    let copied = of("COPY --from=binaries")?;
    for program in copied.split_whitespace().filter(|word| !word.starts_with('/')) {
        binary_path(program)?;
    }
    let base = read("deploy/container/build-base")?;
    let base =
        base.lines().find_map(|line| line.strip_prefix("packages=")).context("packages of the base")?;
    let (_, installed) = text.split_once("--no-install-recommends").context("packages of the image")?;
    let (installed, _) = installed.split_once("&&").context("they end somewhere")?;
    assert_eq!(base.split(',').collect::<Vec<_>>(), installed.split_whitespace().collect::<Vec<_>>());
    Ok(())
}

fn path(file: &str) -> String {
    root().join(file).display().to_string()
}

fn read(file: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(root().join(file)).with_context(|| file.to_owned())
}

/// All units, in the order of their names.
fn units() -> anyhow::Result<Vec<PathBuf>> {
    let mut units = Vec::new();
    for entry in std::fs::read_dir(root().join("deploy/systemd"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "service" || kind == "timer") {
            units.push(path);
        }
    }
    units.sort();
    ensure!(units.len() >= 3, "{units:?}");
    Ok(units)
}

/// The settings that a program prints, with no variables but these.
fn printed(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<String> {
    let output = Command::new(binary_path(program)?)
        .args(arguments)
        .arg("--print-config")
        .env_clear()
        .envs(environment.iter().copied())
        .output()?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// `name = value` of each line of a TOML file without comments behind values.
fn settings(toml: &str) -> BTreeMap<String, String> {
    let lines = toml.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(" = "));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A variable that is misspelt has no effect, and nobody says so.
fn only_settings(environment: &[(&str, &str)], known: &BTreeMap<String, String>) -> anyhow::Result<()> {
    for (name, _) in environment {
        if let Some(setting) = name.strip_prefix("MESON_") {
            ensure!(known.contains_key(&setting.to_lowercase()), "{name} is no setting");
        }
    }
    Ok(())
}

/// The hosts of addresses in a text.
fn hosts(addresses: &str) -> impl Iterator<Item = &str> {
    addresses.split("http://").skip(1).filter_map(|address| address.split(':').next())
}

/// What is wrong with a call, which begins with the program's name: subcommands and flags are looked up in its help.
fn wrong_call(call: &str) -> anyhow::Result<Option<String>> {
    let mut words = call.split_whitespace().map(|word| word.trim_matches(['\'', '"']));
    let program = words.next().context("a call begins with its program")?;
    let Ok(file) = binary_path(program) else { return Ok(Some(format!("there is no program {program}"))) };
    let words: Vec<&str> = words.collect();
    let is_command = |word: &&&str| word.chars().all(|letter| letter.is_ascii_lowercase());
    let mut help: Vec<&str> = words.iter().take_while(is_command).copied().collect();
    help.push("--help");
    let help = output_of(&file.display().to_string(), &help)?;
    let is_known = |flag: &str| help.split([' ', '\n', '=']).any(|word| word == flag);
    let unknown = words.iter().find(|word| word.starts_with("--") && !is_known(word));
    Ok(unknown.map(|flag| format!("{program} has no {flag}")))
}
