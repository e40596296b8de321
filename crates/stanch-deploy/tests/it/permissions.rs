//! What each role may do, by an IAM simulator that is not ours: the emulator does not enforce all of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use stanch_testkit::judge::{Judge, Law};
use stanch_types::AccountId;

use crate::TEMPLATES;

const ADMINISTRATOR: &str = "111111111111";
const MEMBER: &str = "222222222222";
/// The management account of their organization.
const MANAGEMENT: &str = "999999999999";
const KEY: &str = "key/12345678-1234-1234-1234-123456789012";

/// Conditions that are off by default.
const OFF: [&str; 5] = [
    "Tracing",
    "PlacesMembers",
    "ApprovalPage",
    "Operator",
    "Channels",
];

/// A stack's template with its parameters' defaults, as CloudFormation would resolve it.
struct Stack {
    template: &'static Value,
    account: &'static str,
    given: BTreeMap<&'static str, &'static str>,
    /// Those of [`OFF`] that are on here.
    on: &'static [&'static str],
}

impl Stack {
    fn new(name: &str, account: &'static str) -> Self {
        let given = BTreeMap::from([
            ("ExternalIdPrefix", "prefix-prefix-prefix"),
            ("AdministratorAccountId", ADMINISTRATOR),
            ("AWS::Partition", "aws"),
            ("AWS::Region", "us-east-1"),
            ("AWS::AccountId", account),
        ]);
        Self {
            template: &TEMPLATES[name],
            account,
            given,
            on: &[],
        }
    }

    fn is_off(&self, condition: &Value) -> bool {
        let name = condition.as_str().unwrap();
        OFF.contains(&name) && !self.on.contains(&name)
    }

    fn parameter(&self, name: &str) -> Option<String> {
        if let Some(value) = self.given.get(name) {
            return Some((*value).to_owned());
        }
        let default = self.template["Parameters"].get(name)?.get("Default")?;
        Some(
            default
                .as_str()
                .map_or_else(|| default.to_string(), str::to_owned),
        )
    }

    fn arn(&self, id: &str) -> String {
        let resource = &self.template["Resources"][id];
        let properties = &resource["Properties"];
        let name = |member: &str| self.text(&properties[member]);
        let regional = |service: &str, rest: String| {
            format!("arn:aws:{service}:us-east-1:{}:{rest}", self.account)
        };
        match resource["Type"]
            .as_str()
            .unwrap_or_else(|| panic!("no resource {id}"))
        {
            "AWS::DynamoDB::Table" => regional("dynamodb", format!("table/{}", name("TableName"))),
            "AWS::SNS::Topic" => regional("sns", name("TopicName")),
            "AWS::SQS::Queue" => regional("sqs", name("QueueName")),
            "AWS::Lambda::Function" => {
                regional("lambda", format!("function:{}", name("FunctionName")))
            }
            "AWS::KMS::Key" => regional("kms", KEY.to_owned()),
            "AWS::SecretsManager::Secret" => {
                regional("secretsmanager", format!("secret:{}-abcdef", name("Name")))
            }
            "AWS::S3::Bucket" => format!("arn:aws:s3:::{}", name("BucketName")),
            other => panic!("{id}: {other}"),
        }
    }

    fn text(&self, value: &Value) -> String {
        self.resolved(value)
            .as_str()
            .unwrap_or_else(|| panic!("{value}"))
            .to_owned()
    }

    fn resolved(&self, value: &Value) -> Value {
        match value {
            Value::Object(members) if members.len() == 1 => {
                let (name, argument) = members.iter().next().unwrap();
                match name.as_str() {
                    "Ref" => {
                        let id = argument.as_str().unwrap();
                        self.parameter(id)
                            .map_or_else(|| json!(self.arn(id)), Value::String)
                    }
                    "Fn::GetAtt" => json!(self.arn(argument[0].as_str().unwrap())),
                    "Fn::Sub" => {
                        let mut text = argument.as_str().unwrap().to_owned();
                        while let Some((before, rest)) = text.clone().split_once("${") {
                            let (name, after) = rest.split_once('}').unwrap();
                            let value = match name.split_once('.') {
                                Some((id, _)) => self.arn(id),
                                None => self.parameter(name).unwrap_or_else(|| panic!("{name}")),
                            };
                            text = format!("{before}{value}{after}");
                        }
                        json!(text)
                    }
                    "Fn::If" => {
                        let place = if self.is_off(&argument[0]) { 2 } else { 1 };
                        self.resolved(&argument[place])
                    }
                    _ => self.each(members),
                }
            }
            Value::Object(members) => self.each(members),
            Value::Array(items) => {
                let kept = items.iter().filter(|item| !self.is_nothing(item));
                kept.map(|item| self.resolved(item)).collect()
            }
            other => other.clone(),
        }
    }

    fn is_nothing(&self, value: &Value) -> bool {
        let nothing = json!({"Ref": "AWS::NoValue"});
        let off = value.get("Fn::If").is_some_and(|argument| {
            let place = if self.is_off(&argument[0]) { 2 } else { 1 };
            argument[place] == nothing
        });
        off || *value == nothing
    }

    fn each(&self, members: &Map<String, Value>) -> Value {
        members
            .iter()
            .map(|(name, value)| (name.clone(), self.resolved(value)))
            .collect::<Map<_, _>>()
            .into()
    }

    /// All that a role's policies say, in one document.
    fn role(&self, id: &str) -> Value {
        let resources = self.template["Resources"].as_object().unwrap();
        let role = &resources[id]["Properties"];
        let mut statements = Vec::new();
        let mut add = |document: &Value| {
            let document = self.resolved(document);
            statements.extend(document["Statement"].as_array().unwrap().clone());
        };
        for policy in role["Policies"].as_array().into_iter().flatten() {
            add(&policy["PolicyDocument"]);
        }
        for attached in role["ManagedPolicyArns"].as_array().into_iter().flatten() {
            let attached = match &attached["Fn::If"] {
                Value::Null => attached,
                choice => &choice[2],
            };
            add(&resources[attached["Ref"].as_str().unwrap()]["Properties"]["PolicyDocument"]);
        }
        for other in resources
            .values()
            .filter(|one| one["Type"] == "AWS::IAM::Policy")
        {
            if other["Properties"]["Roles"] == json!([{"Ref": id}]) {
                add(&other["Properties"]["PolicyDocument"]);
            }
        }
        // Names of statements are of their own policies.
        for statement in &mut statements {
            statement.as_object_mut().unwrap().remove("Sid");
        }
        json!({"Version": "2012-10-17", "Statement": statements})
    }
}

fn judged(judge: &Judge, law: &Law, account: &str, cases: &[(&str, &str, bool)]) {
    let account: AccountId = account.parse().unwrap();
    for (action, resource, expected) in cases {
        let allowed = judge.allows(law, &account, action, resource).unwrap();
        assert_eq!(allowed, *expected, "{action} on {resource}");
    }
}

#[test]
fn the_administrators_roles_may_do_what_they_do_and_no_more() {
    let judge = Judge::start().unwrap();
    let stack = Stack::new("administrator-stack.yaml", ADMINISTRATOR);
    let check = |role: &str, cases: &[(&str, &str, bool)]| {
        let law = Law {
            role: stack.role(role),
            ..Law::default()
        };
        judged(&judge, &law, ADMINISTRATOR, cases);
    };
    let here =
        |service: &str, rest: &str| format!("arn:aws:{service}:us-east-1:{ADMINISTRATOR}:{rest}");
    let [audit, state, topic, queue, machine] = [
        here("dynamodb", "table/SecurityRemediationAuditLog"),
        here("dynamodb", "table/SecurityRemediationState"),
        here("sns", "SecurityRemediationNotifications"),
        here("sqs", "SecurityRemediationEvents"),
        here("states", "stateMachine:SecurityRemediationWorkflow"),
    ];
    let orchestrator = here("lambda", "function:SecurityRemediationOrchestrator");
    let security = here("lambda", "function:SecurityRemediationSecurity");
    let execution = here("states", "execution:SecurityRemediationWorkflow:e");
    let member_role = format!("arn:aws:iam::{MEMBER}:role/SecurityRemediationCrossAccountRole");
    let other_role = format!("arn:aws:iam::{MEMBER}:role/Admin");
    let index = format!("{audit}/index/ResourceId-Timestamp-index");
    let member = format!("arn:aws:organizations::{MANAGEMENT}:account/o-a1b2c3d4e5/{MEMBER}");
    let vault = here("secretsmanager", "secret:SecurityRemediation/Vault-abcdef");
    let links = here(
        "secretsmanager",
        "secret:SecurityRemediation/ApprovalLinks-abcdef",
    );
    check(
        "OrchestratorRole",
        &[
            ("sts:AssumeRole", &member_role, true),
            ("sts:AssumeRole", &other_role, false),
            ("dynamodb:PutItem", &audit, true),
            ("dynamodb:Query", &index, true),
            // The audit log only grows.
            ("dynamodb:UpdateItem", &audit, false),
            ("dynamodb:DeleteItem", &audit, false),
            ("dynamodb:DeleteItem", &state, true),
            ("dynamodb:DeleteTable", &state, false),
            ("sns:Publish", &topic, true),
            ("sns:GetTopicAttributes", &topic, true),
            ("sns:SetTopicAttributes", &topic, false),
            ("sqs:ReceiveMessage", &queue, true),
            ("sqs:PurgeQueue", &queue, false),
            ("states:StartExecution", &machine, true),
            ("states:StopExecution", &execution, true),
            ("states:UpdateStateMachine", &machine, false),
            ("lambda:InvokeFunction", &security, false),
            ("lambda:InvokeFunction", &orchestrator, false),
            ("iam:PassRole", &other_role, false),
            ("organizations:ListAccounts", "*", false),
            ("organizations:ListParents", &member, false),
            ("secretsmanager:GetSecretValue", &vault, true),
            ("secretsmanager:GetSecretValue", &links, false),
        ],
    );
    check(
        "SecurityRole",
        &[
            ("dynamodb:Query", &index, true),
            ("dynamodb:PutItem", &audit, false),
            ("sts:AssumeRole", &member_role, false),
            ("sns:Publish", &topic, false),
            ("lambda:InvokeFunction", &orchestrator, false),
        ],
    );
    let dead = here("sqs", "SecurityRemediationDeadLetters");
    let bus = here("events", "event-bus/default");
    let law = Law {
        role: stack.role("NotifierRole"),
        context: json!({"events:source": "stanch"}),
        ..Law::default()
    };
    judged(
        &judge,
        &law,
        ADMINISTRATOR,
        &[("events:PutEvents", &bus, true)],
    );
    check(
        "NotifierRole",
        &[
            ("sqs:SendMessage", &dead, true),
            ("sqs:SendMessage", &queue, false),
            // Only as itself.
            ("events:PutEvents", &bus, false),
            ("dynamodb:PutItem", &audit, false),
            ("sts:AssumeRole", &member_role, false),
        ],
    );
    check(
        "WorkflowRole",
        &[
            ("lambda:InvokeFunction", &orchestrator, true),
            ("lambda:InvokeFunction", &security, false),
            ("sns:Publish", &topic, true),
            ("sns:Publish", &here("sns", "Other"), false),
            ("states:StartExecution", &machine, true),
            (
                "states:StartExecution",
                &here("states", "stateMachine:Other"),
                false,
            ),
            ("sts:AssumeRole", &member_role, false),
            ("dynamodb:PutItem", &audit, false),
            (
                "ssm:StartAutomationExecution",
                &here("ssm", "automation-definition/Any:1"),
                false,
            ),
        ],
    );
}

/// Where members stand may be asked where there is an organization, and the key of links be read where there
/// is a page.
#[test]
fn what_is_turned_on_gives_what_it_needs_and_no_more() {
    let judge = Judge::start().unwrap();
    let stack = Stack {
        on: &["PlacesMembers", "ApprovalPage"],
        ..Stack::new("administrator-stack.yaml", ADMINISTRATOR)
    };
    let member = format!("arn:aws:organizations::{MANAGEMENT}:account/o-a1b2c3d4e5/{MEMBER}");
    let unit = format!("arn:aws:organizations::{MANAGEMENT}:ou/o-a1b2c3d4e5/ou-root-payments1");
    let links = "secret:SecurityRemediation/ApprovalLinks-abcdef";
    let links = format!("arn:aws:secretsmanager:us-east-1:{ADMINISTRATOR}:{links}");
    for (role, enters) in [("OrchestratorRole", true), ("SecurityRole", false)] {
        let law = Law {
            role: stack.role(role),
            ..Law::default()
        };
        let cases = [
            ("organizations:ListAccounts", "*", true),
            ("organizations:ListParents", &*member, true),
            ("organizations:ListParents", &*unit, true),
            ("organizations:DescribeOrganizationalUnit", &*unit, true),
            ("organizations:ListTagsForResource", &*member, true),
            ("organizations:TagResource", &*member, false),
            ("organizations:MoveAccount", &*member, false),
            ("organizations:UpdateOrganizationalUnit", &*unit, false),
            ("secretsmanager:GetSecretValue", &*links, enters),
        ];
        judged(&judge, &law, ADMINISTRATOR, &cases);
    }
}

#[test]
fn the_member_role_cannot_get_more_nor_touch_stanch() {
    let judge = Judge::start().unwrap();
    let stack = Stack::new("member-stack.yaml", MEMBER);
    let boundary =
        stack.resolved(&stack.template["Resources"]["Boundary"]["Properties"]["PolicyDocument"]);
    let law = Law {
        role: stack.role("CrossAccountRole"),
        boundary: boundary.clone(),
        ..Law::default()
    };
    let here = |service: &str, rest: &str| format!("arn:aws:{service}:us-east-1:{MEMBER}:{rest}");
    let role = |name: &str| format!("arn:aws:iam::{MEMBER}:role/{name}");
    let [own, admin, user] = [
        role("SecurityRemediationCrossAccountRole"),
        role("Admin"),
        format!("arn:aws:iam::{MEMBER}:user/eve"),
    ];
    let group = here("ec2", "security-group/sg-0123456789abcdef0");
    let document = here(
        "ssm",
        "automation-definition/SecurityRemediationControlRunbook:1",
    );
    let function = here("lambda", "function:SecurityRemediationRemediation");
    let cases: [(&str, &str, bool); 16] = [
        (
            "s3:PutBucketPublicAccessBlock",
            "arn:aws:s3:::careless",
            true,
        ),
        ("ec2:RevokeSecurityGroupIngress", &group, true),
        ("ssm:StartAutomationExecution", &document, true),
        (
            "ssm:StartAutomationExecution",
            &here("ssm", "automation-definition/Other:1"),
            false,
        ),
        ("lambda:InvokeFunction", &function, true),
        ("lambda:UpdateFunctionCode", &function, false),
        // Stanch's own.
        (
            "s3:PutBucketPublicAccessBlock",
            "arn:aws:s3:::security-remediation-logs-222222222222-us-east-1",
            false,
        ),
        ("iam:TagRole", &own, false),
        ("iam:UpdateAssumeRolePolicy", &own, false),
        // More rights.
        ("iam:CreateUser", &user, false),
        ("iam:CreateAccessKey", &user, false),
        ("iam:CreateLoginProfile", &user, false),
        ("iam:CreateServiceSpecificCredential", &user, false),
        ("iam:DeleteRolePermissionsBoundary", &own, false),
        ("sts:AssumeRole", &admin, false),
        ("organizations:LeaveOrganization", "*", false),
    ];
    judged(&judge, &law, MEMBER, &cases);

    // Whatever a policy gives, the boundary does not let through: not what escalates, not Stanch's own.
    let everything = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let widened = Law {
        role: everything.clone(),
        ..law.clone()
    };
    let denied: Vec<(&str, &str, bool)> = cases
        .iter()
        .copied()
        .filter(|(action, _, allowed)| {
            !allowed && !action.starts_with("ssm:") && !action.starts_with("sts:")
        })
        .collect();
    assert!(denied.len() > 8);
    judged(&judge, &widened, MEMBER, &denied);
    // Without the boundary it would: the judge is seen to say yes.
    let unbound = Law {
        role: everything,
        ..Law::default()
    };
    judged(&judge, &unbound, MEMBER, &[("iam:CreateUser", &user, true)]);

    // What the organization denies, no role may.
    let organization = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:PutBucketPublicAccessBlock", "Resource": "*"},
    ]});
    let limited = Law {
        organization,
        ..law.clone()
    };
    judged(
        &judge,
        &limited,
        MEMBER,
        &[
            (
                "s3:PutBucketPublicAccessBlock",
                "arn:aws:s3:::careless",
                false,
            ),
            ("ec2:RevokeSecurityGroupIngress", &group, true),
        ],
    );

    // A session that only reads cannot write.
    let session = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]});
    let reads = Law { session, ..law };
    judged(
        &judge,
        &reads,
        MEMBER,
        &[
            (
                "s3:PutBucketPublicAccessBlock",
                "arn:aws:s3:::careless",
                false,
            ),
            (
                "s3:GetBucketPublicAccessBlock",
                "arn:aws:s3:::careless",
                true,
            ),
        ],
    );

    // The others have their one thing.
    let bus =
        format!("arn:aws:events:us-east-1:{ADMINISTRATOR}:event-bus/SecurityRemediationMembers");
    let forwarder = Law {
        role: stack.role("ForwarderRole"),
        boundary: boundary.clone(),
        ..Law::default()
    };
    judged(
        &judge,
        &forwarder,
        MEMBER,
        &[
            ("events:PutEvents", &bus, true),
            (
                "events:PutEvents",
                &here("events", "event-bus/default"),
                false,
            ),
            ("s3:PutObject", "arn:aws:s3:::careless/x", false),
        ],
    );
    let function = Law {
        role: stack.role("FunctionRole"),
        boundary,
        ..Law::default()
    };
    judged(
        &judge,
        &function,
        MEMBER,
        &[
            (
                "s3:PutObject",
                "arn:aws:s3:::security-remediation-logs-222222222222-us-east-1/x",
                true,
            ),
            ("s3:PutObject", "arn:aws:s3:::careless/x", false),
            ("ec2:RevokeSecurityGroupIngress", &group, false),
        ],
    );
}
