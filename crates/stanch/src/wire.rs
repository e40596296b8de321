//! Adapters put to the ports of the core. Everything is built when it is first needed.

use std::{
    cell::OnceCell,
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use stanch_aws::{
    Client, Environment, HttpClient, MemberRole, MemberSessions, SessionsSetup, Setup, SystemClock,
    SystemRandom,
};
use stanch_catalog::{Catalog, FileDiagnostic};
use stanch_config::{
    ConfigError, DEFAULT_FILE, Feeds, Files, LARGEST_FEED, Origin, Override, RandomIds, Resolved,
    RulesError, Text, WITNESS,
};
use stanch_guard::{Guard, Rules};
use stanch_hub::{Hub, Links, ModelSecrets, Notifier, Ports, Settings};
use stanch_ledger::{
    BucketShelf, Checkpoint, Directives, DynamoLedger, KeyFile, KmsSigner, Ledger, RemediationId,
    Retention, SealedLedger, Signer, SqliteLedger, Store, Vault, VerifierKey, Witness,
};
use stanch_models::{Models, Service};
use stanch_notify::{LogFolder, Patience, Sender};
use stanch_syntax::Severity;
use stanch_types::{Api as _, Call, Clock, Region};

use crate::{
    accounts::installation,
    cli::Global,
    notify::Terminal,
    output::{Failure, say},
    proof,
    serve::long_enough,
};

/// The orchestrator's timeout (`administrator-stack.yaml`), and a little for the way.
const ORCHESTRATOR_TIMEOUT: Duration = Duration::from_secs(310);

/// The command's surroundings, read once.
pub struct Wire {
    /// The configuration.
    pub resolved: Resolved,
    /// Environment variables and the AWS config file.
    pub environment: Environment,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// True if JSON is asked for.
    pub json: bool,
    models: OnceCell<Arc<Models>>,
    ledger: OnceCell<Arc<dyn Store>>,
}

impl Wire {
    /// Reads environment and configuration; `more` is what the command's own flags set.
    pub fn new(global: Global, more: Vec<Override>) -> Result<Self, Failure> {
        let environment = Environment::from_process();
        let mut overrides = stanch_config::from_environment(|name| environment.get(name));
        let flag = |key: &str, value: String| Override::from_text(key, &value, Origin::CommandLine);
        overrides.extend(
            global
                .set
                .iter()
                .map(|(key, value)| flag(key, value.clone())),
        );
        overrides.extend(
            global
                .ledger
                .map(|path| flag("ledger", path.to_string_lossy().into_owned())),
        );
        overrides.extend(global.endpoint_url.map(|url| flag("aws.endpoint_url", url)));
        overrides.extend(more);
        let resolved = stanch_config::resolve(read_config(global.config.as_deref())?, overrides)?;
        let environment = match &resolved.config.aws.endpoint_url {
            Some(url) => environment.with_variable("AWS_ENDPOINT_URL", url),
            None => environment,
        };
        Ok(Self {
            resolved,
            environment,
            clock: Arc::new(SystemClock::default()),
            json: global.json,
            models: OnceCell::new(),
            ledger: OnceCell::new(),
        })
    }

    /// The API models.
    pub fn models(&self) -> Result<Arc<Models>, Failure> {
        if let Some(models) = self.models.get() {
            return Ok(Arc::clone(models));
        }
        let mut models = Models::embedded().map_err(|error| Failure::of(&error))?;
        for path in &self.resolved.config.aws.service_models {
            models.bring(brought(path)?);
        }
        Ok(Arc::clone(self.models.get_or_init(|| Arc::new(models))))
    }

    /// AWS with the command's own credentials.
    pub fn client(&self, region: Region) -> Result<Client, Failure> {
        let mut setup = self.setup()?;
        setup.call_timeout = self.resolved.config.aws.call_timeout;
        Ok(Client::new(setup, region))
    }

    fn setup(&self) -> Result<Setup, Failure> {
        Ok(Setup::new(
            self.environment.clone(),
            self.models()?,
            Arc::clone(&self.clock),
            Arc::new(SystemRandom),
        ))
    }

    /// The region that was asked for, or the environment's.
    pub fn region(&self, asked: Option<Region>) -> Result<Region, Failure> {
        asked.or_else(|| self.environment.region()).ok_or_else(|| {
            Failure::usage("no region is given").hint("pass `--region`, or set `AWS_REGION`")
        })
    }

    /// Sessions in the member accounts.
    pub fn sessions(&self) -> Result<MemberSessions, Failure> {
        let config = &self.resolved.config;
        let role = MemberRole {
            name: config.aws.member_role.clone(),
            external_id: None,
        };
        let accounts = config.accounts.iter().map(|(id, member)| {
            let own = MemberRole {
                name: member
                    .role
                    .clone()
                    .unwrap_or_else(|| config.aws.member_role.clone()),
                external_id: member.external_id.clone(),
            };
            (id.clone(), own)
        });
        let setup = SessionsSetup {
            accounts: accounts.collect::<HashMap<_, _>>(),
            role,
        };
        Ok(MemberSessions::new(self.client_anywhere()?, setup))
    }

    /// AWS for those who say themselves which region they want.
    fn client_anywhere(&self) -> Result<Client, Failure> {
        let region = match self.environment.region() {
            Some(region) => region,
            None => "us-east-1".parse().map_err(|error| Failure::of(&error))?,
        };
        self.client(region)
    }

    /// The built-in remediations and those of the configured folders, each of these proved.
    pub fn catalog(&self) -> Result<Arc<Catalog>, Failure> {
        let (catalog, own) = self.load(&[])?;
        for (path, text) in &own {
            proof::demand(Path::new(path), text)?;
        }
        Ok(Arc::new(catalog))
    }

    /// The same with what is not proved: to look at, and for test accounts.
    pub fn unproved_catalog(&self) -> Result<Arc<Catalog>, Failure> {
        Ok(Arc::new(self.load(&[])?.0))
    }

    /// The built-in remediations, those of the configured folders, and those of `more`; and path and
    /// text of the files that are not built in.
    pub fn load(
        &self,
        more: &[(String, String)],
    ) -> Result<(Catalog, Vec<(String, String)>), Failure> {
        let same = |a: &str, b: &str| {
            a == b || matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
        };
        let mut own: Vec<(String, String)> = more.to_vec();
        for folder in &self.resolved.config.catalog_dirs {
            for file in read_files(folder, &["yaml", "yml"])? {
                if own.iter().all(|(path, _)| !same(path, &file.0)) {
                    own.push(file);
                }
            }
        }
        let mut catalog = Catalog::embedded();
        if own.is_empty() {
            return Ok((catalog, own));
        }
        // Files of one's own may be wrong about the API, too; those that are built in are tested.
        let models = self.models()?;
        let mut found = Vec::new();
        for (path, text) in &own {
            let complaints = stanch_catalog::check(text, &models).into_iter();
            found.extend(complaints.map(|diagnostic| FileDiagnostic {
                path: path.clone(),
                diagnostic,
            }));
        }
        for conflict in catalog.extend(own.iter().cloned()) {
            if !found.contains(&conflict) {
                found.push(conflict);
            }
        }
        let mut broken = false;
        for diagnostic in &found {
            broken |= diagnostic.diagnostic.severity == Severity::Error;
            say(diagnostic);
        }
        if broken {
            return Err(Failure::usage("the catalog has errors")
                .hint("correct the files, or take their folder out of `catalog_dirs`"));
        }
        Ok((catalog, own))
    }

    /// The configured guard.
    pub async fn guard(&self, catalog: &Catalog) -> Result<Guard, Failure> {
        let rules = self.rules().await?;
        Guard::load(rules, catalog, self.clock.now()).map_err(|problems| {
            Failure::usage(format!("the guard cannot be used:\n{problems}"))
                .hint("nothing runs until its files are right; `stanch policy check` checks them")
        })
    }

    /// What the guard is made of, its files read and its feeds fetched.
    pub async fn rules(&self) -> Result<Rules, Failure> {
        let config = &self.resolved.config;
        // A ledger in tables has no folder of its own here.
        let beside = match config.audit_table() {
            Some(_) => Path::new("stanch"),
            None => &config.ledger,
        };
        let mut folder = beside.as_os_str().to_owned();
        folder.push(".feeds");
        let environment = self.environment.clone();
        let feeds = Feeds::new(
            Arc::new(HttpClient::reading(environment, LARGEST_FEED)),
            Arc::clone(&self.clock),
            folder,
            config.guard.threat_feeds_every,
        );
        let wrong = |error: RulesError| Failure::usage(error.to_string()).hint(error.hint());
        let fetched = feeds.fetch(&config.guard.threat_feeds).await;
        stanch_config::rules(&self.resolved, &Folders, &fetched.map_err(wrong)?).map_err(wrong)
    }

    /// The ledger, made if there is none: a file is, a table is deployed.
    pub fn ledger(&self) -> Result<Arc<dyn Store>, Failure> {
        if let Some(ledger) = self.ledger.get() {
            return Ok(Arc::clone(ledger));
        }
        let ledger: Arc<dyn Store> = match self.tables()? {
            Some(tables) => Arc::new(tables),
            None => Arc::new(SqliteLedger::open(&self.resolved.config.ledger)?),
        };
        Ok(Arc::clone(self.ledger.get_or_init(|| ledger)))
    }

    /// The ledger, if it is in tables.
    pub fn tables(&self) -> Result<Option<DynamoLedger>, Failure> {
        let config = &self.resolved.config;
        if config.audit_table().is_none() {
            return Ok(None);
        }
        let tables = config.tables(self.retention()?);
        let api = Arc::new(self.client(self.region(None)?)?);
        Ok(tables.map(|tables| DynamoLedger::new(api, tables)))
    }

    /// How long the contents of events are kept, by class of remediation.
    pub fn retention(&self) -> Result<Retention, Failure> {
        let days = self.resolved.config.audit.retention_days;
        Ok(days.of(self.unproved_catalog()?))
    }

    /// The ledger as one of the administrator regions has it.
    pub fn ledger_in(&self, region: Region) -> Result<Arc<dyn Store>, Failure> {
        let tables = self.resolved.config.tables(self.retention()?);
        let tables = tables.ok_or_else(|| {
            Failure::usage("the ledger is in no tables that could have replicas")
                .hint("set `ledger = \"dynamodb:SecurityRemediationAuditLog\"`")
        })?;
        let api = Arc::new(self.client(region)?);
        Ok(Arc::new(DynamoLedger::new(api, tables)))
    }

    /// The key that signs the ledger's checkpoints, made if there is none.
    pub async fn signer(&self) -> Result<Box<dyn Signer>, Failure> {
        if let Some(id) = self.resolved.config.audit.kms_key() {
            return Ok(Box::new(self.kms(id).await?));
        }
        let path = self.key_file()?;
        if self.resolved.config.audit.key.is_none() {
            make_key(&path, "signs the ledger", KeyFile::create)?;
        }
        Ok(Box::new(self.own_key(&path)?))
    }

    async fn kms(&self, id: &str) -> Result<KmsSigner, Failure> {
        let api = Arc::new(self.client(self.region(None)?)?);
        let origin = self.resolved.config.audit.origin.as_deref();
        let signer = KmsSigner::open(api, id, origin).await;
        signer.map_err(|error| {
            Failure::of(&error).hint(
                "`audit.key` names a key of the kind `ECC_NIST_EDWARDS25519`, for which these credentials need `kms:GetPublicKey` and `kms:Sign`",
            )
        })
    }

    /// The public key of the ledger, if its key is there.
    pub async fn verifier(&self) -> Result<Option<VerifierKey>, Failure> {
        let audit = &self.resolved.config.audit;
        if let Some(id) = audit.kms_key() {
            return Ok(Some(self.kms(id).await?.key().clone()));
        }
        if self.is_unsigned() {
            return Ok(None);
        }
        let path = self.key_file()?;
        match path.exists() {
            true => Ok(Some(self.own_key(&path)?.key().clone())),
            false => Ok(None),
        }
    }

    /// Whoever sweeps the tables signs them.
    fn is_unsigned(&self) -> bool {
        let config = &self.resolved.config;
        config.audit_table().is_some() && config.audit.key.is_none()
    }

    fn key_file(&self) -> Result<PathBuf, Failure> {
        match self.resolved.config.audit.key.clone() {
            Some(key) => Ok(key),
            None => self.beside_ledger("audit.key", ".key"),
        }
    }

    /// Where a key is that the setting `key` does not name.
    fn beside_ledger(&self, key: &str, end: &str) -> Result<PathBuf, Failure> {
        let config = &self.resolved.config;
        if config.audit_table().is_some() {
            let message = format!("the ledger is in a table, and `{key}` is not set");
            return Err(Failure::usage(message).hint(match key {
                "audit.key" => "name a file, or `kms:` and a key of AWS KMS",
                _ => "name a file with the key of the functions that write the table",
            }));
        }
        let mut path = config.ledger.clone().into_os_string();
        path.push(end);
        Ok(path.into())
    }

    /// `ledger` with secrets sealed, for whoever carries plans out.
    fn sealed(&self, ledger: Arc<dyn Ledger>) -> Result<Arc<dyn Ledger>, Failure> {
        let configured = self.resolved.config.audit.vault.clone();
        let path = match configured.clone() {
            Some(path) => path,
            None => self.beside_ledger("audit.vault", ".vault")?,
        };
        let no_vault = |error: std::io::Error| {
            Failure::usage(format!("cannot use the key `{}`: {error}", path.display()))
                .hint("`audit.vault` names a file with 32 random bytes: `openssl rand -base64 32`")
        };
        if configured.is_none() {
            make_key(&path, "seals secrets in the ledger", Vault::create)?;
        }
        let vault = Vault::open(&path).map_err(no_vault)?;
        let secrets = Arc::new(ModelSecrets::new(self.models()?));
        Ok(Arc::new(SealedLedger::new(ledger, vault, secrets)))
    }

    fn own_key(&self, path: &Path) -> Result<KeyFile, Failure> {
        let origin = self.resolved.config.audit.origin.as_deref();
        KeyFile::open(path, origin).map_err(|error| no_key(path, &error))
    }

    /// The witness's copy of the ledger's tree, if logs are kept, or in the bucket of a ledger in tables.
    pub async fn witness(&self) -> Result<Option<Witness>, Failure> {
        let config = &self.resolved.config;
        if let Some(logs) = &config.logs {
            return open_witness(&logs.join("ledger")).map(Some);
        }
        let (Some(_), Some(bucket)) = (config.audit_table(), &config.audit.bucket) else {
            return Ok(None);
        };
        let api = Arc::new(self.client(self.region(None)?)?);
        let shelf = Arc::new(BucketShelf::new(api, bucket, WITNESS));
        let witness = Witness::on(shelf).await;
        let witness =
            witness.map_err(|error| unreadable(&format!("s3://{bucket}/{WITNESS}"), &error));
        witness.map(Some)
    }

    /// Signs what the ledger has become, if it was opened to be written, and shows it to the witness.
    pub async fn sign(&self) -> Result<Option<Checkpoint>, Failure> {
        let Some(ledger) = self.ledger.get().filter(|_| !self.is_unsigned()) else {
            return Ok(None);
        };
        let signer = self.signer().await?;
        if let Some(tables) = self.tables()? {
            for broken in tables.sweep(self.clock.now()).await?.broken {
                say(format_args!("{broken}: `stanch ledger verify` says more"));
            }
        }
        let checkpoint = ledger.checkpoint(&*signer).await?;
        if let Some(mut witness) = self.witness().await? {
            let published = witness.publish(&**ledger, &checkpoint).await;
            published.map_err(|error| {
                Failure::of(&error)
                    .hint("`stanch ledger verify` says what is wrong; keep both as evidence")
            })?;
        }
        Ok(Some(checkpoint))
    }

    /// The ledger, for reading.
    pub fn ledger_to_read(&self) -> Result<Arc<dyn Store>, Failure> {
        if let Some(tables) = self.tables()? {
            return Ok(Arc::new(tables));
        }
        self.existing_ledger()?;
        Ok(Arc::new(SqliteLedger::open_read_only(
            &self.resolved.config.ledger,
        )?))
    }

    /// The ledger's file; none if it is in tables.
    pub fn ledger_file(&self) -> Result<&Path, Failure> {
        let config = &self.resolved.config;
        match config.audit_table() {
            Some(table) => {
                let message = format!("the ledger is in the table `{table}`, not in a file");
                Err(Failure::usage(message).hint(
                    "AWS keeps its backups: `aws dynamodb restore-table-to-point-in-time`; `stanch ledger export` writes all of it, and `restore` puts that into empty tables",
                ))
            }
            None => Ok(&config.ledger),
        }
    }

    /// The ledger has to be there.
    pub fn existing_ledger(&self) -> Result<(), Failure> {
        let config = &self.resolved.config;
        if config.audit_table().is_some() || config.ledger.exists() {
            return Ok(());
        }
        let message = format!("there is no ledger `{}`", config.ledger.display());
        Err(Failure::usage(message).hint(
            "the first `stanch remediate` or `stanch serve` makes it; `--ledger` or `--config` names another",
        ))
    }

    /// The hub on `ledger`, with the configured channels and `more`.
    pub async fn hub(
        &self,
        ledger: Arc<dyn Store>,
        mut settings: Settings,
        mut more: Vec<Arc<dyn Notifier>>,
    ) -> Result<Arc<Hub>, Failure> {
        let catalog = self.catalog()?;
        if let Some(problem) = self.parameter_problems(&catalog).into_iter().next() {
            return Err(Failure::usage(problem).hint("`stanch config check` lists all problems"));
        }
        settings.approval.links = self.links()?;
        more.extend(self.notifiers()?);
        let guard = self.guard(&catalog).await?;
        self.hub_of(catalog, ledger, settings, guard, more)
    }

    /// The hub of a catalog, which asks `guard` and tells `notifiers`.
    pub fn hub_of(
        &self,
        catalog: Arc<Catalog>,
        ledger: Arc<dyn Store>,
        settings: Settings,
        guard: Guard,
        notifiers: Vec<Arc<dyn Notifier>>,
    ) -> Result<Arc<Hub>, Failure> {
        let ports = Ports {
            sessions: Arc::new(self.sessions()?),
            directives: Arc::clone(&ledger) as Arc<dyn Directives>,
            ledger: match self.ledger.get() {
                Some(_) => self.sealed(ledger)?,
                // What is only in memory is not kept.
                None => ledger,
            },
            clock: Arc::clone(&self.clock),
            ids: Arc::new(RandomIds),
            guard: Arc::new(guard),
            notifiers,
        };
        Ok(Arc::new(Hub::new(ports, settings, catalog, self.models()?)))
    }

    /// What is wrong with the parameters that the configuration sets.
    pub fn parameter_problems(&self, catalog: &Catalog) -> Vec<String> {
        let check = |(name, settings): (&String, &Map<String, Value>)| {
            let Some(remediation) = catalog.get(name) else {
                return Some(format!(
                    "`parameters` names `{name}`, which is no remediation"
                ));
            };
            let error = remediation.check_settings(settings).err()?;
            Some(format!("`parameters.{name}`: {error}"))
        };
        self.resolved
            .config
            .parameters
            .iter()
            .filter_map(check)
            .collect()
    }

    /// True if no configured channel reaches people: then they read what the command says.
    pub fn reaches_nobody_else(&self) -> bool {
        let config = &self.resolved.config;
        !config.notify.reach_people() && config.approval.webhooks.is_empty()
    }

    /// What the terminal is told, where people read it.
    pub fn terminal(&self) -> Vec<Arc<dyn Notifier>> {
        match self.reaches_nobody_else() {
            true => vec![Arc::new(Terminal)],
            false => Vec::new(),
        }
    }

    /// What signs the links by which people answer, if that is configured.
    fn links(&self) -> Result<Option<Links>, Failure> {
        let config = &self.resolved.config;
        let Some(path) = &config.approval.link_key_file else {
            return Ok(None);
        };
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!("cannot read `{}`: {error}", path.display()))
        })?;
        let key = long_enough(&text, path, 32)?;
        let base = match &config.approval.public_url {
            Some(url) if url.starts_with("https://") || url.starts_with("http://") => url.clone(),
            Some(url) => {
                return Err(
                    Failure::usage(format!("`approval.public_url` is no URL: `{url}`"))
                        .hint("write `https://…`, as people reach `stanch serve`"),
                );
            }
            None if config.serve.tls.certificate.is_some() => {
                format!("https://{}", config.serve.listen)
            }
            None => format!("http://{}", config.serve.listen),
        };
        Ok(Some(Links::new(key, &base)))
    }

    /// The configured channels.
    pub fn notifiers(&self) -> Result<Vec<Arc<dyn Notifier>>, Failure> {
        let config = &self.resolved.config;
        let mut notifiers: Vec<Arc<dyn Notifier>> = Vec::new();
        if let Some(folder) = &config.logs {
            notifiers.push(Arc::new(LogFolder::new(folder.clone())));
        }
        let http = Arc::new(HttpClient::new(self.environment.clone()));
        let sender = Sender::new(http, Arc::clone(&self.clock), Patience::default());
        for subscriber in config.notify.subscribers(&sender) {
            notifiers.push(Arc::new(subscriber));
        }
        for subscriber in config.approval.subscribers(&sender) {
            notifiers.push(Arc::new(subscriber));
        }
        if config.notify.are_in_aws() {
            let client = self.client_anywhere()?;
            let in_aws = stanch_notify::Aws {
                own: Arc::new(move |region| Arc::new(client.in_region(region.clone()))),
                members: Arc::new(self.sessions()?),
            };
            notifiers.extend(config.notify.in_aws(&in_aws));
        }
        Ok(notifiers)
    }

    /// Asks AWS whether this code is what the person's MFA device shows. A code counts once.
    pub async fn second_factor(&self, person: &str, code: &str) -> Result<(), Failure> {
        let known = self.resolved.config.guard.people.get(person);
        let Some(serial) = known.and_then(|known| known.mfa_serial.clone()) else {
            return Err(
                Failure::usage(format!("the MFA device of `{person}` is not known"))
                    .hint("set `guard.people.<person>.mfa_serial` to its ARN"),
            );
        };
        let call = Call::new(
            "sts",
            "GetSessionToken",
            json!({"SerialNumber": serial, "TokenCode": code, "DurationSeconds": 900}),
        );
        let answer = self.client(self.region(None)?)?.call(&call).await;
        answer.map(drop).map_err(|error| {
            Failure::of(&error).hint("wait for the next code of the device, and try again")
        })
    }

    /// True if functions in AWS carry out what people answer: only their role may enter accounts.
    pub fn works_elsewhere(&self) -> bool {
        self.resolved.config.audit_table().is_some()
    }

    /// Asks the functions to go on with a remediation. Where nobody may, their next sweep does.
    pub async fn call_for(&self, id: RemediationId) {
        let entry = json!({
            "Source": "stanch",
            "DetailType": "Continue",
            "Detail": json!({ "remediationId": id }).to_string(),
        });
        let call = Call::new("events", "PutEvents", json!({ "Entries": [entry] }));
        let called = match self.region(None).and_then(|region| self.client(region)) {
            Ok(client) => client.call(&call).await.map_err(|error| error.to_string()),
            Err(failure) => Err(failure.message),
        };
        let refused = match called {
            Ok(reply) => reply.output.get("FailedEntryCount").and_then(Value::as_u64) != Some(0),
            Err(error) => {
                say(format_args!("the functions could not be called: {error}"));
                true
            }
        };
        if refused {
            say("the answer is recorded; the next sweep goes on with it");
        }
    }

    /// What the orchestrator answers. It is called once, and given the time that it may take.
    pub async fn ask_orchestrator(&self, event: &Value) -> Result<Value, Failure> {
        let installation = installation(self)?;
        let mut setup = self.setup()?;
        setup.attempts = 1;
        setup.call_timeout = ORCHESTRATOR_TIMEOUT;
        let params = json!({
            "FunctionName": installation.named("Orchestrator"),
            "Payload": STANDARD.encode(event.to_string()),
        });
        let client = Client::new(setup, installation.region);
        let reply = client.call(&Call::new("lambda", "Invoke", params)).await?;
        let payload = reply.output.get("Payload").and_then(Value::as_str);
        let payload = STANDARD.decode(payload.unwrap_or_default());
        let answer: Option<Value> = payload
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        match (reply.output.get("FunctionError"), answer) {
            (None, Some(answer)) => Ok(answer),
            (_, answer) => {
                let said = answer.unwrap_or_default().to_string();
                let failure = Failure::failed(format!("the orchestrator failed: {said}"));
                Err(failure.hint("`stanch doctor` looks at it"))
            }
        }
    }

    /// Who asks: the flag, the configuration, or the user's name.
    pub fn person(&self, flag: Option<String>) -> Result<String, Failure> {
        let user = || {
            ["USER", "LOGNAME", "USERNAME"]
                .iter()
                .find_map(|name| self.environment.get(name))
        };
        flag.or_else(|| self.resolved.config.requester.clone())
            .or_else(|| user().map(str::to_owned))
            .ok_or_else(|| {
                Failure::usage("nobody knows who you are")
                    .hint("say it with `--as`: the ledger keeps it")
            })
    }
}

fn no_key(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("cannot use the key `{}`: {error}", path.display())).hint(
        "`audit.key` names an Ed25519 key: `openssl genpkey -algorithm ed25519 -out ledger.key`",
    )
}

/// Makes the key at `path`, if there is none.
///
/// Another process may make it at the same moment: then that is the key, and it is whole, as a key gets its
/// name only when all of it is written.
fn make_key(
    path: &Path,
    what_it_does: &str,
    create: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<(), Failure> {
    if path.exists() {
        return Ok(());
    }
    match create(path) {
        Ok(()) => say(format_args!(
            "made `{}`, the key that {what_it_does}: keep a copy elsewhere",
            path.display()
        )),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            let message = format!("cannot make the key `{}`: {error}", path.display());
            return Err(Failure::failed(message)
                .hint("make room beside the ledger, and let this user write there"));
        }
    }
    Ok(())
}

/// The witness's copy in `folder`.
pub fn open_witness(folder: &Path) -> Result<Witness, Failure> {
    Witness::open(folder).map_err(|error| unreadable(&folder.display().to_string(), &error))
}

fn unreadable(place: &str, error: &std::io::Error) -> Failure {
    let message = format!("cannot read the witness's copy in `{place}`: {error}");
    Failure::failed(message)
        .hint("restore it from its storage's history, and find out who changed it")
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let hint = match &error {
            ConfigError::Unreadable { .. } => "name another with `--config`",
            ConfigError::Unknown { .. } => "`stanch config show` lists all settings",
            ConfigError::Syntax { .. } | ConfigError::Value { .. } => {
                "docs/reference/configuration.md describes every setting"
            }
        };
        Self::usage(stanch_types::chain(&error)).hint(hint)
    }
}

/// A service of the user's own. Its name is the file's (`rockets.json`), or, for a `service-2.json`,
/// the folder's above its version, as botocore lays them out.
fn brought(path: &Path) -> Result<Service, Failure> {
    let fail = |reason: String| {
        Failure::usage(format!(
            "cannot use the service model `{}`: {reason}",
            path.display()
        ))
        .hint("`aws.service_models` names files in the format of botocore's `service-2.json`")
    };
    let name = match path.file_name().and_then(|name| name.to_str()) {
        Some("service-2.json") => path.ancestors().nth(2).and_then(Path::file_name),
        _ => path.file_stem(),
    };
    let name = name.and_then(|name| name.to_str()).unwrap_or_default();
    let text = fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    let json = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
    Service::from_service_2(name, &json).map_err(|error| fail(stanch_types::chain(&error)))
}

/// The configuration file: the default one may be missing, a named one may not.
fn read_config(file: Option<&Path>) -> Result<Option<Text>, ConfigError> {
    let path = file.unwrap_or_else(|| Path::new(DEFAULT_FILE));
    match fs::read_to_string(path) {
        Ok(toml) => Ok(Some(Text {
            path: path.to_owned(),
            toml,
        })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => Ok(None),
        Err(source) => Err(ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

/// This machine's folders.
struct Folders;

impl Files for Folders {
    fn read(&self, path: &Path) -> Result<String, String> {
        fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn folder(
        &self,
        path: &Path,
        extension: &str,
    ) -> Result<Option<Vec<(String, String)>>, String> {
        if !path.is_dir() {
            return Ok(None);
        }
        let files = read_files(path, &[extension]);
        files.map(Some).map_err(|failure| failure.message)
    }
}

/// Path and text of the files with one of these extensions below `folder`, by path.
pub fn read_files(folder: &Path, extensions: &[&str]) -> Result<Vec<(String, String)>, Failure> {
    let fail = |path: &Path, error: std::io::Error| {
        Failure::usage(format!("cannot read `{}`: {error}", path.display()))
    };
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| fail(&folder, error))? {
            let path = entry.map_err(|error| fail(&folder, error))?.path();
            let wanted = path
                .extension()
                .and_then(|e| e.to_str())
                .is_some_and(|e| extensions.contains(&e));
            if path.is_dir() {
                folders.push(path);
            } else if wanted {
                let text = fs::read_to_string(&path).map_err(|error| fail(&path, error))?;
                files.push((path.to_string_lossy().into_owned(), text));
            }
        }
    }
    files.sort();
    Ok(files)
}
