//! The whole of `main`.
//!
//! It takes the program as a future and gives the exit code. It promises that the process ends
//! when the future ends: tokio's own `main` waits for blocking tasks that may never return (a
//! hanging DNS look-up), so the runtime is left behind instead. What has to be finished before
//! the end is joined by the future itself, through its [`crate::task::TaskSet`].

use crate::{
    exit::Exit,
    report::{Failure, Fault, finish},
    telemetry,
};
use std::{future::Future, process::ExitCode};

/// Two cores are what a small container has; the programs wait more than they compute.
const WORKERS: usize = 2;

/// Runs `program` on a runtime of its own, prints a failure and gives the code.
pub fn run<F>(program: F) -> ExitCode
where
    F: Future<Output = Result<Exit, Failure>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("worker")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            return finish(Err(Failure::one(
                Exit::Preflight,
                Fault::new(
                    "could not start",
                    "this process",
                    error.to_string(),
                    "Check the limits on threads and open files.",
                ),
            )));
        }
    };
    let result = runtime.block_on(Box::pin(program));
    runtime.shutdown_background();
    telemetry::ended(&result);
    finish(result)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::run;
    use crate::exit::Exit;

    #[test]
    fn a_blocking_call_that_never_returns_does_not_keep_the_program() {
        let begun = Instant::now();
        let code = run(async {
            tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_secs(90)));
            Ok(Exit::Differences)
        });
        assert!(begun.elapsed() < Duration::from_secs(60));
        assert_eq!(
            format!("{code:?}"),
            format!("{:?}", std::process::ExitCode::from(1))
        );
    }
}
