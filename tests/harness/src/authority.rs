//! Certificates for one test, and the authorities that sign them.

use crate::failure::Result;
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
#[derive(Debug)]
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

fn key() -> Result<PKey<Private>> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    Ok(PKey::from_ec_key(EcKey::generate(&group)?)?)
}

/// A certificate of this name; `days` from now it ends, or has ended.
fn begin(name: &str, key: &PKey<Private>, ended: bool) -> Result<X509Builder> {
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    let mut serial = BigNum::new()?;
    serial.rand(64, openssl::bn::MsbOption::ONE, false)?;
    let serial = serial.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_text("CN", name)?;
    builder.set_subject_name(&subject.build())?;
    let from = Asn1Time::from_str("20200101000000Z")?;
    let to = if ended {
        "20200102000000Z"
    } else {
        "20990101000000Z"
    };
    builder.set_not_before(&from)?;
    let to = Asn1Time::from_str(to)?;
    builder.set_not_after(&to)?;
    builder.set_pubkey(key)?;
    Ok(builder)
}

impl Authority {
    /// One of its own.
    ///
    /// # Errors
    /// When OpenSSL cannot; so for all of these.
    pub fn new(name: &str) -> Result<Self> {
        let key = key()?;
        let mut builder = begin(name, &key, false)?;
        let constraints = BasicConstraints::new().critical().ca().build()?;
        builder.append_extension(constraints)?;
        let subject = builder.build().subject_name().to_owned()?;
        let mut builder = begin(name, &key, false)?;
        let constraints = BasicConstraints::new().critical().ca().build()?;
        builder.append_extension(constraints)?;
        builder.set_issuer_name(&subject)?;
        builder.sign(&key, MessageDigest::sha256())?;
        Ok(Self {
            certificate: builder.build(),
            key,
        })
    }

    /// Writes its certificate.
    ///
    /// # Errors
    /// As [`Authority::new`], or when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        Ok(fs::write(path, self.certificate.to_pem()?)?)
    }

    /// Signs a certificate for this name and these hosts, and writes it and its key beside each other as
    /// `stem.crt` and `stem.key`, the key with a password if there is one.
    ///
    /// # Errors
    /// As [`Authority::write`].
    pub fn sign(
        &self,
        stem: &Path,
        name: &str,
        hosts: &[&str],
        ended: bool,
        password: &str,
    ) -> Result<()> {
        let key = key()?;
        let mut builder = begin(name, &key, ended)?;
        builder.set_issuer_name(self.certificate.subject_name())?;
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
            let names = names.build(&context)?;
            builder.append_extension(names)?;
        }
        builder.sign(&self.key, MessageDigest::sha256())?;
        let certificate = builder.build().to_pem()?;
        fs::write(stem.with_extension("crt"), certificate)?;
        let pem = if password.is_empty() {
            key.private_key_to_pem_pkcs8()?
        } else {
            key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), password.as_bytes())?
        };
        Ok(fs::write(stem.with_extension("key"), pem)?)
    }
}
