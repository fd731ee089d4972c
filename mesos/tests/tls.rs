//! TLS: whom we trust, what we show, and what is wrong with files.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use meson_mesos::scheduler::{Config, Event, Scheduler, Signal, Signals, Subscribed};
use meson_mesos::v1::FrameworkInfo;
use meson_mesos::v1::scheduler as wire;
use meson_mesos::{Encoding, Error, Masters, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use support::{FakeServer, soon};
use tokio_rustls::TlsAcceptor;

/// A certificate authority and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    /// A certificate for a name, and its key.
    fn sign(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
    }
}

fn acceptor(authority: &Authority, name: &str, clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = match clients {
        None => builder.unwrap().with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(&clients.pem()).unwrap()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.unwrap().with_client_cert_verifier(verifier)
        }
    };
    let (certificate, key) = authority.sign(name);
    let chain = vec![CertificateDer::from_pem_slice(&certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(&key).unwrap();
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
}

fn start(server: &FakeServer, tls: Tls) -> Result<(Scheduler, Signals), Error> {
    let mut config = Config::new(Masters::List(vec![server.address.to_string()]));
    config.https = true;
    config.http.tls = tls;
    Scheduler::start(config, FrameworkInfo::default(), Vec::new(), None)
}

async fn until_subscribed(server: &mut FakeServer, signals: &mut Signals) {
    let (_, reply) = server.next().await;
    let mut stream = reply.stream(Some("s"), Encoding::Protobuf).await;
    let heartbeat_interval = Some(Duration::from_secs(15));
    let subscribed =
        Event::Subscribed(Subscribed { framework_id: "F1".into(), heartbeat_interval, master: None });
    stream.event::<wire::Event>(subscribed).await;
    while !matches!(soon("a signal", signals.next()).await, Signal::Subscribed(_)) {}
}

async fn disconnected(signals: &mut Signals) -> Error {
    match soon("a signal", signals.next()).await {
        Signal::Disconnected { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_master_with_a_certificate_of_our_authority_is_trusted() {
    let authority = Authority::new("ours");
    let mut server = FakeServer::start_with(Some(acceptor(&authority, "127.0.0.1", None))).await;
    let tls = Tls { authorities: Some(authority.pem()), ..Tls::default() };
    let (_scheduler, mut signals) = start(&server, tls).unwrap();
    until_subscribed(&mut server, &mut signals).await;
}

#[tokio::test]
async fn others_are_not() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let tls = || Tls { authorities: Some(ours.pem()), ..Tls::default() };
    for (server, wrong) in [
        (acceptor(&theirs, "127.0.0.1", None), "UnknownIssuer"),
        (acceptor(&ours, "other.example", None), "not valid for"),
    ] {
        let mut server = FakeServer::start_with(Some(server)).await;
        let (_scheduler, mut signals) = start(&server, tls()).unwrap();
        let error = disconnected(&mut signals).await;
        assert!(error.to_string().contains(wrong), "{error}, not {wrong}");
        assert!(server.is_idle());
    }
}

#[tokio::test]
async fn our_certificate_is_shown() {
    let authority = Authority::new("ours");
    let acceptor = acceptor(&authority, "127.0.0.1", Some(&authority));
    let mut server = FakeServer::start_with(Some(acceptor)).await;
    let anonymous = Tls { authorities: Some(authority.pem()), ..Tls::default() };
    let (_scheduler, mut signals) = start(&server, anonymous.clone()).unwrap();
    let error = disconnected(&mut signals).await;
    assert!(matches!(error, Error::Connection { .. }), "{error}");
    assert!(server.is_idle(), "nobody without a certificate gets in");

    let (certificate, key) = authority.sign("scheduler.example");
    let tls = Tls { certificate: Some(certificate), key: Some(key), ..anonymous };
    let (_scheduler, mut signals) = start(&server, tls).unwrap();
    until_subscribed(&mut server, &mut signals).await;
}

#[tokio::test]
async fn files_that_cannot_work_are_named_at_the_start() {
    let server = FakeServer::start().await;
    let authority = Authority::new("ours");
    let (certificate, _) = authority.sign("a.example");
    let (_, other_key) = authority.sign("b.example");
    for (tls, named) in [
        (Tls { authorities: Some(b"nothing".to_vec()), ..Tls::default() }, "no certificate"),
        (Tls { certificate: Some(certificate.clone()), ..Tls::default() }, "go together"),
        (
            Tls { certificate: Some(certificate), key: Some(other_key), ..Tls::default() },
            "certificate and key",
        ),
    ] {
        let error = start(&server, tls).err().unwrap();
        assert!(error.to_string().contains(named), "{error}, not {named}");
    }
}
