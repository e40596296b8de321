//! What is fixed about each action: its name, inputs, outputs and default deadline.

use std::{fmt, str::FromStr, time::Duration};

use crate::Type;

/// The inputs of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputSpec {
    /// The step fails without these.
    pub required: &'static [&'static str],
    /// These may be given.
    pub optional: &'static [&'static str],
    /// Others are given too: the parameters of an API call.
    pub others: bool,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// The name of an action.
        ///
        /// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-actions.html>
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ActionName { $($(#[$doc])* $variant),+ }

        impl ActionName {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name as it stands in a document.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}
actions! {
    /// Waits for people.
    Approve = "aws:approve",
    /// Asserts a property of a resource.
    AssertProperty = "aws:assertAwsResourceProperty",
    /// Chooses the next step.
    Branch = "aws:branch",
    /// Starts, stops or terminates instances.
    ChangeInstanceState = "aws:changeInstanceState",
    /// Copies a machine image.
    CopyImage = "aws:copyImage",
    /// Creates a machine image.
    CreateImage = "aws:createImage",
    /// Creates a CloudFormation stack.
    CreateStack = "aws:createStack",
    /// Adds tags.
    CreateTags = "aws:createTags",
    /// Deletes a machine image and its snapshots.
    DeleteImage = "aws:deleteImage",
    /// Deletes a CloudFormation stack.
    DeleteStack = "aws:deleteStack",
    /// Runs another document.
    ExecuteAutomation = "aws:executeAutomation",
    /// Calls an operation of a service.
    ExecuteAwsApi = "aws:executeAwsApi",
    /// Runs a Python script.
    ExecuteScript = "aws:executeScript",
    /// Runs a state machine.
    ExecuteStateMachine = "aws:executeStateMachine",
    /// Calls a function.
    InvokeLambdaFunction = "aws:invokeLambdaFunction",
    /// Calls a webhook integration.
    InvokeWebhook = "aws:invokeWebhook",
    /// Repeats steps.
    Loop = "aws:loop",
    /// Waits for a signal.
    Pause = "aws:pause",
    /// Runs a command document on instances.
    RunCommand = "aws:runCommand",
    /// Launches instances.
    RunInstances = "aws:runInstances",
    /// Waits for a time.
    Sleep = "aws:sleep",
    /// Changes a variable.
    UpdateVariable = "aws:updateVariable",
    /// Waits for a property of a resource.
    WaitForProperty = "aws:waitForAwsResourceProperty",
}

impl ActionName {
    /// The inputs. Those of branch and loop are part of the document's shape, and not told here.
    #[must_use]
    pub const fn inputs(self) -> InputSpec {
        let (required, optional, others): (&'static [&'static str], &'static [&'static str], bool) =
            match self {
                Self::Approve => (
                    &["Approvers"],
                    &["NotificationArn", "Message", "MinRequiredApprovals"],
                    false,
                ),
                Self::AssertProperty | Self::WaitForProperty => (
                    &["Service", "Api", "PropertySelector", "DesiredValues"],
                    &[],
                    true,
                ),
                Self::Branch | Self::Loop => (&[], &[], true),
                Self::ChangeInstanceState => (
                    &["InstanceIds", "DesiredState"],
                    &["CheckStateOnly", "Force", "AdditionalInfo"],
                    false,
                ),
                Self::CopyImage => (
                    &["SourceImageId", "SourceRegion", "ImageName"],
                    &["ImageDescription", "Encrypted", "KmsKeyId", "ClientToken"],
                    false,
                ),
                Self::CreateImage => (
                    &["InstanceId", "ImageName"],
                    &["ImageDescription", "NoReboot", "BlockDeviceMappings"],
                    false,
                ),
                Self::CreateStack => (
                    &["StackName"],
                    &[
                        "TemplateBody",
                        "TemplateURL",
                        "Capabilities",
                        "ClientRequestToken",
                        "EnableTerminationProtection",
                        "NotificationARNs",
                        "OnStackFailure",
                        "Parameters",
                        "ResourceTypes",
                        "RoleARN",
                        "StackPolicyBody",
                        "StackPolicyURL",
                        "Tags",
                        "TimeoutInMinutes",
                    ],
                    false,
                ),
                Self::CreateTags => (&["ResourceIds", "Tags"], &["ResourceType"], false),
                Self::DeleteImage => (&["ImageId"], &[], false),
                Self::DeleteStack => (
                    &["StackName"],
                    &["ClientRequestToken", "RetainResources", "RoleARN"],
                    false,
                ),
                Self::ExecuteAutomation => (
                    &["DocumentName"],
                    &[
                        "DocumentVersion",
                        "RuntimeParameters",
                        "TargetParameterName",
                        "Targets",
                        "TargetMaps",
                        "TargetLocations",
                        "MaxConcurrency",
                        "MaxErrors",
                        "Tags",
                    ],
                    false,
                ),
                Self::ExecuteAwsApi => (&["Service", "Api"], &[], true),
                Self::ExecuteScript => (
                    &["Runtime"],
                    &["Handler", "Script", "InputPayload", "Attachment"],
                    false,
                ),
                Self::ExecuteStateMachine => (&["stateMachineArn"], &["name", "input"], false),
                Self::InvokeLambdaFunction => (
                    &["FunctionName"],
                    &[
                        "InputPayload",
                        "Payload",
                        "InvocationType",
                        "LogType",
                        "ClientContext",
                        "Qualifier",
                    ],
                    false,
                ),
                Self::InvokeWebhook => (&["IntegrationName"], &["Body"], false),
                Self::Pause => (&[], &[], false),
                Self::RunCommand => (
                    &["DocumentName"],
                    &[
                        "InstanceIds",
                        "Targets",
                        "Parameters",
                        "CloudWatchOutputConfig",
                        "Comment",
                        "DocumentHash",
                        "DocumentHashType",
                        "DocumentVersion",
                        "MaxConcurrency",
                        "MaxErrors",
                        "NotificationConfig",
                        "OutputS3BucketName",
                        "OutputS3KeyPrefix",
                        "OutputS3Region",
                        "ServiceRoleArn",
                        "TimeoutSeconds",
                    ],
                    false,
                ),
                Self::RunInstances => (
                    &[],
                    &[
                        "ImageId",
                        "AdditionalInfo",
                        "BlockDeviceMappings",
                        "ClientToken",
                        "DisableApiTermination",
                        "EbsOptimized",
                        "IamInstanceProfileArn",
                        "IamInstanceProfileName",
                        "InstanceInitiatedShutdownBehavior",
                        "InstanceType",
                        "KernelId",
                        "KeyName",
                        "LaunchTemplate",
                        "MaxInstanceCount",
                        "MinInstanceCount",
                        "MetadataOptions",
                        "Monitoring",
                        "NetworkInterfaces",
                        "Placement",
                        "PrivateIpAddress",
                        "RamdiskId",
                        "SecurityGroupIds",
                        "SecurityGroups",
                        "SubnetId",
                        "TagSpecifications",
                        "UserData",
                    ],
                    false,
                ),
                Self::Sleep => (&[], &["Duration", "Timestamp"], false),
                Self::UpdateVariable => (&["Name", "Value"], &[], false),
            };
        InputSpec {
            required,
            optional,
            others,
        }
    }

    /// The outputs that a step has without declaring them.
    #[must_use]
    pub const fn outputs(self) -> &'static [(&'static str, Type)] {
        match self {
            Self::Approve => &[
                ("ApprovalStatus", Type::String),
                ("ApproverDecisions", Type::MapList),
            ],
            Self::ChangeInstanceState => &[("InstanceStates", Type::StringList)],
            Self::CopyImage | Self::CreateImage => {
                &[("ImageId", Type::String), ("ImageState", Type::String)]
            }
            Self::CreateStack => &[
                ("StackId", Type::String),
                ("StackStatus", Type::String),
                ("StackStatusReason", Type::String),
            ],
            Self::ExecuteAutomation => &[
                ("ExecutionId", Type::String),
                ("Status", Type::String),
                ("Output", Type::StringList),
            ],
            Self::ExecuteScript => &[("Payload", Type::StringMap)],
            Self::ExecuteStateMachine => &[
                ("executionArn", Type::String),
                ("input", Type::String),
                ("name", Type::String),
                ("output", Type::String),
                ("startDate", Type::String),
                ("stateMachineArn", Type::String),
                ("status", Type::String),
                ("stopDate", Type::String),
            ],
            Self::InvokeLambdaFunction => &[
                ("StatusCode", Type::Integer),
                ("FunctionError", Type::String),
                ("LogResult", Type::String),
                ("Payload", Type::String),
            ],
            Self::InvokeWebhook => &[("Response", Type::String), ("ResponseCode", Type::Integer)],
            Self::RunCommand => &[
                ("CommandId", Type::String),
                ("Status", Type::String),
                ("ResponseCode", Type::Integer),
                ("Output", Type::String),
            ],
            Self::RunInstances => &[
                ("InstanceIds", Type::StringList),
                ("InstanceStates", Type::StringList),
            ],
            _ => &[],
        }
    }

    /// How long an attempt may take where the step does not say. For `aws:executeAwsApi` it is also
    /// the most: documents that ask for longer get this. None where nothing is documented.
    #[must_use]
    pub const fn deadline(self) -> Option<Duration> {
        let seconds = match self {
            Self::ExecuteAwsApi => 25,
            Self::WaitForProperty | Self::ChangeInstanceState => 3600,
            Self::Approve => 604_800,
            Self::ExecuteScript => 600,
            Self::InvokeLambdaFunction => 300,
            _ => return None,
        };
        Some(Duration::from_secs(seconds))
    }

    /// The longest deadline that a step may ask for.
    #[must_use]
    pub const fn longest_deadline(self) -> Option<Duration> {
        match self {
            Self::Approve => Some(Duration::from_secs(2_592_000)),
            Self::ExecuteAwsApi | Self::ExecuteScript | Self::InvokeLambdaFunction => {
                self.deadline()
            }
            _ => None,
        }
    }

    /// Whether a step of this action may have `onCancel`.
    #[must_use]
    pub const fn can_cancel(self) -> bool {
        !matches!(
            self,
            Self::Approve
                | Self::CopyImage
                | Self::CreateImage
                | Self::CreateStack
                | Self::CreateTags
                | Self::Loop
                | Self::Pause
                | Self::RunInstances
                | Self::Sleep
                | Self::UpdateVariable
        )
    }

    /// Whether the step itself listens for signals, so that a cancellation reaches it that way.
    pub(crate) const fn listens(self) -> bool {
        matches!(self, Self::Approve | Self::Pause | Self::Loop)
    }
}

impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not the name of an action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an action")]
pub struct UnknownAction(String);

impl FromStr for ActionName {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        Self::ALL
            .iter()
            .copied()
            .find(|action| action.as_str() == text)
            .ok_or_else(|| UnknownAction(text.to_owned()))
    }
}
