//! `stanch serve`: sources that deliver events, and the hub that works on them.
//!
//! Every source keeps an event until the ledger has it. On a signal they stop, the workers finish
//! what they have in hand, and what is left stands in the ledger for the next start.
//!
//! Where functions in AWS do the work, it is the page for approvals and nothing else: they alone may enter
//! accounts, and are called when somebody has answered.

mod approvals;
mod folder;
mod http;
mod poll;
mod queue;
mod tls;

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::ServerConfig;
use stanch_guard::Guard;
use stanch_hub::Hub;
use stanch_ledger::RemediationId;
use stanch_types::{Clock, Secret};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    cli,
    commands::archive,
    log,
    notify::LogLine,
    output::{Exit, Failure, one_line},
    wire::Wire,
};
use stanch_config::{Config, Origin, Override};

/// How often what waits for its time is looked at.
const RECOVER_EVERY: Duration = Duration::from_mins(1);

/// How long sources may take to stop. What they hold longer, such as a request that does not come to
/// its end, was not acknowledged and is delivered again.
const GRACE: Duration = Duration::from_secs(20);

/// The flags of the command as values of the configuration.
pub fn overrides(options: &cli::Serve) -> Vec<Override> {
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_ref()
            .map(|path| path.to_string_lossy().into_owned())
    };
    let regions = options.security_hub_region.join(",");
    let format = options.log.map(|format| match format {
        cli::LogFormat::Text => "text".to_owned(),
        cli::LogFormat::Json => "json".to_owned(),
    });
    let level = match options.verbose {
        0 => None,
        1 => Some("debug".to_owned()),
        _ => Some("trace".to_owned()),
    };
    let flags = [
        ("serve.listen", options.listen.clone()),
        ("serve.secret_file", path(&options.secret_file)),
        ("serve.inbox", path(&options.inbox)),
        ("serve.sqs_queue_url", options.sqs_queue_url.clone()),
        (
            "serve.security_hub_regions",
            (!regions.is_empty()).then_some(regions),
        ),
        ("log.format", format),
        ("log.level", level),
    ];
    let given = flags
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    given
        .map(|(key, value)| Override::from_text(key, &value, Origin::CommandLine))
        .collect()
}

/// What those must have who deliver events or ask for figures over HTTP.
pub struct Access {
    /// The secret that each request carries.
    pub secret: Option<Secret<String>>,
    /// A certificate by an authority of `serve.tls.client_ca`.
    pub certificate: bool,
}

/// How `serve.listen` is reached, and by whom: what must be carried, and TLS.
///
/// # Errors
/// Others could reach it and need not show anything, or a file is not what it should be.
pub fn access(config: &Config) -> Result<(Access, Option<Arc<ServerConfig>>), Failure> {
    let tls = tls::config(&config.serve.tls)?;
    let certificate = config.serve.tls.client_ca.is_some();
    let secret = match &config.serve.secret_file {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|error| {
                Failure::usage(format!("cannot read `{}`: {error}", path.display()))
            })?;
            Some(long_enough(&text, path, 16)?)
        }
        None => None,
    };
    if secret.is_none() && !certificate && !config.serve.listen.ip().is_loopback() {
        let message = format!(
            "`serve.listen` is {}, which others can reach, and there is no secret and no authority of \
             client certificates",
            config.serve.listen
        );
        return Err(Failure::usage(message).hint(
            "name a file with a secret as `serve.secret_file`, or the authority as \
             `serve.tls.client_ca`, or listen on 127.0.0.1",
        ));
    }
    let access = Access {
        secret,
        certificate,
    };
    Ok((access, tls))
}

/// Where functions in AWS take the events, nobody else does.
fn refuse_sources_elsewhere(wire: &Wire) -> Result<(), Failure> {
    let sources = &wire.resolved.config.serve;
    let named = sources.inbox.is_some()
        || sources.sqs_queue_url.is_some()
        || !sources.security_hub_regions.is_empty();
    if !(wire.works_elsewhere() && named) {
        return Ok(());
    }
    Err(Failure::usage(
        "functions in AWS take the events of this ledger; here is only the page for approvals",
    )
    .hint(
        "leave out `serve.inbox`, `serve.sqs_queue_url` and `serve.security_hub_regions`, or name a \
         ledger of this machine",
    ))
}

/// A secret that is not too short to be guessed.
pub fn long_enough(text: &str, path: &Path, least: usize) -> Result<Secret<String>, Failure> {
    match text.trim() {
        secret if secret.len() >= least => Ok(Secret::new(secret.to_owned())),
        _ => Err(Failure::usage(format!(
            "the secret in `{}` has less than {least} characters",
            path.display()
        ))
        .hint("make one with `openssl rand -hex 32`")),
    }
}

/// Ends when the service stops.
#[derive(Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits for the end.
    pub async fn wait(&self) {
        // The sender outlives all sources; if it did not, that would be the end too.
        let _ = self.0.clone().wait_for(|stopped| *stopped).await;
    }

    /// Waits that long; true if the service goes on.
    pub async fn pause(&self, clock: &dyn Clock, duration: Duration) -> bool {
        tokio::select! {
            () = self.wait() => false,
            () = clock.sleep(duration) => true,
        }
    }
}

/// What every source needs.
#[derive(Clone)]
pub struct Intake {
    /// Takes events.
    pub hub: Arc<Hub>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The end.
    pub stop: Stop,
    /// Takes what people have answered, where functions in AWS go on with it.
    pub answered: Option<mpsc::Sender<RemediationId>>,
}

/// How many answers may wait until the functions are called: people are slower than that.
const ANSWERS: usize = 64;

/// Serves until SIGTERM or SIGINT.
pub async fn serve(wire: &Wire) -> Result<Exit, Failure> {
    let config = &wire.resolved.config;
    refuse_sources_elsewhere(wire)?;
    let (access, tls) = access(config)?;
    // From here on a signal ends it in order.
    let signals = Signals::catch()?;
    log::start(config.log.format, config.log.level);
    let listener = tokio::net::TcpListener::bind(config.serve.listen)
        .await
        .map_err(|error| {
            Failure::failed(format!("cannot listen on {}: {error}", config.serve.listen))
                .hint("another process may; choose another address with `--listen`")
        })?;
    let hub = wire.hub(
        wire.ledger()?,
        config.settings(),
        vec![Arc::new(LogLine::new(wire.reaches_nobody_else()))],
    );
    let hub = hub.await?;
    let mut expired = BTreeSet::new();
    tell_of_expired(&hub.decides(), &mut expired, wire.clock.now());
    let (stop, receiver) = watch::channel(false);
    let (answered, answers) = mpsc::channel(ANSWERS);
    let intake = Intake {
        hub,
        clock: Arc::clone(&wire.clock),
        stop: Stop(receiver),
        answered: wire.works_elsewhere().then_some(answered),
    };
    let mut sources = JoinSet::new();
    let tls_speaks = tls.is_some();
    let address = listener.local_addr()?;
    sources.spawn(http::run(intake.clone(), listener, access, tls));
    let running = Running {
        signals,
        stop,
        sources,
    };
    if intake.answered.is_some() {
        tracing::info!(%address, tls = tls_speaks, "showing approvals; functions in AWS do the work");
        show_approvals(wire, running, answers).await;
    } else {
        tracing::info!(%address, tls = tls_speaks, "taking events over HTTP");
        take_events(wire, running, intake, expired).await?;
    }
    tracing::info!("stopped");
    Ok(Exit::Done)
}

/// What is running, and how it ends.
struct Running {
    signals: Signals,
    stop: watch::Sender<bool>,
    sources: JoinSet<()>,
}

impl Running {
    /// Stops the sources and waits for them, but not for ever.
    async fn end(mut self, clock: &dyn Clock) {
        let _ = self.stop.send(true);
        tokio::select! {
            () = async { while self.sources.join_next().await.is_some() {} } => {}
            () = clock.sleep(GRACE) => self.sources.abort_all(),
        }
    }
}

/// Shows approvals until a signal comes, and calls the functions that go on with what is answered.
async fn show_approvals(
    wire: &Wire,
    mut running: Running,
    mut answers: mpsc::Receiver<RemediationId>,
) {
    tokio::select! {
        () = running.signals.next() => {}
        () = async {
            while let Some(id) = answers.recv().await {
                wire.call_for(id).await;
            }
        } => {}
    }
    running.end(&*wire.clock).await;
    // What was answered last is handed on too.
    while let Ok(id) = answers.try_recv() {
        wire.call_for(id).await;
    }
}

/// Takes events from all sources that are configured, and works on them until a signal comes.
async fn take_events(
    wire: &Wire,
    mut running: Running,
    intake: Intake,
    expired: BTreeSet<String>,
) -> Result<(), Failure> {
    let config = &wire.resolved.config;
    let hub = Arc::clone(&intake.hub);
    let sources = &mut running.sources;
    let workers = {
        let hub = Arc::clone(&hub);
        tokio::spawn(async move { hub.run().await })
    };
    sources.spawn(recover(intake.clone()));
    if let Some(inbox) = &config.serve.inbox {
        tracing::info!(folder = %inbox.display(), "taking events from a folder");
        let folder = folder::Folder::open(inbox)?;
        sources.spawn(folder.run(intake.clone(), config.serve.inbox_every));
    }
    if let Some(url) = &config.serve.sqs_queue_url {
        let region = match queue::region(url) {
            Some(region) => region,
            None => wire.region(None)?,
        };
        tracing::info!(queue = url, %region, "taking events from a queue");
        sources.spawn(queue::run(
            intake.clone(),
            wire.client(region)?,
            url.clone(),
        ));
    }
    for region in &config.serve.security_hub_regions {
        tracing::info!(%region, "asking Security Hub");
        sources.spawn(poll::run(
            intake.clone(),
            wire.client(region.clone())?,
            config.serve.poll_every,
        ));
    }

    let signing = sign_regularly(wire, intake.clone());
    tokio::select! {
        () = running.signals.next() => {}
        () = signing => {}
        () = reread(wire, intake.clone(), expired) => {}
    }
    tracing::info!("stopping: what is in hand is finished");
    hub.stop();
    running.end(&*wire.clock).await;
    workers.await.map_err(|error| Failure::of(&error))?;
    wire.sign().await?;
    Ok(())
}

/// SIGTERM and SIGINT, which are caught from when this is made.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn catch() -> Result<Self, Failure> {
        #[cfg(unix)]
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
            #[cfg(unix)]
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        // There is nothing else to wait for if this fails.
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// How often is looked for what has been kept long enough.
const EXPIRE_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Signs the ledger as it grows, for its witness, and lets old contents expire.
async fn sign_regularly(wire: &Wire, intake: Intake) {
    let every = wire.resolved.config.audit.checkpoint_every;
    let mut next = wire.clock.now();
    loop {
        if wire.clock.now() >= next {
            next = next.saturating_add(EXPIRE_EVERY).unwrap_or(next);
            match archive::expire_old(wire, false).await {
                Ok(expired) if expired.is_empty() => {}
                Ok(expired) => tracing::info!(
                    count = expired.len(),
                    "contents of old remediations removed"
                ),
                Err(failure) => {
                    tracing::error!(error = failure.message, "cannot remove old contents")
                }
            }
        }
        if let Err(failure) = wire.sign().await {
            tracing::error!(
                error = failure.message,
                "the ledger cannot be signed or witnessed"
            );
        }
        if !intake.stop.pause(&*intake.clock, every).await {
            return;
        }
    }
}

/// Decides by what the guard's files and feeds say now. While they cannot be used nothing is begun, which
/// is told every time; what comes meanwhile waits.
async fn reread(wire: &Wire, intake: Intake, mut expired: BTreeSet<String>) {
    let every = wire.resolved.config.guard.reread_every;
    let hub = &intake.hub;
    while intake.stop.pause(&*intake.clock, every).await {
        // Also where the files say the same: what they say of times has another meaning by now.
        let guard = match wire.guard(hub.catalog()).await {
            Ok(guard) => guard,
            Err(Failure { message, .. }) => {
                let error = one_line(&message);
                tracing::error!(error, "nothing is begun: the rules cannot be read");
                hub.hold(format!("the rules cannot be read: {error}"));
                continue;
            }
        };
        tell_of_expired(&guard, &mut expired, intake.clock.now());
        let is_new = guard.hash() != hub.decides().hash();
        if hub.held().is_some() {
            tracing::info!(guard = guard.name(), "the rules can be read again");
        } else if is_new {
            tracing::info!(guard = guard.name(), "the guard decides by other rules");
        } else if guard.feeds().is_empty() {
            // Nothing in them has an end but exemptions, which are asked for the time itself.
            continue;
        }
        hub.decide_by(guard);
    }
}

/// Warns of exemptions that have expired, each once as long as it stands so: `told` are those that were
/// warned of.
fn tell_of_expired(guard: &Guard, told: &mut BTreeSet<String>, now: Timestamp) {
    let expired = guard.exemptions().expired(now);
    let expired: BTreeSet<String> = expired.map(ToString::to_string).collect();
    for exemption in expired.difference(told) {
        tracing::warn!(
            exemption,
            "an exemption has expired; what it covered waits for approvals"
        );
    }
    *told = expired;
}

/// Puts back to work what an earlier run left, and regularly what waited for its time.
async fn recover(intake: Intake) {
    loop {
        tokio::select! {
            // Waiting for room in a full queue must not hold up the end.
            () = intake.stop.wait() => return,
            recovered = intake.hub.recover() => match recovered {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "unfinished remediations go on"),
                Err(error) => tracing::error!(error = stanch_types::chain(&error), "cannot look for unfinished work"),
            }
        }
        if !intake.stop.pause(&*intake.clock, RECOVER_EVERY).await {
            return;
        }
    }
}
