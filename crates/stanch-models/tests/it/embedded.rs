use std::collections::HashMap;

use stanch_models::{LookupError, Models};

fn models() -> Models {
    Models::embedded().unwrap()
}

#[test]
fn every_service_decodes() {
    let models = models();
    let names = models.names();
    assert!(names.len() >= 434, "{} services", names.len());
    let mut operations = 0;
    for name in names {
        let service = models.service(name).unwrap();
        assert_eq!(*service.name, *name);
        operations += service.operations().len();
    }
    assert!(operations >= 19_377, "{operations} operations");
}

/// The leniency of names rests on it.
#[test]
fn no_operations_differ_by_case_and_separators_alone() {
    let models = models();
    for name in models.names() {
        let service = models.service(name).unwrap();
        let mut seen = HashMap::new();
        for operation in service.operations() {
            let folded = operation.name.replace(['_', '-'], "").to_lowercase();
            assert_eq!(
                seen.insert(folded, &operation.name),
                None,
                "{name} {}",
                operation.name
            );
        }
    }
}

#[test]
fn names_are_taken_as_people_write_them() {
    let models = models();
    for (service, operation, found) in [
        ("s3", "PutPublicAccessBlock", "s3:PutPublicAccessBlock"),
        ("s3", "put_public_access_block", "s3:PutPublicAccessBlock"),
        ("s3", "deleteObject", "s3:DeleteObject"),
        ("s3", "put-object", "s3:PutObject"),
        ("EC2", " DescribeInstances ", "ec2:DescribeInstances"),
        ("logs ", "PutRetentionPolicy", "logs:PutRetentionPolicy"),
        ("Codedeploy", "GetDeployment", "codedeploy:GetDeployment"),
        ("rds", "modify_db_instance", "rds:ModifyDBInstance"),
        (
            "storagegateway",
            "create_cached_iscsi_volume",
            "storagegateway:CreateCachediSCSIVolume",
        ),
        (
            "runtime.sagemaker",
            "InvokeEndpoint",
            "sagemaker-runtime:InvokeEndpoint",
        ),
    ] {
        let resolved = models.resolve(service, operation).unwrap();
        assert_eq!(
            format!("{}:{}", resolved.service.name, resolved.operation().name),
            found
        );
    }
}

#[test]
fn a_wrong_name_gets_the_nearest_right_one() {
    let models = models();
    for (service, operation, message, hint) in [
        ("s4", "GetObject", "there is no AWS service `s4`", None),
        (
            "cloudtrial",
            "GetTrail",
            "there is no AWS service `cloudtrial`",
            Some("did you mean `cloudtrail`?"),
        ),
        (
            "s3",
            "PutPublicAccesBlock",
            "`s3` has no operation `PutPublicAccesBlock`",
            Some("`PutPublicAccessBlock`"),
        ),
        (
            "s3",
            "Frobnicate",
            "`s3` has no operation `Frobnicate`",
            None,
        ),
    ] {
        let error = models.resolve(service, operation).unwrap_err();
        assert_eq!(error.to_string(), message);
        match (error.hint(), hint) {
            (None, None) => {}
            (Some(got), Some(wanted)) => assert!(got.contains(wanted), "{got}"),
            (got, wanted) => panic!("{message}: {got:?}, not {wanted:?}"),
        }
        assert!(!matches!(error, LookupError::Damaged(_)));
    }
}

/// `cargo xtask models --check` compiles the packages again; this tells a pin that was moved without.
#[test]
fn the_data_is_compiled_from_the_pinned_packages() {
    let pinned: serde_json::Value =
        serde_json::from_str(include_str!("../../data/sources.json")).unwrap();
    let compiled = serde_json::to_value(models().sources()).unwrap();
    assert_eq!(compiled, pinned, "run `cargo xtask models`");
}

/// What a function in AWS carries.
#[test]
fn some_services_are_what_all_of_them_say() {
    let models = models();
    let bytes = models.only(&["s3", "SSM"].into(), &["ec2"].into()).unwrap();
    assert!(bytes.len() < 200_000, "{}", bytes.len());
    let some = Models::read(bytes.leak()).unwrap();
    assert_eq!(some.names(), ["s3", "ssm"]);
    assert_eq!(some.sources(), models.sources());
    for name in some.names() {
        let (one, other) = (some.service(name).unwrap(), models.service(name).unwrap());
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
    }
    for (prefix, is_there) in [("s3", true), ("ssm", true), ("ec2", true), ("kms", false)] {
        assert_eq!(some.iam(prefix).unwrap().is_some(), is_there, "{prefix}");
    }
    assert!(some.partitions().is_ok());
    let missing = some.service("ec2").unwrap_err();
    assert!(
        matches!(missing, LookupError::UnknownService { .. }),
        "{missing}"
    );
    let unknown = models.only(&["s4"].into(), &[].into()).unwrap_err();
    assert!(unknown.to_string().contains("`s4`"), "{unknown}");
}
