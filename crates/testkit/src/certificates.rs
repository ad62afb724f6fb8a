//! Certificates for tests of TLS: an authority of their own, and what it issues, good and bad.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

use crate::{Flavour, Scratch};

/// An authority that nobody knows beside those who are given its file.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    scratch: Scratch,
}

/// A certificate and its key, in PEM files that live as long as their authority.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// For a thousand years.
    Lasting,
    /// No more.
    Expired,
}

impl Authority {
    /// A new one, in a directory that goes with it.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn new() -> Result<Authority> {
        let scratch = Scratch::new()?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two authorities of one name would be one to a client, until it looks at the signature.
        let name = format!("authority {:016x}", fastrand::u64(..));
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key)?;
        fs::write(scratch.path().join("ca.pem"), certificate.pem())?;
        Ok(Authority { issuer: Issuer::new(params, key), scratch })
    }

    /// The file of its own certificate, in PEM.
    pub fn file(&self) -> PathBuf {
        self.scratch.path().join("ca.pem")
    }

    /// Issues a certificate for a host name or an address, for servers and clients.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn issue(&self, name: &str, validity: Validity) -> Result<Issued> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if validity == Validity::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer)?;
        let stem = format!("{:016x}", fastrand::u64(..));
        let issued = Issued {
            certificate: self.scratch.path().join(format!("{stem}.pem")),
            key: self.scratch.path().join(format!("{stem}.key")),
        };
        fs::write(&issued.certificate, certificate.pem()).context("cannot write a certificate")?;
        fs::write(&issued.key, key.serialize_pem()).context("cannot write a key")?;
        Ok(issued)
    }
}

impl Issued {
    /// A server's arguments to MySQL and MariaDB, which take clients' certificates of this authority.
    pub fn mysql_arguments(&self, flavour: Flavour, authority: &Authority) -> Vec<String> {
        let mut arguments = vec![
            format!("--ssl-ca={}", authority.file().display()),
            format!("--ssl-cert={}", self.certificate.display()),
            format!("--ssl-key={}", self.key.display()),
        ];
        if flavour == Flavour::MariaDb {
            // The kit turns it off there; MySQL has no such switch.
            arguments.push("--ssl=ON".to_owned());
        }
        arguments
    }

    /// The `tls` section of nats-server; with `verify`, clients need a certificate of this authority.
    pub fn nats_section(&self, authority: &Authority, verify: bool) -> String {
        format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: {verify} }}",
            self.certificate.display(),
            self.key.display(),
            authority.file().display()
        )
    }
}
