//! TLS to PostgreSQL, by libpq's names: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `sslpassword`.
//!
//! What each mode holds is what libpq says of it, with two differences. Without `sslrootcert` the system's
//! certificate authorities are trusted (libpq wants a file in the home directory, which a daemon has not);
//! and `allow` is `prefer`. Only `verify-full` keeps everybody in the middle away; `prefer`, the default,
//! keeps nobody away. Files are read at each connection, so that certificates can be replaced while a
//! program runs.

use openssl::{
    error::ErrorStack,
    pkey::PKey,
    ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode},
    x509::store::X509StoreBuilder,
};
use postgres_openssl::MakeTlsConnector;
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};
use tokio_postgres::config::SslMode;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A mode that there is not.
    #[error("sslmode `{0}` is none of disable, allow, prefer, require, verify-ca and verify-full")]
    Mode(String),
    /// Settings that do not go together.
    #[error("{0}")]
    Settings(&'static str),
    /// A file cannot be read.
    #[error("cannot read {what} `{}`", path.display())]
    File {
        /// The setting.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{what} `{}` cannot be used", path.display())]
    Contents {
        /// The setting.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: ErrorStack,
    },
    /// OpenSSL itself fails.
    #[error("OpenSSL cannot be set up")]
    Library(#[from] ErrorStack),
}

/// What is asked of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Verify {
    /// Nothing.
    #[default]
    Nothing,
    /// That an authority that is trusted has signed it.
    Authority,
    /// And that it is the host's.
    Host,
}

/// How to speak TLS.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tls {
    verify: Verify,
    root: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    password: Option<String>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("verify", &self.verify)
            .field("root", &self.root)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the settings of a connection string; gives what the client library has to be told as well.
    ///
    /// # Errors
    /// When a mode is unknown, a file cannot be used, or settings do not go together.
    pub fn read(settings: &[(String, String)]) -> Result<(Self, SslMode), TlsError> {
        let of = |name: &str| {
            let found = settings.iter().rev().find(|(key, _)| key == name);
            found
                .map(|(_, value)| value.as_str())
                .filter(|value| !value.is_empty())
        };
        let path = |name: &str| of(name).map(PathBuf::from);
        // libpq's `system`: the system's authorities, as without a file.
        let system = of("sslrootcert") == Some("system");
        let mut tls = Self {
            verify: Verify::Nothing,
            root: path("sslrootcert").filter(|_| !system),
            certificate: path("sslcert"),
            key: path("sslkey"),
            password: of("sslpassword").map(str::to_owned),
        };
        let mode = match of("sslmode") {
            Some("disable") => SslMode::Disable,
            None if system => {
                tls.verify = Verify::Host;
                SslMode::Require
            }
            None | Some("prefer" | "allow") => SslMode::Prefer,
            Some("require") => {
                // As libpq: with authorities at hand the certificate is checked.
                if tls.root.is_some() {
                    tls.verify = Verify::Authority;
                }
                SslMode::Require
            }
            Some("verify-ca") => {
                tls.verify = Verify::Authority;
                SslMode::Require
            }
            Some("verify-full") => {
                tls.verify = Verify::Host;
                SslMode::Require
            }
            Some(other) => return Err(TlsError::Mode(other.to_owned())),
        };
        if system && tls.verify != Verify::Host {
            let why = "sslrootcert=system goes with sslmode=verify-full: anybody can have a certificate \
                       of a public authority";
            return Err(TlsError::Settings(why));
        }
        if tls.certificate.is_some() != tls.key.is_some() {
            let why = "sslcert and sslkey go together: the client's certificate, and its key";
            return Err(TlsError::Settings(why));
        }
        // Told at the start rather than at each connection.
        if mode != SslMode::Disable {
            tls.connector()?;
        }
        Ok((tls, mode))
    }

    /// A connector as the settings say, with the files as they are now.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn connector(&self) -> Result<MakeTlsConnector, TlsError> {
        let mut builder = SslConnector::builder(SslMethod::tls())?;
        match self.verify {
            Verify::Nothing => builder.set_verify(SslVerifyMode::NONE),
            Verify::Authority | Verify::Host => builder.set_verify(SslVerifyMode::PEER),
        }
        if let Some(root) = &self.root {
            let contents = |source| TlsError::Contents {
                what: "sslrootcert",
                path: root.clone(),
                source,
            };
            read(root, "sslrootcert")?;
            // In place of the system's authorities, not beside them.
            builder.set_cert_store(X509StoreBuilder::new()?.build());
            builder.set_ca_file(root).map_err(contents)?;
        }
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            self.identify(&mut builder, certificate, key)?;
        }
        let mut connector = MakeTlsConnector::new(builder.build());
        let host = self.verify == Verify::Host;
        connector.set_callback(move |connection, _| {
            connection.set_verify_hostname(host);
            Ok(())
        });
        Ok(connector)
    }

    fn identify(
        &self,
        builder: &mut SslConnectorBuilder,
        certificate: &Path,
        key: &Path,
    ) -> Result<(), TlsError> {
        let unusable = |what, path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Contents { what, path, source }
        };
        read(certificate, "sslcert")?;
        builder
            .set_certificate_chain_file(certificate)
            .map_err(unusable("sslcert", certificate))?;
        let pem = read(key, "sslkey")?;
        // Without a password nothing is given, and nobody is asked: a daemon has no terminal.
        let password = self.password.as_deref().unwrap_or_default().as_bytes();
        let pkey = PKey::private_key_from_pem_callback(&pem, |out| {
            let length = password.len().min(out.len());
            out[..length].copy_from_slice(&password[..length]);
            Ok(length)
        });
        let pkey = pkey.map_err(unusable("sslkey", key))?;
        builder
            .set_private_key(&pkey)
            .and_then(|()| builder.check_private_key())
            .map_err(unusable("sslkey", key))
    }
}

fn read(path: &Path, what: &'static str) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::File {
        what,
        path: path.to_owned(),
        source,
    })
}

/// The settings that are about TLS, taken out of a connection string; the string without them. A URI or
/// libpq's `key = value` pairs.
pub fn take_settings(text: &str) -> (String, Vec<(String, String)>) {
    if let Some((before, query)) = text.split_once("://").and_then(|_| text.rsplit_once('?'))
        && !query.contains('@')
    {
        let (ours, theirs): (Vec<&str>, Vec<&str>) =
            query.split('&').partition(|pair| is_ours(name_of(pair)));
        let settings = ours.into_iter().filter_map(|pair| pair.split_once('='));
        let settings = settings.map(|(name, value)| (name.to_owned(), decoded(value)));
        let settings = settings.collect();
        return match theirs.as_slice() {
            [] => (before.to_owned(), settings),
            theirs => (format!("{before}?{}", theirs.join("&")), settings),
        };
    }
    if text.contains("://") {
        return (text.to_owned(), Vec::new());
    }
    take_pairs(text)
}

fn take_pairs(text: &str) -> (String, Vec<(String, String)>) {
    let (mut rest, mut others, mut settings) = (text.trim_start(), String::new(), Vec::new());
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, length) = value_of(after);
        if is_ours(name.trim()) {
            settings.push((name.trim().to_owned(), value));
        } else {
            let raw = &after[..length];
            others.push_str(&format!("{}={raw} ", name.trim()));
        }
        rest = after[length..].trim_start();
    }
    others.push_str(rest);
    (others, settings)
}

/// The value at the beginning, and how many bytes it takes there.
fn value_of(text: &str) -> (String, usize) {
    let quoted = text.starts_with('\'');
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices().skip(usize::from(quoted)) {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '\'' if quoted => return (value, at + 1),
            c if !quoted && c.is_whitespace() => return (value, at),
            c => value.push(c),
        }
    }
    (value, text.len())
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

fn is_ours(name: &str) -> bool {
    matches!(
        name,
        "sslmode" | "sslrootcert" | "sslcert" | "sslkey" | "sslpassword"
    )
}

/// `%41` is `A`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).filter(|_| *first == b'%');
        let byte = hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_taken_out_of_uris_and_pairs() {
        let taken = |text| {
            let (rest, settings) = take_settings(text);
            let settings = settings
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            (rest, settings.collect::<Vec<_>>().join(" "))
        };
        let own = |rest: &str, settings: &str| (rest.to_owned(), settings.to_owned());
        assert_eq!(
            taken(
                "postgres://u:p?w@h/d?sslmode=verify-full&application_name=x&sslrootcert=%2Fa%20b"
            ),
            own(
                "postgres://u:p?w@h/d?application_name=x",
                "sslmode=verify-full sslrootcert=/a b"
            )
        );
        assert_eq!(
            taken("postgres://h/d?sslmode=disable"),
            own("postgres://h/d", "sslmode=disable")
        );
        assert_eq!(
            taken("postgres://u:p?x@h/d"),
            own("postgres://u:p?x@h/d", "")
        );
        assert_eq!(
            taken(r"host=h password='it\'s sslmode=no' sslmode = 'verify-ca' dbname=d sslcert=/c"),
            own(
                r"host=h password='it\'s sslmode=no' dbname=d ",
                "sslmode=verify-ca sslcert=/c"
            )
        );
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        let read = |settings: &[(&str, &str)]| {
            let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let settings: Vec<_> = settings.iter().map(own).collect();
            Tls::read(&settings).map_err(|error| error.to_string())
        };
        for (settings, words) in [
            (vec![("sslmode", "verify-some")], "verify-some"),
            (vec![("sslcert", "/c")], "sslkey"),
            (
                vec![("sslmode", "require"), ("sslrootcert", "system")],
                "verify-full",
            ),
            (vec![("sslrootcert", "/not/there")], "`/not/there`"),
        ] {
            let said = read(&settings).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(read(&[]).unwrap().1, SslMode::Prefer);
        let system = read(&[("sslrootcert", "system")]).unwrap();
        assert_eq!(
            (system.0.verify, system.1),
            (Verify::Host, SslMode::Require)
        );
    }
}
