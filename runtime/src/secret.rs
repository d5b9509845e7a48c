//! Values that are never shown.
//!
//! [`Secret`] takes a password or a URI and gives it back only to [`Secret::expose`], which is
//! easy to search for. `Debug` and `Display` show `***`, and there is no `Serialize`: a secret
//! cannot reach a log line, a report or a file by accident. A setting that holds one also needs
//! clap's `hide_env_values = true`, or `--help` prints the environment.
//!
//! [`redact_uri`] is for messages that name a server. When in doubt about where a password ends
//! it hides too much.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

/// What is shown in place of a secret.
const HIDDEN: &str = "***";

/// A text that shows nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(HIDDEN)
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }
}

/// The secret called `what`, given either itself or as a file that holds it (`…_FILE`).
///
/// Both at once is refused, because one of them would be ignored in silence. One line break at
/// the end of the file belongs to the editor that wrote it and not to the secret.
pub fn resolve(value: Option<Secret>, file: Option<PathBuf>, what: &str) -> Result<Secret, String> {
    match (value, file) {
        (Some(_), Some(_)) => Err(format!(
            "{what} is given twice, as a value and as a file; keep one of them"
        )),
        (Some(value), None) => Ok(value),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| format!("{what}: cannot read `{}`: {error}", file.display()))?;
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let text = text.strip_suffix('\r').unwrap_or(text);
            if text.is_empty() {
                return Err(format!("{what}: `{}` is empty", file.display()));
            }
            Ok(Secret::new(text))
        }
        (None, None) => Err(format!(
            "{what} is missing; give its value, or a file that holds it"
        )),
    }
}

/// `uri` as it may be shown: passwords and tokens replaced, user, hosts and database kept.
///
/// Understands `mongodb://` and `postgres://` URIs and libpq's `key=value` strings.
#[must_use]
pub fn redact_uri(uri: &str) -> String {
    match uri.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", redact_rest(rest)),
        None if uri.contains('=') => redact_pairs(uri),
        None => redact_rest(uri),
    }
}

/// Flags whose values may hold passwords, and those whose values are documents or parts of them.
const HIDDEN_FLAGS: [&str; 5] = [
    "--mongodb-uri",
    "--postgres-uri",
    "--kafka",
    "--where",
    "--ids",
];

/// A command line as it may be kept: addresses without their passwords, and other values that may hold one, or
/// contents of documents, replaced. A word that looks like an address is taken for one wherever it stands.
#[must_use]
pub fn redact_words(words: impl IntoIterator<Item = String>) -> String {
    let mut shown: Vec<String> = Vec::new();
    let mut is_hidden = false;
    for word in words {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value)),
            _ => (word.as_str(), None),
        };
        let names_hidden = HIDDEN_FLAGS.contains(&flag);
        shown.push(if std::mem::take(&mut is_hidden) {
            hidden(&word)
        } else if let Some(value) = value.filter(|_| names_hidden) {
            format!("{flag}={}", hidden(value))
        } else if word.contains("://") {
            redact_uri(&word)
        } else {
            is_hidden = names_hidden && value.is_none();
            word
        });
    }
    shown.join(" ")
}

fn hidden(value: &str) -> String {
    if value.contains("://") {
        redact_uri(value)
    } else {
        HIDDEN.to_owned()
    }
}

/// Whether `text`, which somebody else wrote about `uri`, repeats a piece of the password in it. A
/// parser that takes an unescaped `?` or `/` in a password for the end of something shows such pieces.
/// In doubt it does.
#[must_use]
pub fn repeats_secret(text: &str, uri: &str) -> bool {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let user = rest
        .rsplit_once('@')
        .and_then(|(user, _)| user.split_once(':'));
    let password = user.map_or("", |(_, password)| password);
    let pieces = password.split(|c: char| !c.is_alphanumeric());
    let mut pieces = pieces.filter(|piece| !piece.is_empty());
    pieces.any(|piece| text.contains(piece))
}

/// Everything after the scheme. The user part ends at the *last* `@`: an unescaped `@`, `/` or
/// `?` in a password is common, and stopping at the first one would show the rest of it.
fn redact_rest(rest: &str) -> String {
    let (user, tail) = match rest.rsplit_once('@') {
        Some((user, tail)) => match user.split_once(':') {
            Some((name, _)) => (format!("{name}:{HIDDEN}@"), tail),
            None => (format!("{user}@"), tail),
        },
        None => (String::new(), rest),
    };
    let Some((hosts, query)) = tail.split_once('?') else {
        return format!("{user}{tail}");
    };
    let query: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((key, _)) if is_secret_name(key) => format!("{key}={HIDDEN}"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{user}{hosts}?{}", query.join("&"))
}

/// libpq's `key = 'value'` pairs; a quoted value ends at an unescaped quote.
fn redact_pairs(text: &str) -> String {
    let mut shown = Vec::new();
    let mut rest = text.trim_start();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, tail) = split_value(after.trim_start());
        let key = key.trim();
        shown.push(if is_secret_name(key) {
            format!("{key}={HIDDEN}")
        } else {
            format!("{key}={value}")
        });
        rest = tail.trim_start();
    }
    // What is left has no `=`: not a pair, and perhaps a piece of an unquoted password.
    if !rest.is_empty() {
        shown.push(HIDDEN.to_owned());
    }
    shown.join(" ")
}

fn split_value(text: &str) -> (&str, &str) {
    let quoted = text.starts_with('\'');
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' if quoted && index > 0 => return text.split_at(index + 1),
            blank if !quoted && blank.is_whitespace() => return text.split_at(index),
            _ => {}
        }
    }
    (text, "")
}

/// Names that hold a secret in the URIs and properties we know: `password`, `sslpassword`,
/// `tlsCertificateKeyFilePassword`, `sasl.oauthbearer.client.secret`, `ssl.key.pem`,
/// `authMechanismProperties` (it may hold a session token), …
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    const MARKS: [&str; 7] = [
        "password",
        "passwd",
        "secret",
        "token",
        "pem",
        "oauthbearer",
        "authmechanismproperties",
    ];
    let name = name.to_ascii_lowercase();
    MARKS.iter().any(|mark| name.contains(mark))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::PathBuf;

    use super::{Secret, redact_uri, redact_words, repeats_secret, resolve};

    #[test]
    fn a_command_line_is_kept_without_what_is_secret() {
        let shown = |words: &str| redact_words(words.split(' ').map(str::to_owned));
        for (words, expected) in [
            ("verify --collection a", "verify --collection a"),
            (
                "status --postgres-uri postgres://u:canary@h/d --json",
                "status --postgres-uri postgres://u:***@h/d --json",
            ),
            (
                "status --mongodb-uri=mongodb://u:canary@h/?x=1 --kafka=sasl.password=canary",
                "status --mongodb-uri=mongodb://u:***@h/?x=1 --kafka=***",
            ),
            ("list --kafka sasl.password=canary", "list --kafka ***"),
            (
                "list --postgres-uri password=canary",
                "list --postgres-uri ***",
            ),
            ("list postgres://u:canary@h/d", "list postgres://u:***@h/d"),
            (
                "resnapshot a --ids canary --yes",
                "resnapshot a --ids *** --yes",
            ),
        ] {
            assert_eq!(shown(words), expected);
        }
    }

    #[test]
    fn a_secret_shows_nothing_of_itself() {
        let secret: Secret = "hunter2".parse().unwrap();
        let shown = format!(
            "{secret} {secret:?} {:?} {:#?}",
            Some(&secret),
            vec![&secret]
        );
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn uris_keep_what_helps_and_lose_what_harms() {
        let cases = [
            ("mongodb://h:27017/db", "mongodb://h:27017/db"),
            ("mongodb://u@h/db", "mongodb://u@h/db"),
            (
                "mongodb://u:PW@h1,h2/db?replicaSet=rs0",
                "mongodb://u:***@h1,h2/db?replicaSet=rs0",
            ),
            ("postgres://u:P@W/x?y@h/db", "postgres://u:***@h/db"),
            (
                "postgres://h/db?user=u&password=PW",
                "postgres://h/db?user=u&password=***",
            ),
            (
                "mongodb://h/?tlsCertificateKeyFilePassword=PW&tls=true",
                "mongodb://h/?tlsCertificateKeyFilePassword=***&tls=true",
            ),
            (
                "mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:PW",
                "mongodb://h/?authMechanismProperties=***",
            ),
            (
                "host=h user=u password=PW dbname=d",
                "host=h user=u password=*** dbname=d",
            ),
            ("password = 'P \\' W' host=h", "password=*** host=h"),
            ("sslpassword=PW host=h", "sslpassword=*** host=h"),
            ("host=h password=a PW", "host=h password=*** ***"),
            ("u:PW@h:27017", "u:***@h:27017"),
        ];
        for (uri, shown) in cases {
            assert_eq!(redact_uri(uri), shown, "{uri}");
        }
    }

    #[test]
    fn what_repeats_a_piece_of_a_password_is_known() {
        let uri = "mongodb://u:S3cr?et/x@h:27017/db";
        for told in [
            "the port must be an integer, got S3cr",
            "no such option: et",
        ] {
            assert!(repeats_secret(told, uri), "{told}");
        }
        assert!(!repeats_secret("unknown option: tsl", uri));
        assert!(!repeats_secret("the port is S3cr", "mongodb://h:27017/db"));
        assert!(!repeats_secret("no user", "mongodb://u@h:27017/db"));
    }

    #[test]
    fn a_file_gives_the_secret_without_its_last_line_break() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, " hunter2 \r\n").unwrap();
        let secret = resolve(None, Some(file.path().to_owned()), "the password").unwrap();
        assert_eq!(secret.expose(), " hunter2 ");
    }

    #[test]
    fn both_none_or_an_unreadable_file_is_refused_by_name() {
        let value = Some(Secret::new("hunter2"));
        let nowhere = Some(PathBuf::from("/nowhere/at/all"));
        for result in [
            resolve(value, nowhere.clone(), "the password"),
            resolve(None, nowhere, "the password"),
            resolve(None, None, "the password"),
            resolve(None, Some(PathBuf::from("/dev/null")), "the password"),
        ] {
            let error = result.unwrap_err();
            assert!(
                error.contains("the password") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
