//! Connections: names resolved in Rust, TCP, and TLS by rustls with the host's certificates.
//!
//! Nothing here calls the C resolver, which a static program does not have. A connection is opened
//! per request and not kept: pulls are rare, and a kept one may be dead when it is wanted.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::RegistryError;
use super::url::Url;

/// Either kind of connection.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Where trusted certificates lie.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The bundle of public authorities, PEM.
    pub bundle: PathBuf,
    /// Private authorities: `HOST[:PORT]/NAME.crt` below this folder.
    pub folder: PathBuf,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            bundle: PathBuf::from("/etc/ssl/certs/ca-certificates.crt"),
            folder: PathBuf::from("/etc/containers/certs.d"),
        }
    }
}

/// Opens connections, and remembers what it read for that.
pub struct Connector {
    trust: Trust,
    limit: Duration,
    tls: Mutex<HashMap<String, Arc<ClientConfig>>>,
    resolver: Mutex<Option<TokioResolver>>,
}

impl Connector {
    /// A connector that gives up on an address after `limit`.
    pub fn new(trust: Trust, limit: Duration) -> Self {
        Self {
            trust,
            limit,
            tls: Mutex::default(),
            resolver: Mutex::default(),
        }
    }

    /// Connects to a URL's host, with TLS if its scheme says so.
    ///
    /// # Errors
    /// When the name has no address, no address answers, or the certificate is not trusted.
    pub async fn connect(&self, url: &Url) -> Result<Box<dyn Stream>, RegistryError> {
        let tcp = self.tcp(url).await?;
        // Small requests must not wait for the acknowledgement of the one before.
        let _ = tcp.set_nodelay(true);
        if !url.is_https {
            return Ok(Box::new(tcp));
        }
        let connector = TlsConnector::from(self.tls_for(&url.authority)?);
        let failed = |message: String| RegistryError::Transport {
            place: place(url),
            message,
        };
        let name =
            ServerName::try_from(url.host().to_owned()).map_err(|e| failed(e.to_string()))?;
        match timeout(self.limit, connector.connect(name, tcp)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(e)) if is_certificate(&e) => {
                Err(RegistryError::Certificates(format!("{}: {e}", place(url))))
            }
            Ok(Err(e)) => Err(failed(format!("TLS: {e}"))),
            Err(_) => Err(RegistryError::Stalled {
                place: place(url),
                after: self.limit,
            }),
        }
    }

    async fn tcp(&self, url: &Url) -> Result<TcpStream, RegistryError> {
        let mut message = "no address".to_owned();
        for address in self.addresses(url.host()).await? {
            match timeout(self.limit, TcpStream::connect((address, url.port()))).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(e)) => message = format!("{address}: {e}"),
                Err(_) => message = format!("{address}: no answer for {} s", self.limit.as_secs()),
            }
        }
        Err(RegistryError::Transport {
            place: place(url),
            message,
        })
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, RegistryError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        if host == "localhost" || host.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let failed = |e: &dyn std::fmt::Display| RegistryError::Resolve {
            host: host.to_owned(),
            message: e.to_string(),
        };
        let resolver = self.resolver().map_err(|e| failed(&e))?;
        let answer = resolver.lookup_ip(host).await.map_err(|e| failed(&e))?;
        Ok(answer.iter().collect())
    }

    /// Made at the first name, so that addresses work on a host without name servers.
    fn resolver(&self) -> Result<TokioResolver, hickory_resolver::net::NetError> {
        let mut kept = self.resolver.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resolver) = &*kept {
            return Ok(resolver.clone());
        }
        let resolver = TokioResolver::builder_tokio()?.build()?;
        *kept = Some(resolver.clone());
        Ok(resolver)
    }

    fn tls_for(&self, authority: &str) -> Result<Arc<ClientConfig>, RegistryError> {
        let mut kept = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = kept.get(authority) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.read_tls(authority)?);
        kept.insert(authority.to_owned(), Arc::clone(&config));
        Ok(config)
    }

    fn read_tls(&self, authority: &str) -> Result<ClientConfig, RegistryError> {
        let mut roots = RootCertStore::empty();
        add_file(&mut roots, &self.trust.bundle)?;
        for file in private_authorities(&self.trust.folder.join(authority)) {
            add_file(&mut roots, &file)?;
        }
        if roots.is_empty() {
            let bundle = self.trust.bundle.display();
            return Err(RegistryError::Certificates(format!(
                "none found in {bundle}"
            )));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| RegistryError::Certificates(e.to_string()))?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

/// Host and port, for messages.
pub fn place(url: &Url) -> String {
    url.authority.clone()
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), RegistryError> {
    let fail =
        |e: &dyn std::fmt::Display| RegistryError::Certificates(format!("{}: {e}", path.display()));
    let pem = match std::fs::read(path) {
        Ok(pem) => pem,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(fail(&e)),
    };
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    roots.add_parsable_certificates(certificates.map_err(|e| fail(&e))?);
    Ok(())
}

fn private_authorities(folder: &Path) -> Vec<PathBuf> {
    let listing = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = listing.map(|entry| entry.path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == "crt"))
        .collect()
}

/// A wrong certificate stays wrong: no second try.
fn is_certificate(error: &io::Error) -> bool {
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}
