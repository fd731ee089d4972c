//! HTTP below the APIs: settings, credentials, TLS, single calls, and the stream that answers SUBSCRIBE.

mod settings;
mod stream;
mod tls;
mod transport;

pub use settings::{Credentials, Settings, Tls};
pub(crate) use stream::Records;
pub(crate) use transport::{Opened, Transport};
