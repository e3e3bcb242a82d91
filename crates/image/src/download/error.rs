//! Why a download failed, and how a URL is shown without its secrets.

use crate::checksum::Sha256Sum;
use crate::durable::DurableError;
use std::io;
use std::path::PathBuf;

/// Why a file was not downloaded. URLs in it are shown by [`shown_url`].
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// Not a URL that can be downloaded.
    #[error("download {0}: only http:// and https:// URLs with a host can be downloaded")]
    Url(String),
    /// The file is there and is not what is wanted.
    #[error("download to {path}: a file with another checksum is there already, remove it first", path = .0.display())]
    Exists(PathBuf),
    /// The server can't be reached or stopped answering.
    #[error(
        "download {url}: the connection failed after {got_bytes} bytes; repeat the command to go on from there"
    )]
    Connection {
        /// Which.
        url: String,
        /// How much of the file is there.
        got_bytes: u64,
        /// What went wrong.
        source: ureq::Error,
    },
    /// The server ended the file early.
    #[error(
        "download {url}: the server sent {got_bytes} of {total_bytes} bytes; repeat the command to go on from there"
    )]
    Short {
        /// Which.
        url: String,
        /// How much of the file is there.
        got_bytes: u64,
        /// How much it should be.
        total_bytes: u64,
    },
    /// The server says no.
    #[error("download {url}: the server answered {status}; {advice}", advice = advice(*status))]
    Status {
        /// Which.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A redirect leads from https to http, and no checksum would notice a forgery.
    #[error(
        "download {0}: a redirect leads from https to plain http; give the checksum (--sha256) to allow it"
    )]
    Downgrade(String),
    /// The file has no announced end, and no checksum would notice that it is cut.
    #[error(
        "download {0}: the server does not say how long the file is; give its checksum (--sha256)"
    )]
    NoLength(String),
    /// The server compressed the file although it was asked not to.
    #[error("download {url}: the server sent it as {encoding:?}, which it was not asked for")]
    Encoding {
        /// Which.
        url: String,
        /// What it says.
        encoding: String,
    },
    /// The server's answer to a resumed download makes no sense.
    #[error("download {0}: the server's range of the file is not the one that was asked for")]
    Range(String),
    /// The file is larger than allowed.
    #[error("download {url}: it has more than the allowed {max_bytes} bytes")]
    TooLarge {
        /// Which.
        url: String,
        /// The limit.
        max_bytes: u64,
    },
    /// The file is not the wanted one. It was removed.
    #[error(
        "download {url}: its SHA-256 is {found}, expected was {expected}; compare with the publisher's list"
    )]
    Checksum {
        /// Which.
        url: String,
        /// The wanted checksum.
        expected: Sha256Sum,
        /// What came.
        found: Sha256Sum,
    },
    /// The file can't be written; often the disk is full.
    #[error("store the download at {path}", path = path.display())]
    Store {
        /// Where.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file could not be made durable under its name.
    #[error("finish a download")]
    Durable(#[from] DurableError),
    /// The caller's progress asked to stop. What came so far is kept for the next time.
    #[error("download {0}: it was cancelled; repeat the command to go on")]
    Cancelled(String),
}

impl DownloadError {
    /// Whether trying again at once may help.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            DownloadError::Connection { source, .. } => matches!(
                source,
                ureq::Error::Io(_)
                    | ureq::Error::Timeout(_)
                    | ureq::Error::Protocol(_)
                    | ureq::Error::ConnectionFailed
            ),
            DownloadError::Short { .. } | DownloadError::Range(_) => true,
            DownloadError::Status { status, .. } => matches!(status, 429 | 500 | 502..=504),
            _ => false,
        }
    }
}

/// What to do about an HTTP status.
fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 | 407 => "it wants a login, or does not give the file to everyone",
        404 | 410 => "check the URL, the file may have moved",
        429 | 500..=599 => "try again later, or use another mirror",
        _ => "check the URL",
    }
}

/// `url` without login, query and fragment: what may be printed and logged.
pub fn shown_url(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let plain = &url[..end];
    let (scheme, rest) = plain.split_once("://").unwrap_or(("", plain));
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let host = rest[..authority_end].rsplit('@').next().unwrap_or_default();
    let shown: String = [
        scheme,
        if scheme.is_empty() { "" } else { "://" },
        host,
        &rest[authority_end..],
    ]
    .concat();
    shown.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_secrets() {
        let cases = [
            ("https://h/p/disk.qcow2", "https://h/p/disk.qcow2"),
            ("https://user:pa@ss@h:8080/p?token=1#x", "https://h:8080/p"),
            ("http://h?sig=1", "http://h"),
            ("http://user@h", "http://h"),
            ("http://h/a@b", "http://h/a@b"),
            ("user:secret@h/p", "h/p"),
            ("http://h/\u{1b}[2J", "http://h/\u{fffd}[2J"),
        ];
        for (url, shown) in cases {
            assert_eq!(shown_url(url), shown);
        }
    }
}
