//! A TLS stream to a BMC that has proven to be the right one, within a deadline.
//!
//! The proof is a certificate with the pinned fingerprint, of which nothing else matters (BMCs sign
//! their own, and their clocks are wrong), or one issued under the authority that is trusted. There
//! is no third way: who cannot prove it is told nothing.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme, StreamOwned,
};
use sha2::{Digest, Sha256};

use super::Fault;
use crate::config::device::Fingerprint;
use crate::sys::clock;
use crate::types::{FenceFault, Instant};
use crate::wire::redfish::relay::Trust;

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// The longest file of authorities in bytes.
const AUTHORITIES_LEN_MAX: u64 = 1 << 20;
/// The most authorities in it.
const AUTHORITIES_MAX: usize = 512;

/// A stream whose every wait ends at the deadline.
pub(super) struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    /// How long may still be waited.
    fn left(&self) -> io::Result<core::time::Duration> {
        let left = self.deadline.since(clock::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The stream.
pub(super) type Stream = StreamOwned<ClientConnection, Timed>;

/// Where a BMC is.
#[derive(Clone, Copy)]
pub(super) struct Peer<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
}

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The addresses of `peer`. A name that is looked up may take its time: the process that waits for
/// it is killed by its parent.
pub(super) fn look_up(peer: Peer<'_>) -> Result<Vec<SocketAddr>, Fault> {
    let unknown = |why: String| {
        let reason = format!("{} cannot be looked up: {why}; write its address", peer.host);
        Fault::new(FenceFault::Unreachable, reason)
    };
    let found = (peer.host, peer.port).to_socket_addrs();
    let found: Vec<_> =
        found.map_err(|error| unknown(error.to_string()))?.take(ADDRESSES_MAX).collect();
    if found.is_empty() { Err(unknown("it has no address".to_owned())) } else { Ok(found) }
}

/// A TCP connection to the first of `addresses` that takes one.
pub(super) fn reach(addresses: &[SocketAddr], deadline: Instant) -> Result<Timed, Fault> {
    let mut fault = Fault::new(FenceFault::Unreachable, "it has no address".to_owned());
    for address in addresses {
        let left = deadline.since(clock::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(address, left) {
            Ok(stream) => {
                // A failure costs milliseconds, not the order.
                stream.set_nodelay(true).ok();
                return Ok(Timed { stream, deadline });
            }
            Err(error) => {
                let reason = format!("{address} cannot be reached: {error}");
                fault = Fault::new(FenceFault::Unreachable, reason);
            }
        }
    }
    Err(fault)
}

/// Does the handshake over `timed`: a stream to a BMC that has proven to be the right one.
pub(super) fn shake_hands(timed: Timed, peer: Peer<'_>, trust: &Trust) -> Result<Stream, Fault> {
    let provider = Arc::new(crypto::ring::default_provider());
    let verifier = Arc::new(Verifier::new(trust, &provider)?);
    let name = server_name(peer.host)?;
    let mut connection = ClientConnection::new(config(provider, Arc::clone(&verifier))?, name)
        .map_err(|error| Fault::new(FenceFault::AgentFailed, format!("TLS: {error}")))?;
    let mut timed = timed;
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut timed) {
            return Err(explain(&error, peer, &verifier));
        }
    }
    Ok(StreamOwned::new(connection, timed))
}

/// The fingerprint of the certificate that whoever answers at `peer` shows. Nothing is proven by
/// it, and nothing is told to that peer.
pub(super) fn show(timed: Timed, peer: Peer<'_>) -> Result<Fingerprint, Fault> {
    // No certificate has this fingerprint: the handshake ends when it was seen.
    let nobody = Trust::Pinned([0; 32]);
    let provider = Arc::new(crypto::ring::default_provider());
    let verifier = Arc::new(Verifier::new(&nobody, &provider)?);
    let mut connection =
        ClientConnection::new(config(provider, Arc::clone(&verifier))?, server_name(peer.host)?)
            .map_err(|error| Fault::new(FenceFault::AgentFailed, format!("TLS: {error}")))?;
    let mut timed = timed;
    let ended = connection.complete_io(&mut timed);
    match (verifier.seen(), ended) {
        (Some(seen), _) => Ok(seen),
        (None, Err(error)) => Err(explain(&error, peer, &verifier)),
        (None, Ok(_)) => Err(Fault::new(FenceFault::Garbled, "it shows no certificate".to_owned())),
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, Fault> {
    ServerName::try_from(host.to_owned()).map_err(|_invalid| {
        Fault::new(FenceFault::Unreachable, format!("{host} is neither a name nor an address"))
    })
}

fn config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<Verifier>,
) -> Result<Arc<ClientConfig>, Fault> {
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder =
        versions.map_err(|error| Fault::new(FenceFault::AgentFailed, format!("TLS: {error}")))?;
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    // Each child makes one connection: there is nothing to resume.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Judges the certificate, and remembers which it was.
#[derive(Debug)]
struct Verifier {
    judge: Judge,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Fingerprint>>,
}

#[derive(Debug)]
enum Judge {
    Pinned(Fingerprint),
    Authority(Arc<WebPkiServerVerifier>),
}

impl Verifier {
    fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Self, Fault> {
        let judge = match trust {
            Trust::Pinned(fingerprint) => Judge::Pinned(Fingerprint(*fingerprint)),
            Trust::Authority(path) => Judge::Authority(authority(Path::new(path), provider)?),
        };
        Ok(Self { judge, provider: Arc::clone(provider), seen: Mutex::new(None) })
    }

    fn seen(&self) -> Option<Fingerprint> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The judge of the authorities in the PEM file at `path`.
///
/// # Errors
/// If the file cannot be read, or holds no certificate that can be used.
fn authority(
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Fault> {
    let shown = path.display();
    let unusable = |why: String| {
        let reason = format!("the ca-file {shown} {why}");
        Fault::new(FenceFault::Certificate, reason)
    };
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| unusable(format!("cannot be read: {e}")))?;
    file.take(AUTHORITIES_LEN_MAX)
        .read_to_end(&mut text)
        .map_err(|error| unusable(format!("cannot be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text).take(AUTHORITIES_MAX) {
        let certificate =
            certificate.map_err(|error| unusable(format!("is not a PEM file: {error:?}")))?;
        roots
            .add(certificate)
            .map_err(|error| unusable(format!("holds a certificate of no use: {error}")))?;
    }
    if roots.is_empty() {
        return Err(unusable("holds no certificate".to_owned()));
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| unusable(format!("is of no use: {error}")))
}

/// Whether the authorities in the PEM file at `path` can be used.
///
/// # Errors
/// What is wrong with them.
pub(super) fn check_authority(path: &Path) -> Result<(), String> {
    let provider = Arc::new(crypto::ring::default_provider());
    authority(path, &provider).map(drop).map_err(|fault| fault.reason)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Fingerprint(Sha256::digest(end_entity.as_ref()).into());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        match &self.judge {
            Judge::Pinned(pinned) if *pinned == shown => Ok(ServerCertVerified::assertion()),
            Judge::Pinned(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Judge::Authority(judge) => {
                judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
        }
    }

    /// The certificate alone proves nothing: everybody has it. This does.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why a handshake failed, and what to do.
fn explain(error: &io::Error, peer: Peer<'_>, verifier: &Verifier) -> Fault {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (inner, verifier.seen()) {
        (Some(rustls::Error::InvalidCertificate(why)), Some(seen)) => {
            Fault::new(FenceFault::Certificate, untrusted(why, seen, &verifier.judge))
        }
        (Some(rustls::Error::InvalidMessage(_)), _) => Fault::new(
            FenceFault::Garbled,
            format!("what answers at {peer} does not speak TLS: is it the port for https?"),
        ),
        (Some(rustls::Error::AlertReceived(_) | rustls::Error::PeerIncompatible(_)), _) => {
            Fault::new(
                FenceFault::Garbled,
                format!(
                    "{peer} speaks no TLS that is safe ({error}): it needs TLS 1.2 or 1.3 with \
                     ECDHE and a key of 2048 bits; update its firmware, or write type = \"ipmi\""
                ),
            )
        }
        (Some(_), _) => Fault::new(FenceFault::Garbled, format!("TLS with {peer}: {error}")),
        (None, _) => Fault::of_io(error, "the TLS handshake"),
    }
}

fn untrusted(why: &CertificateError, seen: Fingerprint, judge: &Judge) -> String {
    let remedy = format!("fingerprint is {seen}; if that is right write certificate = \"{seen}\"");
    match (judge, why) {
        (Judge::Pinned(_), CertificateError::ApplicationVerificationFailure) => {
            format!("the certificate is not the pinned one: {remedy}")
        }
        (Judge::Pinned(_), why) => {
            format!("the certificate is the pinned one, but its key proves nothing: {why}")
        }
        (
            Judge::Authority(_),
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => {
            format!("the certificate has expired: renew it in the BMC, or pin it: {remedy}")
        }
        (
            Judge::Authority(_),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => format!("the certificate is not valid yet: look at the clocks, or pin it: {remedy}"),
        (
            Judge::Authority(_),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "the certificate is for another name or address: write that as address, or pin it: \
             {remedy}"
        ),
        (Judge::Authority(_), why) => {
            format!("the certificate is not from an authority in ca-file ({why}): {remedy}")
        }
    }
}
