//! What the producer and the verbs need of MongoDB: two roles and two users in `admin`, commands of the server.
//!
//! MongoDB opens a change stream of a database only for who may find in all collections of it. Whether a
//! collection is there, and its number, are in the list of collections. Its size decides how it is cut into
//! splits. The replica set's configuration has its own id, by which another cluster is told from this one.

use super::comment::comment;
use crate::show::layout;
use leafcutter_sink::model::Model;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PRODUCER_ROLE: &str = "leafcutterProducer";
const READER_ROLE: &str = "leafcutterReader";

/// A command for the database `admin`, and why.
#[derive(Debug, Serialize)]
pub(super) struct Command {
    why: &'static str,
    command: Value,
}

/// The commands, in their order. A user's password is left out.
pub(super) fn commands(model: &Model) -> Vec<Command> {
    let collections = &model.mapping.collections;
    let databases: BTreeSet<&str> = collections.iter().map(|c| c.database.as_str()).collect();
    let of_all = |actions: &[&str]| -> Vec<Value> {
        let databases = databases.iter();
        databases
            .map(|database| privilege(database, "", actions))
            .collect()
    };
    let mut producer = of_all(&["find", "changeStream", "listCollections"]);
    let mut reader = of_all(&["listCollections"]);
    for collection in collections {
        let (database, name) = (collection.database.as_str(), collection.name.as_str());
        let polled: &[&str] = if collection.poll_by.is_empty() {
            &["collStats"]
        } else {
            &["collStats", "listIndexes"]
        };
        producer.push(privilege(database, name, polled));
        reader.push(privilege(database, name, &["find", "collStats"]));
    }
    producer.push(json!({
        "resource": { "cluster": true },
        "actions": ["replSetGetConfig"],
    }));
    let role = |name: &str, privileges: Vec<Value>| json!({ "createRole": name, "privileges": privileges, "roles": [] });
    let user = |name: &str, role: &str| json!({ "createUser": name, "roles": [role] });
    vec![
        Command {
            why: "The producer; also leafcutter resnapshot and verify --repair, which do its work. A change \
                  stream of a database asks for `find` on all of it; with --capture poll leave changeStream out.",
            command: role(PRODUCER_ROLE, producer),
        },
        Command {
            why: "The other verbs of leafcutter: verify, finish, list, draft, dry-run.",
            command: role(READER_ROLE, reader),
        },
        Command {
            why: "In the connection string: authSource=admin.",
            command: user("leafcutter-producer", PRODUCER_ROLE),
        },
        Command {
            why: "Give it leafcutterProducer too where it is to run resnapshot or verify --repair.",
            command: user("leafcutter-operator", READER_ROLE),
        },
    ]
}

fn privilege(database: &str, collection: &str, actions: &[&str]) -> Value {
    json!({ "resource": { "db": database, "collection": collection }, "actions": actions })
}

/// The commands for mongosh, which asks for the passwords.
pub(super) fn script(commands: &[Command]) -> String {
    let head = "// MongoDB. In mongosh as a user who may make users and roles: load('mongodb.js').";
    let mut out = format!("{head}\nconst admin = db.getSiblingDB('admin');\n");
    for Command { why, command } in commands {
        let text = layout(command, 0);
        let text = match text.strip_prefix('{') {
            Some(rest) if command.get("createUser").is_some() => {
                format!("{{\"pwd\": passwordPrompt(),\n  {}", rest.trim_start())
            }
            _ => text,
        };
        out.push_str(&comment("// ", why));
        out.push_str(&format!("admin.runCommand({text});\n"));
    }
    out
}
