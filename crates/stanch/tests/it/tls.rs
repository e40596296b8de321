//! TLS at the service: who has a right certificate is served, all others are not.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{command::Workplace, served::Service};

/// One that issues certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
struct Identity {
    certificate: String,
    key: String,
}

const CLIENT: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ClientAuth;
const SERVER: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ServerAuth;

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, purpose: ExtendedKeyUsagePurpose, last_year: i32) -> Identity {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        let key = KeyPair::generate().unwrap();
        Identity {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A service with a certificate, and the authorities that it and its clients believe.
struct Fortress {
    here: Workplace,
    ours: Authority,
    producers: Authority,
}

impl Fortress {
    fn new() -> Self {
        let (ours, producers) = (Authority::new(), Authority::new());
        let service = ours.issue(SERVER, 2099);
        let here = Workplace::new();
        here.put("etc/service.pem", service.certificate);
        here.put("etc/service.key", service.key);
        here.put("etc/producers.pem", producers.pem());
        // Paths in the file are relative to it.
        here.put(
            "etc/stanch.toml",
            "[serve.tls]\ncertificate = \"service.pem\"\nkey = \"service.key\"\nclient_ca = \"producers.pem\"\n",
        );
        Self {
            here,
            ours,
            producers,
        }
    }

    fn serve(&self, arguments: &[&str]) -> Service {
        let arguments = [&["--config", "etc/stanch.toml"], arguments].concat();
        Service::start(&self.here, &arguments)
    }

    /// Status and body of the answer to a request by whoever has this certificate; or why there is
    /// none.
    fn ask(
        &self,
        service: &Service,
        identity: Option<&Identity>,
        head: &str,
    ) -> Result<(u16, String), std::io::Error> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.ours.pem().as_bytes()).unwrap();
        roots.add(authority).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let client = match identity {
            None => client.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                client
                    .with_client_auth_cert(vec![certificate], key)
                    .unwrap()
            }
        };
        let name = "localhost".try_into().unwrap();
        let session = ClientConnection::new(Arc::new(client), name).unwrap();
        let tcp = TcpStream::connect(service.address()).unwrap();
        let mut stream = StreamOwned::new(session, tcp);
        write!(
            stream,
            "{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        Ok((status, answer.split_once("\r\n\r\n").unwrap().1.to_owned()))
    }
}

const EVENTS: &str = "POST /events HTTP/1.1";

#[test]
fn who_has_a_right_certificate_is_served_and_nobody_else() {
    let fortress = Fortress::new();
    // With client certificates it may be where others reach it.
    let service = fortress.serve(&["--listen", "0.0.0.0:0"]);
    let ask = |identity: Option<&Identity>, head: &str| fortress.ask(&service, identity, head);

    // Who connects and says nothing holds up nobody.
    let _silent = TcpStream::connect(service.address()).unwrap();
    let producer = fortress.producers.issue(CLIENT, 2099);
    assert_eq!(ask(Some(&producer), EVENTS).unwrap().0, 202);
    assert_eq!(
        ask(Some(&producer), "GET /metrics HTTP/1.1").unwrap().0,
        200
    );

    let (status, refusal) = ask(None, EVENTS).unwrap();
    assert_eq!(status, 401);
    assert!(
        refusal.contains("there is no client certificate"),
        "{refusal}"
    );
    assert_eq!(ask(None, "GET /metrics HTTP/1.1").unwrap().0, 401);
    // What needs no secret needs no certificate either.
    assert_eq!(ask(None, "GET /health HTTP/1.1").unwrap().0, 200);
    assert_eq!(ask(None, "GET /approvals/x HTTP/1.1").unwrap().0, 404);

    // A browser shows its user's certificate for any page.
    let by_a_page = "POST /events HTTP/1.1\r\nOrigin: https://example.com";
    assert_eq!(ask(Some(&producer), by_a_page).unwrap().0, 403);

    for (what, stranger) in [
        ("of another authority", Authority::new().issue(CLIENT, 2099)),
        (
            "of the service's authority",
            fortress.ours.issue(CLIENT, 2099),
        ),
        ("that has ended", fortress.producers.issue(CLIENT, 2021)),
        ("of a server", fortress.producers.issue(SERVER, 2099)),
    ] {
        let answer = ask(Some(&stranger), EVENTS);
        assert!(answer.is_err(), "a certificate {what}: {answer:?}");
        let line = service.wait_for("no TLS with this client");
        assert!(line["error"].is_string(), "{line}");
    }

    // Who speaks plain HTTP gets no answer in it.
    let mut plain = TcpStream::connect(service.address()).unwrap();
    plain
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    plain
        .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    // The connection may be reset before all is read.
    let _ = plain.read_to_end(&mut answer);
    assert!(
        !String::from_utf8_lossy(&answer).contains("HTTP"),
        "{answer:?}"
    );
    assert_eq!(ask(Some(&producer), EVENTS).unwrap().0, 202);
    service.stop();
}

#[test]
fn a_secret_is_needed_beside_the_certificate_if_there_is_one() {
    let fortress = Fortress::new();
    let secret = "0123456789abcdef0123456789abcdef";
    fortress.here.put("secret", secret);
    let service = fortress.serve(&["--secret-file", "secret"]);
    let producer = fortress.producers.issue(CLIENT, 2099);
    let told = format!("{EVENTS}\r\nAuthorization: Bearer {secret}");
    let status = |identity, head: &str| fortress.ask(&service, identity, head).unwrap().0;
    assert_eq!(status(Some(&producer), EVENTS), 401);
    assert_eq!(status(None, &told), 401);
    assert_eq!(status(Some(&producer), &told), 202);
    service.stop();

    // TLS alone asks for no certificate.
    fortress.here.put(
        "etc/open.toml",
        "[serve.tls]\ncertificate = \"service.pem\"\nkey = \"service.key\"\n",
    );
    let arguments = ["--config", "etc/open.toml", "--secret-file", "secret"];
    let service = Service::start(&fortress.here, &arguments);
    let status = |head: &str| fortress.ask(&service, None, head).unwrap().0;
    assert_eq!(status(EVENTS), 401);
    assert_eq!(status(&told), 202);
    service.stop();
}

#[test]
fn what_is_wrong_with_the_files_is_told_with_what_to_do() {
    let fortress = Fortress::new();
    fortress
        .here
        .put("other.key", fortress.ours.issue(SERVER, 2099).key);
    fortress.here.put("text", "no PEM");
    let refused = |toml: &str, said: &str, hint: &str| {
        let here = &fortress.here;
        here.put(
            "stanch.toml",
            format!("[accounts.222222222222]\nexternal_id = \"x\"\n[serve.tls]\n{toml}"),
        );
        here.run(&["config", "check"])
            .exits(1)
            .says(said)
            .says("hint: ")
            .says(hint);
        here.run(&["serve", "--listen", "127.0.0.1:0"])
            .exits(2)
            .says(said)
            .says("hint: ")
            .says(hint);
    };
    let certificate = "certificate = \"etc/service.pem\"\n";
    let key = "key = \"etc/service.key\"\n";
    refused(
        certificate,
        "`serve.tls.key` is not",
        "private key as `serve.tls.key`",
    );
    refused(
        key,
        "`serve.tls.certificate` is not",
        "certificate as `serve.tls.certificate`",
    );
    refused(
        "client_ca = \"etc/producers.pem\"",
        "there is no TLS",
        "`serve.tls.certificate` and `serve.tls.key`",
    );
    let both = |more: &str| format!("{certificate}{key}{more}");
    refused(
        &both("client_ca = \"missing\""),
        "cannot read `missing`",
        "this user can read",
    );
    refused(
        &both("client_ca = \"text\""),
        "`text` holds no certificate",
        "PEM",
    );
    refused(
        &both("client_ca = \"etc/service.key\""),
        "holds no certificate",
        "PEM",
    );
    refused(
        &format!("{certificate}key = \"etc/service.pem\""),
        "holds no private key",
        "PEM",
    );
    refused(
        &format!("{certificate}key = \"other.key\""),
        "not usable together",
        "is its key",
    );

    // A certificate alone keeps nobody out.
    fortress.here.put(
        "stanch.toml",
        both("")
            .replace("cert", "serve.tls.cert")
            .replace("key =", "serve.tls.key ="),
    );
    fortress
        .here
        .run(&["serve", "--listen", "0.0.0.0:0"])
        .exits(2)
        .says("which others can reach")
        .says("`serve.tls.client_ca`");
}
