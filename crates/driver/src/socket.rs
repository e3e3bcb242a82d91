//! Connecting to a Unix socket whatever the length of its path.
//!
//! A socket address holds 108 bytes (`unix(7)`, `sun_path`), the final zero included, and a home
//! directory may well be deeper. Linux resolves `/proc/self/fd/N/name` to the same socket.

use rustix::fs::{Mode, OFlags};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The longest path, in bytes, that a socket address can hold.
pub const LONGEST_PATH: usize = 107;

/// Connects to the socket at `path`, of any length. When the listener's queue is full it is waited
/// for, at most `timeout` (an error of kind `WouldBlock` after that).
pub fn connect(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    if path.as_os_str().len() <= LONGEST_PATH {
        return connect_short(path, timeout);
    }
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "the socket's path has no name");
    let (dir, name) = (
        path.parent().ok_or_else(invalid)?,
        path.file_name().ok_or_else(invalid)?,
    );
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(dir, flags, Mode::empty())?;
    connect_short(
        &Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name),
        timeout,
    )
}

/// The limit must be on the socket before it connects, which the standard library can't do.
fn connect_short(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    set_socket_timeout(
        &socket,
        Timeout::Send,
        Some(timeout.max(Duration::from_millis(1))),
    )?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_socket_at_a_long_path_is_reached() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let deep = home.path().join("d".repeat(200));
        std::fs::create_dir(&deep).expect("a long name");
        let short = home.path().join("s");
        std::os::unix::fs::symlink(&deep, &short).expect("a link");
        let _listener = UnixListener::bind(short.join("x.sock")).expect("a socket");
        connect(&deep.join("x.sock"), Duration::from_secs(5)).expect("the long path connects");
        assert!(
            UnixStream::connect(deep.join("x.sock")).is_err(),
            "without the detour it can't"
        );
    }

    #[test]
    fn a_full_queue_is_not_waited_for_longer_than_asked() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let path = home.path().join("x.sock");
        // A queue of two: the standard library's holds thousands.
        let listener = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a socket");
        let address = SocketAddrUnix::new(&path).expect("a short path");
        rustix::net::bind(&listener, &address).expect("a name");
        rustix::net::listen(&listener, 1).expect("a queue");
        let started = std::time::Instant::now();
        let mut open = Vec::new();
        let refused = (0..20).find_map(|_| match connect(&path, Duration::from_millis(100)) {
            Ok(stream) => {
                open.push(stream);
                None
            }
            Err(error) => Some(error.kind()),
        });
        assert_eq!(refused, Some(io::ErrorKind::WouldBlock));
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
