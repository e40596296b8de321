//! Findings as AWS delivers them: EventBridge events of Security Hub and of Config.

use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_types::{AccountId, ControlRef, Finding, Incoming, Region, event};

/// What is wrong with one resource.
#[derive(Debug, Clone)]
pub struct Misconfiguration {
    /// The account of the resource.
    pub account: AccountId,
    /// The region of the resource; for global ones, where Security Hub found it.
    pub region: Region,
    /// What found it.
    pub control: ControlRef,
    /// As the finding format names it: `AwsS3Bucket`.
    pub resource_type: String,
    /// The ARN; for resources without one, the id.
    pub resource_id: String,
    /// What the finding format has under `Resources[].Details.<type>`; may be null.
    pub details: Value,
    /// When it was seen.
    pub at: Timestamp,
}

impl Misconfiguration {
    /// The event in which AWS delivers it: Config's own if a Config rule found it, Security Hub's
    /// otherwise.
    #[must_use]
    pub fn event(&self) -> Value {
        match &self.control {
            ControlRef::ConfigRule(rule) => self.config_event(rule),
            _ => self.security_hub_event(),
        }
    }

    /// The same as it is delivered.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.event().to_string().into_bytes()
    }

    /// The finding as it is understood, unless it is refused.
    #[must_use]
    pub fn read(&self) -> Option<Finding> {
        match event::read(&self.bytes(), &event::Options::default()).pop() {
            Some(Incoming::Accepted { finding, .. }) => Some(*finding),
            _ => None,
        }
    }

    /// The event of the same finding when it is seen again; when it was first seen stays.
    #[must_use]
    pub fn seen_again(&self, at: Timestamp) -> Vec<u8> {
        let mut event = Self { at, ..self.clone() }.event();
        if let Some(Value::Object(finding)) = event.pointer_mut("/detail/findings/0") {
            for member in ["FirstObservedAt", "CreatedAt"] {
                finding.insert(member.to_owned(), json!(self.at));
            }
        }
        event.to_string().into_bytes()
    }

    /// The finding in the AWS Security Finding Format, with consolidated controls,
    /// <https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-findings-format.html>.
    #[must_use]
    pub fn asff(&self) -> Value {
        let Self {
            account,
            region,
            control,
            at,
            ..
        } = self;
        let partition = region.partition();
        let generator = match control {
            ControlRef::Prowler(check) => format!("prowler-{check}"),
            ControlRef::Cis { version, id } => {
                format!("cis-aws-foundations-benchmark/v/{version}/{id}")
            }
            ControlRef::Pci { version, id } => format!("pci-dss/v/{version}/{id}"),
            other => format!("security-control/{other}"),
        };
        let compliance = match control {
            ControlRef::SecurityHub(id) => json!({"Status": "FAILED", "SecurityControlId": id,
                "AssociatedStandards": [{"StandardsId": "standards/aws-foundational-security-best-practices/v/1.0.0"}]}),
            _ => json!({"Status": "FAILED"}),
        };
        let (product, types) = match control {
            ControlRef::Product(kind) => ("GuardDuty", kind.as_str()),
            _ => (
                "Security Hub",
                "Software and Configuration Checks/Industry and Regulatory Standards",
            ),
        };
        let mut resource = json!({"Type": self.resource_type, "Id": self.resource_id, "Partition": partition, "Region": region});
        if let (Some(resource), false) = (resource.as_object_mut(), self.details.is_null()) {
            resource.insert(
                "Details".to_owned(),
                json!({&self.resource_type: self.details}),
            );
        }
        json!({
            "SchemaVersion": "2018-10-08",
            "Id": format!("arn:{partition}:securityhub:{region}:{account}:security-control/{control}/finding/{}", self.resource_id),
            "ProductArn": format!("arn:{partition}:securityhub:{region}::product/aws/securityhub"),
            "ProductName": product,
            "CompanyName": "AWS",
            "Region": region,
            "GeneratorId": generator,
            "AwsAccountId": account,
            "Types": [types],
            "FirstObservedAt": at, "LastObservedAt": at, "CreatedAt": at, "UpdatedAt": at,
            "Severity": {"Label": "HIGH", "Normalized": 70, "Original": "HIGH"},
            "Title": format!("{control} on {}", self.resource_id),
            "Description": format!("The resource does not meet {control}."),
            "Resources": [resource],
            "Compliance": compliance,
            "WorkflowState": "NEW",
            "Workflow": {"Status": "NEW"},
            "RecordState": "ACTIVE",
        })
    }

    /// `Security Hub Findings - Imported`,
    /// <https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-cwe-event-formats.html>.
    #[must_use]
    pub fn security_hub_event(&self) -> Value {
        let asff = self.asff();
        let mut event = self.envelope("aws.securityhub", "Security Hub Findings - Imported");
        if let Some(event) = event.as_object_mut() {
            event.insert("resources".to_owned(), json!([asff.get("Id")]));
            event.insert("detail".to_owned(), json!({"findings": [asff]}));
        }
        event
    }

    /// `Config Rules Compliance Change`,
    /// <https://docs.aws.amazon.com/config/latest/developerguide/monitor-config-with-cloudwatchevents.html>.
    #[must_use]
    pub fn config_event(&self, rule: &str) -> Value {
        let Self {
            account,
            region,
            at,
            ..
        } = self;
        let mut event = self.envelope("aws.config", "Config Rules Compliance Change");
        let detail = json!({
            "recordVersion": "1.0", "messageType": "ComplianceChangeNotification",
            "configRuleARN": format!("arn:{}:config:{region}:{account}:config-rule/config-rule-stanch", region.partition()),
            "configRuleName": rule, "awsAccountId": account, "awsRegion": region,
            "resourceType": self.resource_type, "resourceId": self.resource_id,
            "newEvaluationResult": {
                "evaluationResultIdentifier": {
                    "evaluationResultQualifier": {"configRuleName": rule, "resourceType": self.resource_type, "resourceId": self.resource_id},
                    "orderingTimestamp": at},
                "complianceType": "NON_COMPLIANT", "resultRecordedTime": at, "configRuleInvokedTime": at},
            "notificationCreationTime": at,
        });
        if let Some(event) = event.as_object_mut() {
            event.insert("detail".to_owned(), detail);
        }
        event
    }

    /// The event ids are the same in every run, and differ from resource to resource.
    fn envelope(&self, source: &str, detail_type: &str) -> Value {
        let name = format!(
            "{}/{}/{}/{}",
            self.account, self.region, self.control, self.resource_id
        );
        let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes());
        json!({"version": "0", "id": id, "detail-type": detail_type, "source": source, "account": self.account,
            "time": self.at, "region": self.region, "resources": [], "detail": {}})
    }
}
