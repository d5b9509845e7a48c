//! `leafcutter check --grants`: the least that the programs need on the three servers, as scripts.
//!
//! It takes the mapping and the names of prefix and group, and asks no server. What stands in the scripts is
//! found by reading what each program asks of each server; a test runs a whole migration with these grants and no
//! others, so that a program that needs more is noticed. Where one program has a choice (who creates tables, who
//! creates topics), the script says so.

mod comment;
mod kafka;
mod mongodb;
mod postgres;

use crate::{
    settings::{CheckSettings, GrantingServer},
    show::Show,
};
use leafcutter_consumer::settings::Ddl;
use leafcutter_sink::model::Model;
use serde::Serialize;

/// All of it, as `--json` has it.
#[derive(Debug, Serialize)]
struct Grants {
    #[serde(skip_serializing_if = "Option::is_none")]
    mongodb: Option<Vec<mongodb::Command>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kafka: Option<Vec<kafka::Acl>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postgres: Option<Vec<String>>,
}

/// Prints the scripts that are asked for.
pub(super) fn tell(settings: &CheckSettings, model: &Model, show: &mut Show<'_>) {
    let is_asked = |server| settings.server_of_grants.is_none_or(|only| only == server);
    let creates = settings.ddl == Ddl::Create;
    let mongodb = is_asked(GrantingServer::Mongodb).then(|| mongodb::commands(model));
    let kafka = is_asked(GrantingServer::Kafka).then(|| kafka::acls(model, settings));
    let postgres = is_asked(GrantingServer::Postgres).then(|| postgres::parts(model, creates));
    if show.json {
        show.json(&Grants {
            mongodb,
            kafka,
            postgres: postgres.map(|parts| parts.into_iter().flat_map(|part| part.1).collect()),
        });
        return;
    }
    let mut texts = Vec::new();
    texts.extend(mongodb.map(|commands| mongodb::script(&commands)));
    texts.extend(kafka.map(|acls| kafka::script(&acls)));
    texts.extend(postgres.map(|parts| postgres::script(&parts)));
    show.text(&texts.join("\n"));
}
