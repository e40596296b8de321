//! TLS: who listens, and who has a certificate.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{NoClientAuth, WebPkiClientVerifier},
};
use stanch_types::Clock;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::output::Failure;

/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Handshakes at once; whoever comes then waits.
const MOST: usize = 256;

/// What the listener shows, and whose certificates it takes.
///
/// A certificate is asked for and not demanded here: it stands for the secret, and like that it is
/// needed only where events are taken. People open their links without one.
///
/// # Errors
/// Two of the three settings contradict each other, or a file is not what it should be.
pub fn config(settings: &stanch_config::Tls) -> Result<Option<Arc<ServerConfig>>, Failure> {
    let (certificate, key) =
        match (&settings.certificate, &settings.key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => {
                return Err(Failure::usage(
                    "`serve.tls.certificate` is set, and `serve.tls.key` is not",
                )
                .hint("name the file with the certificate's private key as `serve.tls.key`"));
            }
            (None, Some(_)) => {
                return Err(Failure::usage(
                    "`serve.tls.key` is set, and `serve.tls.certificate` is not",
                )
                .hint("name the file with the key's certificate as `serve.tls.certificate`"));
            }
            (None, None) if settings.client_ca.is_some() => {
                return Err(Failure::usage(
                "`serve.tls.client_ca` is set, and there is no TLS: `serve.tls.certificate` is not",
            )
            .hint("name a certificate and its key as `serve.tls.certificate` and `serve.tls.key`"));
            }
            (None, None) => return Ok(None),
        };
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| unfit(key, "no private key", &error))?;
    let provider = Arc::new(ring::default_provider());
    let verifier = match &settings.client_ca {
        None => Arc::new(NoClientAuth),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots
                    .add(authority)
                    .map_err(|error| unfit(path, "a certificate that cannot be used", &error))?;
            }
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(|error| unfit(path, "no authority of certificates", &error))?
        }
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::of(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, private)
        .map_err(|error| {
            let message = format!(
                "`{}` and `{}` are not usable together: {error}",
                certificate.display(),
                key.display()
            );
            Failure::usage(message).hint(
                "`serve.tls.certificate` begins with the service's own certificate, and \
                 `serve.tls.key` is its key",
            )
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        Failure::usage(format!("cannot read `{}`: {error}", path.display()))
            .hint("`serve.tls.*` name files that this user can read")
    })
}

fn unfit(path: &Path, holds: &str, error: &dyn std::error::Error) -> Failure {
    let error = stanch_types::chain(error);
    Failure::usage(format!("`{}` holds {holds}: {error}", path.display()))
        .hint("`serve.tls.*` name files in PEM: `-----BEGIN …`")
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if all.is_empty() => Err(unfit(path, "no certificate", &pem::Error::NoItemsFound)),
        Ok(all) => Ok(all),
        Err(error) => Err(unfit(path, "no certificate", &error)),
    }
}

/// Whoever is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// They have shown a certificate by one of the authorities.
    pub certified: bool,
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        *stream.remote_addr()
    }
}

/// Connections whose handshake is done.
pub struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    clock: Arc<dyn Clock>,
    /// Those under way: who takes their time holds up nobody else.
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, Peer)>>,
}

impl TlsListener {
    /// TLS on every connection of `tcp`.
    pub fn new(tcp: TcpListener, config: Arc<ServerConfig>, clock: Arc<dyn Clock>) -> Self {
        Self {
            tcp,
            acceptor: config.into(),
            clock,
            handshakes: JoinSet::new(),
        }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                (stream, address) = Listener::accept(&mut self.tcp), if self.handshakes.len() < MOST => {
                    let (acceptor, clock) = (self.acceptor.clone(), Arc::clone(&self.clock));
                    self.handshakes.spawn(async move {
                        let shaken = tokio::select! {
                            shaken = acceptor.accept(stream) => shaken,
                            () = clock.sleep(PATIENCE) => Err(io::ErrorKind::TimedOut.into()),
                        };
                        match shaken {
                            Ok(stream) => {
                                let (_, session) = stream.get_ref();
                                let certified = session.peer_certificates().is_some();
                                Some((stream, Peer { certified }))
                            }
                            Err(error) => {
                                tracing::warn!(peer = %address, %error, "no TLS with this client");
                                None
                            }
                        }
                    });
                }
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        // Here an address says who is there: it is this process.
        Ok(Peer { certified: false })
    }
}
