//! Security Hub, asked regularly.

use std::time::Duration;

use stanch_aws::Client;
use stanch_hub::Source;
use stanch_types::chain;

use super::Intake;

/// Asks until the end.
pub async fn run(intake: Intake, client: Client, every: Duration) {
    let source = Source::automatic(format!("security-hub {}", client.region()));
    loop {
        tokio::select! {
            () = intake.stop.wait() => return,
            asked = intake.hub.poll(&client, &source, None) => match asked {
                Ok(count) => tracing::info!(count, source = source.name, "new findings"),
                Err(error) => tracing::error!(error = chain(&error), source = source.name, "no new findings"),
            }
        }
        if !intake.stop.pause(&*intake.clock, every).await {
            return;
        }
    }
}
