//! One HTTP exchange. Connections are kept and used again; TLS roots are loaded only when the first
//! `https` request is made.

use std::{sync::OnceLock, time::Duration};

use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::http::Request;
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use stanch_types::chain;

use crate::{environment::Environment, protocol::HttpResponse};

/// An exchange that gave no whole response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("could not send: {0}")]
    Unsendable(String),
    #[error("no answer: {0}")]
    NoAnswer(String),
    #[error("the answer broke off: {0}")]
    CutOff(String),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

#[derive(Debug)]
pub(crate) struct Transport {
    plain: OnceLock<SharedHttpConnector>,
    tls: OnceLock<Result<SharedHttpConnector, String>>,
    environment: Environment,
    connect_timeout: Duration,
    body_limit: usize,
}

/// A signed request on its way.
pub(crate) struct Outgoing<'r> {
    pub(crate) method: &'r str,
    pub(crate) url: &'r str,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: &'r [u8],
}

impl Transport {
    pub(crate) const fn new(
        environment: Environment,
        connect_timeout: Duration,
        body_limit: usize,
    ) -> Self {
        Self {
            plain: OnceLock::new(),
            tls: OnceLock::new(),
            environment,
            connect_timeout,
            body_limit,
        }
    }

    pub(crate) async fn send(&self, request: Outgoing<'_>) -> Result<HttpResponse, TransportError> {
        let unsendable =
            |error: &dyn std::fmt::Display| TransportError::Unsendable(error.to_string());
        let mut out = Request::new(SdkBody::from(request.body));
        out.set_method(request.method).map_err(|e| unsendable(&e))?;
        out.set_uri(request.url).map_err(|e| unsendable(&e))?;
        for (name, value) in request.headers {
            out.headers_mut()
                .try_append(name, value)
                .map_err(|e| unsendable(&e))?;
        }
        let response = self
            .connector(request.url)?
            .call(out)
            .await
            .map_err(|error| TransportError::NoAnswer(chain(&error)))?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut stream = ByteStream::new(response.into_body());
        let mut body = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| TransportError::CutOff(chain(&error)))?;
            if body.len() + chunk.len() > self.body_limit {
                return Err(TransportError::TooLarge(self.body_limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpResponse {
            status,
            headers,
            body,
        })
    }

    fn connector(&self, url: &str) -> Result<&SharedHttpConnector, TransportError> {
        let settings = HttpConnectorSettings::builder()
            .connect_timeout(self.connect_timeout)
            .build();
        let builder = || {
            Connector::builder()
                .connector_settings(settings)
                .sleep_impl(TokioSleep::new())
        };
        if !url.starts_with("https:") {
            let connector = || SharedHttpConnector::new(builder().build_http());
            return Ok(self.plain.get_or_init(connector));
        }
        let connector = || {
            let context = TlsContext::builder()
                .with_trust_store(match self.environment.ca_bundle() {
                    Some(bundle) => {
                        check_bundle(bundle).map_err(|why| format!("`AWS_CA_BUNDLE`: {why}"))?;
                        TrustStore::empty().with_pem_certificate(bundle)
                    }
                    None => TrustStore::default(),
                })
                .build()
                .map_err(|error| chain(&error))?;
            let mut builder = builder().tls_provider(Provider::Rustls(CryptoMode::Ring));
            if let Some((proxy, except)) = self.environment.https_proxy() {
                let proxy = ProxyConfig::https(proxy).map_err(|error| {
                    format!("`HTTPS_PROXY`: `{proxy}` is not a proxy's URL: {error}")
                })?;
                builder = builder.proxy_config(proxy.no_proxy(except));
            }
            Ok(SharedHttpConnector::new(
                builder.tls_context(context).build(),
            ))
        };
        match self.tls.get_or_init(connector) {
            Ok(connector) => Ok(connector),
            Err(why) => Err(TransportError::Unsendable(why.clone())),
        }
    }
}

/// The trust store panics on what is not a certificate.
fn check_bundle(pem: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("the file has no certificate, or cannot be read".to_owned());
    }
    Ok(())
}

/// What the credential chain speaks to STS, SSO and metadata services with.
pub(crate) fn http_client() -> SharedHttpClient {
    Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https()
}
