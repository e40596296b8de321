//! Changes that Systems Manager makes, by the documents of the member account.

use std::sync::Arc;

use serde_json::{Value, json};
use stanch_aws::SystemClock;
use stanch_catalog::{Catalog, Naming, Stage};
use stanch_ledger::{Record, Status};

use super::{
    super::{
        ARCHITECTURE, Account, Deployed, ORCHESTRATOR, Outcome, Trouble, ensure, text, wait_for,
    },
    Seen,
    expect::{PATIENCE, accounted, ended, failed, figures, is_blocked, no_write, spent},
};
use crate::{
    Misconfiguration,
    automation::{Automation, AutomationServer, Caller},
    models,
};

const REMEDIATION: &str = "S3BlockPublicAccess";

/// Systems Manager, which MiniStack does not have, before it; the orchestrator reaches it and the
/// sessions that it opens by way of it.
struct Managed<'d> {
    deployed: &'d Deployed,
    automation: Automation,
    administrator: Caller,
    _server: AutomationServer,
}

impl<'d> Managed<'d> {
    /// The documents are deployed as the stack `member-documents` does, and the orchestrator uses them.
    async fn start(deployed: &'d Deployed) -> Outcome<Self> {
        let member = deployed.member()?;
        let automation = Automation::new(Arc::new(SystemClock::default()), models());
        let emulator = deployed.emulator().address();
        let server = AutomationServer::start(emulator, automation.clone()).await?;
        let administrator = Caller {
            account: member.id.clone(),
            region: member.region.clone(),
            arn: format!("arn:aws:iam::{}:root", member.id),
            api: member.api(),
            parent: None,
        };
        let (catalog, naming) = (Catalog::embedded(), Naming::default());
        let made = automation
            .deploy(&administrator, &catalog, &naming, REMEDIATION)
            .await;
        made.map_err(|refused| Trouble::said(refused.message))?;
        // MiniStack's CloudFormation does not read an archive out of another account's bucket.
        let here = deployed.administrator.in_region(&member.region);
        let kept = json!({"Bucket": format!("stanch-artifacts-{}", member.region),
            "Key": format!("stanch/stanch-{ARCHITECTURE}.zip")});
        let archive = here.call("s3", "GetObject", kept).await?;
        let code =
            json!({"FunctionName": Naming::default().function(), "ZipFile": archive.get("Body")});
        member.call("lambda", "UpdateFunctionCode", code).await?;
        let endpoint = server.endpoint();
        let variables = [
            ("AWS_ENDPOINT_URL_SSM", &*endpoint),
            ("AWS_ENDPOINT_URL_STS", &*endpoint),
            ("STANCH_EXECUTOR_DEFAULT", "ssm"),
        ];
        deployed.set_variables(ORCHESTRATOR, &variables).await?;
        Ok(Self {
            deployed,
            automation,
            administrator,
            _server: server,
        })
    }

    async fn ask(&self, operation: &str, input: Value) -> Outcome<Value> {
        let answer = self
            .automation
            .call(&self.administrator, operation, &input)
            .await;
        answer.map_err(|refused| Trouble::said(format!("{operation}: {}", refused.message)))
    }

    fn executions(&self) -> Vec<String> {
        let Caller {
            account, region, ..
        } = &self.administrator;
        self.automation.executions(account, region)
    }

    async fn end(self) -> Outcome {
        let endpoint = self.deployed.emulator().endpoint();
        let variables = [
            ("AWS_ENDPOINT_URL_SSM", &*endpoint),
            ("AWS_ENDPOINT_URL_STS", &*endpoint),
            ("STANCH_EXECUTOR_DEFAULT", "native"),
        ];
        self.deployed.set_variables(ORCHESTRATOR, &variables).await
    }
}

pub(super) async fn automation(deployed: &Deployed) -> Seen {
    let managed = Managed::start(deployed).await?;
    let seen = by_document(&managed).await;
    managed.end().await?;
    seen
}

async fn by_document(managed: &Managed<'_>) -> Seen {
    let deployed = managed.deployed;
    let member = deployed.member()?;
    let bucket = "by-document";
    let found = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    deployed.choose_action(&found)?;
    let execution = wait_for("an execution", PATIENCE, async || {
        Ok(managed.executions().pop())
    })
    .await?;
    let end = managed.automation.ended(&execution).await;
    // EventBridge of the member account, whose rule forwards it to the administrator's bus.
    deployed.emulator().happen(&end)?;
    let record = ended(deployed, &found).await?;
    let asked = json!({"AutomationExecutionId": execution});
    let answer = managed.ask("GetAutomationExecution", asked).await?;
    ensure(record.status == Status::Success, || {
        format!("{:?}: {answer}", record.error_message)
    })?;
    is_blocked(deployed, member, bucket, true).await?;
    let by = text(&answer, "/AutomationExecution/ExecutedBy");
    let session = format!("/stanch-{}", record.remediation_id);
    ensure(by.ends_with(&session), || format!("executed by `{by}`"))?;
    let spent = spent(deployed, mark).await?;
    accounted(deployed, mark, &record).await?;
    Ok(format!("executed by {by}; {}", figures(&spent)))
}

pub(super) async fn tampered_document(deployed: &Deployed) -> Seen {
    let managed = Managed::start(deployed).await?;
    let seen = by_another_document(&managed).await;
    managed.end().await?;
    seen
}

async fn by_another_document(managed: &Managed<'_>) -> Seen {
    let deployed = managed.deployed;
    let member = deployed.member()?;
    let bucket = "by-another-document";
    let name = Naming::default().document(Stage::Apply, REMEDIATION);
    let asked = json!({"Name": name, "DocumentFormat": "YAML"});
    let genuine = managed.ask("GetDocument", asked).await?;
    let genuine = text(&genuine, "/Content");
    let tampered = genuine.replace("BlockPublicAcls: true", "BlockPublicAcls: false");
    ensure(tampered != genuine, || {
        format!("nothing to change in {genuine}")
    })?;
    let update = json!({"Name": name, "Content": tampered, "DocumentFormat": "YAML", "DocumentVersion": "$LATEST"});
    managed.ask("UpdateDocument", update).await?;
    let default = json!({"Name": name, "DocumentVersion": "2"});
    managed.ask("UpdateDocumentDefaultVersion", default).await?;
    let (record, why, figures) = refused(deployed, member, bucket).await?;
    ensure(why.contains(&name), || why.clone())?;
    ensure(managed.executions().is_empty(), || {
        format!("started: {:?}", managed.executions())
    })?;
    Ok(format!("{}: {why}; {figures}", record.status))
}

/// One finding that comes to nothing.
async fn refused(
    deployed: &Deployed,
    member: &Account,
    bucket: &str,
) -> Outcome<(Record, String, String)> {
    let found: Misconfiguration = deployed.public_bucket(member, bucket).await?;
    let mark = deployed.mark().await?;
    deployed.choose_action(&found)?;
    let record = ended(deployed, &found).await?;
    let why = failed(&record)?;
    is_blocked(deployed, member, bucket, false).await?;
    let spent = spent(deployed, mark).await?;
    no_write(&spent, bucket)?;
    accounted(deployed, mark, &record).await?;
    let figures = figures(&spent);
    Ok((record, why, figures))
}
