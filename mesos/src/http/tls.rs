//! From PEM to the configuration of rustls. Wrong files are found here, at the start, not at the first connection.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::settings::Tls;
use crate::Error;

/// What rustls needs. Its cryptography is ring, chosen here and not by the process.
pub(super) fn configuration(tls: &Tls) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Settings(format!("TLS: {error}")))?
        .with_root_certificates(authorities(tls)?);
    match (&tls.certificate, &tls.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate, "our certificate")?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|error| Error::Settings(format!("TLS: our key: {error}")))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| Error::Settings(format!("TLS: our certificate and key: {error}")))
        }
        _ => Err(Error::Settings("TLS: a certificate and its key go together".to_owned())),
    }
}

fn authorities(tls: &Tls) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    let Some(pem) = &tls.authorities else {
        // Certificates of the system that cannot be read are left out; without any, `https` fails with a clear error.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(store);
    };
    for certificate in certificates(pem, "the authorities")? {
        store.add(certificate).map_err(|error| Error::Settings(format!("TLS: the authorities: {error}")))?;
    }
    Ok(store)
}

fn certificates(pem: &[u8], whose: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::Settings(format!("TLS: {whose}: {error}")))?;
    if found.is_empty() {
        return Err(Error::Settings(format!("TLS: {whose}: no certificate in it")));
    }
    Ok(found)
}
