//! The connection phase: greeting, TLS, proof of the password.

use super::channel::Channel;
use crate::config::SourceConfig;
use mysql_async::Error;
use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{
    AuthPlugin, AuthSwitchRequest, ErrPacket, HandshakePacket, HandshakeResponse, SslRequest,
};
use mysql_common::proto::MySerialize;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What the client says it can receive, in bytes; the server holds events to a limit of its own.
const PACKET_BYTES_MAX: u32 = 1 << 30;
const COLLATION_UTF8MB4_GENERAL_CI: u8 = 45;
const KEEPALIVE: Duration = Duration::from_secs(30);
const NONCE_BYTES: usize = 20;

/// A logged-in connection.
///
/// # Errors
/// [`Error::Server`] for what the server refuses; [`Error::Io`] for everything else.
pub(super) async fn connect(config: &SourceConfig) -> Result<Channel, Error> {
    let stream = TcpStream::connect((config.host.as_str(), config.port)).await?;
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    let mut channel = Channel::new(Box::new(stream));
    let greeting = channel.read().await?;
    refuse(&greeting)?;
    let handshake: HandshakePacket<'_> = ParseBuf(&greeting).parse(())?;
    let capabilities = handshake.capabilities() & wanted(config.is_encrypted());
    if config.is_encrypted() {
        channel = secure(config, channel, capabilities).await?;
    }
    let mut login = Login {
        password: config.password.expose(),
        is_secure: config.is_encrypted(),
        nonce: nonce(&handshake),
        plugin: match handshake.auth_plugin() {
            Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
            // Whatever else is the server's default: it asks for the account's own plugin next.
            _ => AuthPlugin::MysqlNativePassword,
        },
        channel,
    };
    let proof = login.plugin.gen_data(Some(login.password), &login.nonce);
    let response = HandshakeResponse::new(
        proof.as_deref(),
        handshake.server_version_parsed().unwrap_or((8, 0, 0)),
        Some(config.user.as_bytes()),
        None::<&[u8]>,
        Some(login.plugin.clone()),
        capabilities,
        None,
        PACKET_BYTES_MAX,
    );
    let mut packet = Vec::new();
    response.serialize(&mut packet);
    login.channel.write(&packet).await?;
    login.prove().await?;
    Ok(login.channel)
}

fn wanted(tls: bool) -> CapabilityFlags {
    let flags = CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA;
    if tls { flags | CapabilityFlags::CLIENT_SSL } else { flags }
}

/// Twenty bytes; the server adds a NUL.
fn nonce(handshake: &HandshakePacket<'_>) -> Vec<u8> {
    let mut nonce = handshake.scramble_1_ref().to_vec();
    nonce.extend_from_slice(handshake.scramble_2_ref().unwrap_or_default());
    nonce.resize(NONCE_BYTES, 0);
    nonce
}

/// An ERR packet as the error that it is.
///
/// # Errors
/// [`Error::Server`] when it is one.
pub(super) fn refuse(packet: &[u8]) -> Result<(), Error> {
    if packet.first() != Some(&0xff) {
        return Ok(());
    }
    // Before the login is complete the state may be missing; the parser takes both forms.
    let flags = CapabilityFlags::CLIENT_PROTOCOL_41;
    match ParseBuf(packet).parse::<ErrPacket<'_>>(flags)? {
        ErrPacket::Error(error) => Err(error.into()),
        ErrPacket::Progress(_) => Err(unexpected("a progress report")),
    }
}

pub(super) fn unexpected(what: &str) -> Error {
    Error::from(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the server answers with {what}, which does not belong here"),
    ))
}

async fn secure(
    config: &SourceConfig,
    mut channel: Channel,
    capabilities: CapabilityFlags,
) -> Result<Channel, Error> {
    if !capabilities.contains(CapabilityFlags::CLIENT_SSL) {
        return Err(Error::from(io::Error::other(
            "TLS is configured, but the server has none: give it a certificate (ssl_cert, ssl_key)",
        )));
    }
    let request = SslRequest::new(capabilities, PACKET_BYTES_MAX, COLLATION_UTF8MB4_GENERAL_CI);
    let mut packet = Vec::new();
    request.serialize(&mut packet);
    channel.write(&packet).await?;
    let name = ServerName::try_from(config.host.clone()).map_err(io::Error::other)?;
    let connector = connector(config)?;
    let (stream, sequence) = channel.into_stream();
    let stream = connector.connect(name, stream).await?;
    Ok(Channel::new(Box::new(stream)).with_sequence(sequence))
}

/// Trusts the authorities of the file and no others; without a file, the usual ones.
fn connector(config: &SourceConfig) -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    match &config.tls_ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| named(path, &error))?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    let config = match (&config.tls_cert_file, &config.tls_key_file) {
        (Some(chain), Some(key)) => {
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| named(key, &error))?;
            builder
                .with_client_auth_cert(certificates(chain)?, secret)
                .map_err(|error| named(chain, &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The certificates of a file: PEM, or one in DER.
fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let text = std::fs::read(path).map_err(|error| named(path, &error))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let mut certificates = certificates.map_err(|error| named(path, &error))?;
    if certificates.is_empty() {
        certificates.push(CertificateDer::from(text));
    }
    Ok(certificates)
}

fn named(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

/// A proof under way.
struct Login<'a> {
    password: &'a str,
    is_secure: bool,
    nonce: Vec<u8>,
    plugin: AuthPlugin<'static>,
    channel: Channel,
}

// caching_sha2_password's words (`sql/auth/sha2_password_common.h`).
const FAST_AUTH_OK: u8 = 3;
const FULL_AUTH: u8 = 4;
const ASK_FOR_KEY: u8 = 2;

impl Login<'_> {
    /// Answers until the server is content.
    async fn prove(&mut self) -> Result<(), Error> {
        let mut switched = false;
        loop {
            let packet = self.channel.read().await?;
            refuse(&packet)?;
            let is_parsec = matches!(self.plugin, AuthPlugin::MariadbParsec { .. });
            match packet.split_first() {
                Some((0x00, _)) => return Ok(()),
                Some((0xfe, _)) if !switched => {
                    switched = true;
                    let request: AuthSwitchRequest<'_> = ParseBuf(&packet).parse(())?;
                    self.switch(&request).await?;
                }
                Some((0x01, [FAST_AUTH_OK])) => {}
                Some((0x01, [FULL_AUTH])) => self.prove_in_full().await?,
                Some((0x01, salt)) if is_parsec => self.parsec(salt).await?,
                // The first servers that had it left the leading byte away.
                Some(_) if is_parsec => self.parsec(&packet).await?,
                _ => return Err(unexpected("another packet during the login")),
            }
        }
    }

    async fn switch(&mut self, request: &AuthSwitchRequest<'_>) -> Result<(), Error> {
        self.nonce = request.plugin_data().to_vec();
        self.plugin = request.auth_plugin().into_owned();
        match &self.plugin {
            // It wants an empty packet first.
            AuthPlugin::MariadbParsec { .. } => self.channel.write(&[]).await?,
            AuthPlugin::CachingSha2Password
            | AuthPlugin::MysqlNativePassword
            | AuthPlugin::Ed25519 => self.send_proof().await?,
            other => {
                let name = String::from_utf8_lossy(other.as_bytes()).into_owned();
                return Err(Error::from(io::Error::other(format!(
                    "the account logs in by {name}, which this build does not do: give it caching_sha2_password, mysql_native_password, ed25519 or parsec"
                ))));
            }
        }
        Ok(())
    }

    async fn send_proof(&mut self) -> Result<(), Error> {
        let mut packet = Vec::new();
        if let Some(proof) = self.plugin.gen_data(Some(self.password), &self.nonce) {
            proof.serialize(&mut packet);
        }
        Ok(self.channel.write(&packet).await?)
    }

    async fn parsec(&mut self, salt: &[u8]) -> Result<(), Error> {
        self.plugin.read_add_data(salt).ok_or_else(|| unexpected("a salt that is none"))?;
        self.send_proof().await
    }

    /// The server does not remember the account: it wants the password itself, under TLS or its key.
    async fn prove_in_full(&mut self) -> Result<(), Error> {
        let mut password = self.password.as_bytes().to_vec();
        password.push(0);
        if self.is_secure {
            return Ok(self.channel.write(&password).await?);
        }
        self.channel.write(&[ASK_FOR_KEY]).await?;
        let answer = self.channel.read().await?;
        refuse(&answer)?;
        let key = answer.get(1..).unwrap_or_default();
        for (byte, mask) in password.iter_mut().zip(self.nonce.iter().cycle()) {
            *byte ^= mask;
        }
        // The library panics on a key that is none.
        let encrypted = std::panic::catch_unwind(|| mysql_common::crypto::encrypt(&password, key));
        let encrypted = encrypted.map_err(|_| unexpected("a key that is none"))?;
        Ok(self.channel.write(&encrypted).await?)
    }
}
