//! The person's tool: what stands where, what went wrong, and the commands that mend it.
//!
//! It takes a verb and its flags, looks into PostgreSQL (Leafcutter's state) and Kafka (the control
//! topic, the records, the dead letters), and writes calm text of at most 80 columns, or JSON. It
//! never joins the consumer group and never moves an offset except by `replay`, which says so first.
//!
//! One file per verb; what they share comes before them.

pub mod installation;
pub mod settings;
pub mod show;
pub mod lists;
pub mod progress;
pub mod figures;
pub mod confirm;
pub mod connect;
pub mod catalog;
pub mod in_force;
pub mod kafka;
pub mod envelope;
pub mod status;
pub mod dead_letters;
pub mod replay;
pub mod resnapshot;
pub mod pause;
pub mod resume;
pub mod peek;
pub mod trial;
pub mod draft;
pub mod check;
pub mod plan;
pub mod list;
pub mod drift;
pub mod verify;
pub mod finish;
pub mod rollback;
pub mod dry_run;

use dead_letters::settings::DeadLettersVerb;
use leafcutter_runtime::{
    exit::Exit,
    report::Failure,
    telemetry::{self, LogFormat},
};
use settings::{Cli, Verb};
use show::Show;

/// Does what the command line asks for.
///
/// # Errors
/// Why it could not; the exit code is in it.
pub async fn run(cli: Cli, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let file = cli.log_file.as_deref().map(|file| (file, "info"));
    telemetry::init("leafcutter", LogFormat::Plain, &cli.log, file)
        .map_err(|fault| Failure::one(Exit::Settings, fault))?;
    match cli.verb {
        Verb::Status(settings) => Box::pin(status::run(settings, show)).await,
        Verb::DeadLetters(verb) => match *verb {
            DeadLettersVerb::List(settings) => dead_letters::list::run(settings, show).await,
            DeadLettersVerb::Show(settings) => dead_letters::show::run(settings, show).await,
            DeadLettersVerb::Retry(settings) => {
                Box::pin(dead_letters::retry::run(settings, show)).await
            }
            DeadLettersVerb::Discard(settings) => dead_letters::discard::run(&settings, show).await,
        },
        Verb::Verify(settings) => Box::pin(verify::run(*settings, show)).await,
        Verb::Finish(settings) => Box::pin(finish::run(*settings, show)).await,
        Verb::Rollback(settings) => Box::pin(rollback::run(*settings, show)).await,
        Verb::Replay(settings) => Box::pin(replay::run(*settings, show)).await,
        Verb::Resnapshot(settings) => Box::pin(resnapshot::run(*settings, show)).await,
        Verb::Pause(settings) => pause::run(&settings, show).await,
        Verb::Resume(settings) => resume::run(&settings, show).await,
        Verb::Peek(settings) => Box::pin(peek::run(settings, show)).await,
        Verb::Draft(settings) => Box::pin(draft::run(*settings, show)).await,
        Verb::DryRun(settings) => Box::pin(dry_run::run(*settings, show)).await,
        Verb::Check(settings) => check::run(&settings, show).await,
        Verb::List(settings) => Box::pin(list::run(&settings, show)).await,
        Verb::Drift(settings) => drift::run(&settings, show).await,
        Verb::Plan(settings) => Box::pin(plan::run(*settings, show)).await,
    }
}
