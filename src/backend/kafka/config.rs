//! [`Settings`]: what a `kafka:` URL, the environment and a file of properties say, put together.
//!
//! Options have the names that librdkafka has for them, and Kafka's own clients for the most part. What the
//! URL does not say is looked for in variables (`sasl.password` in `KAFKA_SASL_PASSWORD`, as container
//! images have it), and then in a file of properties: that of the option `config_file`, of the variable
//! `KCAT_CONFIG`, or `~/.config/kcat.conf`, which kcat reads too.
//! Source: <https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md>.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::backend::Location;
use crate::backend::address::decode;
use crate::error::{Error, Result};

/// Every option of the URL.
pub(super) const OPTIONS: &[&str] = &[
    "client.id",
    "compression.type",
    "config_file",
    "delivery.timeout.ms",
    "enable.ssl.certificate.verification",
    "linger.ms",
    "message.max.bytes",
    "partitions",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "replication_factor",
    "sasl.mechanism",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "socket.connection.setup.timeout.ms",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
    "tombstones",
];

/// Those that are the client's, with the values that they have here unless they are set.
const PROPERTIES: [(&str, Option<&str>); 18] = [
    ("client.id", Some("samplestore")),
    ("compression.type", None),
    (DELIVERY_TIMEOUT, Some("30000")),
    ("enable.ssl.certificate.verification", None),
    ("linger.ms", None),
    (MESSAGE_BYTES_MAX, Some("1000000")),
    (QUEUE_KBYTES_MAX, Some("65536")),
    ("queue.buffering.max.messages", Some("10000")),
    ("sasl.mechanism", None),
    (PASSWORD, None),
    (USERNAME, None),
    (PROTOCOL, None),
    (CONNECT_TIMEOUT, Some("10000")),
    ("ssl.ca.location", None),
    ("ssl.certificate.location", None),
    ("ssl.endpoint.identification.algorithm", None),
    ("ssl.key.location", None),
    ("ssl.key.password", None),
];

const DELIVERY_TIMEOUT: &str = "delivery.timeout.ms";
const CONNECT_TIMEOUT: &str = "socket.connection.setup.timeout.ms";
const MESSAGE_BYTES_MAX: &str = "message.max.bytes";
const QUEUE_KBYTES_MAX: &str = "queue.buffering.max.kbytes";
const PROTOCOL: &str = "security.protocol";
const USERNAME: &str = "sasl.username";
const PASSWORD: &str = "sasl.password";

/// What is not to be had otherwise.
const FIXED: [(&str, &str); 7] = [
    ("acks", "all"),
    // Topics are made in topic.rs, when they may be.
    ("allow.auto.create.topics", "false"),
    // A store waits for what is said of each message.
    ("delivery.report.only.error", "false"),
    ("enable.idempotence", "true"),
    // Where Kafka's own clients put a message of this key.
    ("partitioner", "murmur2_random"),
    // Brokers that are back are found within a second.
    ("reconnect.backoff.max.ms", "1000"),
    ("retry.backoff.max.ms", "1000"),
];

/// Other names of properties, so that no property is there twice.
const ALIASES: [(&str, &str); 7] = [
    ("compression.codec", "compression.type"),
    ("message.timeout.ms", DELIVERY_TIMEOUT),
    ("metadata.broker.list", SERVERS),
    ("queue.buffering.max.ms", "linger.ms"),
    ("request.required.acks", "acks"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("message.send.max.retries", "retries"),
];

const SERVERS: &str = "bootstrap.servers";
/// Kafka's limit.
const TOPIC_BYTES_MAX: usize = 249;

type Properties = BTreeMap<String, String>;

/// All that is needed to connect. Not to be shown: it holds passwords.
pub(super) struct Settings {
    pub(super) client: ClientConfig,
    pub(super) topic: String,
    /// Whether a topic that is not there is made.
    pub(super) create: bool,
    /// How many partitions and replicas a topic is made with; `-1` is the broker's own number.
    pub(super) partitions: i32,
    pub(super) replication_factor: i32,
    pub(super) tombstones: bool,
    pub(super) message_bytes_max: usize,
    /// How long to try to deliver a message.
    pub(super) delivery_timeout: Duration,
    /// How long to wait for a broker at first.
    pub(super) connect_timeout: Duration,
    /// The brokers and the topic, for errors; no secret.
    pub(super) shown: String,
}

impl Settings {
    /// Reads the URL; `variable` gives an environment variable.
    pub(super) fn read(
        location: &Location,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let place = Place::read(location)?;
        let mut properties = properties_of_file(location, &variable)?;
        for (name, unset) in PROPERTIES {
            let in_url = location.option(name).map(str::to_owned);
            let found = in_url.or_else(|| variable(&variable_of(name)));
            if let Some(value) = found {
                properties.insert(name.to_owned(), value);
            } else if let Some(value) = unset {
                let entry = properties.entry(name.to_owned());
                entry.or_insert_with(|| value.to_owned());
            }
        }
        for (name, value) in [(USERNAME, place.user), (PASSWORD, place.password)] {
            if let Some(value) = value {
                properties.insert(name.to_owned(), value);
            }
        }
        properties.insert(SERVERS.to_owned(), place.servers.clone());
        for (name, value) in FIXED {
            properties.insert(name.to_owned(), value.to_owned());
        }

        check_delivery(location, &properties)?;
        let ms = |name| number(location, &properties, name).map(Duration::from_millis);
        let message_bytes_max = number(location, &properties, MESSAGE_BYTES_MAX)?;
        check_queue(location, &properties, message_bytes_max)?;
        let mut settings = Self {
            delivery_timeout: ms(DELIVERY_TIMEOUT)?,
            connect_timeout: ms(CONNECT_TIMEOUT)?,
            message_bytes_max: usize::try_from(message_bytes_max).unwrap_or(usize::MAX),
            client: ClientConfig::new(),
            create: location.creates(),
            partitions: count(location, "partitions")?,
            replication_factor: count(location, "replication_factor")?,
            tombstones: location.flag("tombstones")?.unwrap_or(false),
            shown: format!("kafka://{}/{}", place.servers, place.topic),
            topic: place.topic,
        };
        check_login(location, &properties)?;
        settings.client.extend(properties);
        // What is too much is left to whoever reads the log.
        settings.client.set_log_level(RDKafkaLogLevel::Info);
        Ok(settings)
    }
}

/// The client takes 0 for no limit, so that a store would wait for a broker that is gone for ever.
fn check_delivery(location: &Location, properties: &Properties) -> Result<()> {
    match number(location, properties, DELIVERY_TIMEOUT)? {
        0 => Err(location.invalid(format!(
            "the option {DELIVERY_TIMEOUT} must be 1 at least: 0 is without a limit to the client"
        ))),
        _ => Ok(()),
    }
}

/// A message that is larger than the queue would wait for room for ever.
fn check_queue(location: &Location, properties: &Properties, message_bytes_max: u64) -> Result<()> {
    let queue_kbytes_max = number(location, properties, QUEUE_KBYTES_MAX)?;
    match message_bytes_max > queue_kbytes_max.saturating_mul(1_024) {
        true => Err(location.invalid(format!(
            "a message of {message_bytes_max} bytes, as the option {MESSAGE_BYTES_MAX} lets it be, does not fit into the \
             {queue_kbytes_max} KiB of the option {QUEUE_KBYTES_MAX}; make the first smaller or the second larger"
        ))),
        false => Ok(()),
    }
}

/// A login that the client would leave aside without a word, as it does where the protocol has none.
fn check_login(location: &Location, properties: &Properties) -> Result<()> {
    let has_login = [USERNAME, PASSWORD]
        .iter()
        .any(|name| properties.contains_key(*name));
    let protocol = properties
        .get(PROTOCOL)
        .map(|protocol| protocol.to_ascii_lowercase());
    // What is none of the client's words, the client says.
    let has_none = matches!(protocol.as_deref(), None | Some("plaintext" | "ssl"));
    match has_login && has_none {
        true => Err(location.invalid(
            "a user or a password needs the option security.protocol to be sasl_ssl or sasl_plaintext, and sasl.mechanism",
        )),
        false => Ok(()),
    }
}

/// What stands in `//USER:PASSWORD@HOST:PORT,HOST:PORT/TOPIC`.
struct Place {
    user: Option<String>,
    password: Option<String>,
    servers: String,
    topic: String,
}

impl Place {
    fn read(location: &Location) -> Result<Self> {
        let text = |part: &str, what: &str| {
            decode(part).ok_or_else(|| location.invalid(format!("{what} cannot be read")))
        };
        let Some(place) = location.place().strip_prefix("//") else {
            return Err(location.invalid("it must begin with kafka://"));
        };
        // The last one: a password that was not encoded may have others.
        let (login, rest) = place.rsplit_once('@').unwrap_or(("", place));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let given = |part: &str, what| match part {
            "" => Ok(None),
            part => text(part, what).map(Some),
        };
        let (servers, topic) = rest.split_once('/').unwrap_or((rest, ""));
        let servers = text(servers, "the name of the server")?;
        if servers.split(',').any(|server| server.trim().is_empty()) {
            return Err(location.invalid("there is no broker: kafka://HOST:PORT,HOST:PORT/TOPIC"));
        }
        let topic = text(topic, "the name of the topic")?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=TOPIC_BYTES_MAX).contains(&topic.len())
            || !topic.bytes().all(is_name)
            || [".", ".."].contains(&topic.as_str())
        {
            return Err(location.invalid(
                "there is no topic: a name of 1 to 249 letters, digits, dots, _ and -, behind the brokers and a /",
            ));
        }
        Ok(Self {
            user: given(user, "the name of the user")?,
            password: given(password, "the password")?,
            servers,
            topic,
        })
    }
}

/// `sasl.password` → `KAFKA_SASL_PASSWORD`.
fn variable_of(property: &str) -> String {
    let name = property.replace('.', "_").to_ascii_uppercase();
    format!("KAFKA_{name}")
}

/// The properties of the file that is named, or of kcat's own if there is one.
fn properties_of_file(
    location: &Location,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<Properties> {
    let named = location.option("config_file").map(str::to_owned);
    let named = named.or_else(|| variable("KCAT_CONFIG")).map(PathBuf::from);
    let usual = || Some(Path::new(&variable("HOME")?).join(".config/kcat.conf"));
    let is_named = named.is_some();
    let Some(path) = named.or_else(usual) else {
        return Ok(Properties::new());
    };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(properties(&text)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound && !is_named => Ok(Properties::new()),
        Err(cause) => Err(Error::io(
            "read properties of a client",
            format!("{} (for {location})", path.display()),
            cause,
        )),
    }
}

/// Lines of `NAME=VALUE`, and comments behind a `#` at their beginning.
fn properties(text: &str) -> Properties {
    let lines = text.lines().map(str::trim);
    let pairs = lines.filter(|line| !line.starts_with('#'));
    let pairs = pairs.filter_map(|line| line.split_once('='));
    let property = |(name, value): (&str, &str)| {
        let name = name.trim();
        let known = ALIASES.iter().find(|(alias, _)| *alias == name);
        let name = known.map_or(name, |(_, name)| name);
        (name.to_owned(), value.trim().to_owned())
    };
    pairs.map(property).collect()
}

/// The value of a property that has one and is a number.
fn number(location: &Location, properties: &Properties, name: &str) -> Result<u64> {
    let value = properties.get(name).and_then(|value| value.parse().ok());
    value.ok_or_else(|| location.invalid(format!("the option {name} must be a whole number")))
}

/// How many of something a topic is made with; without the option, what the broker has for it.
fn count(location: &Location, name: &str) -> Result<i32> {
    match location.parsed(name, "a whole number")? {
        Some(count) if count < 1 => {
            Err(location.invalid(format!("the option {name} must be 1 at least")))
        }
        Some(count) => Ok(count),
        None => Ok(-1),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn read(url: &str, variables: &[(&str, &str)]) -> Result<Settings> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let location = url.parse::<Location>()?;
        Settings::read(&location, |name| {
            variables.get(name).map(|&value| value.to_owned())
        })
    }

    #[test]
    fn the_url_goes_before_the_environment_and_that_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("client.properties");
        fs::write(
            &file,
            "# of a cluster\nsasl.mechanisms = PLAIN\nsasl.username=file\nsasl.password=a=b\n\
             acks=1\nmessage.timeout.ms=7000\nsocket.keepalive.enable=true\n\
             delivery.report.only.error=true\n",
        )
        .unwrap();
        let variables = [
            ("KCAT_CONFIG", file.to_str().unwrap()),
            ("KAFKA_SASL_USERNAME", "variable"),
            ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
            ("KAFKA_CLIENT_ID", ""),
        ];
        let url =
            "kafka://one:9092,two/weather.2013?security.protocol=sasl_plaintext&tombstones=true";
        let settings = read(url, &variables).unwrap();
        for (name, value) in [
            ("bootstrap.servers", Some("one:9092,two")),
            ("sasl.mechanism", Some("PLAIN")),
            ("sasl.mechanisms", None),
            ("sasl.username", Some("variable")),
            ("sasl.password", Some("a=b")),
            ("security.protocol", Some("sasl_plaintext")),
            ("socket.keepalive.enable", Some("true")),
            ("client.id", Some("samplestore")),
            ("acks", Some("all")),
            ("enable.idempotence", Some("true")),
            ("delivery.report.only.error", Some("false")),
            ("queue.buffering.max.messages", Some("10000")),
        ] {
            assert_eq!(settings.client.get(name), value, "{name}");
        }
        assert_eq!(settings.topic, "weather.2013");
        assert_eq!(settings.shown, "kafka://one:9092,two/weather.2013");
        assert_eq!(settings.delivery_timeout, Duration::from_secs(7));
        assert_eq!((settings.partitions, settings.replication_factor), (-1, -1));
        assert!(settings.create && settings.tombstones);

        let url = format!(
            "kafka://me:a%40b@one/t?config_file={}&security.protocol=SASL_SSL&partitions=3&message.max.bytes=2000000",
            file.display()
        );
        let settings = read(&url, &[]).unwrap();
        assert_eq!(settings.client.get("sasl.username"), Some("me"));
        assert_eq!(settings.client.get("sasl.password"), Some("a@b"));
        assert_eq!(settings.shown, "kafka://one/t");
        assert_eq!(
            (settings.partitions, settings.message_bytes_max),
            (3, 2_000_000)
        );
        assert!(!settings.tombstones);
    }

    #[test]
    fn what_cannot_be_is_refused_without_the_password() {
        for (url, words) in [
            ("kafka:topic", "must begin with kafka://"),
            ("kafka:///topic", "there is no broker"),
            ("kafka://u:sesame@one,,two/topic", "there is no broker"),
            ("kafka://u:sesame@one:9092", "there is no topic"),
            ("kafka://u:sesame@one/a/b", "there is no topic"),
            ("kafka://u:sesame@one/..", "there is no topic"),
            (
                "kafka://one/t?tombstone=1&sasl.password=sesame",
                "did you mean tombstones?",
            ),
            (
                "kafka://one/t?sasl.password=sesame&partitions=0",
                "1 at least",
            ),
            (
                "kafka://one/t?sasl.password=sesame&delivery.timeout.ms=x",
                "a whole number",
            ),
            (
                "kafka://one/t?sasl.password=sesame&delivery.timeout.ms=0",
                "delivery.timeout.ms must be 1 at least",
            ),
            ("kafka://u:sesame@one/t", "sasl_ssl or sasl_plaintext"),
            (
                "kafka://u@one/t?security.protocol=ssl",
                "sasl_ssl or sasl_plaintext",
            ),
            (
                "kafka://one/t?sasl.username=u&sasl.password=sesame&security.protocol=PLAINTEXT",
                "sasl_ssl or sasl_plaintext",
            ),
            (
                "kafka://one/t?queue.buffering.max.kbytes=1",
                "does not fit into the 1 KiB of the option queue.buffering.max.kbytes",
            ),
            (
                "kafka://one/t?message.max.bytes=67108865",
                "as the option message.max.bytes lets it be",
            ),
            (
                "kafka://one/t?sasl.password=sesame&config_file=/nowhere/at/all",
                "/nowhere/at/all",
            ),
        ] {
            let Err(error) = read(url, &[]) else {
                panic!("{url} is taken");
            };
            assert!(error.to_string().contains(words), "{url}: {error}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("sesame"), "{shown}");
        }
    }
}
