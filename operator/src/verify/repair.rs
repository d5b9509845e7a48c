//! `--repair`: what differs, through the pipeline again.
//!
//! The documents are read again and sent as `leafcutter resnapshot --ids` sends them, so the consumers write
//! their rows under their own guard, whatever is written meanwhile. Rows without a document go by its
//! sweep. Then all is verified once more: a repair that has not helped is told.

use super::{board::ToRepair, settings::VerifySettings, work::Work};
use crate::{
    resnapshot::{self, ResnapshotSettings},
    show::Show,
};
use leafcutter_consumer::settings::PostgresSettings;
use leafcutter_producer::{again::AgainOptions, settings::Reads};
use leafcutter_runtime::report::Failure;

/// Sends what differs again, collection by collection; gives whether anything was sent.
///
/// # Errors
/// Those of `leafcutter resnapshot`.
pub async fn repair(
    settings: &VerifySettings,
    works: &[Work],
    wanted: Vec<ToRepair>,
    show: &mut Show<'_>,
) -> Result<bool, Failure> {
    let mut any = false;
    for (work, wanted) in works.iter().zip(wanted) {
        if !wanted.ids.is_empty() {
            any = true;
            again(settings, work, wanted.ids, None, show).await?;
        }
        if wanted.extra {
            any = true;
            // No document is read; the sweep is of the whole collection.
            let nothing = "{\"_id\": {\"$in\": []}}".to_owned();
            again(settings, work, Vec::new(), Some(nothing), show).await?;
        }
    }
    Ok(any)
}

async fn again(
    settings: &VerifySettings,
    work: &Work,
    ids: Vec<String>,
    filter: Option<String>,
    show: &mut Show<'_>,
) -> Result<(), Failure> {
    let told = ResnapshotSettings {
        collections: vec![work.full_name()],
        ids,
        ids_file: None,
        filter,
        since: None,
        truncate_first: false,
        no_sweep: false,
        sweep_max: 20,
        lost_history: false,
        dry_run: false,
        yes: true,
        installation: settings.installation.clone(),
        source: AgainOptions {
            mongodb_uri: settings.mongodb.mongodb_uri.clone(),
            mongodb_uri_file: settings.mongodb.mongodb_uri_file.clone(),
            read_preference: Reads::default(),
            max_docs_per_second: settings.rate,
            snapshot_threads: settings.jobs,
        },
        kafka: settings.kafka.clone(),
        postgres: PostgresSettings {
            postgres_uri: settings.postgres.postgres_uri.clone(),
            postgres_uri_file: settings.postgres.postgres_uri_file.clone(),
        },
    };
    if !show.json {
        return Box::pin(resnapshot::run(told, show)).await.map(drop);
    }
    // One answer in JSON is the report of the last verification.
    let mut nowhere = std::io::sink();
    let mut quiet = Show::plain(&mut nowhere, false);
    Box::pin(resnapshot::run(told, &mut quiet)).await.map(drop)
}
