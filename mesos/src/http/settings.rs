//! What a user may set about connections, with the defaults.

use std::path::PathBuf;
use std::time::Duration;

use crate::encoding::Encoding;
use crate::recordio::RECORD_BYTES_MAX;

/// How long to try to connect.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for the answer to a call.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// How long to wait for the first event after SUBSCRIBE.
pub const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(30);

/// Settings of connections to masters and agents.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The encoding of calls and events.
    pub encoding: Encoding,
    /// Who we are.
    pub credentials: Credentials,
    /// Whom we trust and what we show, over `https`.
    pub tls: Tls,
    /// How long to try to connect.
    pub connect_timeout: Duration,
    /// How long to wait for the answer to a call, from its start to the last byte.
    pub call_timeout: Duration,
    /// How long to wait for the first event after SUBSCRIBE.
    pub subscribe_timeout: Duration,
    /// Events that are larger end the stream.
    pub record_bytes_max: usize,
    /// Connect to this Unix socket, whatever the address says.
    pub domain_socket: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            encoding: Encoding::default(),
            credentials: Credentials::default(),
            tls: Tls::default(),
            connect_timeout: CONNECT_TIMEOUT,
            call_timeout: CALL_TIMEOUT,
            subscribe_timeout: SUBSCRIBE_TIMEOUT,
            record_bytes_max: RECORD_BYTES_MAX,
            domain_socket: None,
        }
    }
}

/// How we authenticate. What is secret stays out of debug output.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// HTTP basic authentication, which Mesos does by default.
    Basic {
        /// The principal.
        principal: String,
        /// Its secret.
        secret: String,
    },
    /// A bearer token, like the JSON web token that an agent gives its executors.
    Bearer(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => formatter.write_str("None"),
            Self::Basic { principal, .. } => write!(formatter, "Basic({principal})"),
            Self::Bearer(_) => formatter.write_str("Bearer"),
        }
    }
}

/// TLS, all in PEM.
#[derive(Clone, Default)]
pub struct Tls {
    /// Certificate authorities to trust; those of the system if absent.
    pub authorities: Option<Vec<u8>>,
    /// Our certificate, with intermediate ones after it.
    pub certificate: Option<Vec<u8>>,
    /// The key of our certificate.
    pub key: Option<Vec<u8>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("authorities", &self.authorities.as_ref().map(Vec::len))
            .field("certificate", &self.certificate.as_ref().map(Vec::len))
            .field("key", &self.key.is_some())
            .finish()
    }
}
