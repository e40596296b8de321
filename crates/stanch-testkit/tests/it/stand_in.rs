use serde_json::{Value, json};
use stanch_testkit::{Emulated, Emulator, STAND_INS, organization::MEMBERS};
use stanch_types::Call;

/// What the emulator itself answers: when a stand-in is no longer needed, this fails, and the entry
/// is to be removed.
#[tokio::test]
async fn every_stand_in_is_still_needed() {
    let emulator = Emulator::start().unwrap();
    let region = "us-east-1".parse().unwrap();
    let account = MEMBERS[0].0.parse().unwrap();
    let root =
        Emulated::at(&emulator.endpoint(), region).root(&account, &"us-east-1".parse().unwrap());
    let call = async |service: &str, operation: &str, params: Value| {
        let reply = root.call(&Call::new(service, operation, params)).await;
        reply.map(|reply| reply.output).map_err(|error| error.code)
    };
    for stand_in in STAND_INS {
        let caught_up = match stand_in.service {
            "s3control" => {
                let answer = call(
                    "s3control",
                    "GetPublicAccessBlock",
                    json!({"AccountId": MEMBERS[0].0}),
                )
                .await;
                answer != Err("InvalidURI".to_owned())
            }
            "iam" => {
                let strict = json!({"MinimumPasswordLength": 20, "MaxPasswordAge": 30});
                call("iam", "UpdateAccountPasswordPolicy", strict)
                    .await
                    .unwrap();
                call(
                    "iam",
                    "UpdateAccountPasswordPolicy",
                    json!({"MinimumPasswordLength": 20}),
                )
                .await
                .unwrap();
                let policy = call("iam", "GetAccountPasswordPolicy", json!({}))
                    .await
                    .unwrap();
                policy["PasswordPolicy"].get("MaxPasswordAge").is_none()
            }
            other => panic!("no check whether the stand-in for `{other}` is still needed"),
        };
        assert!(
            !caught_up,
            "remove the stand-in for `{}`: {}",
            stand_in.service, stand_in.because
        );
    }
}
