//! Settings of the framework: the table `[mesos]` of the file, `MESON_MESOS_*` in the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use meson_mesos::Credentials;
use meson_mesos::Masters;
use meson_mesos::Tls;
use meson_mesos::scheduler;
use serde::{Deserialize, Serialize};

/// Settings of the framework. Times are milliseconds unless the name says otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the masters are: `m1:5050,m2:5050` or `zk://z1:2181,z2:2181/mesos`. Empty: no Mesos.
    pub master: String,
    /// The framework's name, as operators of Mesos see it.
    pub name: String,
    /// The user that executors run as; empty for the one that the scheduler runs as.
    pub user: String,
    /// The role of runs whose tenant has none of its own.
    pub role: String,
    /// Roles of tenants: a run's tenant is its label `tenant`.
    pub roles: BTreeMap<String, String>,
    /// Whom the framework authenticates as; empty: not at all, or by token.
    pub principal: String,
    /// File with the principal's secret.
    pub secret_file: PathBuf,
    /// File with a bearer token, in place of principal and secret.
    pub token_file: PathBuf,
    /// Certificate authorities to trust, in PEM, for masters behind `https://`.
    pub ca_file: PathBuf,
    /// Our certificate, in PEM.
    pub cert_file: PathBuf,
    /// Its key, in PEM.
    pub key_file: PathBuf,
    /// How long Mesos keeps executors and their tasks going while no replica leads. In seconds.
    pub failover_timeout_s: u64,
    /// Where people find this cluster's page; shown by Mesos.
    pub webui_url: String,
    /// What agents fetch into the sandbox of each executor: `meson-executor` itself, unless it is installed there.
    pub executor_uris: Vec<String>,
    /// The command that starts the executor in its sandbox.
    pub executor_command: String,
    /// More variables for the executor: its settings as `MESON_*`.
    pub executor_env: BTreeMap<String, String>,
    /// Processor cores of an executor itself, beside those of its attempts.
    pub executor_cpus: f64,
    /// Memory of an executor itself, in MiB.
    pub executor_mem_mib: u64,
    /// An executor without work ends after so long. Until then, attempts on its agent start without waiting for one.
    pub executor_idle_ms: u64,
    /// Kinds of steps that executors on Mesos run.
    pub kinds: Vec<String>,
    /// An attempt that nobody has heard of so long after its launch is given up.
    pub launch_patience_ms: u64,
    /// An offer that fits nothing is held for so long, in case work comes that fits.
    pub hold_ms: u64,
    /// Agents that nothing was heard of for so long leave the list of executors.
    pub forget_agents_ms: u64,
    /// No work goes to agents whose planned maintenance begins within so long.
    pub maintenance_ahead_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            master: String::new(),
            name: "meson".to_owned(),
            user: String::new(),
            role: "*".to_owned(),
            roles: BTreeMap::new(),
            principal: String::new(),
            secret_file: PathBuf::new(),
            token_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
            failover_timeout_s: 7 * 24 * 3600,
            webui_url: String::new(),
            executor_uris: Vec::new(),
            executor_command: "./meson-executor".to_owned(),
            executor_env: BTreeMap::new(),
            executor_cpus: 0.1,
            executor_mem_mib: 64,
            executor_idle_ms: 600_000,
            kinds: ["noop", "python", "shell"].map(str::to_owned).to_vec(),
            launch_patience_ms: 600_000,
            hold_ms: 1_000,
            forget_agents_ms: 900_000,
            maintenance_ahead_ms: 3_600_000,
        }
    }
}

/// What can be wrong with them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of the masters.
    #[error("mesos.master: {0}")]
    Master(String),
    /// A file that cannot be read.
    #[error("mesos.{name}: {}: {error}", .path.display())]
    File {
        /// Which setting.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Settings that contradict each other.
    #[error("mesos: {0}")]
    Contradiction(&'static str),
}

impl Settings {
    /// Whether there is a Mesos.
    pub fn is_on(&self) -> bool {
        !self.master.trim().is_empty()
    }

    /// Looks for what cannot work.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn check(&self) -> Result<(), Error> {
        if !self.is_on() {
            return Ok(());
        }
        self.masters()?;
        let wrong = |what| Err(Error::Contradiction(what));
        if self.executor_cpus < 0.01 || self.executor_mem_mib < 32 {
            return wrong(
                "an executor needs at least executor_cpus = 0.01 and executor_mem_mib = 32: Mesos demands it",
            );
        }
        if self.executor_command.trim().is_empty() {
            return wrong("executor_command is empty: there would be nothing to start");
        }
        if self.kinds.is_empty() {
            return wrong("kinds is empty: no step could be placed");
        }
        if self.role.is_empty() || self.roles.values().any(String::is_empty) {
            return wrong("a role is empty; Mesos's default is `*`");
        }
        if !self.principal.is_empty() && !is_set(&self.token_file) && !is_set(&self.secret_file) {
            return wrong("principal needs secret_file or token_file");
        }
        Ok(())
    }

    fn masters(&self) -> Result<Masters, Error> {
        self.master.parse().map_err(|error: meson_mesos::Error| Error::Master(error.to_string()))
    }

    /// The role of a tenant.
    pub fn role_of(&self, tenant: Option<&str>) -> &str {
        tenant.and_then(|tenant| self.roles.get(tenant)).unwrap_or(&self.role)
    }

    /// All roles, each once.
    pub fn all_roles(&self) -> Vec<String> {
        let mut roles: Vec<String> = self.roles.values().cloned().chain([self.role.clone()]).collect();
        roles.sort();
        roles.dedup();
        roles
    }

    /// Settings of the session with the master. Reads the files.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn session(&self) -> Result<scheduler::Config, Error> {
        let mut config = scheduler::Config::new(self.masters()?);
        let text = |name, path: &Path| {
            let bytes = read(name, path)?.unwrap_or_default();
            Ok::<_, Error>(String::from_utf8_lossy(&bytes).trim().to_owned())
        };
        config.http.credentials = if is_set(&self.token_file) {
            Credentials::Bearer(text("token_file", &self.token_file)?)
        } else if self.principal.is_empty() {
            Credentials::None
        } else {
            let secret = text("secret_file", &self.secret_file)?;
            Credentials::Basic { principal: self.principal.clone(), secret }
        };
        config.http.tls = Tls {
            authorities: read("ca_file", &self.ca_file)?,
            certificate: read("cert_file", &self.cert_file)?,
            key: read("key_file", &self.key_file)?,
        };
        Ok(config)
    }
}

fn is_set(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

fn read(name: &'static str, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    if !is_set(path) {
        return Ok(None);
    }
    let wrong = |error| Error::File { name, path: path.to_owned(), error };
    std::fs::read(path).map(Some).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused() {
        let on = Settings { master: "m1:5050,m2:5050".into(), ..Settings::default() };
        assert!(on.check().is_ok());
        assert!(
            Settings { kinds: Vec::new(), ..Settings::default() }.check().is_ok(),
            "without Mesos all is well"
        );
        assert!(Settings { kinds: Vec::new(), ..on.clone() }.check().is_err());
        assert!(Settings { executor_cpus: 0.0, ..on.clone() }.check().is_err());
        assert!(Settings { principal: "meson".into(), ..on.clone() }.check().is_err());
        let wrong = Settings { master: "zk://".into(), ..on.clone() }.check().unwrap_err().to_string();
        assert!(wrong.starts_with("mesos.master: "), "{wrong}");
        let missing =
            Settings { token_file: "/nowhere/token".into(), ..on }.session().unwrap_err().to_string();
        assert!(missing.starts_with("mesos.token_file: /nowhere/token: "), "{missing}");
    }

    #[test]
    fn tenants_have_roles() {
        let roles = BTreeMap::from([("science".to_owned(), "analytics".to_owned())]);
        let settings = Settings { roles, role: "batch".into(), ..Settings::default() };
        assert_eq!(settings.role_of(Some("science")), "analytics");
        assert_eq!(settings.role_of(Some("others")), "batch");
        assert_eq!(settings.role_of(None), "batch");
        assert_eq!(settings.all_roles(), ["analytics", "batch"]);
    }
}
