//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use stanch_ledger::{Digest, RemediationId};
use stanch_types::{AccountId, Region};

const EXIT_CODES: &str = "\
Exit codes:
  0  fixed, or nothing to do
  1  failed
  2  wrong usage or configuration
  3  refused by a guard
  4  waiting, for an approval or a time";

/// Close security findings across an AWS organization
#[derive(Debug, Parser)]
#[command(name = "stanch", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The configuration file [default: stanch.toml, if there is one]
    #[arg(
        long,
        global = true,
        env = "STANCH_CONFIG",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub config: Option<PathBuf>,
    /// Set a value of the configuration: `--set aws.call_timeout=10s`
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// The SQLite ledger
    #[arg(long, global = true, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// One endpoint for every AWS service, such as an emulator's
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write `KEY=VALUE`")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what would be done about a finding, and change nothing
    Plan(Finding),
    /// Fix a finding
    Remediate {
        #[command(flatten)]
        finding: Finding,
        /// Show what would be done, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Approve the plan that a remediation waits with, and carry it out
    Approve {
        id: RemediationId,
        #[command(flatten)]
        person: Person,
        /// In which role, if you have several: a group of `approval.groups`
        #[arg(long, value_name = "ROLE")]
        as_role: Option<String>,
        /// The plan that you saw, by its hash or how that begins; refused if another one waits
        #[arg(long, value_name = "HASH")]
        plan: Option<String>,
    },
    /// Say no to the plan that a remediation waits with
    Reject {
        id: RemediationId,
        #[command(flatten)]
        person: Person,
        /// Why, for the record
        #[arg(long, default_value = "rejected on the command line")]
        reason: String,
    },
    /// What waits for an approval, and by whom
    #[command(subcommand)]
    Approvals(Approvals),
    /// Put back what a remediation has changed; what was put back is done again
    Rollback(Rollback),
    /// Stop all changes, at once
    Pause(Pause),
    /// Let changes go on where they were paused
    Resume {
        #[command(flatten)]
        reach: Reach,
        /// Why, for the record
        #[arg(long, default_value = "resumed on the command line")]
        reason: String,
        #[command(flatten)]
        person: Person,
    },
    /// From plans only to automatic fixes: who is in which ring
    #[command(subcommand)]
    Rollout(Rollout),
    /// The record of every remediation
    #[command(subcommand)]
    Ledger(Ledger),
    /// Events that could not be understood or must not be acted on
    #[command(subcommand)]
    Deadletter(DeadLetter),
    /// What can be fixed, and how
    #[command(subcommand)]
    Catalog(Catalog),
    /// What may be changed: policies, windows, exemptions, limits
    #[command(subcommand)]
    Policy(Policy),
    /// Systems Manager Automation documents
    #[command(subcommand)]
    Runbook(Runbook),
    /// CloudFormation templates of the administrator and the member accounts
    #[command(subcommand)]
    Deploy(Deploy),
    /// Find out what is wrong with the installation, and what to do about it
    Doctor(Doctor),
    /// All that was logged of one remediation, by the ledger and by AWS, in the order of time
    Logs { id: RemediationId },
    /// What remediations cost in AWS, from what the ledger has counted
    Cost(Cost),
    /// Any operation of any AWS service
    #[command(subcommand)]
    Api(Api),
    /// Take findings in over HTTP, from a queue, a folder and Security Hub, and fix them
    Serve(Serve),
    /// Plant every example of the catalog in a test account, fix it, and roll it back
    Gameday(Gameday),
    /// The configuration
    #[command(subcommand)]
    Config(Config),
    /// Completions for a shell
    Completions { shell: Shell },
}

#[derive(Debug, Args)]
pub struct Finding {
    /// A file with a finding or event of any format; `-` for standard input
    pub file: PathBuf,
    #[command(flatten)]
    pub person: Person,
}

#[derive(Debug, Args)]
pub struct Rollback {
    /// The remediation; without it, all that the options below mean, the newest first
    #[arg(required_unless_present_any = ["account", "control", "since"])]
    pub id: Option<RemediationId>,
    /// All changes in this account
    #[arg(long, conflicts_with = "id")]
    pub account: Option<AccountId>,
    /// All changes for this control, as any product names it, or by this remediation
    #[arg(long, conflicts_with = "id")]
    pub control: Option<String>,
    /// All changes since: `2026-01-31T12:00:00Z`, or how long ago: `2h`
    #[arg(long, value_name = "WHEN", conflicts_with = "id")]
    pub since: Option<String>,
    /// Show the requests, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take back more than one: without this, they are only shown
    #[arg(long, conflicts_with_all = ["id", "dry_run"])]
    pub yes: bool,
    /// Ask for an approval to overwrite what somebody else has changed since
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub person: Person,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Pause {
    #[command(subcommand)]
    pub command: Option<PauseCommand>,
    #[command(flatten)]
    pub reach: Reach,
    /// Why: whoever meets the pause is told
    #[arg(long, default_value = "paused on the command line")]
    pub reason: String,
    #[command(flatten)]
    pub person: Person,
}

#[derive(Debug, Subcommand)]
pub enum PauseCommand {
    /// List what is paused, by whom and why
    List {
        /// All that was ever ordered, and whether the record of it holds
        #[arg(long)]
        all: bool,
    },
}

/// Everything, if nothing narrower is named.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct Reach {
    /// Only in this account
    #[arg(long)]
    pub account: Option<AccountId>,
    /// Only for this control (`S3.8`), as any product names it, or remediation
    #[arg(long)]
    pub control: Option<String>,
    /// Only in this region
    #[arg(long)]
    pub region: Option<Region>,
    /// Only in the accounts of this organizational unit and below: `root/prod`
    #[arg(long, value_name = "PATH")]
    pub ou: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// Show every account's ring, and what else was moved
    Status,
    /// Move to the next ring
    Advance(Shift),
    /// Move to the ring before
    Back(Shift),
}

#[derive(Debug, Args)]
pub struct Shift {
    #[command(flatten)]
    pub reach: Reach,
    /// Why, for the record
    #[arg(long, default_value = "moved on the command line")]
    pub reason: String,
    #[command(flatten)]
    pub person: Person,
}

#[derive(Debug, Args)]
pub struct Person {
    /// Who asks, for the record [default: `requester` of the configuration, else your user name]
    #[arg(long = "as", value_name = "PERSON")]
    pub name: Option<String>,
    /// The code that your MFA device shows (`guard.people.<you>.mfa_serial`); AWS checks it
    #[arg(long, value_name = "CODE")]
    pub mfa: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// List remediations, the newest first
    List {
        /// Of this account
        #[arg(long)]
        account: Option<AccountId>,
        /// Of this resource: its ARN; for what has none, the id that its finding gives
        #[arg(long)]
        resource: Option<String>,
        /// Of this finding
        #[arg(long)]
        finding: Option<String>,
        /// Admitted since: `2026-01-31`, `2026-01-31T12:00:00Z`, or how long ago: `2h`, `7d`
        #[arg(long, value_name = "WHEN")]
        since: Option<String>,
        /// Admitted before
        #[arg(long, value_name = "WHEN")]
        until: Option<String>,
        /// In this status: `Success`, `Failed`, `AwaitingApproval`, …
        #[arg(long)]
        status: Option<String>,
        /// Rows on a page, at most 1000
        #[arg(long, default_value_t = 50, value_name = "ROWS")]
        limit: u32,
        /// Where the page before ended, as it says
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Show one remediation with all of its events
    Show { id: RemediationId },
    /// Write the ledger out, all of it with its checkpoints unless some remediations are asked for
    Export {
        /// The file; standard output if none is named
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The format
        #[arg(long, value_enum, default_value_t = LedgerFormat::Jsonl)]
        format: LedgerFormat,
        /// Of this account
        #[arg(long)]
        account: Option<AccountId>,
        /// Admitted since: `2026-01-31`, `2026-01-31T12:00:00Z`, or how long ago: `2h`, `7d`
        #[arg(long, value_name = "WHEN")]
        since: Option<String>,
        /// Admitted before
        #[arg(long, value_name = "WHEN")]
        until: Option<String>,
    },
    /// Copy the ledger as it is now to a new file, while others go on using it
    Backup {
        /// The copy
        file: PathBuf,
    },
    /// Check a backup against the last checkpoint and put it in the ledger's place, or a backup or an export
    /// into empty tables
    Restore {
        /// The backup; for tables also an export
        file: PathBuf,
        /// Restore it although the witness has seen events that it lacks, or the tables keep less
        #[arg(long)]
        accept_loss: bool,
        /// For tables: the public key that the copy is signed with, if theirs is another; a file or the key
        #[arg(long)]
        key: Option<String>,
    },
    /// Remove the contents of what is older than it is to be kept, or of one remediation; hashes stay
    Expire {
        /// Only this one, whatever its age
        id: Option<RemediationId>,
        /// Why, for the record
        #[arg(long, requires = "id")]
        reason: Option<String>,
        /// Only name what would be removed
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        person: Person,
    },
    /// Check that no event was changed, removed, moved or put in: of one remediation, of all, or of
    /// an export
    Verify {
        id: Option<RemediationId>,
        /// An export, checked without the ledger
        #[arg(long, value_name = "FILE", conflicts_with = "id")]
        export: Option<PathBuf>,
        /// The ledger's public key, or a file with it [default: that of `audit.key`]
        #[arg(long, value_name = "KEY", conflicts_with = "id")]
        key: Option<String>,
        /// The witness's copy of the tree [default: `ledger/` in the folder `logs`]
        #[arg(long, value_name = "FOLDER", conflicts_with = "id")]
        witness: Option<PathBuf>,
        /// A checkpoint that was kept: there has to be as much, and it has to begin as it was then
        #[arg(long, value_name = "FILE", conflicts_with = "id")]
        since: Option<PathBuf>,
    },
    /// Sign what the ledger is now, for the witness and for whoever keeps it
    Checkpoint,
    /// Show the public key that checkpoints are verified with
    Key,
    /// Prove something of the ledger to an auditor, who needs no ledger to check it
    #[command(subcommand)]
    Prove(Prove),
    /// Check a proof without the ledger
    VerifyProof {
        /// What `stanch ledger prove` wrote; `-` for standard input
        proof: PathBuf,
        /// The ledger's public key, or a file with it
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// The checkpoint that was kept, for a proof that the ledger only grew since
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LedgerFormat {
    /// A line of JSON per event: what `stanch ledger verify --export` checks
    Jsonl,
    /// A row per event
    Csv,
    /// A row per event, in columns
    Parquet,
    /// OCSF 1.4: a Compliance Finding and a Remediation Activity per remediation
    Ocsf,
}

#[derive(Debug, Subcommand)]
pub enum Prove {
    /// That an event is in the ledger, and with it all before it of its remediation
    Inclusion {
        id: RemediationId,
        /// The event's number [default: the last]
        #[arg(long, value_name = "NUMBER")]
        event: Option<u64>,
    },
    /// That the ledger only grew since a checkpoint
    Consistency {
        /// The checkpoint that was kept
        #[arg(long, value_name = "FILE")]
        since: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum Approvals {
    /// List what waits, the oldest first
    List,
    /// Show what is to be approved: the plan, why people are asked, and who has answered
    Show { id: RemediationId },
}

#[derive(Debug, Subcommand)]
pub enum DeadLetter {
    /// List dead letters, the oldest first
    List {
        /// At most so many
        #[arg(long, default_value_t = 50, value_name = "ROWS")]
        limit: u32,
    },
    /// Show a dead letter as it came
    Show { id: Digest },
    /// Take a dead letter in again; it is removed once it is understood
    Retry {
        id: Digest,
        #[command(flatten)]
        person: Person,
    },
}

#[derive(Debug, Subcommand)]
pub enum Catalog {
    /// List remediations
    List,
    /// Show a remediation's file
    Show { name: String },
    /// All about the fix of a control (`S3.8`), a Config rule, a Prowler check, or of a remediation
    Explain {
        /// A control, as the finding has it, or the name of a remediation
        name: String,
    },
    /// What is fixed of Security Hub's controls and of a standard, what cannot be, and what is missing
    Coverage {
        /// Show every control of this standard: `cis-3.0.0`, `security-hub`, …
        #[arg(long)]
        standard: Option<String>,
    },
    /// Write remediations as Systems Manager Automation documents
    Export(Export),
    /// Check catalog files: those built in and configured, or the given ones
    Check { files: Vec<PathBuf> },
    /// Prove files of your own by their examples, in a test account or an emulator
    Test(Test),
}

#[derive(Debug, Args)]
pub struct Test {
    /// Catalog files; in a folder, all of them
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The account to play in; the configuration must say `test = true` for it
    #[arg(long)]
    pub account: AccountId,
    /// The region to play in
    #[arg(long)]
    pub region: Option<Region>,
}

#[derive(Debug, Args)]
pub struct Export {
    /// Only these remediations
    pub names: Vec<String>,
    /// The format
    #[arg(long, value_enum, default_value_t = ExportFormat::Ssm)]
    pub format: ExportFormat,
    /// A folder for the files; standard output if none is named
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ExportFormat {
    /// A remediation and a rollback runbook each, as YAML
    Ssm,
}

#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Write starter policies, under which nothing runs by itself
    Init {
        /// The file; it must not exist
        #[arg(default_value = "policies/stanch.cedar")]
        file: PathBuf,
    },
    /// Check everything that the guard decides by
    Check,
    /// Show what policies can speak of, as a Cedar schema
    Schema,
    /// Say which policies decide about a finding, and what would change that; reads are made
    Explain(Finding),
    /// Play cases with the answers that are expected
    Test {
        /// Files of cases
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub struct Document {
    /// The document; in a folder, all documents
    pub path: PathBuf,
}

#[derive(Debug, Args)]
pub struct Execution {
    /// The document. Those beside it can be run by `aws:executeAutomation`
    pub path: PathBuf,
    /// A parameter, as text or JSON
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = setting)]
    pub parameters: Vec<(String, String)>,
    /// The region [default: as the AWS tools find it]
    #[arg(long)]
    pub region: Option<Region>,
}

#[derive(Debug, Subcommand)]
pub enum Runbook {
    /// Say all that is wrong with documents
    Check(Document),
    /// Run a document without its writes, and show them
    Plan(Execution),
    /// Run a document
    Run(Execution),
}

#[derive(Debug, Subcommand)]
pub enum Deploy {
    /// Write the templates
    Render {
        #[command(flatten)]
        what: Deployed,
        /// A folder for the files
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Pack the functions' program as Lambda takes it
    Package {
        /// The program, built for Amazon Linux 2023
        program: PathBuf,
        /// The archive
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show what will be created, and what it costs a month
    Plan {
        #[command(flatten)]
        what: Deployed,
        /// Member accounts
        #[arg(long, default_value_t = 1)]
        accounts: u32,
        /// Regions, in each of which a member account has a stack
        #[arg(long, default_value_t = 1)]
        regions: u32,
        /// Remediations a month, over all accounts
        #[arg(long, default_value_t = 1000)]
        remediations: u32,
    },
    /// Look at what has to be there before a deployment; with `--smoke`, try it out after it
    Check(Check),
    /// Put member stacks into a few accounts first
    Pilot(Stacks),
    /// Put member stacks into more accounts, once the ledger shows that the pilot went well
    RollOut {
        #[command(flatten)]
        stacks: Stacks,
        /// The accounts whose changes have to show it
        #[arg(long, value_name = "ACCOUNT", required = true)]
        pilot: Vec<AccountId>,
        #[command(flatten)]
        gate: Gate,
    },
    /// Let another administrator region make changes, and no other
    FailOver(FailOver),
    /// Let an account's findings start remediations, once people have seen enough of them succeed
    Automatic {
        /// The account
        #[arg(long)]
        account: AccountId,
        #[command(flatten)]
        gate: Gate,
        /// Do it: without this, only what would be done is shown
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        person: Person,
    },
}

#[derive(Debug, Args)]
#[group(id = "which", required = true)]
pub struct FailOver {
    /// The region that is to act
    #[arg(long, value_name = "REGION")]
    pub to: Region,
    /// The region that acts now: nothing of it is lost
    #[arg(long, value_name = "REGION", group = "which")]
    pub from: Option<Region>,
    /// The region that acted cannot be asked: what it has not replicated is lost for now
    #[arg(long, group = "which")]
    pub lost: bool,
    /// Why
    #[arg(long)]
    pub reason: String,
    /// Do it: without this, only what would be done is shown
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub person: Person,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Look only into these member accounts
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Vec<AccountId>,
    /// Show the requests that would mend what can be mended safely
    #[arg(long)]
    pub fix: bool,
    /// Send them
    #[arg(long, requires = "fix")]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Cost {
    /// Only these remediations; else all that the options below mean
    pub ids: Vec<RemediationId>,
    /// Of this account
    #[arg(long, conflicts_with = "ids")]
    pub account: Option<AccountId>,
    /// Admitted since: `2026-01-31`, `2026-01-31T12:00:00Z`, or how long ago: `2h`, `7d`
    #[arg(long, value_name = "WHEN", conflicts_with = "ids")]
    pub since: Option<String>,
    /// Admitted before
    #[arg(long, value_name = "WHEN", conflicts_with = "ids")]
    pub until: Option<String>,
}

#[derive(Debug, Args)]
pub struct Check {
    /// The bucket with the functions' archives and the templates
    #[arg(long, value_name = "BUCKET")]
    pub artifacts: Option<String>,
    /// What the artifact buckets of members' regions begin with: the template's `ArtifactBucketPrefix`
    #[arg(long, value_name = "PREFIX", default_value = "stanch-artifacts")]
    pub member_artifacts: String,
    /// Where in them; ends with a slash
    #[arg(long, value_name = "PREFIX", default_value = "stanch/")]
    pub artifact_prefix: String,
    /// The functions' processor: `arm64` or `x86_64`
    #[arg(long, default_value = "arm64")]
    pub architecture: String,
    /// After the deployment: fix an open bucket of this account, for which the configuration must say `test = true`
    #[arg(long, value_name = "ACCOUNT")]
    pub smoke: Option<AccountId>,
    /// Do it: without this, only what would be done is shown
    #[arg(long, requires = "smoke")]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Stacks {
    /// The stack set
    #[arg(long, default_value = "stanch-member", value_name = "NAME")]
    pub stack_set: String,
    /// Where `member-stack.yaml` is, in S3
    #[arg(long, value_name = "URL")]
    pub template_url: String,
    /// A parameter of the template
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = setting)]
    pub parameters: Vec<(String, String)>,
    /// Organizational units, by id; with accounts, only these of them
    #[arg(long, value_name = "ID")]
    pub ou: Vec<String>,
    /// Accounts
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Vec<AccountId>,
    /// Regions, in order: the first has the roles
    #[arg(long = "region", value_name = "REGION", required = true)]
    pub regions: Vec<Region>,
    /// In how many accounts of a region it may fail before it stops
    #[arg(long, default_value_t = 0, value_name = "ACCOUNTS")]
    pub tolerate: u32,
    /// In how many accounts of a region at once
    #[arg(long, default_value_t = 1, value_name = "ACCOUNTS")]
    pub at_once: u32,
    /// With roles of your own in the accounts, which are named, instead of those of AWS Organizations
    #[arg(long, conflicts_with = "ou", requires = "account")]
    pub self_managed: bool,
    /// This is a delegated administrator of the organization's stack sets, not its management account
    #[arg(long)]
    pub delegated: bool,
    /// Send the requests: without this, they are only shown
    #[arg(long)]
    pub yes: bool,
}

/// What the ledger has to show first.
#[derive(Debug, Args)]
pub struct Gate {
    /// Changes that ended, at least
    #[arg(long, default_value_t = 10, value_name = "CHANGES")]
    pub min_changes: u32,
    /// Of them, successful ones that a person asked for, at least
    #[arg(long, default_value_t = 5, value_name = "CHANGES")]
    pub min_by_people: u32,
    /// The share of failed changes, from 0 to 1, at most
    #[arg(long, default_value_t = 0.05, value_name = "SHARE")]
    pub max_failure_rate: f64,
    /// Over which time: `2026-01-31`, or how long ago
    #[arg(long, default_value = "14d", value_name = "WHEN")]
    pub since: String,
}

#[derive(Debug, Args)]
pub struct Deployed {
    /// Enable only these remediations; else all
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Deploy the Automation documents of these, or of `all` [default: the architecture's examples]
    #[arg(long, value_name = "NAME")]
    pub document: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Api {
    /// Call an operation with your own credentials
    Call {
        /// The service, as boto3 names it: `s3`, `elbv2`
        service: String,
        /// The operation: `GetPublicAccessBlock` or `get_public_access_block`
        operation: String,
        /// Its input; `-` reads it from standard input
        #[arg(long, default_value = "{}", value_name = "JSON")]
        params: String,
        /// What to print of the answer
        #[arg(long, value_name = "JMESPATH")]
        query: Option<String>,
        /// The region [default: as the AWS tools find it]
        #[arg(long)]
        region: Option<Region>,
        /// Read all pages
        #[arg(long)]
        all_pages: bool,
    },
    /// List services, or the operations of one
    List { service: Option<String> },
    /// Show an operation: input, output, IAM actions, and whether it only reads
    Show { service: String, operation: String },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub struct Serve {
    /// The address that takes events over HTTP [default: 127.0.0.1:8787]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// A file with the secret that requests carry as `Authorization: Bearer …`
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// A folder whose `*.json` files are taken in
    #[arg(long, value_name = "FOLDER")]
    pub inbox: Option<PathBuf>,
    /// A queue to receive from
    #[arg(long, value_name = "URL")]
    pub sqs_queue_url: Option<String>,
    /// A region whose Security Hub is asked for open findings
    #[arg(long, value_name = "REGION")]
    pub security_hub_region: Vec<String>,
    /// How log lines are written [default: text]
    #[arg(long)]
    pub log: Option<LogFormat>,
    /// Log more: twice for the most
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Args)]
pub struct Gameday {
    /// The account to play in; the configuration must say `test = true` for it
    #[arg(long)]
    pub account: AccountId,
    /// The region to play in
    #[arg(long)]
    pub region: Option<Region>,
    /// Only these remediations
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// Do it: without this, only what would be planted is listed
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Show every value, and where it came from
    Show,
    /// Check the configuration and what it names
    Check,
}
