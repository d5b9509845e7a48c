//! TLS to a real PostgreSQL, with certificates made for it: what each `sslmode` keeps away.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod server;

use leafcutter_harness::authority::Authority;
use leafcutter_runtime::report::causes;
use leafcutter_sink::session::{self, ConnectError};
use server::Server;
use std::path::Path;

const WHO: &str =
    "select coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false)";

/// Whether the connection is encrypted, or why there is none.
async fn connected(config: Result<session::Config, ConnectError>) -> Result<bool, String> {
    let config = config.map_err(|error| causes(&error))?;
    let client = session::connect(&config, "test").await;
    let client = client.map_err(|error| causes(&error))?;
    Ok(client.query_one(WHO, &[]).await.unwrap().get(0))
}

fn certificates(folder: &Path, hosts: &[&str], ended: bool) {
    let own = Authority::new("own").unwrap();
    let other = Authority::new("other").unwrap();
    own.write(&folder.join("own.crt")).unwrap();
    other.write(&folder.join("other.crt")).unwrap();
    own.write(&folder.join("clients.crt")).unwrap();
    own.sign(&folder.join("server"), "server", hosts, ended, "")
        .unwrap();
    own.sign(&folder.join("known"), "known", &[], false, "")
        .unwrap();
    own.sign(&folder.join("locked"), "known", &[], false, "s3cret")
        .unwrap();
    other
        .sign(&folder.join("forged"), "known", &[], false, "")
        .unwrap();
}

#[tokio::test]
async fn each_mode_keeps_away_whom_it_says() {
    let server = Server::start(|folder| certificates(folder, &["localhost"], false)).await;
    let (own, other) = (server.file("own.crt"), server.file("other.crt"));
    let with = |mode: &str, root: &str| format!("sslmode={mode}&sslrootcert={root}");
    // Without certificates nobody is kept away, as libpq says.
    for settings in ["sslmode=prefer", "sslmode=require", ""] {
        assert_eq!(
            connected(server.config("app", settings)).await,
            Ok(true),
            "{settings}"
        );
    }
    assert_eq!(
        connected(server.config("plain", "sslmode=disable")).await,
        Ok(false)
    );
    let refused = connected(server.config("app", "sslmode=disable")).await;
    assert!(refused.unwrap_err().contains("no encryption"));
    // The authority is checked; the name only by verify-full. `require` with a file is verify-ca.
    for mode in ["require", "verify-ca"] {
        let fits = connected(server.config("app", &with(mode, &own))).await;
        assert_eq!(fits, Ok(true), "{mode}");
        let wrong = connected(server.config("app", &with(mode, &other)))
            .await
            .unwrap_err();
        assert!(
            wrong.contains("certificate verify failed"),
            "{mode}: {wrong}"
        );
    }
    let named = connected(server.config_of("localhost", "app", &with("verify-full", &own))).await;
    assert_eq!(named, Ok(true));
    let wrong_name = connected(server.config("app", &with("verify-full", &own))).await;
    let said = wrong_name.unwrap_err();
    assert!(said.contains("mismatch"), "{said}");
    let wrong = connected(server.config_of("localhost", "app", &with("verify-full", &other))).await;
    assert!(wrong.unwrap_err().contains("certificate verify failed"));
    // No public authority has signed it.
    for settings in [
        "sslmode=verify-full",
        "sslmode=verify-ca",
        "sslrootcert=system",
    ] {
        let unknown = connected(server.config_of("localhost", "app", settings)).await;
        assert!(
            unknown.unwrap_err().contains("certificate verify failed"),
            "{settings}"
        );
    }
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_refused() {
    let server = Server::start(|folder| certificates(folder, &["127.0.0.1"], true)).await;
    let settings = format!("sslmode=verify-full&sslrootcert={}", server.file("own.crt"));
    let ended = connected(server.config("app", &settings))
        .await
        .unwrap_err();
    assert!(ended.contains("expired"), "{ended}");
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate() {
    let server = Server::start(|folder| certificates(folder, &["127.0.0.1"], false)).await;
    let root = format!("sslmode=verify-full&sslrootcert={}", server.file("own.crt"));
    let with = |name: &str| {
        let of = |end: &str| server.file(&format!("{name}.{end}"));
        format!("{root}&sslcert={}&sslkey={}", of("crt"), of("key"))
    };
    assert_eq!(
        connected(server.config("known", &with("known"))).await,
        Ok(true)
    );
    assert!(connected(server.config("known", &root)).await.is_err());
    assert!(
        connected(server.config("known", &with("forged")))
            .await
            .is_err()
    );
    let unlocked = format!("{}&sslpassword=s3cret", with("locked"));
    assert_eq!(connected(server.config("known", &unlocked)).await, Ok(true));
    for locked in [
        with("locked"),
        format!("{}&sslpassword=wrong", with("locked")),
    ] {
        let said = connected(server.config("known", &locked))
            .await
            .unwrap_err();
        assert!(said.contains("sslkey `"), "{said}");
    }
    let foreign = format!(
        "{root}&sslcert={}&sslkey={}",
        server.file("known.crt"),
        server.file("forged.key")
    );
    let said = connected(server.config("known", &foreign))
        .await
        .unwrap_err();
    assert!(said.contains("sslkey `"), "{said}");
    // libpq's other form means the same.
    let pairs = format!(
        "host=127.0.0.1 port={} user=known dbname=postgres sslmode='verify-full' sslrootcert={} \
         sslcert={} sslkey={}",
        server.port,
        server.file("own.crt"),
        server.file("known.crt"),
        server.file("known.key")
    );
    let config = session::config(&leafcutter_runtime::secret::Secret::new(pairs));
    assert_eq!(connected(config).await, Ok(true));
}
