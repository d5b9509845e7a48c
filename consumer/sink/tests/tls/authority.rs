//! Certificates for one test, and the authorities that sign them.

use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    symm::Cipher,
    x509::{
        X509, X509Builder, X509NameBuilder,
        extension::{BasicConstraints, SubjectAlternativeName},
    },
};
use std::{fs, path::Path};

/// An authority.
pub(crate) struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// A certificate of this name; `days` from now it ends, or has ended.
fn begin(name: &str, key: &PKey<Private>, ended: bool) -> X509Builder {
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(64, openssl::bn::MsbOption::ONE, false).unwrap();
    builder
        .set_serial_number(&serial.to_asn1_integer().unwrap())
        .unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    builder.set_subject_name(&subject.build()).unwrap();
    let from = Asn1Time::from_str("20200101000000Z").unwrap();
    let to = if ended {
        "20200102000000Z"
    } else {
        "20990101000000Z"
    };
    builder.set_not_before(&from).unwrap();
    builder
        .set_not_after(&Asn1Time::from_str(to).unwrap())
        .unwrap();
    builder.set_pubkey(key).unwrap();
    builder
}

impl Authority {
    /// One of its own.
    pub(crate) fn new(name: &str) -> Self {
        let key = key();
        let mut builder = begin(name, &key, false);
        let constraints = BasicConstraints::new().critical().ca().build().unwrap();
        builder.append_extension(constraints).unwrap();
        let subject = builder.build().subject_name().to_owned().unwrap();
        let mut builder = begin(name, &key, false);
        let constraints = BasicConstraints::new().critical().ca().build().unwrap();
        builder.append_extension(constraints).unwrap();
        builder.set_issuer_name(&subject).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self {
            certificate: builder.build(),
            key,
        }
    }

    /// Writes its certificate.
    pub(crate) fn write(&self, path: &Path) {
        fs::write(path, self.certificate.to_pem().unwrap()).unwrap();
    }

    /// Signs a certificate for this name and these hosts, and writes it and its key beside each other as
    /// `stem.crt` and `stem.key`, the key with a password if there is one.
    pub(crate) fn sign(
        &self,
        stem: &Path,
        name: &str,
        hosts: &[&str],
        ended: bool,
        password: &str,
    ) {
        let key = key();
        let mut builder = begin(name, &key, ended);
        builder
            .set_issuer_name(self.certificate.subject_name())
            .unwrap();
        if !hosts.is_empty() {
            let mut names = SubjectAlternativeName::new();
            for host in hosts {
                if host.parse::<std::net::IpAddr>().is_ok() {
                    names.ip(host);
                } else {
                    names.dns(host);
                }
            }
            let context = builder.x509v3_context(Some(&self.certificate), None);
            let names = names.build(&context).unwrap();
            builder.append_extension(names).unwrap();
        }
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build().to_pem().unwrap();
        fs::write(stem.with_extension("crt"), certificate).unwrap();
        let pem = if password.is_empty() {
            key.private_key_to_pem_pkcs8().unwrap()
        } else {
            key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), password.as_bytes())
                .unwrap()
        };
        fs::write(stem.with_extension("key"), pem).unwrap();
    }
}
