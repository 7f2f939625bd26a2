//! Making listening sockets, and reading the two ends of a connection.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::SocketAddrAny;
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use super::driver::Peer;

/// A TCP socket that listens at `address`. Accepted connections inherit its options: no delay (replies leave as
/// they are written) and, if `keepalive` is given, probes after that much silence.
pub fn tcp(address: SocketAddr, backlog: i32, keepalive: Option<Duration>) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and :: can both be listened on.
        socket.set_only_v6(true)?;
    }
    socket.set_tcp_nodelay(true)?;
    if let Some(time) = keepalive {
        // As Redis: three probes, a third of the time apart.
        let interval = (time / 3).max(Duration::from_secs(1));
        let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(3);
        socket.set_tcp_keepalive(&keepalive)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// A Unix stream socket that listens at `path`; a stale one left there is replaced. `mode`: its permissions, if given.
#[expect(clippy::disallowed_methods, reason = "the path of a socket is not the storage's business")]
pub fn unix(path: &Path, backlog: i32, mode: Option<u32>) -> io::Result<OwnedFd> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    if let Ok(meta) = std::fs::symlink_metadata(path)
        && meta.file_type().is_socket()
    {
        let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        if probe.connect(&SockAddr::unix(path)?).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// Connects to a Unix socket that another thread of this program listens on. Reads and writes block.
pub fn connect_unix(path: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(OwnedFd::from(socket).into())
}

/// The port that a listening TCP socket got.
pub fn local_port(socket: &OwnedFd) -> Option<u16> {
    let address = rustix::net::getsockname(socket).ok()?;
    SocketAddr::try_from(address).ok().map(|address| address.port())
}

/// The two ends of a connection.
pub fn peer_of(fd: impl AsFd) -> Peer {
    let fd = fd.as_fd();
    let local = rustix::net::getsockname(fd).ok();
    let remote = rustix::net::getpeername(fd).ok().flatten();
    let as_ip = |address: Option<&SocketAddrAny>| {
        address.and_then(|address| SocketAddr::try_from(address.clone()).ok())
    };
    if let (Some(remote), Some(local)) = (as_ip(remote.as_ref()), as_ip(local.as_ref())) {
        let is_local = remote.ip().to_canonical().is_loopback();
        return Peer { is_local, remote: remote.to_string(), local: local.to_string() };
    }
    let path = local
        .and_then(|address| rustix::net::SocketAddrUnix::try_from(address).ok())
        .and_then(|address| address.path().map(|path| path.to_string_lossy().into_owned()))
        .unwrap_or_default();
    Peer { remote: format!("{path}:0"), local: format!("{path}:0"), is_local: true }
}
