//! The same disk comes in as raw, as qcow2 and over HTTP: one image, one identity.

use stampo_testbed::Stampo;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

pub fn a_disk_has_one_identity_and_boots_under_uefi_with_a_tpm() {
    let stampo = Stampo::new();
    stampo.publish_shared("web", "examples/web.toml");
    let image = stampo.json(&["template", "show", "web"])["image"]
        .as_str()
        .expect("an id")
        .to_owned();
    let raw = stampo.home().join("images").join(&image).join("disk.raw");
    let qcow2 = stampo.path("web.qcow2");
    let convert = Command::new("qemu-img")
        .args(["convert", "-f", "raw", "-O", "qcow2", "-c"])
        .arg(&raw)
        .arg(&qcow2)
        .status();
    assert!(
        convert.is_ok_and(|status| status.success()),
        "qemu-img converts"
    );
    let (raw, qcow2) = (raw.display().to_string(), qcow2.display().to_string());
    stampo.ok(&["template", "import", "raw", &raw, "--format", "raw"]);
    stampo.ok(&[
        "template",
        "import",
        "uefi",
        &qcow2,
        "--format",
        "qcow2",
        "--firmware",
        "uefi",
        "--tpm",
    ]);
    for name in ["raw", "uefi"] {
        assert_eq!(
            stampo.json(&["template", "show", name])["image"],
            image,
            "{name}"
        );
    }
    let url = serve(std::fs::read(&qcow2).expect("the image"));
    stampo.ok(&["template", "import", "web2", &url, "--format", "qcow2"]);
    assert_eq!(
        stampo.json(&["template", "show", "web2"])["image"],
        image,
        "over HTTP"
    );
    let wrong = stampo.fails(1, &["template", "import", "bad", &qcow2, "--format", "raw"]);
    assert!(wrong.contains("qcow2"), "{wrong}");
    let sum = "0".repeat(64);
    let wrong = stampo.fails(
        5,
        &[
            "template", "import", "bad", &qcow2, "--format", "qcow2", "--sha256", &sum,
        ],
    );
    assert!(wrong.contains("SHA-256"), "{wrong}");
    stampo.fails(3, &["template", "show", "bad"]);
    stampo.ok(&["template", "seal", "uefi"]);
    stampo.ok(&["template", "publish", "uefi"]);
    stampo.clones("uefi", "u", &[]);
    assert_eq!(
        stampo.ssh("u", "ls -d /sys/firmware/efi"),
        "/sys/firmware/efi"
    );
    assert_eq!(stampo.ssh("u", "ls /sys/class/tpm"), "tpm0");
}

/// Serves these bytes over HTTP on the loopback, to whoever asks; the URL.
fn serve(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let asked = stream.read(&mut request).unwrap_or(0);
            if asked > 0 {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                // A client that has gone is its own affair.
                let _ = stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(&body));
            }
        }
    });
    format!("http://{address}/web.qcow2")
}

pub fn a_lost_catalog_comes_back_from_the_sidecars_with_a_running_guest() {
    let stampo = Stampo::new();
    stampo.publish_shared("web", "examples/web.toml");
    stampo.clones("web", "app-{n}", &["--count", "2", "--no-wait"]);
    let before = (stampo.json(&["template", "ls"]), stampo.guests());
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(stampo.home().join(name));
    }
    assert!(stampo.guests().is_empty(), "the catalog is gone");
    let said = stampo.ok(&["store", "rescan"]);
    assert!(said.contains("web@1") && said.contains("app-2"), "{said}");
    assert_eq!((stampo.json(&["template", "ls"]), stampo.guests()), before);
    assert_eq!(
        stampo.json(&["show", "app-1"])["power"],
        "running",
        "found again"
    );
    stampo.ok(&["template", "verify", "web"]);
}
