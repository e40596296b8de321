//! Measures Stanch beside Cloud Custodian: `beside-custodian <custodian> [resources]...`.
//!
//! Both fix the same resources of one account, one after the other, in emulators of their own: a
//! bucket without a public access block, a security group that is open to the world, a public
//! database, a key that does not rotate. Each is given what it works from: Custodian a policy, Stanch
//! the findings. Whether they are fixed is looked at afterwards. The last line is JSON.

use std::{error::Error, fs, path::Path, process::Command};

use serde_json::{Value, json};
use stanch_catalog::Catalog;
use stanch_testkit::{
    Emulated, Emulator, Misconfiguration, Organization,
    measure::{Relay, Used},
    models,
    organization::{MEMBERS, REGIONS, role_policy},
};
use stanch_types::{AccountId, Api, Call, Region};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// What is wrong with the resources, and how Custodian is told to mend it.
struct Case {
    remediation: &'static str,
    control: &'static str,
    resource_type: &'static str,
    policy: &'static str,
}

const CASES: [Case; 4] = [
    Case {
        remediation: "S3BlockPublicAccess",
        control: "S3.8",
        resource_type: "AwsS3Bucket",
        policy: "resource: aws.s3\n  filters: [{type: check-public-block}]\n  actions: [{type: set-public-block, state: true}]",
    },
    Case {
        remediation: "Ec2CloseOpenPorts",
        control: "EC2.13",
        resource_type: "AwsEc2SecurityGroup",
        policy: "resource: aws.security-group\n  filters: [{type: ingress, Ports: [22], Cidr: {value: 0.0.0.0/0}}]\n  actions: [{type: remove-permissions, ingress: matched}]",
    },
    Case {
        remediation: "RdsMakeInstancePrivate",
        control: "RDS.2",
        resource_type: "AwsRdsDbInstance",
        policy: "resource: aws.rds\n  filters: [{PubliclyAccessible: true}]\n  actions: [{type: modify-db, update: [{property: PubliclyAccessible, value: false}], immediate: true}]",
    },
    Case {
        remediation: "KmsRotateKey",
        control: "KMS.4",
        resource_type: "AwsKmsKey",
        policy: "resource: aws.kms-key\n  filters: [{type: key-rotation-status, key: KeyRotationEnabled, value: false}]\n  actions: [{type: set-rotation, state: true}]",
    },
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let custodian = arguments
        .next()
        .ok_or("usage: beside-custodian <custodian> [resources]...")?;
    let mut sizes: Vec<usize> = arguments
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes = vec![1, 100];
    }
    let mut rows = Vec::new();
    for case in &CASES {
        for &size in &sizes {
            let theirs = custodian_run(&custodian, case, size).await?;
            let ours = stanch_run(case, size).await?;
            eprintln!(
                "{} x {size}: Custodian {theirs}, Stanch {ours}",
                case.remediation
            );
            rows.push(json!({"remediation": case.remediation, "resources": size, "custodian": theirs, "stanch": ours}));
        }
    }
    println!("{}", Value::from(rows));
    Ok(())
}

/// One try: an emulator with the resources planted, seen through a relay that counts.
struct Try {
    aws: Emulated,
    account: AccountId,
    region: Region,
    relay: Relay,
    folder: tempfile::TempDir,
    /// The resources as findings name them.
    resources: Vec<String>,
    /// Ends with the try.
    _emulator: Emulator,
}

impl Try {
    async fn of(case: &Case, size: usize) -> Outcome<Self> {
        let emulator = Emulator::start()?;
        let region: Region = REGIONS[0].parse()?;
        let account: AccountId = MEMBERS[0].0.parse()?;
        let aws = Emulated::at(&emulator.endpoint(), region.clone());
        let root = aws.root(&account, &region);
        let mut resources = Vec::new();
        for number in 0..size {
            resources.push(misconfigure(&*root, case.remediation, number).await?);
        }
        Ok(Self {
            relay: Relay::start(emulator.address())?,
            folder: tempfile::tempdir()?,
            _emulator: emulator,
            aws,
            account,
            region,
            resources,
        })
    }

    /// What the run of `command` cost, once every resource is seen to be fixed.
    async fn run(&self, case: &Case, command: &mut Command) -> Outcome<Value> {
        let before = self.relay.requests();
        let used = Used::by(command)?;
        let requests = self.relay.requests() - before;
        let root = self.aws.root(&self.account, &self.region);
        for resource in &self.resources {
            if !is_fixed(&*root, case.remediation, resource).await? {
                return Err(format!("`{resource}` is not fixed").into());
            }
        }
        Ok(json!({
            "cpu_ms": used.cpu_ms.round(),
            "wall_ms": used.wall.as_millis() as u64,
            "requests": requests,
        }))
    }
}

async fn custodian_run(custodian: &str, case: &Case, size: usize) -> Outcome<Value> {
    let one = Try::of(case, size).await?;
    let policy = one.folder.path().join("policy.yml");
    fs::write(
        &policy,
        format!("policies:\n- name: fix\n  {}\n", case.policy),
    )?;
    let mut command = Command::new(custodian);
    command
        .args(["run", "--cache-period", "0", "--region"])
        .arg(one.region.as_str())
        .args([
            "--output-dir".as_ref(),
            one.folder.path().join("out").as_os_str(),
        ])
        .arg(&policy)
        .env("AWS_ENDPOINT_URL", one.relay.endpoint())
        .env("AWS_ACCESS_KEY_ID", one.account.as_str())
        .env("AWS_SECRET_ACCESS_KEY", "any")
        .env("AWS_DEFAULT_REGION", one.region.as_str());
    one.run(case, &mut command).await
}

async fn stanch_run(case: &Case, size: usize) -> Outcome<Value> {
    let one = Try::of(case, size).await?;
    let root = |account: &AccountId, region: &Region| one.aws.root(account, region);
    let role_policy = role_policy(Catalog::embedded().iter(), &models())?;
    let organization = Organization::create(one.relay.endpoint(), &root, &role_policy).await?;
    let folder: &Path = one.folder.path();
    let config = folder.join("stanch.toml");
    fs::write(
        &config,
        organization.config(folder, &[case.remediation.to_owned()]),
    )?;
    let mut findings = Vec::new();
    for resource in &one.resources {
        let found = Misconfiguration {
            account: one.account.clone(),
            region: one.region.clone(),
            control: case.control.parse()?,
            resource_type: case.resource_type.to_owned(),
            resource_id: resource.clone(),
            details: Value::Null,
            at: "2026-01-01T00:00:00Z".parse()?,
        };
        findings.push(serde_json::from_slice::<Value>(&found.bytes())?);
    }
    let file = folder.join("findings.json");
    fs::write(&file, Value::from(findings).to_string())?;
    let mut command = Command::new(std::env::current_exe()?.with_file_name("stanch"));
    command
        .args(["remediate", "--as", "bench"])
        .arg(&file)
        .envs(organization.environment())
        .env("STANCH_CONFIG", &config);
    one.run(case, &mut command).await
}

async fn ask(api: &dyn Api, service: &str, operation: &str, params: Value) -> Outcome<Value> {
    Ok(api
        .call(&Call::new(service, operation, params))
        .await?
        .output)
}

fn text(answer: &Value, pointer: &str) -> Outcome<String> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    Ok(found
        .ok_or_else(|| format!("no `{pointer}` in {answer}"))?
        .to_owned())
}

/// Makes a resource with what the remediation mends; gives it as a finding names it.
async fn misconfigure(api: &dyn Api, remediation: &str, number: usize) -> Outcome<String> {
    let name = format!("bench-{number}");
    Ok(match remediation {
        "S3BlockPublicAccess" => {
            let bucket = json!({"Bucket": name});
            ask(api, "s3", "CreateBucket", bucket.clone()).await?;
            ask(api, "s3", "DeletePublicAccessBlock", bucket).await?;
            format!("arn:aws:s3:::{name}")
        }
        "Ec2CloseOpenPorts" => {
            let group = json!({"GroupName": name, "Description": name});
            let made = ask(api, "ec2", "CreateSecurityGroup", group).await?;
            let id = text(&made, "/GroupId")?;
            let ssh = json!({"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]});
            let open = json!({"GroupId": id, "IpPermissions": [ssh]});
            ask(api, "ec2", "AuthorizeSecurityGroupIngress", open).await?;
            format!(
                "arn:aws:ec2:{}:{}:security-group/{id}",
                REGIONS[0], MEMBERS[0].0
            )
        }
        "RdsMakeInstancePrivate" => {
            let database = json!({"DBInstanceIdentifier": name, "DBInstanceClass": "db.t3.micro",
                "Engine": "postgres", "MasterUsername": "bench", "MasterUserPassword": "not-a-secret",
                "AllocatedStorage": 20, "PubliclyAccessible": true});
            let made = ask(api, "rds", "CreateDBInstance", database).await?;
            text(&made, "/DBInstance/DBInstanceArn")?
        }
        _ => {
            let made = ask(api, "kms", "CreateKey", json!({})).await?;
            text(&made, "/KeyMetadata/Arn")?
        }
    })
}

async fn is_fixed(api: &dyn Api, remediation: &str, resource: &str) -> Outcome<bool> {
    let name = resource
        .rsplit([':', '/'])
        .next()
        .unwrap_or_default()
        .to_owned();
    let (service, operation, params, pointer, wanted) = match remediation {
        "S3BlockPublicAccess" => (
            "s3",
            "GetPublicAccessBlock",
            json!({"Bucket": name}),
            "/PublicAccessBlockConfiguration/RestrictPublicBuckets",
            json!(true),
        ),
        "Ec2CloseOpenPorts" => (
            "ec2",
            "DescribeSecurityGroups",
            json!({"GroupIds": [name]}),
            "/SecurityGroups/0/IpPermissions",
            json!([]),
        ),
        "RdsMakeInstancePrivate" => (
            "rds",
            "DescribeDBInstances",
            json!({"DBInstanceIdentifier": name}),
            "/DBInstances/0/PubliclyAccessible",
            json!(false),
        ),
        _ => (
            "kms",
            "GetKeyRotationStatus",
            json!({"KeyId": name}),
            "/KeyRotationEnabled",
            json!(true),
        ),
    };
    let answer = ask(api, service, operation, params).await?;
    Ok(answer.pointer(pointer) == Some(&wanted))
}
