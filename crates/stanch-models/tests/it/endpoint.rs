//! Expected values are what botocore's own resolver gives for the same parameters.

use serde_json::{Map, Value, json};
use stanch_models::{Endpoint, EndpointError, EndpointSettings, Models, Service};

fn resolve(
    api: &str,
    input: Value,
    settings: &EndpointSettings<'_>,
) -> Result<Endpoint, EndpointError> {
    let models = Models::embedded().unwrap();
    let (service, operation) = api.split_once('.').unwrap();
    let target = models.resolve(service, operation).unwrap();
    models.endpoint(
        &target.service,
        target.operation(),
        input.as_object().unwrap(),
        settings,
    )
}

fn check(api: &str, input: Value, settings: EndpointSettings<'_>, url: &str, signed: &str) {
    let endpoint = resolve(api, input, &settings).unwrap();
    let auth = endpoint.auth_schemes.first().cloned().unwrap_or_default();
    let got = format!(
        "{} {}",
        auth.signing_name.unwrap_or_default(),
        auth.signing_region.unwrap_or_default()
    );
    assert_eq!(
        (endpoint.url.as_str(), got.trim()),
        (url, signed),
        "{api} {settings:?}"
    );
}

#[test]
fn requests_go_where_botocore_sends_them() {
    let at = |region| EndpointSettings {
        region: Some(region),
        ..Default::default()
    };
    check(
        "ec2.DescribeVpcs",
        json!({}),
        at("eu-central-1"),
        "https://ec2.eu-central-1.amazonaws.com",
        "",
    );
    check(
        "ec2.DescribeVpcs",
        json!({}),
        at("cn-north-1"),
        "https://ec2.cn-north-1.amazonaws.com.cn",
        "",
    );
    check(
        "iam.ListRoles",
        json!({}),
        at("eu-west-1"),
        "https://iam.amazonaws.com",
        "us-east-1",
    );
    check(
        "iam.ListRoles",
        json!({}),
        at("us-gov-west-1"),
        "https://iam.us-gov.amazonaws.com",
        "us-gov-west-1",
    );
    check(
        "sts.GetCallerIdentity",
        json!({}),
        at("eu-west-1"),
        "https://sts.eu-west-1.amazonaws.com",
        "",
    );
    check(
        "organizations.ListRoots",
        json!({}),
        at("eu-west-1"),
        "https://organizations.us-east-1.amazonaws.com",
        "organizations us-east-1",
    );
    check(
        "kms.ListKeys",
        json!({}),
        at("eu-new-9"),
        "https://kms.eu-new-9.amazonaws.com",
        "",
    );
    check(
        "kms.ListKeys",
        json!({}),
        EndpointSettings {
            fips: true,
            ..at("us-east-1")
        },
        "https://kms-fips.us-east-1.amazonaws.com",
        "",
    );
    check(
        "ec2.DescribeVpcs",
        json!({}),
        EndpointSettings {
            dual_stack: true,
            ..at("us-east-1")
        },
        "https://ec2.us-east-1.api.aws",
        "",
    );
    check(
        "iam.ListRoles",
        json!({}),
        EndpointSettings {
            endpoint: Some("http://127.0.0.1:4566"),
            ..at("us-east-1")
        },
        "http://127.0.0.1:4566",
        "",
    );
}

#[test]
fn a_bucket_is_in_the_host_where_it_can_be() {
    let at = |region| EndpointSettings {
        region: Some(region),
        ..Default::default()
    };
    let bucket = |name: &str| json!({"Bucket": name});
    for (name, settings, url, signed) in [
        (
            "demo",
            at("us-east-1"),
            "https://demo.s3.us-east-1.amazonaws.com",
            "s3 us-east-1",
        ),
        (
            "my.bucket",
            at("us-east-1"),
            "https://s3.us-east-1.amazonaws.com/my.bucket",
            "s3 us-east-1",
        ),
        (
            "demo",
            EndpointSettings {
                force_path_style: true,
                ..at("us-east-1")
            },
            "https://s3.us-east-1.amazonaws.com/demo",
            "s3 us-east-1",
        ),
        (
            "demo",
            EndpointSettings {
                endpoint: Some("http://127.0.0.1:4566"),
                ..at("us-east-1")
            },
            "http://127.0.0.1:4566/demo",
            "s3 us-east-1",
        ),
        (
            "arn:aws:s3:us-west-2:123456789012:accesspoint/ap",
            at("us-east-1"),
            "https://ap-123456789012.s3-accesspoint.us-west-2.amazonaws.com",
            "s3 us-west-2",
        ),
    ] {
        check("s3.GetBucketPolicy", bucket(name), settings, url, signed);
    }
    let endpoint = resolve("s3.GetBucketPolicy", bucket("demo"), &at("us-east-1")).unwrap();
    assert_eq!(&*endpoint.uri, "?policy");
}

#[test]
fn the_account_is_in_the_host_once() {
    let settings = EndpointSettings {
        region: Some("us-east-1"),
        ..Default::default()
    };
    let endpoint = resolve(
        "s3control.GetPublicAccessBlock",
        json!({"AccountId": "111122223333"}),
        &settings,
    )
    .unwrap();
    assert_eq!(
        endpoint.url,
        "https://111122223333.s3-control.us-east-1.amazonaws.com"
    );
    assert_eq!(endpoint.host_prefix, None);
}

#[test]
fn no_region_is_an_error_of_its_own() {
    let error = resolve("ec2.DescribeVpcs", json!({}), &EndpointSettings::default()).unwrap_err();
    assert_eq!(error.to_string(), "`ec2` needs a region");
}

#[test]
fn a_refusal_says_why() {
    let settings = EndpointSettings {
        region: Some("us-east-1"),
        fips: true,
        endpoint: Some("http://x"),
        ..Default::default()
    };
    let error = resolve("ec2.DescribeVpcs", json!({}), &settings).unwrap_err();
    assert!(
        matches!(&error, EndpointError::Refused { reason, .. } if reason.contains("FIPS")),
        "{error}"
    );
}

#[test]
fn a_service_without_rules_is_found_by_name() {
    let mut models = Models::embedded().unwrap();
    models.bring(
        Service::from_service_2(
            "mine",
            &json!({
                "metadata": {"apiVersion": "1", "endpointPrefix": "mine", "protocol": "json"},
                "operations": {"Ping": {"name": "Ping"}},
                "shapes": {},
            }),
        )
        .unwrap(),
    );
    let target = models.resolve("mine", "ping").unwrap();
    let settings = EndpointSettings {
        region: Some("cn-north-1"),
        ..Default::default()
    };
    let endpoint = models
        .endpoint(&target.service, target.operation(), &Map::new(), &settings)
        .unwrap();
    assert_eq!(endpoint.url, "https://mine.cn-north-1.amazonaws.com.cn");
}
