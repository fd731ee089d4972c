//! What an agent tells its executor through environment variables.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::headers::EXECUTOR_PATH;
use crate::http::{Credentials, Settings, Tls};
use crate::v1::{ExecutorId, FrameworkId};
use crate::{Error, duration};

/// The grace period of agents that do not say one.
pub const SHUTDOWN_GRACE_PERIOD: Duration = Duration::from_secs(5);
/// The recovery timeout of agents that do not say one.
pub const RECOVERY_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// The process of agents that do not say one; it is the only one on their machine.
const AGENT_PROCESS: &str = "slave(1)";
/// The longest wait between attempts of agents that do not say one.
pub const SUBSCRIPTION_BACKOFF_MAX: Duration = Duration::from_secs(2);

/// The environment of an executor.
#[derive(Debug, Clone, PartialEq)]
pub struct Environment {
    /// `MESOS_FRAMEWORK_ID`: whose executor this is.
    pub framework_id: FrameworkId,
    /// `MESOS_EXECUTOR_ID`: which one it is.
    pub executor_id: ExecutorId,
    /// `MESOS_AGENT_ENDPOINT`: `ip:port` of the agent.
    pub agent_endpoint: String,
    /// `MESOS_SLAVE_ID`: the agent's id, though undocumented always there.
    pub agent_id: Option<String>,
    /// The agent's process in `MESOS_SLAVE_PID`, like `slave(1)`: part of the only path that its Unix socket serves.
    pub agent_process: String,
    /// `MESOS_DIRECTORY`: the sandbox on the host.
    pub directory: Option<PathBuf>,
    /// `MESOS_SANDBOX`: the sandbox as this process sees it.
    pub sandbox: Option<PathBuf>,
    /// `MESOS_CHECKPOINT`: whether the executor is to outlive restarts of the agent.
    pub checkpoint: bool,
    /// `MESOS_RECOVERY_TIMEOUT`: how long to wait for the agent, with checkpointing.
    pub recovery_timeout: Duration,
    /// `MESOS_SUBSCRIPTION_BACKOFF_MAX`: the longest wait between attempts to subscribe.
    pub subscription_backoff_max: Duration,
    /// `MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD`: time between SHUTDOWN and the end of the container.
    pub shutdown_grace_period: Duration,
    /// `MESOS_EXECUTOR_AUTHENTICATION_TOKEN`: a bearer token.
    pub authentication_token: Option<Token>,
    /// `MESOS_DOMAIN_SOCKET`: the agent's Unix socket.
    pub domain_socket: Option<PathBuf>,
    /// `LIBPROCESS_SSL_ENABLED` (or `SSL_ENABLED`): whether the agent speaks TLS.
    pub https: bool,
    /// `LIBPROCESS_SSL_CA_FILE`, `…_CERT_FILE`, `…_KEY_FILE`.
    pub tls_files: TlsFiles,
}

/// A token that stays out of debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Token")
    }
}

/// Files in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities to trust.
    pub authorities: Option<PathBuf>,
    /// Our certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

impl Environment {
    /// Reads the environment of this process. Variables that are not Unicode count as absent.
    pub fn of_process() -> Result<Self, Error> {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::of(variables)
    }

    /// Reads variables from anywhere.
    pub fn of(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Error> {
        let mut variables: BTreeMap<_, _> = variables.into_iter().collect();
        variables.retain(|_, value| !value.is_empty());
        let variables = Variables(variables);
        Ok(Self {
            framework_id: variables.required("MESOS_FRAMEWORK_ID")?.into(),
            executor_id: variables.required("MESOS_EXECUTOR_ID")?.into(),
            agent_endpoint: variables.required("MESOS_AGENT_ENDPOINT")?,
            agent_id: variables.text("MESOS_SLAVE_ID"),
            agent_process: variables
                .text("MESOS_SLAVE_PID")
                .and_then(|pid| pid.split_once('@').map(|(process, _)| process.to_owned()))
                .unwrap_or_else(|| AGENT_PROCESS.to_owned()),
            directory: variables.path("MESOS_DIRECTORY"),
            sandbox: variables.path("MESOS_SANDBOX"),
            checkpoint: variables.flag("MESOS_CHECKPOINT")?,
            recovery_timeout: variables.duration("MESOS_RECOVERY_TIMEOUT", RECOVERY_TIMEOUT)?,
            subscription_backoff_max: variables
                .duration("MESOS_SUBSCRIPTION_BACKOFF_MAX", SUBSCRIPTION_BACKOFF_MAX)?,
            shutdown_grace_period: variables
                .duration("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", SHUTDOWN_GRACE_PERIOD)?,
            authentication_token: variables.text("MESOS_EXECUTOR_AUTHENTICATION_TOKEN").map(Token),
            domain_socket: variables.path("MESOS_DOMAIN_SOCKET"),
            https: variables.flag("LIBPROCESS_SSL_ENABLED")? || variables.flag("SSL_ENABLED")?,
            tls_files: TlsFiles {
                authorities: variables.ssl_path("CA_FILE"),
                certificate: variables.ssl_path("CERT_FILE"),
                key: variables.ssl_path("KEY_FILE"),
            },
        })
    }

    /// Settings of the connection to the agent. Reads the files that TLS needs.
    pub fn settings(&self) -> Result<Settings, Error> {
        let credentials = match &self.authentication_token {
            Some(Token(token)) => Credentials::Bearer(token.clone()),
            None => Credentials::None,
        };
        let mut settings =
            Settings { credentials, domain_socket: self.domain_socket.clone(), ..Settings::default() };
        if self.https {
            settings.tls = Tls {
                authorities: read(&self.tls_files.authorities)?,
                certificate: read(&self.tls_files.certificate)?,
                key: read(&self.tls_files.key)?,
            };
        }
        Ok(settings)
    }

    /// Where to send calls. On its Unix socket an agent serves one path only, in the clear, and forbids all others.
    pub fn address(&self) -> String {
        if self.domain_socket.is_some() {
            return format!("http://localhost/{}{EXECUTOR_PATH}", self.agent_process);
        }
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{EXECUTOR_PATH}", self.agent_endpoint)
    }

    /// The sandbox as this process sees it.
    pub fn working_directory(&self) -> Option<&PathBuf> {
        self.sandbox.as_ref().or(self.directory.as_ref())
    }
}

fn read(path: &Option<PathBuf>) -> Result<Option<Vec<u8>>, Error> {
    let Some(path) = path else { return Ok(None) };
    let bytes =
        std::fs::read(path).map_err(|error| Error::Settings(format!("{}: {error}", path.display())))?;
    Ok(Some(bytes))
}

struct Variables(BTreeMap<String, String>);

impl Variables {
    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn required(&self, name: &str) -> Result<String, Error> {
        let missing =
            || Error::Settings(format!("{name} is not set: executors are started by a Mesos agent"));
        self.text(name).ok_or_else(missing)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// Agents of today say `LIBPROCESS_SSL_…`, older ones `SSL_…`.
    fn ssl_path(&self, name: &str) -> Option<PathBuf> {
        self.path(&format!("LIBPROCESS_SSL_{name}")).or_else(|| self.path(&format!("SSL_{name}")))
    }

    fn flag(&self, name: &str) -> Result<bool, Error> {
        match self.text(name).as_deref() {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(other) => Err(Error::Settings(format!("{name}: {other:?} is neither true nor false"))),
        }
    }

    fn duration(&self, name: &str, default: Duration) -> Result<Duration, Error> {
        let Some(text) = self.text(name) else { return Ok(default) };
        duration::parse(&text).map_err(|error| Error::Settings(format!("{name}: {error}")))
    }
}
