//! What the programs need of Kafka: ACLs for three principals.
//!
//! Topics are named one by one, so nothing is granted on topics of others. Who writes a topic may write to it
//! idempotently, and whoever may read or write may describe it. `Create` on a topic is enough to create it.

use super::comment::comment;
use crate::settings::CheckSettings;
use leafcutter_schemas::name::{checkpoints_topic, control_topic, dead_letter_topic};
use leafcutter_sink::model::Model;
use serde::Serialize;

/// What a principal may do with some topics, or with a group.
#[derive(Debug, Serialize)]
pub(super) struct Acl {
    principal: &'static str,
    resource: &'static str,
    names: Vec<String>,
    operations: Vec<&'static str>,
    why: &'static str,
}

const PRODUCER: &str = "leafcutter-producer";
const CONSUMER: &str = "leafcutter-consumer";
const OPERATOR: &str = "leafcutter-operator";

/// The ACLs.
pub(super) fn acls(model: &Model, settings: &CheckSettings) -> Vec<Acl> {
    let prefix = &settings.mapping.prefix;
    let data: Vec<String> = model.collections.iter().map(|c| c.topic.clone()).collect();
    let dead_letters: Vec<String> = data.iter().map(|topic| dead_letter_topic(topic)).collect();
    let (control, checkpoints) = (control_topic(prefix), checkpoints_topic(prefix));
    let own = vec![control.clone(), checkpoints];
    let topics = |principal, names: &[Vec<String>], operations: &[&'static str], why| Acl {
        principal,
        resource: "topic",
        names: names.concat(),
        operations: operations.to_vec(),
        why,
    };
    let all = [data.clone(), dead_letters.clone(), own.clone()];
    vec![
        topics(
            PRODUCER,
            &all,
            &["Create", "DescribeConfigs", "Write"],
            "The producer creates the topics, looks at their settings, and writes. It needs no Create where \
             somebody else has created them.",
        ),
        topics(
            PRODUCER,
            std::slice::from_ref(&own),
            &["Read"],
            "It reads its own checkpoints and heartbeats.",
        ),
        topics(
            CONSUMER,
            &[data.clone(), vec![control]],
            &["Read"],
            "The consumers.",
        ),
        topics(
            CONSUMER,
            std::slice::from_ref(&data),
            &["DescribeConfigs"],
            "How large a record may be, and for how long Kafka keeps it.",
        ),
        topics(
            CONSUMER,
            std::slice::from_ref(&dead_letters),
            &["Create", "Write"],
            "What they refuse.",
        ),
        Acl {
            principal: CONSUMER,
            resource: "group",
            names: vec![settings.group.clone()],
            operations: vec!["Read"],
            why: "They share the partitions as a group.",
        },
        topics(
            OPERATOR,
            &all,
            &["Read"],
            "leafcutter joins no group. For resnapshot and verify --repair it needs what the producer may; for \
             replay --into what the consumers may, as group GROUP-into-SCHEMA.",
        ),
    ]
}

/// The ACLs for a shell.
pub(super) fn script(acls: &[Acl]) -> String {
    let mut out = String::from(
        "# Kafka. In a shell, with BOOTSTRAP=host:port, and CONFIG=file of an administrator's\n\
         # properties where the brokers want one.\nset -e\n\
         acl() {\n  \
           kafka-acls --bootstrap-server \"$BOOTSTRAP\" ${CONFIG:+--command-config \"$CONFIG\"} \\\n    \
             --add \"$@\"\n}\n",
    );
    for acl in acls {
        out.push_str(&comment("# ", acl.why));
        out.push_str(&format!("acl --allow-principal 'User:{}'", acl.principal));
        for operation in &acl.operations {
            out.push_str(&format!(" --operation {operation}"));
        }
        for name in &acl.names {
            out.push_str(&format!(" \\\n  --{} {}", acl.resource, quoted(name)));
        }
        out.push('\n');
    }
    out
}

/// A word that a shell takes as it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_of_any_name_is_one_word() {
        assert_eq!(quoted("it's $(mine)"), "'it'\\''s $(mine)'");
    }
}
