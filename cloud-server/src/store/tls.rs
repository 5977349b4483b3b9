//! TLS to PostgreSQL as libpq's `sslmode` says: `disable`, `prefer`, `require` (encrypted, not verified), `verify-ca` and `verify-full`
//! (both verify the chain and the name here). `sslrootcert` names a file of trusted certificates; without it the machine's are trusted.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::pool::UrlError;

/// Reads a URL with the two parameters that tokio-postgres does not know.
pub(super) fn parse(url: &str) -> Result<(tokio_postgres::Config, MakeRustlsConnect), UrlError> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut kept = Vec::new();
    let (mut verify, mut roots) = (false, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", "verify-ca" | "verify-full")) => {
                verify = true;
                kept.push("sslmode=require");
            }
            Some(("sslmode", "allow")) => kept.push("sslmode=prefer"),
            Some(("sslrootcert", path)) => roots = Some(path.to_owned()),
            _ => kept.push(pair),
        }
    }
    let url = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
    let config: tokio_postgres::Config = url.parse().map_err(|error: tokio_postgres::Error| UrlError::Url(error.to_string()))?;
    // As libpq: a root certificate given makes `require` verify.
    let connector = MakeRustlsConnect::new(client_config(verify || roots.is_some(), roots.as_deref())?);
    Ok((config, connector))
}

fn client_config(verify: bool, roots: Option<&str>) -> Result<ClientConfig, UrlError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| UrlError::Tls(error.to_string()))?;
    if !verify {
        let unverified = Arc::new(Unverified(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(unverified).with_no_client_auth());
    }
    let mut store = RootCertStore::empty();
    match roots {
        Some(path) => {
            let read = |error: &dyn std::fmt::Display| UrlError::Tls(format!("sslrootcert {path}: {error}"));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| read(&error))? {
                store.add(certificate.map_err(|error| read(&error))?).map_err(|error| read(&error))?;
            }
        }
        None => drop(store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if store.is_empty() {
        return Err(UrlError::Tls("no trusted certificate was found; name a file by sslrootcert".to_owned()));
    }
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}

/// Encrypts without asking who answers: what `sslmode=require` means to libpq.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sslmode_of_libpq_is_understood_and_a_missing_certificate_named() {
        for mode in ["disable", "allow", "prefer", "require"] {
            assert!(parse(&format!("postgres://a:b@localhost:5433/c?sslmode={mode}&application_name=x")).is_ok(), "{mode}");
        }
        let error = parse("postgres://a:b@localhost/c?sslmode=verify-full&sslrootcert=/nowhere.pem").err().unwrap();
        assert!(error.to_string().contains("/nowhere.pem"), "{error}");
        let error = parse("mysql//a:secret@localhost").err().unwrap();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
