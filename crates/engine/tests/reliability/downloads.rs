//! Several imports of one URL at once: each gets the whole file, whoever comes first.

use crate::clean::assert_clean;
use crate::home::*;
use stampo_core::lifecycle::State;
use stampo_engine::{Engine, EngineError, ImportSource, Unwatched};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The URL that a child process imports.
const URL: &str = "STAMPO_TEST_URL";
/// How many pieces the file comes in, with a pause after each.
const PIECES: usize = 40;

/// Serves one file to everyone who asks, slowly, from the byte that is asked for.
struct Server {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    fn of(content: Vec<u8>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!(
            "http://{}/disk.raw",
            listener.local_addr().expect("an address")
        );
        let requests = Arc::new(AtomicUsize::new(0));
        let (count, content) = (requests.clone(), Arc::new(content));
        // Ends with the test program.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let content = content.clone();
                // A client that leaves early is none of the server's business.
                std::thread::spawn(move || drop(answer(stream, &content)));
            }
        });
        Server { url, requests }
    }
}

fn answer(mut stream: TcpStream, content: &[u8]) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request).to_lowercase();
    let from: usize = request
        .split_once("range: bytes=")
        .and_then(|(_, rest)| rest.split('-').next()?.parse().ok())
        .unwrap_or(0);
    let (rest, size) = (&content[from.min(content.len())..], content.len());
    let status = match from {
        0 => "200 OK".to_owned(),
        _ => format!(
            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}",
            size - 1
        ),
    };
    let length = rest.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: \"one\"\r\n\
         Accept-Ranges: bytes\r\nConnection: close\r\n\r\n"
    )?;
    for piece in rest.chunks(size.div_ceil(PIECES)) {
        stream.write_all(piece)?;
        stream.flush()?;
        std::thread::sleep(Duration::from_millis(15));
    }
    Ok(())
}

fn import_url(engine: &Engine, to: &str, url: &str) -> Result<(), EngineError> {
    let source = ImportSource {
        source: url.to_owned(),
        ..import_source(source())
    };
    let import = engine.submit_import(&template(to), source)?;
    engine.run_import(import, &Unwatched).map(drop)
}

/// What the child process does.
pub fn import_of_a_url(engine: &Engine) -> Result<(), EngineError> {
    import_url(engine, "child", &std::env::var(URL).expect("a URL"))
}

/// Two threads of this process and one other process.
pub fn imports_of_one_url_wait_for_each_other() {
    let content = fs::read(source()).expect("readable");
    let server = Server::of(content.clone());
    let home = Home::empty();
    // The home exists before several open it.
    drop(home.engine());
    let mut child = crate::crash::child("import_of_a_url", &home.path(), "never")
        .env(URL, &server.url)
        .spawn()
        .expect("this program starts");
    std::thread::scope(|scope| {
        for to in ["one", "two"] {
            let (home, url) = (&home, &server.url);
            scope.spawn(move || {
                let engine = open(&home.path(), Default::default());
                if let Err(error) = import_url(&engine, to, url) {
                    panic!("{to}: {}", error.chain());
                }
            });
        }
    });
    assert!(child.wait().expect("a child").success());
    let versions = home.engine().store().read(|tx| tx.versions());
    let versions = versions.expect("rows");
    assert_eq!(versions.len(), 3);
    let image = &versions[0].image;
    for row in &versions {
        assert_eq!(row.state, State::Draft, "{}", row.label());
        assert_eq!(&row.image, image, "{} has other bytes", row.label());
    }
    let image = image.as_ref().expect("an image");
    let disk = home
        .path()
        .join("images")
        .join(image.as_str())
        .join("disk.raw");
    assert!(fs::read(disk).expect("readable") == content);
    // One after the other, so none of them went on where another was writing.
    assert_eq!(server.requests.load(Ordering::SeqCst), 3);
    assert_clean(&home.path(), "three imports of one URL");
}
