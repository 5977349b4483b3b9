//! A site's own certificate authority, for a LAN where nobody else issues certificates: people trust it once, by its fingerprint.
//!
//! In `<data>/tls`: `ca.pem` and `ca.key`, made once; `cert.pem` and `key.pem`, made anew when the names change or the end comes near.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Datelike, Duration, Utc};
use conflict_ui_api::private_file;
use conflict_ui_api::server::TlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How long the authority is good for.
const CA_DAYS: i64 = 3650;
/// How long a certificate is good for; browsers take no more than 398 days.
const CERT_DAYS: i64 = 397;
/// How long before its end a certificate is made anew, at a start.
const RENEW_DAYS: i64 = 60;

/// The authority's key, the last of its files to be made.
const AUTHORITY_KEY: &str = "ca.key";

/// Why the site has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum LanCaError {
    /// A file.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A key or certificate cannot be made or read.
    #[error("the site's own certificates: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// The site's certificate, issued by its own authority.
#[derive(Debug, Clone)]
pub struct LanCa {
    /// What the server serves by.
    pub files: TlsFiles,
    /// The authority's certificate, to be trusted by clients.
    pub ca: PathBuf,
    /// The SHA-256 of that certificate, as browsers show it.
    pub fingerprint: String,
}

/// What the certificate in the folder is good for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Issued {
    names: Vec<String>,
    until: DateTime<Utc>,
}

/// Whether an authority was made in this folder.
#[must_use]
pub fn exists(folder: &Path) -> bool {
    folder.join(AUTHORITY_KEY).exists()
}

/// Finds or makes authority and certificate in this folder. `extra`: names besides the machine's own.
///
/// # Errors
/// See [`LanCaError`].
pub fn load_or_make(folder: &Path, site: &str, listen: SocketAddr, extra: &[String], now: DateTime<Utc>) -> Result<LanCa, LanCaError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| LanCaError::Io { path, error }
    };
    fs::create_dir_all(folder).map_err(io(folder))?;
    let (ca, ca_key) = (folder.join("ca.pem"), folder.join(AUTHORITY_KEY));
    // The key is written last, so that a crash in between leaves nothing half made.
    if !ca_key.exists() {
        let key = KeyPair::generate()?;
        let certificate = authority(site, now)?.self_signed(&key)?;
        private_file::write(&ca, certificate.pem().as_bytes()).map_err(io(&ca))?;
        private_file::write(&ca_key, key.serialize_pem().as_bytes()).map_err(io(&ca_key))?;
    }
    let names = names(listen, extra);
    let files = TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    let note = folder.join("issued.json");
    let issued: Option<Issued> = fs::read(&note).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let good = issued.is_some_and(|issued| issued.names == names && issued.until - now > Duration::days(RENEW_DAYS));
    if !(good && files.cert.exists() && files.key.exists()) {
        let authority_key = KeyPair::from_pem(&fs::read_to_string(&ca_key).map_err(io(&ca_key))?)?;
        let issuer = Issuer::new(authority(site, now)?, authority_key);
        let key = KeyPair::generate()?;
        let until = now + Duration::days(CERT_DAYS);
        let certificate = leaf(&names, now, until)?.signed_by(&key, &issuer)?;
        let chain = certificate.pem() + &fs::read_to_string(&ca).map_err(io(&ca))?;
        private_file::write(&files.cert, chain.as_bytes()).map_err(io(&files.cert))?;
        private_file::write(&files.key, key.serialize_pem().as_bytes()).map_err(io(&files.key))?;
        let bytes =
            serde_json::to_vec(&Issued { names, until }).map_err(|error| LanCaError::Io { path: note.clone(), error: error.into() })?;
        private_file::write(&note, &bytes).map_err(io(&note))?;
    }
    let fingerprint = fs::read_to_string(&ca).and_then(|pem| fingerprint(&pem)).map_err(io(&ca))?;
    Ok(LanCa { files, ca, fingerprint })
}

/// The authority. Name and key identify it, so that it can sign again without its certificate being read.
fn authority(site: &str, now: DateTime<Utc>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Rejoin");
    params.distinguished_name.push(DnType::CommonName, format!("Rejoin site {site}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, now, now + Duration::days(CA_DAYS));
    Ok(params)
}

fn leaf(names: &[String], now: DateTime<Utc>, until: DateTime<Utc>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("localhost", String::as_str));
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    valid(&mut params, now, until);
    Ok(params)
}

/// Sets from when to when a certificate is good, in whole days. Clocks on a LAN may be some hours off.
fn valid(params: &mut CertificateParams, now: DateTime<Utc>, until: DateTime<Utc>) {
    #[expect(clippy::cast_possible_truncation, reason = "a month has at most 31 days, a year 12 months")]
    let day = |moment: DateTime<Utc>| date_time_ymd(moment.year(), moment.month() as u8, moment.day() as u8);
    params.not_before = day(now - Duration::days(1));
    params.not_after = day(until);
}

/// What clients may call this machine: its name, loopback, and its address on the network.
fn names(listen: SocketAddr, extra: &[String]) -> Vec<String> {
    let host = fs::read_to_string("/etc/hostname").ok().map(|name| name.trim().to_owned());
    let host = host.filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)));
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    names.extend(host);
    if listen.ip().is_unspecified() {
        names.extend(network_address().map(|ip| ip.to_string()));
    } else {
        names.push(listen.ip().to_string());
    }
    names.extend_from_slice(extra);
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The address that packets to the outside would have. Nothing is sent: a datagram socket that connects only looks up the route.
fn network_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The SHA-256 of a certificate, from its PEM.
fn fingerprint(pem: &str) -> io::Result<String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(io::Error::other)?;
    let pairs: Vec<_> = Sha256::digest(&der).iter().map(|byte| format!("{byte:02X}")).collect();
    Ok(pairs.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_made_once_and_its_certificate_anew_when_names_change_or_its_end_comes() {
        let folder = tempfile::tempdir().unwrap();
        let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let now = Utc::now();
        let make = |extra: &[&str], now| {
            let extra: Vec<_> = extra.iter().map(ToString::to_string).collect();
            let made = load_or_make(folder.path(), "venue", listen, &extra, now).unwrap();
            (made.fingerprint.clone(), fs::read_to_string(&made.files.cert).unwrap(), made)
        };
        let (authority, first, made) = make(&[], now);
        assert_eq!(authority.len(), 32 * 3 - 1, "{authority}");
        assert_eq!(make(&[], now).1, first, "it is found again");
        let (again, named, _) = make(&["venue.example"], now);
        assert_ne!(named, first);
        let (later, renewed, _) = make(&["venue.example"], now + Duration::days(CERT_DAYS - 10));
        assert_ne!(renewed, named);
        assert_eq!((&again, &later), (&authority, &authority), "what people trust stays");
        #[cfg(unix)]
        for file in ["ca.key", "key.pem"] {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(folder.path().join(file)).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        assert_eq!(fs::read_to_string(&made.files.cert).unwrap().matches("BEGIN CERTIFICATE").count(), 2, "the chain is whole");
    }
}
