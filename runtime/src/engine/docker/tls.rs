//! Mutual TLS: this host's certificate, and the authority that clients' certificates come from.
//!
//! A part that is missing or unreadable is an error, never a weaker connection.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// What accepts connections; `None` where the folder has none of the three files.
///
/// # Errors
/// When a file is missing or makes no sense, with its name.
pub fn acceptor(folder: &Path) -> Result<Option<TlsAcceptor>, String> {
    let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name));
    if ![&ca, &cert, &key].iter().any(|path| path.exists()) {
        return Ok(None);
    }
    let wrong = |path: &Path, e: &dyn std::fmt::Display| {
        format!("docker's API over TCP is off: {}: {e}", path.display())
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&ca).map_err(|e| wrong(&ca, &e))? {
        roots.add(certificate).map_err(|e| wrong(&ca, &e))?;
    }
    let chain = certificates(&cert).map_err(|e| wrong(&cert, &e))?;
    let secret = PrivateKeyDer::from_pem_file(&key).map_err(|e| wrong(&key, &e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let clients = clients.build().map_err(|e| wrong(&ca, &e))?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong(folder, &e))?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, secret)
        .map_err(|e| wrong(&cert, &e))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).map_err(|e| e.to_string())?;
    let all: Result<Vec<_>, _> = read.collect();
    match all {
        Ok(all) if all.is_empty() => Err("expected a certificate, found none".into()),
        Ok(all) => Ok(all),
        Err(e) => Err(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_certificates_nothing_listens_and_with_a_part_of_them_it_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(acceptor(folder.path()).unwrap().is_none());
        std::fs::write(folder.path().join("ca.pem"), "nothing").unwrap();
        let error = acceptor(folder.path()).err().unwrap();
        assert!(error.contains("ca.pem: expected a certificate"), "{error}");
    }
}
