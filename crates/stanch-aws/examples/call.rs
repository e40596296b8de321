//! `cargo run -p stanch-aws --example call -- s3 ListBuckets '{}' [more triples]`

use std::sync::Arc;

use stanch_aws::{Client, Environment, Setup, SystemClock, SystemRandom};
use stanch_models::Models;
use stanch_types::{Api, Call};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let environment = Environment::from_process();
    let region = environment.region().ok_or("set `AWS_REGION`")?;
    let setup = Setup::new(
        environment,
        Arc::new(Models::embedded()?),
        Arc::new(SystemClock::default()),
        Arc::new(SystemRandom),
    );
    let client = Client::new(setup, region);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    for triple in arguments.chunks(3) {
        let [service, operation, params] = triple else {
            return Err("arguments: <service> <operation> <parameters as JSON> …".into());
        };
        let call = Call::new(service, operation, serde_json::from_str(params)?);
        match client.call(&call).await {
            Ok(reply) => println!("{call}: {:#}", reply.output),
            Err(error) => println!("{:?}: {error}", error.kind),
        }
    }
    Ok(())
}
