//! Links to resources in AWS's console.

use stanch_hub::Message;
use stanch_types::{Arn, Region};

/// Hosts of the console:
/// <https://docs.aws.amazon.com/awsconsolehelpdocs/latest/gsg/select-region.html>,
/// <https://docs.aws.amazon.com/govcloud-us/latest/UserGuide/signing-into-govcloud.html>,
/// <https://docs.amazonaws.cn/en_us/aws/latest/userguide/iam.html>. The consoles of other partitions are
/// not public.
fn host(region: &Region) -> Option<String> {
    let domain = match region.partition().as_str() {
        "aws" => "console.aws.amazon.com",
        "aws-us-gov" => "console.amazonaws-us-gov.com",
        "aws-cn" => "console.amazonaws.cn",
        _ => return None,
    };
    Some(format!("{region}.{domain}"))
}

/// Types of EC2's resources by how their ids begin:
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html>.
const EC2: [(&str, &str); 9] = [
    ("i-", "instance"),
    ("sg-", "security-group"),
    ("vpc-", "vpc"),
    ("subnet-", "subnet"),
    ("vol-", "volume"),
    ("snap-", "snapshot"),
    ("eni-", "network-interface"),
    ("acl-", "network-acl"),
    ("ami-", "image"),
];

/// Where the resource is shown: by its ARN, as AWS's own console pages link to each other. Nothing for
/// what has no ARN, as an account.
pub(crate) fn link(message: &Message) -> Option<String> {
    let region: Region = message.region.parse().ok()?;
    let (host, partition) = (host(&region)?, region.partition());
    let id = &message.resource;
    if message.resource_type == "AwsS3Bucket" {
        let bucket = id.parse::<Arn>().ok().map(|arn| arn.resource);
        let bucket = encoded(bucket.as_deref().unwrap_or(id));
        return Some(format!(
            "https://{host}/s3/buckets/{bucket}?region={region}"
        ));
    }
    let arn = match id.parse::<Arn>() {
        Ok(arn) => arn.to_string(),
        Err(_) => {
            let (_, kind) = EC2.iter().find(|(prefix, _)| id.starts_with(prefix))?;
            format!(
                "arn:{partition}:ec2:{region}:{}:{kind}/{id}",
                message.account
            )
        }
    };
    Some(format!("https://{host}/go/view?arn={}", encoded(&arn)))
}

/// Percent-encoded but for what is unreserved (<https://www.rfc-editor.org/rfc/rfc3986#section-2.3>), so
/// that no format takes any of it for its own.
pub(crate) fn encoded(text: &str) -> String {
    let mut all = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                all.push(char::from(byte));
            }
            _ => all.push_str(&format!("%{byte:02X}")),
        }
    }
    all
}
