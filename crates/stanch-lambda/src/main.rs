//! `bootstrap`: what Lambda starts, <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html>.

use std::{process::ExitCode, sync::Arc};

use mimalloc::MiMalloc;
use stanch_aws::{Environment, SystemClock, SystemRandom};
use stanch_lambda::{Aws, Handler, Runtime, Segments, StandardOutput, Variables, World, log};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let environment = Environment::from_process();
    let clock = Arc::new(SystemClock::default());
    let variables = Variables(&environment);
    let segments = Segments::from_variables(variables, clock.clone(), Arc::new(SystemRandom));
    log::start(&environment, segments.clone());
    match run(environment, clock, segments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the function cannot start");
            ExitCode::FAILURE
        }
    }
}

fn run(
    environment: Environment,
    clock: Arc<SystemClock>,
    segments: Option<Segments>,
) -> Result<(), String> {
    let handler: Handler = environment
        .get("_HANDLER")
        .unwrap_or_default()
        .parse()
        .map_err(|error| format!("{error}"))?;
    let reach = Arc::new(Aws::new(environment.clone(), clock.clone(), segments));
    let world = World {
        environment,
        clock,
        reach,
        print: Arc::new(StandardOutput),
    };
    // Invocations come one after the other, and what they do is wait: one thread is enough.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let host = world
        .environment
        .get("AWS_LAMBDA_RUNTIME_API")
        .ok_or("`AWS_LAMBDA_RUNTIME_API` is not set: Lambda starts this program, nobody else")?
        .to_owned();
    let api = Runtime::new(&host);
    let served = api.serve(handler.function(world));
    runtime.block_on(served).map_err(|error| error.to_string())
}
