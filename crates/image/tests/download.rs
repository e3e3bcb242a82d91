//! Downloads against a real small HTTP server that ends early, lies, changes its mind and redirects.

use sha2::{Digest, Sha256};
use stampo_image::checksum::Sha256Sum;
use stampo_image::download::{DownloadError, DownloadLimits, Downloaded, download};
use stampo_image::durable::partial_path;
use stampo_image::progress::{Progress, Unwatched};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// One request as it came.
#[derive(Debug, Clone, Default)]
struct Request {
    path: String,
    range_from: Option<usize>,
    if_range: Option<String>,
}

type Handler = dyn Fn(usize, &Request) -> Vec<u8> + Send + Sync;

/// A server on a free port. The handler gets the number of the request (from 0) and the request,
/// and returns the bytes that are sent before the connection is closed.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(handler: impl Fn(usize, &Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("an address").to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let handler: Arc<Handler> = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(stream, &log, &*handler);
            }
        });
        Server { address, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("the log").clone()
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Request>>, handler: &Handler) {
    let mut lines = BufReader::new(stream.try_clone().expect("copy"))
        .lines()
        .map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let mut request = Request {
        path: first.split(' ').nth(1).unwrap_or_default().to_owned(),
        ..Request::default()
    };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or_default();
        match name.to_lowercase().as_str() {
            "range" => {
                let from = value
                    .strip_prefix("bytes=")
                    .and_then(|v| v.strip_suffix('-'));
                request.range_from = from.and_then(|from| from.parse().ok());
            }
            "if-range" => request.if_range = Some(value.to_owned()),
            _ => {}
        }
    }
    let number = {
        let mut log = log.lock().expect("the log");
        log.push(request.clone());
        log.len() - 1
    };
    let _ = stream.write_all(&handler(number, &request));
}

/// What an honest server answers; `etag` names its version of `body`.
fn honest(request: &Request, body: &[u8], etag: &str) -> Vec<u8> {
    let validated = request
        .if_range
        .as_deref()
        .is_none_or(|wanted| wanted == etag);
    match request.range_from.filter(|_| validated) {
        Some(from) if from >= body.len() => answer(
            "416 Range Not Satisfiable",
            &format!("Content-Range: bytes */{}\r\n", body.len()),
            0,
            b"",
        ),
        Some(from) => {
            let range = format!(
                "Content-Range: bytes {from}-{}/{}\r\n",
                body.len() - 1,
                body.len()
            );
            let rest = &body[from..];
            answer(
                "206 Partial Content",
                &format!("{range}ETag: {etag}\r\n"),
                rest.len(),
                rest,
            )
        }
        None => answer("200 OK", &format!("ETag: {etag}\r\n"), body.len(), body),
    }
}

fn answer(status: &str, headers: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn body() -> Vec<u8> {
    (0..600_000_u32).map(|at| (at / 3 % 253) as u8).collect()
}

fn sum(bytes: &[u8]) -> Sha256Sum {
    Sha256Sum(Sha256::digest(bytes).into())
}

fn limits() -> DownloadLimits {
    DownloadLimits {
        retry_pause: Duration::from_millis(5),
        read_timeout: Duration::from_secs(20),
        ..DownloadLimits::default()
    }
}

fn target() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("make a directory");
    let to = dir.path().join("image.qcow2");
    (dir, to)
}

fn fetch(url: &str, to: &Path, expected: Option<&Sha256Sum>) -> Result<Downloaded, DownloadError> {
    download(url, to, expected, &limits(), &Unwatched)
}

fn files(dir: &TempDir) -> usize {
    std::fs::read_dir(dir.path()).expect("list").count()
}

/// Progress that stops once `at` bytes are there.
fn stop_at(at: u64) -> impl Progress {
    move |done: u64, _: u64| {
        if done >= at {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

#[test]
fn a_file_is_fetched_checked_and_not_fetched_again() {
    let server = Server::start(|_, request| honest(request, &body(), "\"v1\""));
    let (dir, to) = target();
    let expected = sum(&body());
    let first = fetch(&server.url("/x"), &to, Some(&expected)).expect("download");
    assert_eq!(
        first,
        Downloaded {
            sha256: expected,
            size_bytes: 600_000,
            fetched_bytes: 600_000
        }
    );
    assert!(std::fs::read(&to).expect("read") == body());
    assert_eq!(files(&dir), 1);
    let again = fetch(&server.url("/x"), &to, Some(&expected)).expect("download");
    assert_eq!((again.sha256, again.fetched_bytes), (expected, 0));
    assert_eq!(server.requests().len(), 1);
    let other = fetch(&server.url("/x"), &to, Some(&sum(b"other")));
    assert!(matches!(other, Err(DownloadError::Exists(_))));
}

#[test]
fn a_dropped_connection_is_taken_up_where_it_ended() {
    let server = Server::start(|number, request| {
        let mut answer = honest(request, &body(), "\"v1\"");
        answer.truncate(if number < 3 { 140_000 } else { usize::MAX });
        answer
    });
    let (_dir, to) = target();
    let done = fetch(&server.url("/x"), &to, None).expect("download");
    assert_eq!((done.sha256, done.fetched_bytes), (sum(&body()), 600_000));
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    assert!(
        requests[1..]
            .iter()
            .all(|r| r.if_range.as_deref() == Some("\"v1\""))
    );
    let from: Vec<_> = requests.iter().map(|r| r.range_from.unwrap_or(0)).collect();
    assert!(
        from.is_sorted() && from[1] > 120_000 && from[3] > 400_000,
        "{from:?}"
    );
}

#[test]
fn a_cancelled_download_goes_on_in_the_next_call() {
    let server = Server::start(|_, request| honest(request, &body(), "\"v1\""));
    let (dir, to) = target();
    let url = server.url("/x");
    let stopped = download(&url, &to, None, &limits(), &stop_at(200_000));
    assert!(matches!(stopped, Err(DownloadError::Cancelled(_))));
    assert!(!to.exists());
    let done = fetch(&url, &to, None).expect("download");
    assert_eq!(done.sha256, sum(&body()));
    assert!(done.fetched_bytes <= 400_000, "{done:?}");
    assert_eq!(files(&dir), 1);
}

#[test]
fn a_file_that_changed_on_the_server_is_fetched_anew() {
    let changed: Vec<u8> = body().iter().map(|byte| byte ^ 0xff).collect();
    let expected = sum(&changed);
    let server = Server::start(move |number, request| match number {
        0 => honest(request, &body(), "\"v1\""),
        _ => honest(request, &changed, "\"v2\""),
    });
    let (_dir, to) = target();
    let url = server.url("/x");
    assert!(download(&url, &to, None, &limits(), &stop_at(200_000)).is_err());
    let done = fetch(&url, &to, None).expect("download");
    assert_eq!((done.sha256, done.fetched_bytes), (expected, 600_000));
}

#[test]
fn a_damaged_part_is_not_built_upon() {
    let server = Server::start(|_, request| honest(request, &body(), "\"v1\""));
    let (_dir, to) = target();
    let url = server.url("/x");
    assert!(download(&url, &to, None, &limits(), &stop_at(200_000)).is_err());
    let mut part = std::fs::read(partial_path(&to)).expect("read");
    part[100_000] ^= 1;
    std::fs::write(partial_path(&to), &part).expect("write");
    let done = fetch(&url, &to, None).expect("download");
    assert_eq!((done.sha256, done.fetched_bytes), (sum(&body()), 600_000));
}

#[test]
fn a_part_of_another_url_or_without_a_validator_is_not_used() {
    let server = Server::start(|_, request| {
        let text = String::from_utf8_lossy(&honest(request, b"", "\"v1\"")).into_owned();
        assert!(text.starts_with("HTTP"));
        answer("200 OK", "", body().len(), &body())
    });
    let (_dir, to) = target();
    assert!(download(&server.url("/x"), &to, None, &limits(), &stop_at(200_000)).is_err());
    fetch(&server.url("/y"), &to, None).expect("download");
    std::fs::remove_file(&to).expect("remove");
    assert!(download(&server.url("/y"), &to, None, &limits(), &stop_at(200_000)).is_err());
    fetch(&server.url("/y"), &to, None).expect("download");
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.range_from.is_none())
    );
}

#[test]
fn a_complete_part_needs_only_its_name() {
    let server = Server::start(|_, request| honest(request, &body(), "\"v1\""));
    let (_dir, to) = target();
    let url = server.url("/x");
    assert!(download(&url, &to, None, &limits(), &stop_at(600_000)).is_err());
    let done = fetch(&url, &to, None).expect("download");
    assert_eq!((done.sha256, done.fetched_bytes), (sum(&body()), 0));
}

#[test]
fn a_server_that_lies_about_the_length_is_reported() {
    let server = Server::start(|_, _| answer("200 OK", "", 5000, &[1; 4000]));
    let (_dir, to) = target();
    let error = fetch(&server.url("/x?token=secret"), &to, None).expect_err("must fail");
    let text = error.to_string();
    assert!(text.contains("4000") && !text.contains("secret"), "{text}");
    assert!(!to.exists());
    let attempts = server.requests().len();
    assert!((4..=7).contains(&attempts), "{attempts} attempts");
    // Announced too short: what is behind the announced end is never taken.
    let server = Server::start(|_, _| answer("200 OK", "", 3000, &[1; 4000]));
    assert_eq!(
        fetch(&server.url("/x"), &to, None)
            .expect("download")
            .size_bytes,
        3000
    );
}

#[test]
fn a_file_without_an_announced_end_needs_a_checksum() {
    let server = Server::start(|_, _| {
        [b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n", &body()[..]].concat()
    });
    let (_dir, to) = target();
    let refused = fetch(&server.url("/x"), &to, None);
    assert!(
        matches!(refused, Err(DownloadError::NoLength(_))),
        "{refused:?}"
    );
    let done = fetch(&server.url("/x"), &to, Some(&sum(&body()))).expect("download");
    assert_eq!(done.size_bytes, 600_000);
}

#[test]
fn a_wrong_checksum_leaves_nothing() {
    let server = Server::start(|_, request| honest(request, &body(), "\"v1\""));
    let (dir, to) = target();
    let error = fetch(&server.url("/x"), &to, Some(&sum(b"other"))).expect_err("must fail");
    let DownloadError::Checksum {
        expected, found, ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((expected, found), (sum(b"other"), sum(&body())));
    assert_eq!(files(&dir), 0);
}

#[test]
fn a_file_above_the_limit_is_refused_announced_or_not() {
    let announced = Server::start(|_, request| honest(request, &body(), "\"v1\""));
    let chunked = Server::start(|_, _| {
        let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
        [&head[..], b"61A80\r\n", &[1; 400_000], b"\r\n0\r\n\r\n"].concat()
    });
    let limits = DownloadLimits {
        max_bytes: 200_000,
        ..limits()
    };
    for server in [&announced, &chunked] {
        let (_dir, to) = target();
        let error = download(&server.url("/x"), &to, None, &limits, &Unwatched);
        assert!(
            matches!(error, Err(DownloadError::TooLarge { .. })),
            "{error:?}"
        );
        assert!(!to.exists());
    }
    let (_dir, to) = target();
    assert_eq!(
        fetch(&chunked.url("/x"), &to, None)
            .expect("download")
            .size_bytes,
        400_000
    );
}

#[test]
fn redirects_are_followed_with_the_range_but_not_for_ever() {
    let server = Server::start(|_, request| match request.path.as_str() {
        "/start" => answer("302 Found", "Location: /end\r\n", 0, b""),
        "/end" => honest(request, &body(), "\"v1\""),
        _ => answer("302 Found", "Location: /loop\r\n", 0, b""),
    });
    let (_dir, to) = target();
    let url = server.url("/start");
    assert!(download(&url, &to, None, &limits(), &stop_at(200_000)).is_err());
    let done = fetch(&url, &to, None).expect("download");
    assert!(done.fetched_bytes < 400_001, "{done:?}");
    std::fs::remove_file(&to).expect("remove");
    let error = fetch(&server.url("/loop"), &to, None).expect_err("must fail");
    assert!(matches!(
        error,
        DownloadError::Connection {
            source: ureq::Error::TooManyRedirects,
            ..
        }
    ));
}

#[test]
fn statuses_are_reported_with_advice_and_only_some_are_tried_again() {
    for (status, attempts) in [("404 Not Found", 1), ("403 Forbidden", 1), ("503 Busy", 5)] {
        let server = Server::start(move |_, _| answer(status, "", 0, b""));
        let (_dir, to) = target();
        let error = fetch(&server.url("/x"), &to, None).expect_err("must fail");
        assert!(error.to_string().contains(&status[..3]), "{error}");
        assert_eq!(server.requests().len(), attempts, "{status}");
    }
}

#[test]
fn a_silent_server_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let url = format!("http://{}/x", listener.local_addr().expect("an address"));
    let (_dir, to) = target();
    let limits = DownloadLimits {
        read_timeout: Duration::from_millis(200),
        retries: 1,
        ..limits()
    };
    let error = download(&url, &to, None, &limits, &Unwatched).expect_err("must fail");
    assert!(matches!(
        error,
        DownloadError::Connection {
            source: ureq::Error::Timeout(_),
            ..
        }
    ));
}

#[test]
fn other_schemes_are_refused_without_showing_secrets() {
    let (_dir, to) = target();
    for url in [
        "ftp://u:secret@h/x",
        "file:///etc/passwd",
        "h/x",
        "http://",
        "",
        "http:///x",
    ] {
        let error = fetch(url, &to, None).expect_err("must be refused");
        assert!(matches!(error, DownloadError::Url(_)), "{url}: {error:?}");
        assert!(!error.to_string().contains("secret"));
    }
}
