//! TLS by rustls, as a layer between a socket's readiness and the connection: no thread, no second task.

use std::{
    fmt,
    io::{self, Read as _, Write as _},
    path::Path,
    sync::Arc,
};

use bytes::{BufMut as _, BytesMut};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;

use crate::{Error, Result};

/// Plain bytes that are taken from the connection at a time.
const READ_BYTES: usize = 16 * 1024;

/// How a connection is encrypted, and whom it trusts.
///
/// ```no_run
/// # fn example() -> annulus_client::Result<()> {
/// use annulus_client::{Options, Tls};
///
/// let mut options = Options::from_url("rediss://db.example")?;
/// options.tls = Some(Tls::with_authority("/etc/annulus/ca.pem")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<String>,
}

fn unusable(what: &str, error: impl fmt::Display) -> Error {
    Error::Tls(format!("{what}: {error}"))
}

impl Tls {
    /// Trusts the authorities that the machine trusts. An error if it has none.
    pub fn with_system_authorities() -> Result<Self> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(Error::Tls("the machine has no certificates of authorities".to_owned()));
        }
        Self::new(roots, None)
    }

    /// Trusts the authorities in a PEM file, and nobody else.
    pub fn with_authority(file: impl AsRef<Path>) -> Result<Self> {
        Self::new(authorities(file.as_ref())?, None)
    }

    /// The same, and shows the server a certificate of its own; both of these are PEM files too.
    pub fn with_certificate(
        authority: impl AsRef<Path>,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self> {
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(|error| unusable("the certificate", error))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable("the key", error))?;
        Self::new(authorities(authority.as_ref())?, Some((chain, key)))
    }

    /// Any configuration of rustls.
    pub fn with_config(config: Arc<ClientConfig>) -> Self {
        Self { config, server_name: None }
    }

    /// The name that the server's certificate must have, if it is another than the one by which it is reached.
    #[must_use]
    pub fn server_name(mut self, name: &str) -> Self {
        self.server_name = Some(name.to_owned());
        self
    }

    fn new(
        roots: RootCertStore,
        own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Result<Self> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable("the versions", error))?
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unusable("the certificate and its key", error))?,
        };
        Ok(Self::with_config(Arc::new(config)))
    }
}

fn authorities(file: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(file).map_err(|error| unusable("the authorities", error))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| unusable("the authorities", error))?;
        roots.add(certificate).map_err(|error| unusable("the authorities", error))?;
    }
    if roots.is_empty() {
        return Err(Error::Tls("the file of authorities has no certificate".to_owned()));
    }
    Ok(roots)
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// An encrypted socket.
#[derive(Debug)]
pub(crate) struct TlsStream {
    socket: TcpStream,
    session: ClientConnection,
}

/// The socket, as rustls reads and writes it.
struct Raw<'a>(&'a TcpStream);

impl io::Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a step was taken; false: not now.
fn now(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl TlsStream {
    /// Shakes hands: afterwards the server is known to be who it should be.
    pub(crate) async fn connect(socket: TcpStream, host: &str, tls: &Tls) -> Result<Self> {
        let name = tls.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|error| unusable("the name", error))?;
        let session = ClientConnection::new(Arc::clone(&tls.config), name)
            .map_err(|error| unusable("the configuration", error))?;
        let mut stream = Self { socket, session };
        while stream.session.is_handshaking() {
            stream.shake().await?;
        }
        Ok(stream)
    }

    async fn shake(&mut self) -> Result<()> {
        if self.session.wants_write() {
            self.send()?;
            if self.session.wants_write() {
                self.socket.writable().await?;
            }
        } else {
            self.socket.readable().await?;
            match now(self.session.read_tls(&mut Raw(&self.socket)))? {
                Some(0) => return Err(Error::closed("the server closed the connection at once")),
                Some(_) => {
                    if let Err(error) = self.session.process_new_packets() {
                        // Says why, if it can be said.
                        let _ = self.send();
                        return Err(Error::Tls(error.to_string()));
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) fn wants_write(&self) -> bool {
        self.session.wants_write()
    }

    /// Sends what the socket takes of what is encrypted.
    fn send(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            if now(self.session.write_tls(&mut Raw(&self.socket)))?.is_none() {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            if buffer.capacity() - buffer.len() == 0 {
                buffer.reserve(READ_BYTES);
            }
            let mut plain = [0; READ_BYTES];
            let room = plain.len().min(buffer.capacity() - buffer.len());
            let room = plain.get_mut(..room).unwrap_or_default();
            if let Some(bytes) = now(self.session.reader().read(room))? {
                buffer.put_slice(room.get(..bytes).unwrap_or_default());
                return Ok(bytes);
            }
            if self.session.read_tls(&mut Raw(&self.socket))? == 0 {
                return Ok(0);
            }
            self.session.process_new_packets().map_err(io::Error::other)?;
        }
    }

    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send()?;
        if self.session.wants_write() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.session.writer().write(bytes)?;
        self.send()?;
        Ok(taken)
    }

    pub(crate) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            if let Some(bytes) = now(self.try_read(buffer))? {
                return Ok(bytes);
            }
            self.socket.readable().await?;
        }
    }

    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() || self.wants_write() {
            match now(self.try_write(bytes))? {
                Some(taken) => bytes = bytes.get(taken..).unwrap_or_default(),
                None => self.socket.writable().await?,
            }
        }
        Ok(())
    }
}
