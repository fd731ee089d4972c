//! `hive`: statements for a HiveServer2, Hive's own or Spark's Thrift server, in a session of the attempt's own. The driver
//! speaks the server's protocol itself; see `service` for the calls, `query` for a query's life and `end` for its end.

mod connection;
mod earlier;
mod end;
mod follow;
mod literal;
mod query;
mod rows;
mod service;
mod sink;
mod spark;
mod sql;
mod wire;

use std::path::{Component, Path};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use meson_proto::v1::Launch;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::literal::Parameters;
use super::{Place, Plan, Rejected, Runner, read};
use crate::config;
use crate::drive::{self, Job, Stop, Verdict, Voice};

/// The runner.
pub struct Hive;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    query: Option<String>,
    /// Path of a file with the query, in the attempt's directory.
    script: Option<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    #[serde(default)]
    identifiers: Map<String, Value>,
    server: Option<String>,
    database: Option<String>,
    user: Option<String>,
    auth: Option<Auth>,
    tls: Option<bool>,
    #[serde(default)]
    settings: Map<String, Value>,
    results: Option<Results>,
    path: Option<String>,
    format: Option<Format>,
    max_rows: Option<u64>,
    spark_ui: Option<String>,
}

/// How a server wants to be spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// SASL PLAIN: a name, and a password if there is one.
    #[default]
    Plain,
    /// Without SASL.
    Nosasl,
}

/// What becomes of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Results {
    None,
    Outputs,
    File,
}

/// Form of a file of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    Csv,
    JsonLines,
}

/// Which server, and as whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Way {
    /// `host:port`.
    server: String,
    user: String,
    auth: Auth,
    tls: bool,
    /// Authorities for TLS; empty for those of the system.
    ca_file: String,
    /// File with the password; empty where none is given to this server.
    password_file: String,
    call_timeout_ms: u64,
}

impl Way {
    fn host(&self) -> &str {
        let host = self.server.rsplit_once(':').map_or(self.server.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms.max(1))
    }
}

/// What the driver is told.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    config: Config,
    way: Way,
    /// Empty for the server's own default.
    database: String,
    /// Session properties, in the order they are set.
    properties: Vec<(String, String)>,
    /// Address of the server's Spark; empty for none.
    spark_ui: String,
    file_bytes_max: u64,
}

impl Runner for Hive {
    fn kind(&self) -> &'static str {
        "hive"
    }

    /// Where operators name a server they know that this machine may reach one.
    fn is_available(&self, config: &config::Config) -> bool {
        !config.hive_server.is_empty()
    }

    fn prepare(&self, launch: &Launch, place: &Place<'_>) -> Result<Plan, Rejected> {
        let config: Config = read(launch)?;
        let told = tell(config, place.config)?;
        drive::program(launch, place, &told).map(Plan::Process)
    }

    fn drive<'a>(
        &'a self,
        job: &'a Job,
        voice: &'a Voice,
        stop: Stop,
    ) -> BoxFuture<'a, Result<i32, Verdict>> {
        follow::run(job, voice, stop).boxed()
    }

    fn clean_up<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<(), Verdict>> {
        async { end::make_sure(job, &job.config()?, end::CLEAN_UP_MAX).await }.boxed()
    }
}

fn tell(config: Config, own: &config::Config) -> Result<Told, Rejected> {
    check(&config)?;
    let named = address(&own.hive_server).map_err(|why| setting("hive_server", &why))?;
    let (server, in_address) = match &config.server {
        Some(server) => address(server).map_err(|why| Rejected(format!("`server`: {why}")))?,
        None => named.clone(),
    };
    let is_own_server = server == named.0;
    let auth = match own.hive_auth.as_str() {
        "plain" => Auth::Plain,
        "nosasl" => Auth::Nosasl,
        other => return Err(setting("hive_auth", &format!("`{other}` is neither `plain` nor `nosasl`"))),
    };
    let user = config.user.clone().unwrap_or_else(|| own.hive_user.clone());
    if is_own_server && own.hive_tls && config.tls == Some(false) {
        let why = "`tls: false` is not taken for the executor's own `hive_server`: its setting `hive_tls` says how it is spoken to";
        return Err(Rejected(why.to_owned()));
    }
    // A password is the settings' own server's and user's. To any other that a workflow names it would be given away.
    let has_password = is_own_server && user == own.hive_user;
    let way = Way {
        server,
        auth: config.auth.unwrap_or(if is_own_server { auth } else { Auth::Plain }),
        tls: config.tls.unwrap_or(is_own_server && own.hive_tls),
        ca_file: own.hive_ca_file.clone(),
        password_file: if has_password { own.hive_password_file.clone() } else { String::new() },
        call_timeout_ms: own.hive_call_timeout_ms,
        user,
    };
    let database = config.database.clone().or(in_address).unwrap_or_default();
    if !database.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(Rejected(format!("`{database}` is no name of a database: letters, digits and `_`")));
    }
    let own_ui = if is_own_server { own.hive_spark_ui.clone() } else { String::new() };
    let spark_ui = config.spark_ui.clone().unwrap_or(own_ui).trim_end_matches('/').to_owned();
    let properties = properties(&config.settings)?;
    Ok(Told { config, way, database, properties, spark_ui, file_bytes_max: own.hive_file_bytes_max })
}

fn setting(name: &str, why: &str) -> Rejected {
    Rejected(format!("the executor's setting `{name}`: {why}"))
}

/// What can be known before the query is.
fn check(config: &Config) -> Result<(), Rejected> {
    let reject = |why: &str| Err(Rejected(why.to_owned()));
    match (&config.query, &config.script) {
        (None, None) => return reject("a hive step needs `query` or `script`"),
        (Some(_), Some(_)) => return reject("a hive step takes only one of `query` and `script`"),
        (Some(query), None) => drop(sql::statements(query, &parameters(config)?)?),
        (None, Some(script)) => is_inside("script", script)?,
    }
    match (&config.path, config.results == Some(Results::File)) {
        (None, true) => return reject("`results: file` needs `path`"),
        (Some(_), false) => return reject("`path` is only for `results: file`"),
        (Some(path), true) => {
            is_inside("path", path)?;
            sink::format(path, config.format)?;
        }
        (None, false) => {}
    }
    match config.max_rows {
        Some(rows) if !(1..=sink::ROWS_MAX).contains(&rows) => {
            Err(Rejected(format!("`max_rows` must be from 1 to {}", sink::ROWS_MAX)))
        }
        _ => Ok(()),
    }
}

fn parameters(config: &Config) -> Result<Parameters, Rejected> {
    Parameters::new(&config.parameters, &config.identifiers)
}

/// That a path leads to nothing but what is below the directory that it starts from.
fn is_inside(field: &str, path: &str) -> Result<(), Rejected> {
    let is_inside = !path.is_empty()
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let why = format!("`{field}` must be a relative path without `..`, not `{path}`");
    is_inside.then_some(()).ok_or(Rejected(why))
}

/// `host:port` and the database of an address, which may be written as Hive's own clients do.
fn address(text: &str) -> Result<(String, Option<String>), String> {
    let example = "write `host:10000` or `hive2://host:10000/database`";
    let rest = text.strip_prefix("jdbc:").unwrap_or(text);
    let rest = rest.strip_prefix("hive2://").unwrap_or(rest);
    if rest.contains([';', '?', '#', '@']) {
        let why =
            "only host, port and database are taken from it; `auth`, `tls`, `user` and `settings` are fields";
        return Err(format!("`{text}`: {why}"));
    }
    let (server, database) = match rest.split_once('/') {
        Some((server, database)) => (server, Some(database).filter(|name| !name.is_empty())),
        None => (rest, None),
    };
    match server.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Ok((server.to_owned(), database.map(str::to_owned)))
        }
        _ => Err(format!("`{text}` is no address of a server: {example}")),
    }
}

fn properties(settings: &Map<String, Value>) -> Result<Vec<(String, String)>, Rejected> {
    settings.iter().map(|(name, value)| property(name, value).map_err(Rejected)).collect()
}

fn property(name: &str, value: &Value) -> Result<(String, String), String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || !name.chars().all(is_part) {
        return Err(format!("setting `{name}`: a name has letters, digits, `.`, `_` and `-`"));
    }
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        _ => return Err(format!("setting `{name}` must be a text, a number or a truth value")),
    };
    // The server would put its own variables in, its environment among them.
    if text.contains("${") || text.chars().any(char::is_control) {
        return Err(format!("setting `{name}`: `${{` and control characters are not taken in a value"));
    }
    Ok((name.to_owned(), text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn own() -> config::Config {
        config::Config {
            hive_server: "hive:10000".to_owned(),
            hive_user: "meson".to_owned(),
            hive_password_file: "/etc/password".to_owned(),
            hive_spark_ui: "http://hive:4040/".to_owned(),
            ..config::Config::default()
        }
    }

    fn told(config: Value) -> Result<Told, String> {
        told_by(&own(), config)
    }

    fn told_by(own: &config::Config, config: Value) -> Result<Told, String> {
        let config = serde_json::from_value(config).map_err(|error| error.to_string())?;
        tell(config, own).map_err(|rejected| rejected.0)
    }

    #[test]
    fn a_step_is_told_its_server() {
        let own = told(json!({ "query": "select 1" })).unwrap();
        assert_eq!((own.way.server.as_str(), own.way.user.as_str()), ("hive:10000", "meson"));
        assert_eq!((own.spark_ui.as_str(), own.database.as_str()), ("http://hive:4040", ""));
        let other = told(json!({ "query": "select 1", "server": "jdbc:hive2://[::1]:1/db", "auth": "nosasl",
            "settings": { "a.b": 1 } }))
        .unwrap();
        assert_eq!((other.way.server.as_str(), other.database.as_str()), ("[::1]:1", "db"));
        assert_eq!((other.way.host(), other.way.auth), ("::1", Auth::Nosasl));
        assert_eq!((other.spark_ui.as_str(), &other.properties[0].1[..]), ("", "1"));
    }

    #[test]
    fn the_password_goes_to_its_own_server_and_user_alone() {
        let password = |config| told(config).unwrap().way.password_file;
        assert_eq!(password(json!({ "query": "select 1" })), "/etc/password");
        assert_eq!(
            password(json!({ "query": "select 1", "server": "hive2://hive:10000/x" })),
            "/etc/password"
        );
        assert_eq!(password(json!({ "query": "select 1", "server": "evil:10000" })), "");
        assert_eq!(password(json!({ "query": "select 1", "user": "other" })), "");
    }

    #[test]
    fn no_workflow_takes_encryption_from_the_password() {
        let own = config::Config { hive_tls: true, ..own() };
        let refused =
            told_by(&own, json!({ "query": "select 1", "server": "hive:10000", "tls": false })).unwrap_err();
        assert!(refused.contains("hive_tls"), "{refused}");
        assert!(told_by(&own, json!({ "query": "select 1" })).unwrap().way.tls);
        let other = told_by(&own, json!({ "query": "select 1", "server": "other:1", "tls": false })).unwrap();
        assert!(!other.way.tls);
    }

    #[test]
    fn bad_configurations_are_refused() {
        for (bad, why) in [
            (json!({}), "needs `query` or `script`"),
            (json!({ "query": "select 1", "script": "a.sql" }), "only one of"),
            (json!({ "script": "../a.sql" }), "without `..`"),
            (json!({ "query": "select :x" }), "`:x`"),
            (json!({ "query": "select 1", "parameters": { "x": 1 } }), "`x` is not used"),
            (json!({ "query": "select 'x" }), "no end"),
            (
                json!({ "query": ":a,".repeat(1_000), "parameters": { "a": "'".repeat(1_000) } }),
                "longer than",
            ),
            (json!({ "query": "select 1", "results": "file" }), "needs `path`"),
            (json!({ "query": "select 1", "path": "a.csv" }), "`results: file`"),
            (json!({ "query": "select 1", "results": "file", "path": "/a.csv" }), "relative path"),
            (json!({ "query": "select 1", "results": "file", "path": "a.txt" }), "`format`"),
            (json!({ "query": "select 1", "max_rows": 0 }), "`max_rows`"),
            (json!({ "query": "select 1", "server": "host" }), "no address"),
            (json!({ "query": "select 1", "server": "h:1/db;ssl=true" }), "are fields"),
            (json!({ "query": "select 1", "database": "a; drop" }), "no name of a database"),
            (json!({ "query": "select 1", "settings": { "a=b": 1 } }), "a name has letters"),
            (json!({ "query": "select 1", "settings": { "a": "${env:HOME}" } }), "not taken"),
            (json!({ "query": "select 1", "settings": { "a": [1] } }), "must be a text"),
            (json!({ "query": "select 1", "x": 1 }), "unknown field"),
        ] {
            let refused = told(bad.clone()).unwrap_err();
            assert!(refused.contains(why), "{bad}: {refused}");
        }
    }
}
