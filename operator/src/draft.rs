//! `leafcutter draft`: looks at a MongoDB database and writes a mapping for it that runs as it is.
//!
//! It reads a sample of each collection, or all of it, keeps figures of every path ([`profile`]), makes
//! tables of them ([`infer`]) and writes them with a comment beside each column ([`write`]). Then the text
//! is read and compiled as the consumers do it, and their own transform is tried on the documents
//! ([`proof`]): what it says of rejections is what will happen. A text that is no sound mapping is never
//! shown. Nothing is written to MongoDB, and memory does not grow with the collections.

pub mod settings;
pub mod kind;
pub mod profile;
pub mod source;
pub mod names;
pub mod types;
pub mod infer;
pub mod references;
pub mod write;
pub mod proof;
mod proving;
pub mod report;
pub mod merge;

use crate::{progress::bar, show::Show};
use infer::{Seen, TableDraft};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use leafcutter_schemas::name;
use merge::Into;
use names::Names;
use profile::Profile;
use proving::{Proving, Text, compile};
use references::Profiled;
use report::{Drafted, LeftOut, Report};
use settings::DraftSettings;
use source::{Extent, Listed, Source};
use std::path::Path;
use write::CollectionDraft;

/// Drafts a mapping, and prints it or writes it into a file.
///
/// # Errors
/// When MongoDB cannot be read, a file cannot be read or written, or the draft is no sound mapping.
pub async fn run(settings: DraftSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    if let Some(file) = settings.out.as_deref().filter(|file| file.exists()) {
        return Err(in_the_way(file));
    }
    let into = settings.into.as_deref().map(Into::read).transpose()?;
    let source = Source::open(&settings).await?;
    let (chosen, mut left_out) = choose(&source, &settings, into.as_ref()).await?;
    let mut all = Vec::new();
    for listed in &chosen {
        let profile = look(&source, listed, extent(&settings, listed), show).await?;
        let name = listed.name.clone();
        all.push(Profiled { name, profile });
    }
    let found = references::find(&source, &all).await?;
    let mut names = Names::default();
    if let Some(into) = &into {
        into.tables().for_each(|table| names.mark(&table));
    }
    let (mut collections, mut unsure) = (Vec::new(), Vec::new());
    for ((one, listed), references) in all.iter().zip(&chosen).zip(&found) {
        let (name, profile) = (one.name.as_str(), &one.profile);
        let seen = Seen {
            name,
            profile,
            references,
        };
        let (table, more) = infer::tables(seen, &mut names);
        unsure.extend(more);
        collections.push(CollectionDraft {
            name: one.name.clone(),
            read: read(profile, listed, extent(&settings, listed)),
            table,
        });
    }
    let tables: Vec<String> = collections.iter().map(|c| c.table.name.clone()).collect();
    let extents: Vec<Extent> = chosen.iter().map(|one| extent(&settings, one)).collect();
    let proving = Proving {
        source: &source,
        prefix: &settings.prefix,
        chosen: &chosen,
        extents: &extents,
        collections: &collections,
        tables: &tables,
    };
    let (text, proofs) = Box::pin(proving.run(show)).await?;
    left_out.sort_by(|one, other| one.collection.cmp(&other.collection));
    let drafted = collections.iter().zip(&all).zip(proofs).zip(&chosen);
    let drafted = drafted.map(|(((collection, one), proof), listed)| Drafted {
        name: collection.name.clone(),
        tables: count(&collection.table),
        table: collection.table.name.clone(),
        whole: extent(&settings, listed) == Extent::Whole,
        documents: listed.documents,
        read: one.profile.documents,
        unreadable: one.profile.unreadable,
        profile: one.profile.json(),
        proof,
    });
    let report = Report {
        database: source.name().to_owned(),
        drafted: drafted.collect(),
        left_out,
        unsure,
    };
    finish(&settings, into.as_ref(), (&report, &text), show)
}

/// Writes or prints what was drafted.
fn finish(
    settings: &DraftSettings,
    into: Option<&Into>,
    (report, text): (&Report, &Text),
    show: &mut Show<'_>,
) -> Result<Exit, Failure> {
    let mapping = match into {
        Some(into) => into.with(&text.collections, &settings.prefix)?,
        None => {
            let head: String = report
                .head()
                .iter()
                .map(|line| format!("# {line}\n"))
                .collect();
            format!("{}{}", head.replace("# \n", "#\n"), text.whole)
        }
    };
    // The head is comments alone; that it is, is looked at once more.
    compile(&mapping, &settings.prefix)?;
    let file = settings.out.as_deref().or(settings.into.as_deref());
    if let Some(file) = file {
        merge::put(file, &mapping)?;
    }
    tracing::info!(
        database = report.database,
        collections = report.drafted.len(),
        left_out = report.left_out.len(),
        "drafted"
    );
    if show.json {
        show.json(&report.json(&mapping));
    } else if let Some(file) = file {
        if into.is_some() {
            show.text(&merge::difference(&text.collections));
        }
        show.text(&report.render(file, show));
    } else {
        show.text(&mapping);
    }
    Ok(report.exit())
}

/// The collections that are drafted, and the others with why not.
async fn choose(
    source: &Source,
    settings: &DraftSettings,
    into: Option<&Into>,
) -> Result<(Vec<Listed>, Vec<LeftOut>), Failure> {
    let listed = source.list().await?;
    for wanted in &settings.collection {
        if !listed.iter().any(|one| one.name == *wanted) {
            return Err(nobody(source, wanted, &listed));
        }
    }
    let wanted =
        |name: &String| settings.collection.is_empty() || settings.collection.contains(name);
    let (mut chosen, mut left_out): (Vec<Listed>, Vec<LeftOut>) = (Vec::new(), Vec::new());
    for one in listed {
        if !wanted(&one.name) || into.is_some_and(|into| into.has(source.name(), &one.name)) {
            continue;
        }
        let names = chosen
            .iter()
            .chain([&one])
            .map(|c| (source.name(), c.name.as_str()));
        let topics = name::data_topics(&settings.prefix, names);
        let no_topic = topics
            .err()
            .and_then(|faults| faults.first().map(ToString::to_string));
        let why = one.left_out.map(str::to_owned).or(no_topic);
        match why {
            Some(why) => left_out.push(LeftOut {
                collection: one.name,
                why,
            }),
            None => chosen.push(one),
        }
    }
    if chosen.is_empty() {
        return Err(nothing(source, &left_out, into.is_some()));
    }
    Ok((chosen, left_out))
}

fn extent(settings: &DraftSettings, listed: &Listed) -> Extent {
    if settings.all || listed.documents <= u64::from(settings.sample) {
        Extent::Whole
    } else {
        Extent::Sample(settings.sample)
    }
}

async fn look(
    source: &Source,
    listed: &Listed,
    extent: Extent,
    show: &Show<'_>,
) -> Result<Profile, Failure> {
    let bar = bar("reading", &listed.name, extent.of(listed), show);
    let mut profile = Profile::default();
    let mut reader = source.read(&listed.name, extent).await?;
    while let Some(document) = reader.next().await? {
        profile.see(document);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(profile)
}

/// What is said of the documents that were read.
fn read(profile: &Profile, listed: &Listed, extent: Extent) -> String {
    match extent {
        Extent::Whole => format!("{} documents, all read", profile.documents),
        Extent::Sample(_) => format!(
            "about {} documents, {} of them read",
            listed.documents, profile.documents
        ),
    }
}

/// A table and those below it.
fn count(table: &TableDraft) -> usize {
    1 + table.children.iter().map(count).sum::<usize>()
}

fn in_the_way(file: &Path) -> Failure {
    let fault = Fault::new(
        "could not write the mapping",
        format!("`{}`", file.display()),
        "the file exists, and may hold somebody's edits",
        "Give another file to `--out`, or `--into` to add to this one.",
    );
    Failure::one(Exit::Settings, fault)
}

fn nobody(source: &Source, wanted: &str, listed: &[Listed]) -> Failure {
    let mut names: Vec<&str> = listed.iter().map(|one| one.name.as_str()).collect();
    let more = names.len().saturating_sub(12);
    names.truncate(12);
    let mut known = names.join(", ");
    if more > 0 {
        known = format!("{known} and {more} more");
    }
    let fault = Fault::new(
        "could not find the collection",
        format!("`--collection {wanted}`"),
        format!("{} has {known}", source.place()),
        "Choose one of these.",
    );
    Failure::one(Exit::Usage, fault)
}

fn nothing(source: &Source, left_out: &[LeftOut], into: bool) -> Failure {
    let why = match (left_out, into) {
        ([], true) => "the mapping has all of its collections already".to_owned(),
        ([], false) => "it has no collections".to_owned(),
        (left_out, _) => {
            let reasons = left_out
                .iter()
                .take(12)
                .map(|one| format!("{}: {}", one.collection, one.why));
            reasons.collect::<Vec<_>>().join("; ")
        }
    };
    let fault = Fault::new(
        "could not draft a mapping",
        source.place(),
        why,
        "Check the name of the database, and that the user may list its collections.",
    );
    Failure::one(Exit::Differences, fault)
}
