//! Which emulator plays an example.
//!
//! One plays it whole, so that its resources can refer to one another: MiniStack if it has every
//! operation that the example needs, else moto; what both lack is left to a stand-in.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::OnceLock,
};

use stanch_catalog::{Action, Example, Remediation};
use tokio::sync::OnceCell;

use super::{Emulator, EmulatorError, Maker};
use crate::stand_in;

/// Made by `operations.py` from the sources of the pinned emulators.
static OPERATIONS: &str = include_str!("../../data/operations.tsv");

/// Operations that an emulator has and answers otherwise than AWS. It counts as lacking them.
#[derive(Debug, Clone, Copy)]
pub struct Wrong {
    /// Which emulator.
    pub maker: Maker,
    /// botocore's name of the service.
    pub service: &'static str,
    /// The operations; all of the service's if there are none.
    pub operations: &'static [&'static str],
    /// The remediations to which it matters; all if there are none.
    pub only: &'static [&'static str],
    /// What it does, and what AWS does.
    pub because: &'static str,
}

/// All that is known to be wrong and matters to a remediation.
pub static WRONG: [Wrong; 10] = [
    Wrong {
        maker: Maker::MiniStack,
        service: "autoscaling",
        operations: &["DescribeLaunchConfigurations"],
        only: &["AutoScalingReplaceLaunchConfiguration"],
        because: "it keeps few of a launch configuration's members",
    },
    Wrong {
        maker: Maker::MiniStack,
        service: "iam",
        operations: &["UpdateAccountPasswordPolicy"],
        only: &[],
        because: "it keeps what an update leaves out, where AWS resets it",
    },
    Wrong {
        maker: Maker::MiniStack,
        service: "lambda",
        operations: &["GetFunctionConcurrency"],
        only: &[],
        because: "it asks for `lambda:PutFunctionConcurrency`, where AWS asks for \
                  `lambda:GetFunctionConcurrency`",
    },
    Wrong {
        maker: Maker::MiniStack,
        service: "rds",
        operations: &["ModifyDBInstance", "ModifyDBCluster"],
        only: &[
            "RdsUpgradeInstanceAutomatically",
            "RdsUpgradeClusterAutomatically",
            "RdsExportLogsOfInstance",
        ],
        because: "it ignores `AutoMinorVersionUpgrade` and `CloudwatchLogsExportConfiguration`",
    },
    Wrong {
        maker: Maker::MiniStack,
        service: "ec2",
        operations: &["DescribeNetworkAcls"],
        only: &["Ec2CloseNetworkAcl"],
        because: "entries of a network ACL are not kept as they were given",
    },
    Wrong {
        maker: Maker::MiniStack,
        service: "ec2",
        operations: &["ModifySnapshotAttribute"],
        only: &["Ec2MakeSnapshotPrivate", "Ec2MakeSnapshotsPrivate"],
        because: "it does not keep a snapshot's permissions",
    },
    Wrong {
        maker: Maker::MiniStack,
        service: "ec2",
        operations: &["DescribeVpcEndpoints"],
        only: &["Ec2CreateInterfaceEndpoint"],
        because: "it ignores `Filters`",
    },
    Wrong {
        maker: Maker::MiniStack,
        service: "opensearch",
        operations: &["UpdateDomainConfig"],
        only: &["OpenSearchLogAudit", "OpenSearchLogErrors"],
        because: "it ignores `LogPublishingOptions`",
    },
    Wrong {
        maker: Maker::MiniStack,
        service: "wafv2",
        operations: &["GetRuleGroup"],
        only: &["WafMeasureRuleGroup"],
        because: "it ignores `ARN`",
    },
    Wrong {
        maker: Maker::MiniStack,
        service: "cloudformation",
        operations: &["UpdateStack"],
        only: &["CloudFormationNotifyOfStackEvents"],
        because: "it knows no `NotificationARNs`",
    },
];

/// Neither emulator has all that an example needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no emulator has all that it needs, nor is there a stand-in: MiniStack lacks {}; moto lacks {}", .ministack.join(", "), .moto.join(", "))]
pub struct Unplayable {
    /// What MiniStack lacks, as `s3.PutBucketPolicy`.
    pub ministack: Vec<String>,
    /// What moto lacks.
    pub moto: Vec<String>,
}

/// The emulator for an example.
///
/// # Errors
/// Neither has all the operations that it and its remediation call, and nothing stands in for the rest.
pub fn choose(remediation: &Remediation, example: &Example) -> Result<Maker, Unplayable> {
    let called = operations_called(remediation, example);
    let lacking = |maker| -> Vec<Missing<'_>> {
        let called = called.iter().copied();
        called
            .filter(|(service, operation)| !has(maker, service, operation, &remediation.name))
            .collect()
    };
    let ministack = lacking(Maker::MiniStack);
    if ministack.is_empty() {
        return Ok(Maker::MiniStack);
    }
    let moto = lacking(Maker::Moto);
    if moto.is_empty() {
        return Ok(Maker::Moto);
    }
    let stood_in = |maker, missing: &[Missing<'_>]| {
        let stands_in = |(service, operation): &Missing<'_>| {
            stand_in(service, operation).is_some_and(|entry| entry.plays_with(maker))
        };
        missing.iter().all(stands_in)
    };
    match (
        stood_in(Maker::MiniStack, &ministack),
        stood_in(Maker::Moto, &moto),
    ) {
        (true, _) => Ok(Maker::MiniStack),
        (false, true) => Ok(Maker::Moto),
        (false, false) => Err(Unplayable {
            ministack: names(&ministack),
            moto: names(&moto),
        }),
    }
}

/// A service and its operation.
type Missing<'a> = (&'a str, &'a str);

fn names(missing: &[Missing<'_>]) -> Vec<String> {
    let name = |(service, operation): &Missing<'_>| format!("`{service}.{operation}`");
    missing.iter().map(name).collect()
}

/// The stand-ins that an example is played with: the service, and what the emulators lack.
#[must_use]
pub fn stood_in(
    remediation: &Remediation,
    example: &Example,
) -> BTreeSet<(&'static str, &'static str)> {
    let Ok(maker) = choose(remediation, example) else {
        return BTreeSet::new();
    };
    operations_called(remediation, example)
        .into_iter()
        .filter_map(|(service, operation)| stand_in(service, operation))
        .filter(|entry| entry.is_needed(maker, &remediation.name))
        .map(|entry| (entry.service.as_str(), entry.because.as_str()))
        .collect()
}

/// Whether an emulator answers an operation, and answers it as AWS does as far as is known and matters
/// to the remediation of this name.
#[must_use]
pub fn has(maker: Maker, service: &str, operation: &str, remediation: &str) -> bool {
    static TABLE: OnceLock<HashMap<(&str, &str), HashSet<&str>>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let rows = OPERATIONS.lines().skip(1).filter_map(|line| {
            let mut columns = line.split('\t');
            let key = (columns.next()?, columns.next()?);
            Some((key, columns.next()?.split(' ').collect()))
        });
        rows.collect()
    });
    let listed = table.get(&(service, maker.name()));
    let wrong = |wrong: &Wrong| {
        wrong.maker == maker
            && wrong.service == service
            && (wrong.operations.is_empty() || wrong.operations.contains(&operation))
            && (wrong.only.is_empty() || wrong.only.contains(&remediation))
    };
    listed.is_some_and(|operations| operations.contains(operation)) && !WRONG.iter().any(wrong)
}

/// Every operation that planting, fixing, undoing and looking at an example may call.
#[must_use]
pub fn operations_called<'a>(
    remediation: &'a Remediation,
    example: &'a Example,
) -> BTreeSet<(&'a str, &'a str)> {
    let planted = example.given.iter().chain(&example.also);
    let planted = planted.map(|given| (given.service.as_str(), given.operation.as_str()));
    // Probes aside: what an emulator cannot tell is an unknown fact, which nothing depends on.
    let reads = remediation.reads.iter();
    let reads = reads.map(|read| (read.service.as_str(), read.operation.as_str()));
    let steps = remediation.apply.iter().chain(&remediation.undo);
    let steps = steps.filter_map(|step| match &step.action {
        Action::Call {
            service, operation, ..
        }
        | Action::Wait {
            service, operation, ..
        } => Some((service.as_str(), operation.as_str())),
        Action::Sleep { .. } | Action::Approve { .. } => None,
    });
    planted.chain(reads).chain(steps).collect()
}

/// One emulator of each maker, started when it is first asked for.
#[derive(Debug, Default)]
pub struct Emulators {
    ministack: OnceCell<Emulator>,
    moto: OnceCell<Emulator>,
}

impl Emulators {
    /// The emulator of `maker`.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn get(&self, maker: Maker) -> Result<&Emulator, EmulatorError> {
        let cell = match maker {
            Maker::MiniStack => &self.ministack,
            Maker::Moto => &self.moto,
        };
        cell.get_or_try_init(async || Emulator::start_with(maker, &[]))
            .await
    }
}
