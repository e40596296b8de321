//! Both stacks of `generated/cloudformation/` in an emulated organization, with our own functions in
//! them, and what can be seen of them from outside.
//!
//! MiniStack plays AWS with IAM enforced. What it lacks is in [`LACKING`], in the mends of the emulator
//! and in `emulator/stage.py`.

mod account;
mod daemon;
pub mod load;
mod mailbox;
pub mod scenarios;
mod seen;
pub mod standby;
mod templates;
pub mod walk;

use std::{
    collections::BTreeSet,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use stanch_types::{AccountId, CallError, ControlRef, InvalidId, Region};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    sync::Mutex,
};

use crate::{Emulator, EmulatorError, Maker, Misconfiguration};

pub use account::Account;
pub use seen::{Line, Mark, Spent, write_units};
pub use templates::{LACKING, archives, committed, template};

/// The administrator account.
pub const ADMINISTRATOR: &str = "111111111111";

/// What the external ids begin with.
pub const EXTERNAL_ID_PREFIX: &str = "an-external-id-prefix";

/// The organization that the emulator takes all accounts for, but [`FOREIGN`].
pub const ORGANIZATION: &str = "o-stanchtests";

/// An account of another organization.
pub const FOREIGN: &str = "999999999999";

/// The role in the member accounts.
pub const MEMBER_ROLE: &str = "SecurityRemediationCrossAccountRole";

/// The orchestrator's role.
pub const ORCHESTRATOR_ROLE: &str = "OrchestratorLambdaRole";

/// The name of the orchestrator.
pub const ORCHESTRATOR: &str = "SecurityRemediationOrchestrator";

/// The secret that the ledger's vault is made of.
const VAULT_SECRET: &str = "SecurityRemediation/Vault";

/// The secret that signs links.
const LINK_KEY_SECRET: &str = "SecurityRemediation/ApprovalLinks";

/// Where people are told that the page for approvals is.
const APPROVAL_PAGE: &str = "https://approvals.example.com";

/// The audit log's table.
pub const AUDIT_TABLE: &str = "SecurityRemediationAuditLog";

/// The table of locks and heads.
pub const STATE_TABLE: &str = "SecurityRemediationState";

/// Who may approve.
pub const APPROVER: &str = "bob";

/// The processor of the functions here.
pub const ARCHITECTURE: &str = "x86_64";

/// What comes of an attempt here.
pub type Outcome<T = ()> = Result<T, Trouble>;

/// What went wrong, or was not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The emulator.
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    /// A call that had to succeed.
    #[error("account `{account}`: {source}")]
    Call {
        /// Whose call.
        account: AccountId,
        /// What AWS said.
        source: Box<CallError>,
    },
    /// A stack.
    #[error("stack `{name}` is {status}: {}", .failed.join("; "))]
    Stack {
        /// Its name.
        name: String,
        /// Its status.
        status: String,
        /// The resources that failed, with the reasons.
        failed: Vec<String>,
    },
    /// It did not happen in time.
    #[error("{what}: not there after {seconds} seconds")]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// A file or a process.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An id of this module is none.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] stanch_ledger::LedgerError),
    /// What it takes is not there.
    #[error("not played: {0}")]
    NotPlayed(&'static str),
    /// It is not as it should be.
    #[error("{0}")]
    Said(String),
}

impl Trouble {
    /// An expectation that was not met.
    pub fn said(what: impl Into<String>) -> Self {
        Self::Said(what.into())
    }
}

/// Fails with `what` unless `holds`.
///
/// # Errors
/// It does not hold.
pub fn ensure(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(Trouble::Said(what()))
    }
}

/// How an organization is laid out.
#[derive(Debug, Clone)]
pub struct Layout<'a> {
    /// The archive with `bootstrap`.
    pub archive: &'a [u8],
    /// How many member accounts.
    pub members: usize,
    /// The regions of the member accounts; the first is the administrator's and their home.
    pub regions: &'a [&'a str],
    /// Further variables of the functions, beside what the template sets.
    pub variables: &'a [(&'a str, &'a str)],
}

/// The organization.
pub struct Deployed {
    emulator: Emulator,
    /// The administrator account, in its region.
    pub administrator: Account,
    /// The member accounts, in their home region.
    pub members: Vec<Account>,
    /// The regions of the member accounts.
    pub regions: Vec<Region>,
    /// Which of [`LACKING`] the templates needed.
    pub lacking: BTreeSet<&'static str>,
    /// How long the stacks took.
    pub took: Duration,
    /// What the topic told so far.
    heard: Mutex<Vec<Value>>,
    daemon: daemon::Daemon,
}

impl Deployed {
    /// Starts the emulator and deploys all stacks, as `docs/guides/deploy.md` tells an operator to.
    ///
    /// # Errors
    /// A stack is not whole.
    pub async fn start(layout: &Layout<'_>) -> Outcome<Self> {
        let mut deployed = Self::empty(layout).await?;
        let begin = std::time::Instant::now();
        deployed.deploy_administrator(layout).await?;
        deployed.deploy_members(layout.archive).await?;
        deployed.took = begin.elapsed();
        deployed.listen().await?;
        Ok(deployed)
    }

    /// Starts the emulator, and deploys nothing.
    ///
    /// # Errors
    /// It does not start.
    pub async fn empty(layout: &Layout<'_>) -> Outcome<Self> {
        let settings = [
            ("FOREIGN_ACCOUNTS", FOREIGN),
            ("REQUEST_BODY", "65536"),
            // Half a minute of a wait is three tenths of a second here.
            ("SFN_WAIT_SCALE", "0.01"),
        ];
        let emulator = Emulator::start_with(Maker::MiniStack, &settings)?;
        let endpoint = emulator.endpoint();
        let regions: Vec<Region> = layout
            .regions
            .iter()
            .map(|region| region.parse())
            .collect::<Result<_, _>>()?;
        let home = regions
            .first()
            .ok_or_else(|| Trouble::said("no region"))?
            .clone();
        let administrator = Account::root(&endpoint, &ADMINISTRATOR.parse()?, &home);
        let members = (0..layout.members)
            .map(|n| {
                let id = format!("{}", 222_222_222_222_u64 + n as u64).parse()?;
                Ok(Account::root(&endpoint, &id, &home))
            })
            .collect::<Outcome<Vec<_>>>()?;
        Ok(Self {
            emulator,
            administrator,
            members,
            regions,
            lacking: BTreeSet::new(),
            took: Duration::ZERO,
            heard: Mutex::default(),
            daemon: daemon::Daemon::start().await?,
        })
    }

    async fn deploy_administrator(&mut self, layout: &Layout<'_>) -> Outcome {
        let here = &self.administrator;
        let bucket = format!("artifacts-{}", here.id);
        here.create_bucket(&bucket).await?;
        let (monitoring, lacking) = template("administrator-monitoring.yaml")?;
        self.lacking.extend(lacking);
        let monitoring = monitoring.to_string();
        here.put(
            &bucket,
            "stanch/administrator-monitoring.yaml",
            monitoring.as_bytes(),
        )
        .await?;
        let stack = self.administrator_template(layout.variables)?;
        for key in archives(&stack, ARCHITECTURE) {
            here.put(&bucket, &key, layout.archive).await?;
        }
        let (_, lacking) = template("administrator-stack.yaml")?;
        self.lacking.extend(lacking);
        here.deploy("administrator", &stack, self.parameters())
            .await
    }

    /// The administrator's template, with further variables of its functions.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn administrator_template(&self, variables: &[(&str, &str)]) -> Outcome<Value> {
        let (mut stack, _) = template("administrator-stack.yaml")?;
        self.equip(&mut stack, variables);
        Ok(stack)
    }

    /// Gives the functions of a template further variables, and the address of X-Ray's daemon, as Lambda
    /// does.
    fn equip(&self, stack: &mut Value, variables: &[(&str, &str)]) {
        let daemon = ("AWS_XRAY_DAEMON_ADDRESS", &*self.daemon.address);
        let resources = stack
            .pointer_mut("/Resources")
            .and_then(Value::as_object_mut);
        for resource in resources.into_iter().flat_map(|all| all.values_mut()) {
            let set = resource.pointer_mut("/Properties/Environment/Variables");
            if let Some(set) = set.and_then(Value::as_object_mut) {
                let more = variables
                    .iter()
                    .chain([&daemon])
                    .map(|(name, value)| ((*name).to_owned(), json!(value)));
                set.extend(more);
            }
        }
    }

    /// The subsegments that X-Ray was sent so far.
    #[must_use]
    pub fn segments(&self) -> Vec<Value> {
        self.daemon.documents()
    }

    /// The parameters of the administrator's stack.
    #[must_use]
    pub fn parameters(&self) -> Value {
        let members: Vec<&AccountId> = self.members.iter().map(|member| &member.id).collect();
        json!({
            "ArtifactBucket": format!("artifacts-{}", self.administrator.id),
            "ExternalIdPrefix": EXTERNAL_ID_PREFIX,
            "OrganizationId": ORGANIZATION,
            "MemberAccounts": json!(members).to_string(),
            "Architecture": ARCHITECTURE,
            "AutomaticRemediation": "ENABLED",
            "EnableTracing": "true",
            "Approvers": APPROVER,
            "ApprovalPageUrl": APPROVAL_PAGE,
        })
    }

    /// The parameters of the members' stacks.
    fn member_parameters(&self) -> Value {
        json!({
            "AdministratorAccountId": self.administrator.id,
            "AdministratorRegion": self.administrator.region,
            "HomeRegion": self.administrator.region,
            "EnableTracing": "true",
            "ExternalIdPrefix": EXTERNAL_ID_PREFIX,
            "Architecture": ARCHITECTURE,
        })
    }

    /// In each account the home region first: its stack has the roles.
    async fn deploy_members(&mut self, archive: &[u8]) -> Outcome {
        let mut stacks = Vec::new();
        for region in &self.regions {
            let (mut stack, lacking) = template("member-stack.yaml")?;
            self.lacking.extend(lacking);
            self.equip(&mut stack, &[]);
            stacks.push((region, stack));
        }
        let parameters = self.member_parameters();
        for (region, stack) in &stacks {
            let here = self.administrator.in_region(region);
            let bucket = format!("stanch-artifacts-{region}");
            here.create_bucket(&bucket).await?;
            let all_may_read = json!({"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
                "Resource": format!("arn:aws:s3:::{bucket}/*"),
                "Condition": {"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}}}]});
            let policy = json!({"Bucket": bucket, "Policy": all_may_read.to_string()});
            here.call("s3", "PutBucketPolicy", policy).await?;
            for key in archives(stack, ARCHITECTURE) {
                here.put(&bucket, &key, archive).await?;
            }
        }
        for member in &self.members {
            for (region, stack) in &stacks {
                let here = member.in_region(region);
                here.deploy("member", stack, parameters.clone()).await?;
            }
        }
        Ok(())
    }

    /// The emulator.
    #[must_use]
    pub const fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    /// The first member account.
    ///
    /// # Errors
    /// There is none.
    pub fn member(&self) -> Outcome<&Account> {
        self.members
            .first()
            .ok_or_else(|| Trouble::said("no member account"))
    }

    /// A session of the orchestrator's role, as Lambda has one.
    ///
    /// # Errors
    /// The role does not let itself be assumed.
    pub async fn orchestrator(&self) -> Outcome<Account> {
        let arn = format!("arn:aws:iam::{ADMINISTRATOR}:role/{ORCHESTRATOR_ROLE}");
        let session = self.administrator.role(&arn, None).await;
        session.map_err(|source| Trouble::Call {
            account: self.administrator.id.clone(),
            source: Box::new(source),
        })
    }

    /// Plants a bucket that everybody could read in an account, and what Security Hub says of it.
    ///
    /// # Errors
    /// S3 refuses.
    pub async fn public_bucket(&self, account: &Account, name: &str) -> Outcome<Misconfiguration> {
        account.create_bucket(name).await?;
        account
            .call("s3", "DeletePublicAccessBlock", json!({"Bucket": name}))
            .await?;
        self.finding(
            account,
            "S3.8",
            "AwsS3Bucket",
            &format!("arn:aws:s3:::{name}"),
        )
    }

    /// A finding of now.
    ///
    /// # Errors
    /// The control's name is none.
    pub fn finding(
        &self,
        account: &Account,
        control: &str,
        resource_type: &str,
        resource_id: &str,
    ) -> Outcome<Misconfiguration> {
        let control: ControlRef = control
            .parse()
            .map_err(|_| Trouble::said(format!("`{control}` is no control")))?;
        Ok(Misconfiguration {
            account: account.id.clone(),
            region: account.region.clone(),
            control,
            resource_type: resource_type.to_owned(),
            resource_id: resource_id.to_owned(),
            details: Value::Null,
            at: now(),
        })
    }

    /// Whether a bucket's public access is blocked.
    ///
    /// # Errors
    /// S3 does not answer.
    pub async fn is_blocked(&self, account: &Account, bucket: &str) -> Outcome<bool> {
        let asked = json!({"Bucket": bucket});
        match account.try_call("s3", "GetPublicAccessBlock", asked).await {
            Ok(answer) => Ok(answer
                .pointer("/PublicAccessBlockConfiguration")
                .and_then(Value::as_object)
                .is_some_and(|all| all.len() == 4 && all.values().all(|on| on == &json!(true)))),
            Err(error) if error.code == "NoSuchPublicAccessBlockConfiguration" => Ok(false),
            Err(error) => Err(Trouble::said(error.to_string())),
        }
    }

    /// Security Hub of the administrator tells of a finding on the account's bus, as it does with a
    /// delegated administrator and finding aggregation; the rules of the stack do the rest.
    ///
    /// # Errors
    /// The emulator does not answer.
    pub fn import(&self, found: &Misconfiguration) -> Outcome {
        self.happen(found.security_hub_event())
    }

    /// A person chooses the custom action of the stack on a finding.
    ///
    /// # Errors
    /// The emulator does not answer.
    pub fn choose_action(&self, found: &Misconfiguration) -> Outcome {
        self.happen(self.custom_action(found))
    }

    /// The event of the stack's custom action on a finding,
    /// <https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-cwe-event-formats.html>.
    #[must_use]
    pub fn custom_action(&self, found: &Misconfiguration) -> Value {
        let region = &self.administrator.region;
        let action =
            format!("arn:aws:securityhub:{region}:{ADMINISTRATOR}:action/custom/Remediate");
        let mut event = found.security_hub_event();
        let detail = event
            .get("detail")
            .and_then(|detail| detail.get("findings"));
        let detail = json!({"actionName": "Remediate", "actionDescription": "Remediate with Stanch",
            "findings": detail});
        if let Some(event) = event.as_object_mut() {
            for (name, value) in [
                ("account", json!(ADMINISTRATOR)),
                ("region", json!(region)),
                (
                    "detail-type",
                    json!("Security Hub Findings - Custom Action"),
                ),
                ("resources", json!([action])),
                ("detail", detail),
            ] {
                event.insert(name.to_owned(), value);
            }
        }
        event
    }

    /// An event on the administrator's bus.
    fn happen(&self, mut event: Value) -> Outcome {
        if let Some(event) = event.as_object_mut() {
            event.insert("account".to_owned(), json!(self.administrator.id));
            event.insert("region".to_owned(), json!(self.administrator.region));
        }
        Ok(self.emulator.happen(&event)?)
    }

    /// The URL of a queue of the administrator's: `Events`, `DeadLetters`, `UndeliveredEvents`.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn queue(&self, name: &str) -> Outcome<String> {
        let named = json!({"QueueName": format!("SecurityRemediation{name}")});
        let answer = self.administrator.call("sqs", "GetQueueUrl", named).await?;
        Ok(text(&answer, "/QueueUrl"))
    }

    /// Puts messages on the queue of events while the orchestrator does not take any, so that it gets
    /// up to ten at once.
    ///
    /// # Errors
    /// AWS refuses.
    pub async fn enqueue(&self, bodies: &[String]) -> Outcome {
        let queue = self.queue("Events").await?;
        let asked = json!({"FunctionName": ORCHESTRATOR});
        let sources = self
            .administrator
            .call("lambda", "ListEventSourceMappings", asked)
            .await?;
        let id = text(&sources, "/EventSourceMappings/0/UUID");
        let switch = async |on: bool| {
            let wanted = json!({"UUID": id, "Enabled": on});
            let service = "UpdateEventSourceMapping";
            self.administrator.call("lambda", service, wanted).await
        };
        switch(false).await?;
        for body in bodies {
            let message = json!({"QueueUrl": queue, "MessageBody": body});
            self.administrator
                .call("sqs", "SendMessage", message)
                .await?;
        }
        switch(true).await.map(drop)
    }

    /// Sets variables of a function, as an operator may, beside those that it has.
    ///
    /// # Errors
    /// Lambda refuses.
    pub async fn set_variables(&self, function: &str, variables: &[(&str, &str)]) -> Outcome {
        let named = json!({"FunctionName": function});
        let found = self
            .administrator
            .call("lambda", "GetFunctionConfiguration", named)
            .await?;
        let mut set = found
            .pointer("/Environment/Variables")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        for (name, value) in variables {
            set.insert((*name).to_owned(), json!(value));
        }
        let wanted = json!({"FunctionName": function, "Environment": {"Variables": set}});
        self.administrator
            .call("lambda", "UpdateFunctionConfiguration", wanted)
            .await
            .map(drop)
    }

    /// Runs the command as an operator who may become the orchestrator, on the ledger in AWS; what it
    /// prints. It has to stand beside this program.
    ///
    /// # Errors
    /// It fails.
    pub async fn stanch(&self, arguments: &[&str], input: &str) -> Outcome<String> {
        let role = format!("arn:aws:iam::{ADMINISTRATOR}:role/{ORCHESTRATOR_ROLE}");
        let assume = json!({"RoleArn": role, "RoleSessionName": "operator"});
        let session = self.administrator.call("sts", "AssumeRole", assume).await?;
        let part = |name: &str| text(&session, &format!("/Credentials/{name}"));
        let credentials = [
            ("AWS_ACCESS_KEY_ID", part("AccessKeyId")),
            ("AWS_SECRET_ACCESS_KEY", part("SecretAccessKey")),
            ("AWS_SESSION_TOKEN", part("SessionToken")),
        ];
        let said = self.run(arguments, input, &credentials).await?;
        ensure(said.exit == Some(0), || said.to_string())?;
        Ok(said.stdout)
    }

    /// Runs the command as an administrator of the account, who may do everything there and become
    /// nobody in member accounts.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn operate(&self, arguments: &[&str]) -> Outcome<Said> {
        let credentials = [
            ("AWS_ACCESS_KEY_ID", ADMINISTRATOR.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "any".to_owned()),
        ];
        self.run(arguments, "", &credentials).await
    }

    /// The settings of whoever operates it, and the key that the functions seal the ledger's secrets
    /// with, in a folder: `docs/guides/deploy.md`.
    async fn configuration(&self, folder: &Path) -> Outcome<PathBuf> {
        let vault = Sha256::digest(self.secret(VAULT_SECRET).await?);
        std::fs::write(folder.join("vault"), STANDARD.encode(vault))?;
        let mut settings = format!(
            "ledger = \"dynamodb:{AUDIT_TABLE}\"\naudit.vault = \"vault\"\n\
             [aws]\nmember_role = \"{MEMBER_ROLE}\"\n\
             [deployment]\nregion = \"{}\"\n",
            self.administrator.region
        );
        let regions = json!(self.regions);
        for Account { id, .. } in &self.members {
            settings.push_str(&format!(
                "[accounts.{id}]\nexternal_id = \"{EXTERNAL_ID_PREFIX}-{id}\"\nregions = {regions}\n"
            ));
        }
        let file = folder.join("stanch.toml");
        std::fs::write(&file, settings)?;
        Ok(file)
    }

    /// The text of a secret of the administrator's.
    async fn secret(&self, name: &str) -> Outcome<String> {
        let asked = json!({"SecretId": name});
        let service = "secretsmanager";
        let secret = self.administrator.call(service, "GetSecretValue", asked);
        Ok(text(&secret.await?, "/SecretString"))
    }

    async fn run(
        &self,
        arguments: &[&str],
        input: &str,
        credentials: &[(&str, String)],
    ) -> Outcome<Said> {
        let folder = tempfile::tempdir()?;
        let mut child = self
            .command(folder.path(), credentials)
            .await?
            .args(arguments)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        Ok(Said {
            command: format!("stanch {}", arguments.join(" ")),
            exit: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// The command, as somebody with these credentials runs it in a folder of their own.
    async fn command(
        &self,
        folder: &Path,
        credentials: &[(&str, String)],
    ) -> Outcome<tokio::process::Command> {
        let settings = self.configuration(folder).await?;
        let mut command = tokio::process::Command::new(command_beside()?);
        command
            .env_clear()
            .env("HOME", folder)
            .env("STANCH_CONFIG", &settings)
            .env("AWS_ENDPOINT_URL", self.emulator.endpoint())
            .env("AWS_REGION", self.administrator.region.as_str())
            .envs(credentials.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .kill_on_drop(true);
        Ok(command)
    }

    /// Serves the page for approvals as an administrator of the account does, with the key that the
    /// functions sign links with, until what is returned is dropped.
    ///
    /// # Errors
    /// It does not start.
    pub async fn serve(&self) -> Outcome<Served> {
        let folder = tempfile::tempdir()?;
        let key = self.secret(LINK_KEY_SECRET).await?;
        let credentials = [
            ("AWS_ACCESS_KEY_ID", ADMINISTRATOR.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "any".to_owned()),
        ];
        let mut command = self.command(folder.path(), &credentials).await?;
        std::fs::write(folder.path().join("link.key"), key)?;
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "json"])
            .args(["--set", "approval.link_key_file=link.key"])
            .stderr(std::process::Stdio::piped())
            .spawn()?;
        let said = child.stderr.take().ok_or(Trouble::NotPlayed("no pipe"))?;
        let mut lines = tokio::io::BufReader::new(said).lines();
        let mut said = String::new();
        while let Some(line) = lines.next_line().await? {
            let told: Value = serde_json::from_str(&line).unwrap_or_default();
            let address = ["/address", "/fields/address"].map(|at| text(&told, at));
            if let Some(address) = address.into_iter().find(|address| !address.is_empty()) {
                // What it says later is read, so that it can go on.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(Served {
                    address,
                    _process: child,
                    _folder: folder,
                });
            }
            said.push_str(&line);
        }
        Err(Trouble::said(said))
    }

    /// Calls a function and waits for its answer.
    ///
    /// # Errors
    /// Lambda refuses, or the function fails.
    pub async fn invoke(&self, function: &str, event: &Value) -> Outcome<Value> {
        let asked =
            json!({"FunctionName": function, "Payload": STANDARD.encode(event.to_string())});
        let answer = self.administrator.call("lambda", "Invoke", asked).await?;
        let payload = STANDARD
            .decode(text(&answer, "/Payload"))
            .map_err(|error| Trouble::said(error.to_string()))?;
        let payload: Value = serde_json::from_slice(&payload).map_err(io::Error::from)?;
        ensure(answer.pointer("/FunctionError").is_none(), || {
            format!("`{function}` failed: {payload}")
        })?;
        Ok(payload)
    }
}

/// `stanch serve`, until it is dropped.
#[derive(Debug)]
pub struct Served {
    address: String,
    _process: tokio::process::Child,
    _folder: tempfile::TempDir,
}

impl Served {
    /// The status and the text of what is asked for, `GET /health`, with this form.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn ask(&self, what: &str, form: &str) -> Outcome<(String, String)> {
        let Self { address, .. } = self;
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request = format!(
            "{what} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
        Ok((status, answer))
    }
}

/// The command, which stands beside this program.
fn command_beside() -> Outcome<PathBuf> {
    let here = std::env::current_exe()?;
    let programs = [
        here.with_file_name("stanch"),
        here.with_file_name("../stanch"),
    ];
    let program = programs.into_iter().find(|path| path.exists());
    program.ok_or(Trouble::NotPlayed("there is no `stanch` beside this"))
}

/// What the command said.
#[derive(Debug, Clone)]
pub struct Said {
    command: String,
    /// How it ended; none if a signal ended it.
    pub exit: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said about that.
    pub stderr: String,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            exit,
            stdout,
            stderr,
        } = self;
        write!(f, "`{command}` ended with {exit:?}: {stderr}{stdout}")
    }
}

/// Waits until `look` finds something.
///
/// # Errors
/// It does not in time, or looking fails.
pub async fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Outcome<Option<T>>,
) -> Outcome<T> {
    let begin = std::time::Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if begin.elapsed() > patience {
            return Err(Trouble::Late {
                what: what.to_owned(),
                seconds: patience.as_secs(),
            });
        }
        Account::pause(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(500));
    }
}

/// A text in a value; empty if it is not there.
#[must_use]
pub fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

/// A list in a value; empty if it is not there.
#[must_use]
pub fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.map_or(&[], Vec::as_slice)
}

#[expect(
    clippy::disallowed_methods,
    reason = "an emulated organization lives in real time"
)]
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    // As Security Hub writes it, to the second.
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
