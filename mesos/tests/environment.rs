//! The environment of an executor, and the lengths of time in it. Quotes are of the executor API's documentation.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::time::Duration;

use meson_mesos::executor::{Environment, Token};
use meson_mesos::{Credentials, duration};
use proptest::prelude::*;

const BASE: [(&str, &str); 3] =
    [("MESOS_FRAMEWORK_ID", "F1"), ("MESOS_EXECUTOR_ID", "E1"), ("MESOS_AGENT_ENDPOINT", "10.0.0.1:5051")];

fn read(more: &[(&str, &str)]) -> Result<Environment, meson_mesos::Error> {
    let all = BASE.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Environment::of(all)
}

#[test]
fn what_the_agent_sets_is_read() {
    let environment = read(&[
        ("MESOS_DIRECTORY", "/var/lib/mesos/run/1"),
        ("MESOS_SANDBOX", "/mnt/mesos/sandbox"),
        // "If set to true, denotes that framework has checkpointing enabled." Agents write 1.
        ("MESOS_CHECKPOINT", "1"),
        ("MESOS_RECOVERY_TIMEOUT", "15mins"),
        ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "250ms"),
        ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "60secs"),
        ("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", "eyJ.secret"),
        ("MESOS_SLAVE_ID", "S1"),
    ])
    .unwrap();
    assert_eq!(environment.framework_id, "F1".into());
    assert_eq!(environment.executor_id, "E1".into());
    assert_eq!(environment.agent_endpoint, "10.0.0.1:5051");
    assert!(environment.checkpoint && !environment.https);
    assert_eq!(environment.recovery_timeout, Duration::from_secs(900));
    assert_eq!(environment.subscription_backoff_max, Duration::from_millis(250));
    assert_eq!(environment.shutdown_grace_period, Duration::from_secs(60));
    assert_eq!(environment.working_directory().unwrap().to_str(), Some("/mnt/mesos/sandbox"));
    assert_eq!(environment.authentication_token, Some(Token("eyJ.secret".to_owned())));
    assert_eq!(environment.settings().unwrap().credentials, Credentials::Bearer("eyJ.secret".to_owned()));
    let shown = format!("{environment:?} {:?}", environment.settings().unwrap());
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn without_checkpointing_there_is_little() {
    let environment = read(&[("MESOS_CHECKPOINT", "0")]).unwrap();
    assert!(!environment.checkpoint);
    assert_eq!(environment.working_directory(), None);
    assert_eq!(environment.settings().unwrap().credentials, Credentials::None);
}

#[test]
fn what_is_wrong_is_named() {
    for (name, value) in [
        ("MESOS_FRAMEWORK_ID", ""),
        ("MESOS_CHECKPOINT", "perhaps"),
        ("MESOS_RECOVERY_TIMEOUT", "soon"),
        ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5 parsecs"),
    ] {
        let error = read(&[(name, value)]).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
    let missing = read(&[("LIBPROCESS_SSL_ENABLED", "1"), ("LIBPROCESS_SSL_CA_FILE", "/nonexistent/ca.pem")]);
    let error = missing.unwrap().settings().unwrap_err();
    assert!(error.to_string().contains("/nonexistent/ca.pem"), "{error}");
}

#[test]
fn lengths_of_time_are_read_as_mesos_writes_them() {
    for (text, milliseconds) in [
        ("250ms", 250),
        ("10secs", 10_000),
        ("2.5secs", 2_500),
        ("15mins", 900_000),
        ("1.5hrs", 5_400_000),
        ("1days", 86_400_000),
        ("3weeks", 1_814_400_000),
        ("0ns", 0),
    ] {
        assert_eq!(duration::parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
    }
    assert_eq!(duration::parse("1us"), Ok(Duration::from_micros(1)));
    for wrong in ["", "10", "secs", "10sec", "-1secs", "10 parsecs", "1e400secs", "99999999999999weeks"] {
        assert!(duration::parse(wrong).is_err(), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn lengths_of_time_survive(nanoseconds in any::<u64>()) {
        let time = Duration::from_nanos(nanoseconds);
        prop_assert_eq!(duration::parse(&duration::format(time)), Ok(time));
    }
}
