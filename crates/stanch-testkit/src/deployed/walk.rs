//! `docs/guides/deploy.md`, walked through: its own commands, in its order, in an organization in which
//! nothing is deployed. What they said is kept in `docs/guides/deploy-transcript.md`.
//!
//! A block of the guide that begins with `sh` is run; one that begins with `sh elsewhere` is not. What
//! happens around the commands, the guide marks with a comment, `<!-- meanwhile: … -->`.

use std::{
    collections::BTreeMap, fmt::Write as _, fs, os::unix::fs::symlink, path::Path, process::Stdio,
    time::Duration,
};

use regex::Regex;
use serde_json::json;
use stanch_deploy::BOOTSTRAP;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
};

use super::{
    ADMINISTRATOR, Account, Deployed, Layout, Outcome, Trouble, ensure, template, wait_for,
};
use crate::repository;

/// The guide.
pub const GUIDE: &str = "docs/guides/deploy.md";

/// What its commands said.
pub const TRANSCRIPT: &str = "docs/guides/deploy-transcript.md";

/// How long a command may take: a stack is waited for in steps of half a minute.
const COMMAND: Duration = Duration::from_mins(4);

/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// The bucket of the first finding.
const BUCKET: &str = "first-finding";

/// A role that people have in member accounts, which AWS Organizations makes.
const PEOPLES_ROLE: &str = "OrganizationAccountAccessRole";

/// A part of the guide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A heading.
    Heading(String),
    /// A command.
    Run(String),
    /// Something around it.
    Meanwhile(String),
    /// Commands that are not run.
    Elsewhere(String),
}

/// The steps of a guide.
#[must_use]
pub fn steps(guide: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            steps.push(Step::Heading(heading.to_owned()));
        } else if let Some(event) = line.strip_prefix("<!-- meanwhile: ") {
            let event = event.trim_end_matches("-->").trim();
            steps.push(Step::Meanwhile(event.to_owned()));
        } else if let Some(fence) = line.strip_prefix("```")
            && !fence.is_empty()
        {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            match fence {
                "sh" => steps.extend(commands(&block).into_iter().map(Step::Run)),
                "sh elsewhere" => steps.push(Step::Elsewhere(block.join("\n"))),
                _ => {}
            }
        }
    }
    steps
}

/// The commands of a block: lines that belong together are one.
fn commands(block: &[&str]) -> Vec<String> {
    let mut commands = Vec::new();
    let mut command = String::new();
    let mut until: Option<&str> = None;
    for line in block {
        command.push_str(line);
        until = match until {
            Some(end) if *line == end => None,
            Some(end) => Some(end),
            None if line.starts_with("for ") => Some("done"),
            None => line.split_once("<<").map(|(_, end)| end.trim()),
        };
        if until.is_none() && !line.ends_with('\\') {
            commands.push(std::mem::take(&mut command));
        } else {
            command.push('\n');
        }
    }
    commands
}

/// What a command has to end with: `# exits 1`, else zero.
fn wanted(command: &str) -> i32 {
    let said = command.rsplit_once("# exits ").map(|(_, exit)| exit.trim());
    said.and_then(|exit| exit.parse().ok()).unwrap_or(0)
}

/// A shell, as whoever sits before it has it.
struct Shell {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

const END: &str = "-- the command has ended:";

impl Shell {
    fn open(folder: &Path, variables: &[(&str, String)]) -> Outcome<Self> {
        let mut child = tokio::process::Command::new("bash")
            .args(["--noprofile", "--norc"])
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let none = || Trouble::NotPlayed("no pipe to the shell");
        let stdin = child.stdin.take().ok_or_else(none)?;
        let stdout = child.stdout.take().ok_or_else(none)?;
        Ok(Self {
            _child: child,
            stdin,
            lines: BufReader::new(stdout).lines(),
        })
    }

    /// What a command prints, and what it ends with.
    async fn run(&mut self, command: &str) -> Outcome<(String, i32)> {
        let typed = format!("{{\n{command}\n}} </dev/null 2>&1\nprintf '\\n%s %s\\n' '{END}' $?\n");
        self.stdin.write_all(typed.as_bytes()).await?;
        let mut said = String::new();
        loop {
            let line = tokio::time::timeout(COMMAND, self.lines.next_line()).await;
            let line = line.map_err(|_| Trouble::Late {
                what: format!("`{command}`: {said}"),
                seconds: COMMAND.as_secs(),
            })??;
            let line = line.ok_or_else(|| Trouble::said(format!("the shell is gone: {said}")))?;
            if let Some(exit) = line.strip_prefix(END) {
                return Ok((
                    said.trim_end().to_owned(),
                    exit.trim().parse().unwrap_or(-1),
                ));
            }
            said.push_str(&line);
            said.push('\n');
        }
    }
}

/// Walks through the guide, and writes down what was said.
///
/// # Errors
/// A command does not end as the guide says, or something is not as it should be then.
pub async fn play(layout: &Layout<'_>, program: &[u8]) -> Outcome<String> {
    let guide = fs::read_to_string(repository().join(GUIDE))?;
    let folder = tempfile::tempdir()?;
    let deployed = Deployed::empty(layout).await?;
    let mut walk = Walk {
        shell: Shell::open(folder.path(), &surroundings(&deployed, folder.path())?)?,
        folder: folder.path(),
        deployed,
        program,
        text: String::from(INTRODUCTION),
        shown: BTreeMap::new(),
    };
    let ended = walk.all(&guide).await;
    if ended.is_err() {
        let target = repository().join("target");
        fs::write(target.join("e2e-guide.md"), &walk.text)?;
        fs::copy(
            walk.deployed.emulator().log(),
            target.join("e2e-emulator.log"),
        )?;
    }
    let (ran, left) = ended?;
    ensure(ran > 0, || format!("`{GUIDE}` has no commands"))?;
    fs::write(repository().join(TRANSCRIPT), &walk.text)?;
    Ok(format!(
        "{ran} commands ended as it says; {left} of its blocks are for elsewhere"
    ))
}

const INTRODUCTION: &str = "\
<!-- Written by `cargo xtask e2e-aws`; the commands are those of `deploy.md`. -->
# A deployment, from an empty account to an undone fix

What the commands of [the guide](deploy.md) said, run in its order on MiniStack with IAM enforced, with this
`stanch`, these templates and these functions, and with the AWS CLI. Hashes, times, identifiers and sizes are
replaced by others. Indented: what happened around the commands.
";

/// What a person's shell has around it: the credentials of the administrator account.
fn surroundings(deployed: &Deployed, folder: &Path) -> Outcome<Vec<(&'static str, String)>> {
    let programs = folder.join(".programs");
    fs::create_dir(&programs)?;
    symlink(super::command_beside()?, programs.join("stanch"))?;
    let aws = repository().join(".venv-aws/bin/aws");
    if !aws.exists() {
        return Err(Trouble::NotPlayed("`.venv-aws/` has no AWS CLI"));
    }
    symlink(aws, programs.join("aws"))?;
    Ok(vec![
        ("PATH", format!("{}:/usr/bin:/bin", programs.display())),
        ("HOME", folder.display().to_string()),
        ("USER", "alice".to_owned()),
        ("AWS_ENDPOINT_URL", deployed.emulator().endpoint()),
        ("AWS_ACCESS_KEY_ID", ADMINISTRATOR.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "any".to_owned()),
        ("AWS_PAGER", String::new()),
    ])
}

struct Walk<'w> {
    deployed: Deployed,
    shell: Shell,
    folder: &'w Path,
    program: &'w [u8],
    text: String,
    /// What stands for what differs from walk to walk.
    shown: BTreeMap<String, String>,
}

impl Walk<'_> {
    /// How many commands were run, and how many blocks left out.
    async fn all(&mut self, guide: &str) -> Outcome<(usize, usize)> {
        let (mut ran, mut left) = (0, 0);
        let mut title = String::new();
        for step in steps(guide) {
            if let Step::Heading(heading) = &step {
                title = format!("\n## {heading}\n");
                continue;
            }
            // A chapter in which nothing is done has none.
            self.text.push_str(&std::mem::take(&mut title));
            match step {
                Step::Heading(_) => {}
                Step::Run(command) => {
                    self.command(&command).await?;
                    ran += 1;
                }
                Step::Meanwhile(event) => {
                    let said = self.meanwhile(&event).await?;
                    self.text += &format!("\n> {said}\n");
                }
                Step::Elsewhere(commands) => {
                    self.text += &format!("\nNot played:\n\n```sh\n{commands}\n```\n");
                    left += 1;
                }
            }
        }
        Ok((ran, left))
    }

    async fn command(&mut self, command: &str) -> Outcome {
        let (said, exit) = self.shell.run(command).await?;
        let typed = command.replace('\n', "\n> ");
        let said = self.plain(&said);
        ensure(exit == wanted(command), || {
            format!("`{command}` ended with {exit}: {said}")
        })?;
        // Writing to a string does not fail.
        let _ = write!(self.text, "\n```console\n$ {typed}\n");
        if !said.is_empty() {
            let _ = writeln!(self.text, "{said}");
        }
        self.text.push_str("```\n");
        Ok(())
    }

    /// What happens around the commands, and a sentence about it.
    async fn meanwhile(&self, event: &str) -> Outcome<&'static str> {
        let deployed = &self.deployed;
        let member = deployed.member()?;
        match event {
            "an organization" => self.organization().await.map(|()| {
                "In the emulator: the organization's trail logs, Security Hub and AWS Config are on in \
                 the accounts and regions, and the administrator account may become \
                 `OrganizationAccountAccessRole` in them."
            }),
            "a program" => {
                fs::write(self.folder.join(BOOTSTRAP), self.program)?;
                Ok("`cargo xtask package` has built `bootstrap` for this machine.")
            }
            "templates" => {
                for name in ["administrator-stack", "administrator-monitoring", "member-stack"] {
                    let name = format!("{name}.yaml");
                    let committed = repository().join("generated/cloudformation").join(&name);
                    let path = self.folder.join("templates").join(&name);
                    ensure(fs::read(&path)? == fs::read(committed)?, || {
                        format!("`{name}` is not what is committed")
                    })?;
                    fs::write(path, template(&name)?.0.to_string())?;
                }
                Ok("What MiniStack's CloudFormation lacks is taken out of the templates: \
                    alarms with metric math, and saved queries.")
            }
            "a finding" => {
                let found = deployed.public_bucket(member, BUCKET).await?;
                deployed.choose_action(&found)?;
                self.blocks(true).await?;
                Ok("Somebody has opened the bucket `first-finding` of the pilot account. In Security Hub, a \
                    person has chosen the action *Remediate* on its finding. The bucket blocks public access.")
            }
            "an undone fix" => {
                self.blocks(false).await?;
                Ok("The bucket is as it was: open.")
            }
            _ => Err(Trouble::said(format!("nobody knows what `{event}` is"))),
        }
    }

    async fn blocks(&self, wanted: bool) -> Outcome {
        let member = self.deployed.member()?;
        wait_for("the bucket's change", PATIENCE, async || {
            let blocks = self.deployed.is_blocked(member, BUCKET).await?;
            Ok((blocks == wanted).then_some(()))
        })
        .await
    }

    /// What an organization has before Stanch comes.
    async fn organization(&self) -> Outcome {
        let Deployed {
            administrator,
            members,
            regions,
            ..
        } = &self.deployed;
        let bucket = "organization-trail";
        administrator.create_bucket(bucket).await?;
        let trail = json!({"Name": "organization", "S3BucketName": bucket, "IsOrganizationTrail": true,
            "IsMultiRegionTrail": true, "EnableLogFileValidation": true});
        administrator
            .call("cloudtrail", "CreateTrail", trail)
            .await?;
        let named = json!({"Name": "organization"});
        administrator
            .call("cloudtrail", "StartLogging", named)
            .await?;
        for member in members {
            let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
                "Principal": {"AWS": format!("arn:aws:iam::{ADMINISTRATOR}:root")}, "Action": "sts:AssumeRole"}]});
            let role =
                json!({"RoleName": PEOPLES_ROLE, "AssumeRolePolicyDocument": trust.to_string()});
            member.call("iam", "CreateRole", role).await?;
            let all = json!({"RoleName": PEOPLES_ROLE,
                "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"});
            member.call("iam", "AttachRolePolicy", all).await?;
        }
        for account in members.iter().chain([administrator]) {
            for region in regions {
                switch_on(&account.in_region(region), bucket).await?;
            }
        }
        Ok(())
    }

    /// What differs from walk to walk is replaced, the same by the same.
    fn plain(&mut self, text: &str) -> String {
        let endpoint = self.deployed.emulator().endpoint();
        let folder = format!("{}/", self.folder.display());
        let mut text = text.replace(&endpoint, "https://aws").replace(&folder, "");
        for (pattern, stand_in) in DIFFERENT {
            let Ok(pattern) = Regex::new(pattern) else {
                continue;
            };
            let shown = &mut self.shown;
            text = pattern
                .replace_all(&text, |found: &regex::Captures<'_>| {
                    let found = found.get(0).map_or("", |found| found.as_str());
                    if !stand_in.contains('#') {
                        return (*stand_in).to_owned();
                    }
                    // As long as what it stands for.
                    let number = shown.len() + 1;
                    let known = shown.entry(found.to_owned()).or_insert_with(|| {
                        let digits = stand_in.matches('#').count();
                        stand_in.replace(&"#".repeat(digits), &format!("{number:0digits$}"))
                    });
                    known.clone()
                })
                .into_owned();
        }
        shortened(&text)
    }
}

/// What the emulator does not have is said once, and how often.
fn shortened(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut more = 0;
    let mut all = text.lines().map(str::trim_end).peekable();
    while let Some(line) = all.next() {
        let is_lacking = |line: &str| line.contains("Unknown action: DescribeDocument ");
        if is_lacking(line) && lines.iter().any(|line| is_lacking(line)) {
            more += 1;
            // What to do about it.
            all.next_if(|line| line.starts_with("           "));
            continue;
        }
        if more > 0 {
            lines.push(format!("  … and {more} more that are not known for this"));
            more = 0;
        }
        lines.push(line.to_owned());
    }
    lines.join("\n")
}

/// What differs, and what is shown for it; `#` becomes a number.
const DIFFERENT: [(&str, &str); 13] = [
    (r"-[0-9a-f]{8}-manual", "-1a2b3c4d-manual"),
    (r"-[0-9a-f]{8}-automatic", "-1a2b3c4d-automatic"),
    (r"\bplan [0-9a-f]{12}\b", "plan a1a1a1a1a1a1"),
    // It is drawn over itself.
    (
        r"\r?Uploading to [^\r\n]*",
        "Uploading to (its hash).template",
    ),
    (r#""Timestamp":\d+"#, "\"Timestamp\":1769860800000"),
    (r#""ExecutionDuration":\d+"#, "\"ExecutionDuration\":800"),
    (
        r"\b20\d\d-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)",
        "2026-01-31T12:00:00Z",
    ),
    (
        r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
        "00000000-0000-0000-0000-############",
    ),
    (
        r"\b[0-9a-f]{64}\b",
        "################################################################",
    ),
    (r"\bA[SK]IA[A-Z0-9]{12,}\b", "ASIA000000000000"),
    (
        r"\b\d+ bytes, [A-Za-z0-9+/]{43}=",
        "4194304 bytes, (its hash)",
    ),
    (r"\b\d+ bytes", "4194304 bytes"),
    (r"\b\d+(?:\.\d+)? m?s\b", "800 ms"),
];

/// Security Hub and AWS Config.
async fn switch_on(here: &Account, bucket: &str) -> Outcome {
    here.call("securityhub", "EnableSecurityHub", json!({}))
        .await?;
    let role = format!(
        "arn:aws:iam::{}:role/aws-service-role/config.amazonaws.com/AWSServiceRoleForConfig",
        here.id
    );
    let recorder = json!({"ConfigurationRecorder": {"name": "default", "roleARN": role}});
    here.call("config", "PutConfigurationRecorder", recorder)
        .await?;
    let channel = json!({"DeliveryChannel": {"name": "default", "s3BucketName": bucket}});
    here.call("config", "PutDeliveryChannel", channel).await?;
    let named = json!({"ConfigurationRecorderName": "default"});
    here.call("config", "StartConfigurationRecorder", named)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guide_has_steps() {
        let guide = "# Guide\n## One\n```sh\nA=1   # exits 3\ncat > f <<END\na \\\nEND\nfor x in 1; do\n  y\ndone\n\
                     b \\\n  c\n```\n```toml\nd\n```\n<!-- meanwhile: it rains -->\n```sh elsewhere\ne\nf\n```\n";
        let run = |text: &str| Step::Run(text.to_owned());
        assert_eq!(
            steps(guide),
            [
                Step::Heading("One".to_owned()),
                run("A=1   # exits 3"),
                run("cat > f <<END\na \\\nEND"),
                run("for x in 1; do\n  y\ndone"),
                run("b \\\n  c"),
                Step::Meanwhile("it rains".to_owned()),
                Step::Elsewhere("e\nf".to_owned()),
            ]
        );
        assert_eq!((wanted("A=1   # exits 3"), wanted("b \\\n  c")), (3, 0));
    }

    /// Whoever changes the guide's commands walks through it again: `cargo xtask e2e-aws --dev guide`.
    #[test]
    fn the_transcript_is_of_this_guide() {
        let read = |path: &str| fs::read_to_string(repository().join(path)).unwrap();
        let (guide, transcript) = (read(GUIDE), read(TRANSCRIPT));
        let mut rest = &*transcript;
        for step in steps(&guide) {
            let wanted = match step {
                Step::Heading(_) => continue,
                Step::Run(command) => {
                    format!("\n```console\n$ {}\n", command.replace('\n', "\n> "))
                }
                Step::Elsewhere(commands) => format!("\n```sh\n{commands}\n```\n"),
                Step::Meanwhile(_) => "\n> ".to_owned(),
            };
            let Some((_, after)) = rest.split_once(&wanted) else {
                panic!("`{TRANSCRIPT}` has not: {wanted}");
            };
            rest = after;
        }
    }
}
