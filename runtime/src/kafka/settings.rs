//! Where Kafka is, and the configuration of each kind of client.
//!
//! Two layers, the later wins: our defaults and the user's properties. What our promises rest on
//! is among the defaults and cannot be among the user's (see `properties`). A configuration is
//! handed to librdkafka once before it is returned, so that a misspelt name is a fault at start.

use super::properties::{canonical, lines, refuse, shown, split};
use crate::{report::Fault, secret::is_secret_name};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use rdkafka::ClientConfig;
use std::{fmt, path::PathBuf};

/// Where Kafka is and how to talk to it. A clap `Args`, to be flattened into a program's own.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// librdkafka properties, in the order given.
    pub properties: Vec<(String, String)>,
}

/// What clap parses. The environment is hidden from `--help`: it may hold `sasl.password`.
#[derive(Debug, Args)]
struct KafkaArgs {
    /// Kafka brokers, `host:port`, several separated by commas
    #[arg(long, env = "LEAFCUTTER_KAFKA_BROKERS", value_name = "HOST:PORT")]
    kafka_brokers: String,
    /// A librdkafka property, `key=value`; repeat it, or separate several by commas
    #[arg(
        long = "kafka",
        env = "LEAFCUTTER_KAFKA",
        value_name = "KEY=VALUE",
        hide_env_values = true
    )]
    kafka: Vec<String>,
    /// A file of librdkafka properties, one `key=value` a line: the place for passwords
    #[arg(long, env = "LEAFCUTTER_KAFKA_FILE", value_name = "FILE")]
    kafka_file: Option<PathBuf>,
}

impl Args for KafkaSettings {
    fn augment_args(command: Command) -> Command {
        KafkaArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        KafkaArgs::augment_args_for_update(command)
    }
}

impl FromArgMatches for KafkaSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let args = KafkaArgs::from_arg_matches(matches)?;
        let refuse = |why: String| clap::Error::raw(clap::error::ErrorKind::ValueValidation, why);
        let mut settings = Self::new(args.kafka_brokers);
        if let Some(file) = &args.kafka_file {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|error| refuse(format!("{}: {error}", file.display())))?;
            let pairs = lines(&text).map_err(|why| refuse(format!("{}: {why}", file.display())))?;
            settings.properties.extend(pairs);
        }
        for text in &args.kafka {
            let pairs = split(text).map_err(|why| refuse(format!("--kafka: {why}")))?;
            settings.properties.extend(pairs);
        }
        Ok(settings)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: Vec<(&str, &str)> = self
            .properties
            .iter()
            .map(|(name, value)| (&**name, shown(name, value)))
            .collect();
        out.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("properties", &properties)
            .finish()
    }
}

/// Every client. The short refresh lets it notice partitions and leaders that moved.
const EVERY: &[(&str, &str)] = &[
    ("socket.keepalive.enable", "true"),
    ("topic.metadata.refresh.interval.ms", "30000"),
    ("statistics.interval.ms", "0"),
    ("log.thread.name", "false"),
    // Nothing is ever created by being named.
    ("allow.auto.create.topics", "false"),
];

const PRODUCER: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // Never give up on a message alone: a later one would overtake it and leave a gap.
    ("message.timeout.ms", "0"),
    // What Java clients use, so that other writers of the same topic put a document where we do.
    // Not `murmur2_random`: a record without a key would land anywhere, and not twice alike.
    ("partitioner", "murmur2"),
    ("compression.codec", "zstd"),
    // The higher levels cost more CPU than the network costs us.
    ("compression.level", "1"),
    // Enough to gather what comes together; a backlog fills batches anyway. Every millisecond more is
    // one of latency.
    ("linger.ms", "1"),
    ("batch.size", "1000000"),
    ("batch.num.messages", "10000"),
    // 16 MB of BSON in an envelope, and the overhead of the protocol. The topic's own limit is
    // 20 MiB; the broker, not the client, is to say that a record is too large.
    ("message.max.bytes", "26214400"),
    // The smallest queue that holds one such message and has something to batch beside it.
    ("queue.buffering.max.kbytes", "32768"),
    // Never the limit: the bytes above are.
    ("queue.buffering.max.messages", "500000"),
];

/// Whoever reads, in a group or alone.
const READER: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    // We write no transactions, so there is nothing uncommitted of ours. In topics that others
    // write with them (Debezium), an aborted record is a true event that is written again: the
    // version rule makes the second one a repetition. `read_committed` would instead stop for
    // ever at a transaction that hangs.
    ("isolation.level", "read_uncommitted"),
    // `message.max.bytes` is untouched here: `fetch.max.bytes` has to be at least that much. A
    // larger first batch still arrives whole; these limit what is asked for beside it. A whole
    // reply is unpacked at once, to several times its size, so the reply is what costs memory.
    ("fetch.max.bytes", "1048576"),
    ("max.partition.fetch.bytes", "262144"),
    ("queued.max.messages.kbytes", "4096"),
    // What is queued lasts for a fraction of the default, a second, for which a full queue would
    // not be looked at again.
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.wait.max.ms", "50"),
    ("check.crcs", "true"),
];

const GROUP: &[(&str, &str)] = &[
    ("partition.assignment.strategy", "cooperative-sticky"),
    // A consumer that died is replaced within ten seconds; three missed heartbeats are no reason.
    ("session.timeout.ms", "10000"),
    ("heartbeat.interval.ms", "3000"),
];

/// Never joined and nothing is committed to it; librdkafka wants a name before it assigns.
const LONE_GROUP: &str = "leafcutter-reader";

impl KafkaSettings {
    /// Brokers without further properties.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            properties: Vec::new(),
        }
    }

    /// A producer: idempotent, acknowledged by all replicas, never timing out a message alone.
    pub fn producer_config(&self, client_id: &str) -> Result<ClientConfig, Fault> {
        self.build(&[EVERY, PRODUCER], &[("client.id", client_id)])
    }

    /// A member of `group`: cooperative, and silent about offsets unless told.
    pub fn consumer_config(&self, group: &str, client_id: &str) -> Result<ClientConfig, Fault> {
        self.build(
            &[EVERY, READER, GROUP],
            &[("client.id", client_id), ("group.id", group)],
        )
    }

    /// A reader outside any group, for `assign`. Commits nothing.
    pub fn reader_config(&self, client_id: &str) -> Result<ClientConfig, Fault> {
        self.build(
            &[EVERY, READER],
            &[("client.id", client_id), ("group.id", LONE_GROUP)],
        )
    }

    /// An admin client.
    pub fn admin_config(&self, client_id: &str) -> Result<ClientConfig, Fault> {
        self.build(&[EVERY], &[("client.id", client_id)])
    }

    /// All that is wrong with the properties, for the preflight that reports everything at once.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.properties
            .iter()
            .filter_map(|(name, _)| refuse(name))
            .collect()
    }

    fn build(
        &self,
        layers: &[&[(&str, &str)]],
        own: &[(&str, &str)],
    ) -> Result<ClientConfig, Fault> {
        if let Some(fault) = self.faults().into_iter().next() {
            return Err(fault);
        }
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        for (name, value) in layers.iter().copied().flatten().chain(own) {
            config.set(*name, *value);
        }
        let produces = config.get("enable.idempotence").is_some();
        for (name, value) in &self.properties {
            // Meant for the producer; a consumer that took it would refuse its `fetch.max.bytes`.
            if canonical(name) == "message.max.bytes" && !produces {
                continue;
            }
            config.set(canonical(name), value);
        }
        self.probe(&config)?;
        Ok(config)
    }

    /// Lets librdkafka look at each name and value. Its message repeats the value, so that of a
    /// secret is replaced.
    fn probe(&self, config: &ClientConfig) -> Result<(), Fault> {
        let Err(error) = config.create_native_config() else {
            return Ok(());
        };
        let (place, why) = match &error {
            rdkafka::error::KafkaError::ClientConfig(_, why, name, _) if is_secret_name(name) => (
                format!("`{name}`"),
                why.split('"').next().unwrap_or_default().to_owned(),
            ),
            rdkafka::error::KafkaError::ClientConfig(_, why, name, value) => {
                (format!("`{name}={value}`"), why.clone())
            }
            other => ("the properties".to_owned(), other.to_string()),
        };
        Err(Fault::new(
            "could not set a Kafka property",
            format!("{place} among the Kafka properties"),
            why,
            "Compare it with librdkafka's list of properties (CONFIGURATION.md).",
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::{Args, Command, FromArgMatches};
    use rdkafka::admin::AdminClient;
    use rdkafka::client::DefaultClientContext;
    use rdkafka::consumer::BaseConsumer;
    use rdkafka::producer::BaseProducer;

    use super::{KafkaSettings, PRODUCER, READER};

    fn with(name: &str, value: &str) -> KafkaSettings {
        let mut settings = KafkaSettings::new("127.0.0.1:1");
        settings
            .properties
            .push((name.to_owned(), value.to_owned()));
        settings
    }

    fn parse(arguments: &[&str]) -> Result<KafkaSettings, clap::Error> {
        let command = KafkaSettings::augment_args(Command::new("test"));
        let line = ["test", "--kafka-brokers", "k:9092"]
            .iter()
            .chain(arguments);
        KafkaSettings::from_arg_matches(&command.try_get_matches_from(line)?)
    }

    /// librdkafka checks how properties fit together only when a client is made.
    #[test]
    fn every_configuration_makes_a_client() {
        let settings = KafkaSettings::new("127.0.0.1:1");
        let _: BaseProducer = settings.producer_config("p").unwrap().create().unwrap();
        let _: BaseConsumer = settings
            .consumer_config("g", "c")
            .unwrap()
            .create()
            .unwrap();
        let _: BaseConsumer = settings.reader_config("r").unwrap().create().unwrap();
        let _: AdminClient<DefaultClientContext> =
            settings.admin_config("a").unwrap().create().unwrap();
    }

    #[test]
    fn what_the_promises_rest_on_is_set_and_cannot_be_set() {
        let settings = KafkaSettings::new("k");
        let producer = settings.producer_config("p").unwrap();
        let consumer = settings.consumer_config("g", "c").unwrap();
        let promises = [
            (&producer, "enable.idempotence", "true"),
            (&producer, "acks", "all"),
            (&producer, "message.timeout.ms", "0"),
            (&producer, "partitioner", "murmur2"),
            (&consumer, "enable.auto.commit", "false"),
            (&consumer, "enable.auto.offset.store", "false"),
            (&consumer, "auto.offset.reset", "error"),
            (&consumer, "isolation.level", "read_uncommitted"),
            (
                &consumer,
                "partition.assignment.strategy",
                "cooperative-sticky",
            ),
            (&consumer, "group.id", "g"),
            (&consumer, "bootstrap.servers", "k"),
        ];
        for (config, name, value) in promises {
            assert_eq!(config.get(name), Some(value), "{name}");
            let fault = with(name, value).producer_config("p").unwrap_err();
            assert!(
                fault.place.contains(name) && !fault.why.is_empty(),
                "{fault}"
            );
            assert!(
                with(name, value).consumer_config("g", "c").is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn every_refusal_is_reported_at_once() {
        let mut settings = with("acks", "1");
        settings
            .properties
            .push(("group.id".to_owned(), "x".to_owned()));
        assert_eq!(settings.faults().len(), 2);
    }

    #[test]
    fn other_properties_replace_ours_under_either_name() {
        let settings = with("compression.type", "lz4");
        let config = settings.producer_config("p").unwrap();
        assert_eq!(config.get("compression.codec"), Some("lz4"));
        assert_eq!(config.get("compression.type"), None, "two names would race");
        assert!(
            with("group.instance.id", "one")
                .consumer_config("g", "c")
                .is_ok()
        );
    }

    #[test]
    fn defaults_stand_under_the_names_that_are_compared() {
        for (name, _) in PRODUCER.iter().chain(READER) {
            assert_eq!(super::canonical(name), *name);
        }
    }

    #[test]
    fn a_larger_message_for_the_producer_does_not_break_the_consumer() {
        let settings = with("message.max.bytes", "31457280");
        assert_eq!(
            settings
                .producer_config("p")
                .unwrap()
                .get("message.max.bytes"),
            Some("31457280")
        );
        let _: BaseConsumer = settings
            .consumer_config("g", "c")
            .unwrap()
            .create()
            .unwrap();
    }

    #[test]
    fn a_misspelt_property_is_a_fault_that_names_it() {
        let fault = with("linger.mss", "5").producer_config("p").unwrap_err();
        assert!(fault.place.contains("linger.mss"), "{fault}");
    }

    #[test]
    fn passwords_are_never_shown() {
        let settings = with("sasl.password", "hunter2");
        assert!(!format!("{settings:?}").contains("hunter2"));
        // A value librdkafka refuses comes back in its message.
        let wrong = with("ssl.key.password.typo", "hunter2");
        assert!(
            !wrong
                .producer_config("p")
                .unwrap_err()
                .to_string()
                .contains("hunter2")
        );
        let error = parse(&["--kafka", "hunter2"]).unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "# for tests\n\nsasl.password = a,b=c\nlinger.ms=1").unwrap();
        let path = file.path().to_str().unwrap();
        let settings =
            parse(&["--kafka", "linger.ms=7,batch.size=9", "--kafka-file", path]).unwrap();
        let config = settings.producer_config("p").unwrap();
        assert_eq!(config.get("sasl.password"), Some("a,b=c"));
        assert_eq!(config.get("linger.ms"), Some("7"));
        assert_eq!(config.get("batch.size"), Some("9"));
    }
}
