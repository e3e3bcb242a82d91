//! The proof's walk on trees that are made to fool it: links, damage, odd names, sizes.

use stampo_guest::fs::tree::TreeFixture;
use stampo_guest::seal::proof::{Exception, ExceptionError, Kind, Proof, prove};

const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
    b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n\
    -----END OPENSSH PRIVATE KEY-----\n";

fn seen(proof: &Proof) -> Vec<(&str, &str)> {
    proof
        .findings
        .iter()
        .map(|finding| (finding.id.as_str(), finding.path.as_str()))
        .collect()
}

#[test]
fn a_directory_behind_a_link_hides_nothing() {
    let tree = TreeFixture::new()
        .link("/var/lib/docker", "/data/docker")
        .file("/data/docker/engine-id", "4f3c")
        .link("/home", "data/home")
        .file("/data/home/anna/.bash_history", "mysql -psecret\n")
        .link("/var/lib/rancher", "../../data/a")
        .link("/data/a/k3s", "/data/b")
        .file("/data/b/server/token", "K10");
    let proof = prove(&tree, "fixture");
    let seen = seen(&proof);
    assert!(
        seen.contains(&("docker.engine-id", "/data/docker/engine-id")),
        "{seen:?}"
    );
    assert!(
        seen.contains(&("history.shell", "/data/home/anna/.bash_history")),
        "{seen:?}"
    );
    assert!(
        seen.contains(&("k8s.k3s", "/data/b/server/token")),
        "{seen:?}"
    );
}

#[test]
fn links_in_a_circle_and_out_of_the_image_end() {
    let tree = TreeFixture::new()
        .link("/var/lib/docker", "/var/lib/docker")
        .link("/var/log", "../../../../../../../proc/1/root")
        .link("/etc/ssh", "/etc/ssh2")
        .link("/etc/ssh2", "ssh")
        .link("/home/loop", "/home");
    let proof = prove(&tree, "fixture");
    assert_eq!(seen(&proof), []);
}

#[test]
fn a_link_to_text_is_followed_inside_the_image() {
    let tree = TreeFixture::new()
        .link("/etc/machine-id", "/var/lib/id")
        .file("/var/lib/id", "b08dfa6083e7567a1921a715000001fb\n")
        .link("/etc/systemd/network/99-default.link", "/dev/null")
        .link("/etc/hostname", "/nowhere");
    let proof = prove(&tree, "fixture");
    assert_eq!(seen(&proof), [("system.machine-id", "/etc/machine-id")]);
    assert_eq!(proof.unknown, []);
}

#[test]
fn what_can_not_be_read_is_unknown_and_not_proven() {
    let tree = TreeFixture::new()
        .file("/etc/shadow", "root:*:1::::::\n")
        .damaged("/etc/shadow")
        .file("/opt/a/b", "x")
        .damaged("/opt/a")
        .dir("/srv")
        .file_named("/srv", b"caf\xe9", KEY);
    let proof = prove(&tree, "fixture");
    let paths: Vec<&str> = proof
        .unknown
        .iter()
        .map(|unknown| unknown.path.as_str())
        .collect();
    assert!(paths.contains(&"/etc/shadow"), "{paths:?}");
    assert!(paths.contains(&"/opt/a"), "{paths:?}");
    assert!(paths.contains(&"/srv/caf\u{fffd}"), "{paths:?}");
    assert!(proof.findings.is_empty() && !proof.is_proven(&[]));
    let every = ["/etc/shadow", "/opt/a", "/srv/caf*"]
        .map(|path| Exception::new("*", Some(path), "looked at by hand").expect("it is complete"));
    assert!(proof.is_proven(&every));
}

#[test]
fn a_text_that_is_too_large_is_unknown() {
    let tree = TreeFixture::new().file("/etc/shadow", vec![b'x'; 5 << 20]);
    let proof = prove(&tree, "fixture");
    assert!(
        proof
            .unknown
            .iter()
            .any(|unknown| unknown.id == "password.hash"),
        "{proof:?}"
    );
}

#[test]
fn keys_are_found_anywhere_but_in_packages() {
    let tree = TreeFixture::new()
        .file("/srv/app/deep/er/tls", KEY)
        .file("/data/backup", KEY)
        .file("/usr/local/etc/key", KEY)
        .file("/usr/share/doc/example/key.pem", KEY)
        .file("/usr/lib/python3/test/key.pem", KEY);
    let proof = prove(&tree, "fixture");
    let expected = ["/data/backup", "/srv/app/deep/er/tls", "/usr/local/etc/key"];
    assert_eq!(seen(&proof), expected.map(|path| ("key.private", path)));
}

#[test]
fn a_host_key_is_reported_once() {
    let tree = TreeFixture::new().file("/etc/ssh/ssh_host_rsa_key", KEY);
    let proof = prove(&tree, "fixture");
    assert_eq!(
        seen(&proof),
        [("ssh.host-keys", "/etc/ssh/ssh_host_rsa_key")]
    );
    assert_eq!(proof.findings[0].kind, Kind::Identity);
}

#[test]
fn a_secret_in_a_log_is_reported_besides_the_log() {
    let tree = TreeFixture::new().file("/var/log/app.log", KEY);
    let proof = prove(&tree, "fixture");
    let expected = [
        ("key.private", "/var/log/app.log"),
        ("log.any", "/var/log/app.log"),
    ];
    assert_eq!(seen(&proof), expected);
    let logs = Exception::new("log.*", None, "kept for support").expect("it is complete");
    assert_eq!(proof.open_findings(&[logs]).len(), 1);
}

#[test]
fn an_endless_list_is_cut_and_still_open() {
    let mut tree = TreeFixture::new();
    for number in 0..300 {
        tree = tree.file(&format!("/tmp/f{number:03}"), "x");
    }
    let proof = prove(&tree, "fixture");
    assert_eq!(proof.findings.len(), 201);
    let files = Exception::new("tmp.files", Some("/tmp/*"), "kept").expect("it is complete");
    assert_eq!(proof.open_findings(&[files]).len(), 1);
}

#[test]
fn an_exception_needs_a_reason_and_a_finding() {
    assert!(matches!(
        Exception::new("a.b", None, " "),
        Err(ExceptionError::NoReason { .. })
    ));
    assert!(matches!(
        Exception::new("", None, "x"),
        Err(ExceptionError::NoFinding)
    ));
    assert!(matches!(
        Exception::new("*", None, "x"),
        Err(ExceptionError::TooWide { .. })
    ));
    assert!(matches!(
        Exception::new("*", Some("/**"), "x"),
        Err(ExceptionError::TooWide { .. })
    ));
    let parsed = serde_json::from_str::<Exception>(r#"{"finding": "a.b", "reason": ""}"#);
    assert!(parsed.is_err());
    let parsed = serde_json::from_str::<Exception>(r#"{"finding": "a.b", "reason": "r", "x": 1}"#);
    assert!(parsed.is_err());
    let parsed = serde_json::from_str::<Exception>(r#"{"finding": "a.b", "reason": "r"}"#);
    assert_eq!(parsed.expect("it is complete").reason(), "r");
}

#[test]
fn an_exception_covers_only_what_it_names() {
    let tree = TreeFixture::new()
        .file("/etc/hostname", "build\n")
        .file("/root/.bash_history", "x")
        .file("/home/anna/.bash_history", "x");
    let proof = prove(&tree, "fixture");
    let of_root = Exception::new("history.*", Some("/root/*"), "a demo").expect("it is complete");
    let open = proof.open_findings(std::slice::from_ref(&of_root));
    let paths: Vec<&str> = open.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(paths, ["/home/anna/.bash_history", "/etc/hostname"]);
    assert!(!proof.is_proven(&[of_root]));
}

#[test]
fn a_proof_survives_being_stored() {
    let proof = prove(
        &TreeFixture::new().file("/etc/hostname", "build\n"),
        "fixture",
    );
    let stored = serde_json::to_string(&proof).expect("it can be written");
    assert_eq!(
        serde_json::from_str::<Proof>(&stored).expect("it can be read"),
        proof
    );
    assert_eq!(proof.reader, "fixture");
}
