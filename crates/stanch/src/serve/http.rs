//! Events over HTTP, health, and metrics.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, DefaultBodyLimit, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use rustls::ServerConfig;
use serde_json::json;
use sha2::{Digest, Sha256};
use stanch_hub::Source;
use stanch_ledger::{Query, Status};
use tokio::net::TcpListener;

use super::{
    Access, Intake, approvals,
    tls::{Peer, TlsListener},
};

/// A little more than the longest event, so that its reader can say what is wrong with one.
const LONGEST: usize = 10 << 20;

/// Serves until the end.
pub async fn run(
    intake: Intake,
    listener: TcpListener,
    access: Access,
    tls: Option<Arc<ServerConfig>>,
) {
    let (stop, clock) = (intake.stop.clone(), Arc::clone(&intake.clock));
    let app = Router::new()
        .route("/events", post(events))
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn_with_state(Arc::new(access), authorize))
        .route("/health", get(health))
        // A link is its own authority.
        .route(
            "/approvals/{link}",
            get(approvals::show).post(approvals::answer),
        )
        .layer(DefaultBodyLimit::max(LONGEST))
        .with_state(intake);
    let end = async move { stop.wait().await };
    let served = match tls {
        None => axum::serve(listener, app).with_graceful_shutdown(end).await,
        Some(tls) => {
            let app = app.into_make_service_with_connect_info::<Peer>();
            axum::serve(TlsListener::new(listener, tls, clock), app)
                .with_graceful_shutdown(end)
                .await
        }
    };
    if let Err(error) = served {
        tracing::error!(%error, "HTTP ended");
    }
}

fn refuse(status: StatusCode, error: &str, hint: &str) -> Response {
    (status, Json(json!({ "error": error, "hint": hint }))).into_response()
}

async fn authorize(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    if access.certificate && !peer.is_some_and(|ConnectInfo(peer)| peer.certified) {
        return refuse(
            StatusCode::UNAUTHORIZED,
            "there is no client certificate",
            "show one by an authority of `serve.tls.client_ca`",
        );
    }
    match &access.secret {
        Some(secret) if !carries(headers, secret.reveal()) => refuse(
            StatusCode::UNAUTHORIZED,
            "the secret is missing or wrong",
            "send `Authorization: Bearer` with the secret of `serve.secret_file`",
        ),
        // Without a secret, a page in a browser on this machine must not get through. A browser would
        // show its user's certificate for it, too.
        None if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") => {
            refuse(
                StatusCode::FORBIDDEN,
                "requests of web pages are refused",
                "configure `serve.secret_file`, and send the secret",
            )
        }
        _ => next.run(request).await,
    }
}

/// Compared as hashes, every byte of them, so that the time taken tells nothing of the secret.
fn carries(headers: &HeaderMap, secret: &str) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let (given, known) = (
        Sha256::digest(given.unwrap_or_default()),
        Sha256::digest(secret),
    );
    given
        .iter()
        .zip(known.iter())
        .fold(0, |different, (a, b)| different | (a ^ b))
        == 0
}

/// Answers once the ledger has it.
async fn events(State(intake): State<Intake>, body: Bytes) -> Response {
    if intake.answered.is_some() {
        return refuse(
            StatusCode::CONFLICT,
            "functions in AWS take the events of this ledger",
            "put it on the event bus that the administrator stack made",
        );
    }
    match intake.hub.take(&Source::automatic("http"), &body).await {
        Ok(taken) => (StatusCode::ACCEPTED, Json(taken)).into_response(),
        Err(error) => {
            let error = stanch_types::chain(&error);
            tracing::error!(error, "an event could not be taken");
            refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                &error,
                "send it again later",
            )
        }
    }
}

async fn health(State(intake): State<Intake>) -> Response {
    match intake
        .hub
        .ledger()
        .query(&Query::unfinished().limit(1))
        .await
    {
        Ok(_) => (StatusCode::OK, Json(json!({ "status": "ok" }))).into_response(),
        Err(error) => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            &stanch_types::chain(&error),
            "look at the ledger",
        ),
    }
}

/// The text format of Prometheus.
async fn metrics(State(intake): State<Intake>) -> Response {
    let counts = match intake.hub.ledger().counts(&Query::all()).await {
        Ok(counts) => counts,
        Err(error) => {
            return refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                &stanch_types::chain(&error),
                "look at the ledger",
            );
        }
    };
    let mut text = String::from(
        "# HELP stanch_remediations Remediations of the ledger by status.\n# TYPE stanch_remediations gauge\n",
    );
    for status in Status::ALL {
        let count = counts.get(&status).copied().unwrap_or(0);
        let _ = writeln!(text, "stanch_remediations{{status=\"{status}\"}} {count}");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
